"""Observations that are results of labs: each one is read, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from service.fhir.bundle import Entry, contained
from service.fhir.chart import Ledger
from service.fhir.subject import Subject
from service.fhir.times import Moment, effective, moment, on_or_before
from service.fhir.wire import Json, codings, kind, not_understood, number, obj, objects, text
from service.knowledge.fhir_map import FhirMap, ResultCode, ResultUnit
from service.knowledge.vocabulary import Lab

_VALUES = (
    "valueQuantity", "valueCodeableConcept", "valueString", "valueBoolean", "valueInteger", "valueRange", "valueRatio",
    "valueSampledData", "valueTime", "valueDateTime", "valuePeriod",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One measurement of one lab; with a ``problem`` it cannot be used."""

    source: int
    """Which Observation it is from."""
    lab: Lab
    code: ResultCode
    day: date
    at: Moment
    issued: Moment | None
    value: int | Decimal | None = None
    unit: str = ""
    comparator: str = ""
    problem: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def in_own_unit(self) -> Decimal:
        """The value in the lab's own unit."""
        return Decimal(self.value or 0) * self.lab.units[self.unit].factor


@dataclass
class Observation:
    """What became of one Observation: whether any of it was used, and why the rest was not."""

    key: str
    used: bool = False
    reasons: list[tuple[str, str]] = field(default_factory=list)


