"""Read the map from FHIR R4 to our words: ``fhir/observations.yaml``, ``fhir/units.yaml``, ``fhir/resources.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.knowledge import codes
from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.fhir_map import FhirMap, ResultCode, ResultUnit, Statuses, spelled
from service.knowledge.fields import Key, Strict, Text, Words, load
from service.knowledge.inputs import ROUTES, SEXES
from service.knowledge.vocabulary import Lab
from service.knowledge.yaml_file import Document, read_document

SYSTEMS = ("loinc", "ucum", "rxnorm", "snomed", "icd10cm")
STATUSES = (
    "Observation", "MedicationRequest", "draft", "intent", "MedicationStatement", "Medication", "clinical",
    "verification",
)  # fmt: skip
PROPERTIES = (
    "mass", "molar", "activity", "rate_per_area", "mass_ratio", "mass_molar_ratio", "rate", "amount", "fraction",
)  # fmt: skip
REASONS = ("not_final", "not_active", "not_ordered", "refuted", "entered_in_error", "status_unknown")
RESOURCES = ("Patient", "MedicationRequest", "MedicationStatement", "Condition")


class _Code(Strict):
    loinc = Text(required=True, validate=codes.loinc)
    property = Key(*PROPERTIES, required=True)


class _Shown(Strict):
    loinc = Text(required=True, validate=codes.loinc)
    why = Text(required=True)


class _Observations(Strict):
    observations = fields.Dict(
        keys=fields.String(), values=fields.List(fields.Nested(_Code), required=True), required=True
    )
    only_shown = fields.Dict(
        keys=fields.String(), values=fields.List(fields.Nested(_Shown), required=True), required=True
    )
    keys = fields.Dict(keys=fields.String(), values=Words(single=False, empty=False), required=True)
    every_lab = Words(single=False, required=True)


class _Unit(Strict):
    property = Key(*PROPERTIES, required=True)
    spellings = Words(single=False, required=True)


class _Units(Strict):
    units = fields.Dict(keys=fields.String(), values=fields.Nested(_Unit), required=True)


class _Statuses(Strict):
    used = Words(single=False, empty=False, required=True)
    out = fields.Dict(keys=fields.String(), values=Key(*REASONS), required=True)


class _Resources(Strict):
    systems = fields.Dict(keys=Key(*SYSTEMS), values=Words(single=False, empty=False), required=True)
    keys = fields.Dict(keys=fields.String(), values=fields.List(Key(*RESOURCES)), required=True)
    statuses = fields.Dict(keys=Key(*STATUSES), values=fields.Nested(_Statuses), required=True)
    sexes = fields.Dict(keys=fields.String(), values=Key(*SEXES), required=True)
    routes = fields.Dict(
        keys=Key(*ROUTES), values=Words(single=False, empty=False, validate=codes.each(codes.snomed)), required=True
    )


def read_fhir(folder: Path, labs: Mapping[str, Lab], faults: list[Fault]) -> FhirMap:
    """The map; what is wrong with it is added to ``faults``."""
    observations = read_part(folder, "observations", _Observations(), faults)
    units = read_part(folder, "units", _Units(), faults)
    resources = read_part(folder, "resources", _Resources(), faults)
    labs_of_key: dict[str, frozenset[str]] = {}
    results: dict[str, ResultCode] = {}
    if observations is not None:
        results = _results(*observations, labs, faults)
        labs_of_key = _keys(*observations, frozenset(one.lab for one in results.values()), faults)
    by_spelling = _units(*units, labs, faults) if units is not None else {}
    said = resources[1] if resources is not None else {key: {} for key in _Resources().fields}
    if resources is not None:
        _check_resources(*resources, faults)
    return FhirMap(
        results=MappingProxyType(results),
        units=MappingProxyType(by_spelling),
        labs_of_key=MappingProxyType(labs_of_key),
        resources_of_key=MappingProxyType({key: frozenset(one) for key, one in said["keys"].items()}),
        systems=MappingProxyType({uri: name for name, uris in said["systems"].items() for uri in uris}),
        addresses=MappingProxyType({name: uris[0] for name, uris in said["systems"].items()}),
        statuses=MappingProxyType(
            {
                key: Statuses(frozenset(one["used"]), MappingProxyType(one["out"]))
                for key, one in said["statuses"].items()
            }
        ),
        sexes=MappingProxyType(said["sexes"]),
        routes=MappingProxyType({code: route for route, listed in said["routes"].items() for code in listed}),
    )


def read_part(folder: Path, name: str, schema: Strict, faults: list[Fault]) -> tuple[Document, dict[str, Any]] | None:
    """One file of ``fhir/`` and what its schema makes of it; None, and why, where it cannot be used."""
    shown = f"fhir/{name}.yaml"
    path = folder / "fhir" / f"{name}.yaml"
    if not path.exists():
        faults.append(Fault(shown, 1, "the file is missing"))
        return None
    try:
        document = read_document(path, shown)
    except KnowledgeError as error:
        faults.extend(error.faults)
        return None
    loaded = load(schema, document, (), document.data, faults)
    return (document, loaded) if loaded is not None else None


def _results(
    document: Document, data: Mapping[str, Any], labs: Mapping[str, Lab], faults: list[Fault]
) -> dict[str, ResultCode]:
    found: dict[str, ResultCode] = {}
    for section in ("observations", "only_shown"):
        for key, listed in data[section].items():
            if key not in labs or not labs[key].input:
                faults.append(document.fault((section, key), f"{key!r} is no lab that can be sent"))
            for rank, one in enumerate(listed):
                code = ResultCode(one["loinc"], key, one.get("property"), rank, section == "only_shown")
                if found.setdefault(code.loinc, code) is not code:
                    faults.append(document.fault((section, key, rank), f"the code {code.loinc} stands twice"))
    for lab in labs.values():
        for rank, loinc in enumerate((lab.loinc, *lab.also_loinc)):
            if loinc is None or (not lab.input and loinc not in found):
                continue
            # What labs.yaml says need not be said again.
            code = found.setdefault(loinc, ResultCode(loinc, lab.key, None, len(found) + rank, only_shown=False))
            if code.lab != lab.key or code.only_shown:
                message = f"{loinc} is a code of {lab.key!r} in labs.yaml and is something else here"
                faults.append(document.fault(("observations", code.lab), message))
    return found


def _keys(
    document: Document, data: Mapping[str, Any], known: frozenset[str], faults: list[Fault]
) -> dict[str, frozenset[str]]:
    for key, listed in data["keys"].items():
        for lab in listed:
            if lab not in known:
                faults.append(document.fault(("keys", key), f"keys.{key}: {lab!r} is no lab that has a code"))
        if key in data["every_lab"]:
            faults.append(document.fault(("keys", key), f"keys.{key}: also stands under every_lab"))
    return {key: frozenset(listed) for key, listed in data["keys"].items()} | dict.fromkeys(data["every_lab"], known)


def _units(
    document: Document, data: Mapping[str, Any], labs: Mapping[str, Lab], faults: list[Fault]
) -> dict[str, ResultUnit]:
    found: dict[str, ResultUnit] = {}
    for key, one in data["units"].items():
        meant = ResultUnit(key, one["property"])
        for spelling in (key, *one["spellings"]):
            other = found.setdefault(spelled(spelling), meant)
            if other is not meant:
                faults.append(document.fault(("units", key), f"{spelling!r} is also a spelling of {other.unit!r}"))
    for lab in labs.values():
        for unit in lab.units:
            # A unit that has no other spelling need not stand here.
            found.setdefault(spelled(unit), ResultUnit(unit, None))
    return found


def _check_resources(document: Document, data: Mapping[str, Any], faults: list[Fault]) -> None:
    for section, wanted in (("systems", SYSTEMS), ("statuses", STATUSES)):
        for key in wanted:
            if key not in data[section]:
                faults.append(document.fault((section,), f"{section}: {key!r} is missing"))
    for key, one in data["statuses"].items():
        for status in one["out"]:
            if status in one["used"]:
                faults.append(document.fault(("statuses", key), f"{status!r} is used and out"))
    for section in ("systems", "routes"):
        owners: dict[str, str] = {}
        for key, listed in data[section].items():
            for one in listed:
                if owners.setdefault(one, key) != key:
                    faults.append(document.fault((section, key), f"{one} also belongs to {owners[one]!r}"))
