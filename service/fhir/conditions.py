"""Conditions become conditions of the body, by the codes that our vocabulary knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.fhir.bundle import Entry
from service.fhir.chart import Ledger
from service.fhir.limits import LONGEST_CODE, LONGEST_SYSTEM, MOST_CONDITIONS, URI
from service.fhir.subject import Subject
from service.fhir.wire import Json, codings, first_code, kind, not_understood
from service.knowledge.fhir_map import FhirMap
from service.knowledge.vocabulary import Vocabulary


class ConditionReader:
    """Reads diagnoses; made once, shared by all threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._words: FhirMap = vocabulary.fhir
        self._keys: dict[tuple[str, str], set[str]] = {}
        for key, condition in vocabulary.conditions.items():
            for name, codes in (("snomed", condition.snomed), ("icd10cm", condition.icd10cm)):
                for code in codes:
                    self._keys.setdefault((name, code), set()).add(key)

    def read(self, key: str, entries: list[Entry], subject: Subject, ledger: Ledger) -> list[dict[str, Any]]:
        """The body's ``conditions``; those that rules know come first, and once."""
        known: list[dict[str, Any]] = []
        unknown: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for entry in entries:
            reason = self._not_used(entry.resource, subject)
            found, other = ([], None) if reason else self._codes(entry.resource)
            if reason or not (found or other):
                ledger.leave_out(key, reason or "no_code", kind(entry.resource))
                continue
            if not first_code(entry.resource.get("clinicalStatus")):
                ledger.remark(key, "no_status", "Condition")
            known += [one for one in found if one not in known]
            if other is not None:
                others.append(other)
            else:
                ledger.use(key)
        for one in others:
            # There are far fewer codes in the vocabulary than a body may hold conditions.
            if one not in unknown and len(known) + len(unknown) >= MOST_CONDITIONS:
                ledger.leave_out(key, "too_many", "Condition")
                continue
            unknown += [one] if one not in unknown else []
            ledger.use(key)
        return [*known, *unknown]

    def _not_used(self, resource: Json, subject: Subject) -> str:
        if kind(resource) != "Condition":
            return "unexpected_type"
        verdict = subject.verdict(resource)
        if verdict != "same":
            return verdict
        if not_understood(resource):
            return "modifier_extension"
        for name, field in (("verification", "verificationStatus"), ("clinical", "clinicalStatus")):
            status = first_code(resource.get(field))
            reason = self._words.statuses[name].reason(status) if status else None
            if reason is not None:
                return reason
        ended = any(resource.get(name) for name in ("abatementDateTime", "abatementPeriod", "abatementAge"))
        return "not_active" if ended and not first_code(resource.get("clinicalStatus")) else ""

    def _codes(self, resource: Json) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The codings that mean something to us, one for each meaning; else one that does not."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        other: dict[str, Any] | None = None
        for system, code, _ in codings(resource.get("code")):
            name = self._words.systems.get(system, "")
            written = _dotted(code) if name == "icd10cm" else code
            coding = {"system": self._words.addresses.get(name, system), "code": written}
            keys = self._keys.get((name, written), set())
            if keys - seen:
                seen |= keys
                found.append({"code": coding})
            elif other is None and _fits(coding):
                other = {"code": coding}
        return found, None if found else other


def _dotted(code: str) -> str:
    """ICD-10-CM as it is printed; claims leave the dot out."""
    upper = code.upper()
    return f"{upper[:3]}.{upper[3:]}" if len(upper) > 3 and "." not in upper else upper


def _fits(coding: Mapping[str, str]) -> bool:
    system, code = coding["system"], coding["code"]
    return 1 <= len(code) <= LONGEST_CODE and len(system) <= LONGEST_SYSTEM and URI.fullmatch(system) is not None