class ResultReader:
    """Reads Observations of all keys; the same one may come under several."""

    def __init__(self, words: FhirMap, labs: Mapping[str, Lab], subject: Subject, as_of: date, ledger: Ledger) -> None:
        self._words = words
        self._labs = labs
        self._subject = subject
        self._as_of = as_of
        self._ledger = ledger
        self._seen: set[tuple[str, int, str]] = set()
        self.observations: list[Observation] = []
        self.results: list[Result] = []

    def read(self, key: str, entries: list[Entry]) -> None:
        """Read what a key brought."""
        for entry in entries:
            self._observation(key, entry)

    def _observation(self, key: str, entry: Entry) -> None:
        resource = entry.resource
        one = Observation(key)
        self.observations.append(one)
        reason = self._not_read(resource)
        if reason:
            one.reasons.append((reason, ""))
            return
        name = text(resource.get("id")) or entry.full_url
        found = [self._part(key, resource, part, (name, place)) for place, part in enumerate(_parts(resource))]
        # Of a panel it counts what was found out about parts that are results of ours.
        ours = [said for said in found if said[0] not in ("code_unknown", "not_requested")]
        one.reasons += [said for said in ours or found[:1] if said[0]]
        if not found:
            one.reasons.append(("panel" if resource.get("hasMember") else "no_value", ""))

    def _not_read(self, resource: Json) -> str:
        if kind(resource) != "Observation":
            return "unexpected_type"
        verdict = self._subject.verdict(resource)
        if verdict != "same":
            return verdict
        if not_understood(resource):
            return "modifier_extension"
        status = text(resource.get("status"))
        return self._words.statuses["Observation"].reason(status) or "" if status else "no_status"

    def _part(self, key: str, resource: Json, part: Json, here: tuple[str, int]) -> tuple[str, str]:
        """Why an Observation, or one component of it, cannot be a result; empty when it is one, good or not.

        ``here`` is the name of the Observation, empty where it has none, and the place of the part in it.
        """
        if part is not resource and kind(part):
            # One that is contained says of itself what it is.
            inner = self._not_read({"subject": resource.get("subject"), **part})
            if inner:
                return inner, ""
        code = self._code(part)
        if isinstance(code, str):
            return code, ""
        if code.lab not in self._words.labs_of_key[key]:
            return "not_requested", code.lab
        # A server that ignores parameters sends the same one under every key, and only one of them asks for it.
        if here[0] and (*here, code.lab) in self._seen:
            return "duplicate", code.lab
        self._seen.add((*here, code.lab))
        timed = part if any(name.startswith("effective") for name in part) else resource
        stated = [name for name in timed if name.startswith("effective")]
        at = next(effective(timed, self._as_of), None)
        if at is None:
            return ("unreadable_date" if stated else "no_date"), code.lab
        day = on_or_before(at, self._as_of)
        if day is None:
            return "future_date", code.lab
        if part.get("dataAbsentReason") or not any(name in part for name in _VALUES):
            return ("data_absent" if part.get("dataAbsentReason") else "no_value"), code.lab
        self.results.append(self._result(code, part, day, at, moment(resource.get("issued"))))
        return "", code.lab

    def _code(self, part: Json) -> ResultCode | str:
        """What it is a result of, or why that is not known. A code that is only shown outweighs others beside it."""
        loinc = [
            code for system, code, _ in codings(part.get("code")) if self._words.systems.get(system) == "loinc" and code
        ]
        known = [self._words.results[code] for code in loinc if code in self._words.results]
        if not known:
            return "code_unknown"
        if len({one.lab for one in known}) > 1:
            return "code_ambiguous"
        return max(known, key=lambda one: (one.only_shown, -one.rank))

    def _result(self, code: ResultCode, part: Json, day: date, at: Moment, issued: Moment | None) -> Result:
        lab = self._labs[code.lab]
        remarks = ("partial_date",) if at.partial else ()
        source = len(self.observations) - 1

        def bad(problem: str) -> Result:
            return Result(source, lab, code, day, at, issued, problem=problem)

        if "valueQuantity" not in part:
            return bad("value_not_quantity")
        quantity = obj(part["valueQuantity"])
        value = number(quantity.get("value"))
        if value is None:
            return bad("no_value")
        units = self._units(quantity)
        if units is None:
            return bad("unit_missing")
        if not units:
            return bad("unit_unknown")
        if len(units) > 1:
            return bad("unit_ambiguous")
        meant = units.pop()
        unit = next((one for one in lab.units if self._words.unit(one) == meant), None)
        if unit is None:
            # Of another size, and still known: it may be shown.
            return Result(
                source, lab, code, day, at, issued, value, meant.unit, problem="unit_property_mismatch", remarks=remarks
            )
        comparator = text(quantity.get("comparator")) or ("?" if quantity.get("comparator") is not None else "")
        if comparator:
            return Result(source, lab, code, day, at, issued, value, unit, comparator, "comparator")
        low, high = lab.units[unit].possible
        if not low <= value <= high:
            return bad("impossible_value")
        if code.only_shown:
            return Result(source, lab, code, day, at, issued, value, unit, problem="obsolete_code", remarks=remarks)
        if None not in (code.property, meant.property) and code.property != meant.property:
            remarks = (*remarks, "unit_against_code")
        return Result(source, lab, code, day, at, issued, value, unit, remarks=remarks)

    def _units(self, quantity: Json) -> set[ResultUnit] | None:
        """What is written as code and as text; nothing where it is not known, None where there is none.

        A code of UCUM that is not known is not replaced by the text beside it.
        """
        code, shown = text(quantity.get("code")), text(quantity.get("unit"))
        if not code and not shown:
            return None
        by_code, by_text = self._words.unit(code), self._words.unit(shown)
        if by_code is None and code and self._words.systems.get(text(quantity.get("system"))) == "ucum":
            return set()
        return {meant for meant in (by_code, by_text) if meant is not None}


def _parts(resource: Json) -> Iterator[Json]:
    """An Observation's own value, its components, and members that it contains."""
    components = objects(resource.get("component"))
    grouped = bool(components) or bool(resource.get("hasMember"))
    if not grouped or any(name in resource for name in (*_VALUES, "dataAbsentReason")):
        yield resource
    yield from components
    for member in objects(resource.get("hasMember")):
        reference = text(member.get("reference"))
        inner = contained(resource, reference) if reference.startswith("#") else None
        if inner is not None and kind(inner) == "Observation":
            yield inner


def body_of(result: Result) -> dict[str, Any]:
    """As a request says it."""
    return {"value": result.value, "unit": result.unit, "collected_on": result.day.isoformat()}
