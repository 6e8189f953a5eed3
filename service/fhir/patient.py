"""Patient: age on the day of the call, and sex."""

from __future__ import annotations

from datetime import date
from typing import Any

from service.fhir.bundle import Entry
from service.fhir.chart import Ledger
from service.fhir.limits import OLDEST_YEARS
from service.fhir.subject import Subject
from service.fhir.times import full_years, moment
from service.fhir.wire import Json, kind, not_understood, text
from service.knowledge.fhir_map import FhirMap


def read_patient(
    key: str, entries: list[Entry], subject: Subject, words: FhirMap, as_of: date, ledger: Ledger
) -> tuple[dict[str, Any] | None, bool]:
    """The ``patient`` of the body, None where none was found; and whether the record says that they have died."""
    found: Json | None = None
    for entry in entries:
        reason = _not_used(entry, subject, found is not None)
        if reason:
            ledger.leave_out(key, reason)
        else:
            found = entry.resource
            ledger.use(key)
    if found is None:
        return None, False
    if not text(found.get("id")):
        ledger.remark(key, "no_id")
    deceased = found.get("deceasedBoolean") is True or bool(text(found.get("deceasedDateTime")))
    if deceased:
        ledger.remark(key, "deceased")
    patient: dict[str, Any] = {"sex": words.sexes.get(text(found.get("gender")), "unknown")}
    if patient["sex"] == "unknown":
        ledger.remark(key, "sex_unknown")
    age = _age(key, found, as_of, ledger)
    if age is not None:
        patient["age_years"] = age
    return patient, deceased


def _not_used(entry: Entry, subject: Subject, found: bool) -> str:
    resource = entry.resource
    if kind(resource) != "Patient":
        return "unexpected_type"
    name = text(resource.get("id"))
    if (name and name != subject.id) or (not name and entry.full_url and not subject.is_same(entry.full_url)):
        return "wrong_patient"
    if not_understood(resource):
        return "modifier_extension"
    return "duplicate" if found else ""


def _age(key: str, patient: Json, as_of: date, ledger: Ledger) -> int | None:
    """Completed years; of a partial date those that are completed for certain."""
    stated = patient.get("birthDate")
    if stated is None:
        ledger.remark(key, "no_birth_date")
        return None
    born = moment(stated)
    if born is None:
        ledger.remark(key, "unreadable_date", "age_years")
        return None
    if born.first > as_of:
        ledger.remark(key, "future_date", "age_years")
        return None
    youngest = full_years(min(born.last, as_of), as_of)
    if full_years(born.first, as_of) > OLDEST_YEARS:
        ledger.remark(key, "impossible_value", "age_years")
        return None
    if full_years(born.first, as_of) != youngest:
        ledger.remark(key, "partial_date", "age_years")
    return youngest
