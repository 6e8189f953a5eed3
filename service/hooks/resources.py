"""FHIR R4 drafts that a suggestion creates. They hold codes and words of ours, and references, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.hooks.escape import plain
from service.knowledge.vocabulary import Form

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True)
class Subject:
    """Who a draft is for; None where what was sent cannot be a FHIR id."""

    patient: str | None
    encounter: str | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Subject:
        """As the context of a call names them."""
        patient, encounter = _reference("Patient", context["patientId"]), context.get("encounterId")
        return cls(patient, _reference("Encounter", encounter) if encounter is not None else None)

    def members(self) -> dict[str, Any]:
        """As a resource refers to them."""
        assert self.patient is not None
        encounter = {"encounter": {"reference": self.encounter}} if self.encounter is not None else {}
        return {"subject": {"reference": self.patient}, **encounter}


def is_reference(text: str) -> bool:
    """Whether the text is a type and an id, and nothing more."""
    return _REFERENCE.fullmatch(text) is not None


def _reference(kind: str, said: str) -> str | None:
    own = said.removeprefix(f"{kind}/")
    return f"{kind}/{own}" if _ID.fullmatch(own) else None


def laboratory_order(
    words: Mapping[str, Any], question: Mapping[str, Any], note: str, subject: Subject
) -> dict[str, Any]:
    """A draft ServiceRequest for the test that a question asks for; ``note`` says when."""
    category = words["category"]
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "proposal",
        **({} if question["lab"] in words["not_laboratory"] else {"category": [{"coding": [dict(category)]}]}),
        "priority": words["priorities"][question["priority"]],
        "code": {
            "coding": [{"system": words["code_system"], "code": question["loinc"], "display": question["display"]}],
            "text": question["display"],
        },
        **subject.members(),
        "reasonCode": [{"text": plain(question["reason"])}],
        "note": [{"text": note}],
    }


def medication_order(words: Mapping[str, Any], form: Form, dosage: str | None, subject: Subject) -> dict[str, Any]:
    """A draft MedicationRequest for a form of magnesium."""
    code = form.data["rxnorm"]
    coding = {"system": words["code_system"], "code": code, "display": form.display}
    return {
        "resourceType": "MedicationRequest",
        "status": "draft",
        "intent": "proposal",
        "medicationCodeableConcept": {**({"coding": [coding]} if code is not None else {}), "text": form.display},
        **subject.members(),
        **({"dosageInstruction": [{"text": plain(dosage)}]} if dosage is not None else {}),
    }
