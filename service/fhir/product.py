"""What medication a resource is about: its name and its code, as a request says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fhir.bundle import Index
from service.fhir.limits import LONGEST_CODE, LONGEST_NAME, LONGEST_SYSTEM, URI
from service.fhir.wire import Json, codings, kind, not_understood, obj, objects, text
from service.knowledge.fhir_map import FhirMap
from service.terminology import Recogniser


@dataclass
class Product:
    """The part of a medication of the body that says what it is; empty, with a reason, where nothing does."""

    said: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    remarks: list[str] = field(default_factory=list)
    support: Json | None = None
    """The Medication that was referred to."""


class ProductReader:
    """Reads medications as they are coded or referred to."""

    def __init__(self, words: FhirMap, recogniser: Recogniser) -> None:
        self._words = words
        self._recogniser = recogniser

    def read(self, resource: Json, index: Index) -> Product:
        """What a MedicationRequest or MedicationStatement is about."""
        if resource.get("medicationCodeableConcept") is not None:
            return self._concept(resource["medicationCodeableConcept"])
        referred = obj(resource.get("medicationReference"))
        if not referred:
            return Product(reason="no_medication")
        reference, display = text(referred.get("reference")), text(referred.get("display"))
        found = index.find(reference, resource) if reference else None
        if found is None or kind(found) != "Medication":
            if not 1 <= len(display) <= LONGEST_NAME:
                return Product(reason="unresolved_reference")
            return Product({"name": display}, remarks=["unresolved_reference"])
        return self._medication(found, display)

    def _medication(self, medication: Json, display: str) -> Product:
        status = text(medication.get("status"))
        reason = self._words.statuses["Medication"].reason(status) if status else None
        if reason is not None or not_understood(medication):
            return Product(reason="modifier_extension" if reason is None else "medication_in_error", support=medication)
        product = self._concept(medication.get("code"))
        ingredients = objects(medication.get("ingredient"))
        if not product.said and ingredients:
            names = [self._concept(one.get("itemCodeableConcept")).said for one in ingredients]
            product = self._of_parts(names)
        if not product.said and 1 <= len(display) <= LONGEST_NAME:
            product = Product({"name": display}, remarks=["no_medication"])
        product.support = medication
        return product

    def _of_parts(self, parts: list[dict[str, Any]]) -> Product:
        """A mixture, by the names of all that is in it."""
        names = [one.get("name") or obj(one.get("code")).get("display", "") for one in parts]
        name = " / ".join(names)
        if not all(names):
            # What is in it and has no name would be missed.
            return (
                Product(parts[0], remarks=["ingredient_not_named"])
                if len(parts) == 1 and parts[0]
                else Product(reason="ingredient_not_named")
            )
        return Product({"name": name}) if len(name) <= LONGEST_NAME else Product(reason="too_long")

    def _concept(self, concept: Any) -> Product:
        written = text(concept) or text(obj(concept).get("text"))
        listed = list(codings(concept))
        product = Product(reason="no_medication")
        names = [one for one in dict.fromkeys([written, *(display for *_, display in listed)]) if one]
        short = [one for one in names if len(one) <= LONGEST_NAME]
        if len(short) < len(names):
            product.remarks.append("too_long")
            product.reason = "too_long"
        code = self._rxnorm(listed, product)
        if code is not None:
            product.said["code"] = code
            # What the code is shown as is read with it.
            short = [one for one in short if one == written or one != code.get("display")]
            if written in short:
                product.said["name"] = written
            elif "display" not in code and short:
                product.said["name"] = self._understood(short)
        elif short:
            product.said["name"] = self._understood(short)
        else:
            other = next((one for one in listed if self._fits(one[0], one[1])), None)
            if other is not None:
                product.said["code"] = {"system": other[0], "code": other[1]}
        return product

    def _rxnorm(self, listed: list[tuple[str, str, str]], product: Product) -> Mapping[str, Any] | None:
        """The RxNorm code that is known, else the first."""
        address = self._words.addresses["rxnorm"]
        found: list[dict[str, Any]] = []
        for system, code, display in listed:
            if self._words.systems.get(system) == "rxnorm" and self._fits(address, code):
                shown = {"display": display} if 1 <= len(display) <= LONGEST_NAME else {}
                found.append({"system": address, "code": code, **shown})
        if len(found) < 2:
            return found[0] if found else None
        meant = [
            self._recogniser.recognise({"code": {"system": one["system"], "code": one["code"]}}).by_code
            for one in found
        ]
        known = [place for place, ingredients in enumerate(meant) if ingredients]
        if not known:
            return found[0]
        if any(meant[place].isdisjoint(meant[known[0]]) for place in known):
            product.remarks.append("codings_differ")
        return found[known[0]]

    def _fits(self, system: str, code: str) -> bool:
        return 1 <= len(code) <= LONGEST_CODE and len(system) <= LONGEST_SYSTEM and URI.fullmatch(system) is not None

    def _understood(self, names: list[str]) -> str:
        """The first name that is understood, else the first."""
        if len(names) == 1:
            return names[0]
        return next((one for one in names if self._recogniser.recognise({"name": one}).ingredients), names[0])
