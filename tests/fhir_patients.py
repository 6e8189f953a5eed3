"""FHIR R4 patients for the tests: made up here, of the few resources that a test needs.

Days are counted back from a given one, so that a result is as old on any day on which the tests run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"

SECRET = "Not-To-Be-Repeated"
"""Stands in names and texts; no answer and no log line may have it."""

Json = dict[str, Any]


def concept(system: str, code: str, display: str) -> Json:
    """A CodeableConcept with one coding and the same words as its text."""
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def category(system: str, code: str) -> list[Json]:
    """As Observation and Condition have it."""
    return [{"coding": [{"system": f"{TERMINOLOGY}/{system}", "code": code}]}]


def reference(patient_id: str) -> Json:
    """To the patient."""
    return {"reference": f"Patient/{patient_id}"}


def bundle(*resources: Json, kind: str = "searchset", **more: Any) -> Json:
    """The resources as a Bundle; without any it is a search that found nothing."""
    entries = {"entry": [{"resource": one} for one in resources]} if resources else {}
    total = {"total": len(resources)} if kind == "searchset" else {}
    return {"resourceType": "Bundle", "type": kind, **total, **entries, **more}


def outcome(code: str = "exception") -> Json:
    """What a FHIR server sends when it could not do as it was asked."""
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}


@dataclass
class Record:
    """One patient and all that a FHIR server has of them."""

    id: str
    today: date
    born: int
    """Years ago."""
    gender: str
    resources: list[Json] = field(default_factory=list)

    def patient(self) -> Json:
        """The Patient."""
        return {
            "resourceType": "Patient",
            "id": self.id,
            "name": [{"family": SECRET}],
            "gender": self.gender,
            "birthDate": self.day(self.born * 366),
        }

    def __iter__(self) -> Iterator[Json]:
        yield self.patient()
        yield from self.resources

    def day(self, ago: int) -> str:
        """The date so many days ago."""
        return (self.today - timedelta(days=ago)).isoformat()

    def result(self, loinc: str, display: str, value: float, unit: str, ago: int = 30, **more: Any) -> Record:
        """A laboratory result of so many days ago; the record itself, for the next one."""
        return self._add(
            "Observation",
            status="final",
            category=category("observation-category", "laboratory"),
            code=concept(LOINC, loinc, display),
            effectiveDateTime=f"{self.day(ago)}T08:00:00Z",
            valueQuantity={"value": value, "unit": unit, "system": UCUM, "code": unit},
            **more,
        )

    def condition(self, system: str, code: str, display: str) -> Record:
        """An entry of the problem list."""
        return self._add(
            "Condition",
            clinicalStatus=concept(f"{TERMINOLOGY}/condition-clinical", "active", "Active"),
            category=category("condition-category", "problem-list-item"),
            code=concept(system, code, display),
        )

    def ordered(self, rxnorm: str, display: str) -> Record:
        """A medicine by order."""
        return self._add(
            "MedicationRequest",
            status="active",
            intent="order",
            medicationCodeableConcept=concept(RXNORM, rxnorm, display),
        )

    def taken(self, rxnorm: str, display: str) -> Record:
        """A medicine, or a supplement, by the patient's own statement."""
        return self._add(
            "MedicationStatement",
            status="active",
            medicationCodeableConcept=concept(RXNORM, rxnorm, display),
        )

    def draft(self, name: str, rxnorm: str, display: str) -> Json:
        """An order that is not signed. It is not part of the record."""
        return {
            "resourceType": "MedicationRequest",
            "id": name,
            "status": "draft",
            "intent": "order",
            "medicationCodeableConcept": concept(RXNORM, rxnorm, display),
            "subject": reference(self.id),
        }

    def _add(self, kind: str, **members: Any) -> Record:
        name = f"{self.id}-{len(self.resources)}"
        self.resources.append({"resourceType": kind, "id": name, "subject": reference(self.id), **members})
        return self


def kidney_disease(today: date) -> Record:
    """Chronic kidney disease in stage 4, with a magnesium that is still normal."""
    record = Record("ckd-4", today, born=68, gender="male")
    record.result("98979-8", "eGFR by creatinine (CKD-EPI 2021)", 22, "mL/min/{1.73_m2}")
    record.result("2160-0", "Creatinine", 2.9, "mg/dL")
    record.result("19123-9", "Magnesium", 2.1, "mg/dL")
    record.condition(ICD10CM, "N18.4", "Chronic kidney disease, stage 4")
    return record.ordered("313988", "furosemide 40 MG Oral Tablet")


def on_magnesium(today: date) -> Record:
    """Healthy kidneys, and magnesium bought without a prescription."""
    record = Record("otc-magnesium", today, born=45, gender="female")
    record.result("98979-8", "eGFR by creatinine (CKD-EPI 2021)", 96, "mL/min/{1.73_m2}")
    return record.taken("1313985", "magnesium citrate 100 MG Oral Tablet")


def nothing_known(today: date) -> Record:
    """An adult of whom there is nothing but the birthday."""
    return Record("nothing-known", today, born=52, gender="female")


MAGNESIUM_OXIDE = ("198741", "magnesium oxide 400 MG Oral Tablet")
CIPROFLOXACIN = ("309309", "ciprofloxacin 500 MG Oral Tablet")
