"""From a request to the bounds of every input: what is known, what is unknown, and where it was said.

A known value has equal bounds; an unknown one has bounds that nothing reaches; an input that does not exist for
this patient (the threshold printed for a unit that was not used) has none (NaN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import nan
from typing import Any

from service.assessment.derive import AdjustedCalcium, Egfr, adjust_calcium, estimate_gfr, in_unit
from service.assessment.medications import MedicationIndex
from service.knowledge import Rulebook
from service.knowledge.criteria import UNREACHED
from service.knowledge.inputs import Input
from service.knowledge.vocabulary import Lab

SNOMED = "http://snomed.info/sct"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"

_UNKNOWN = (float(-UNREACHED), float(UNREACHED))
_UNKNOWN_FLAG = (0.0, 1.0)
_ABSENT = (nan, nan)
_YES = (1.0, 1.0)
_NO = (0.0, 0.0)

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """One patient as the rules see them."""

    request: Mapping[str, Any]
    low: Sequence[float]
    high: Sequence[float]
    egfr: Egfr | None
    calcium: AdjustedCalcium | None
    medications: Sequence[frozenset[str]] | None
    """The ingredients of each medication; None when medications are not stated."""
    conditions: Mapping[str, Sequence[int]]
    """The positions at which each condition was stated."""
    unrecognised: Sequence[tuple[str, str]]
    """JSON Pointer and text of what was not understood."""
    group_positions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """The positions of the medications in each drug group."""


class Painter:
    """Makes pictures; built once for a rulebook."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._vocabulary = rulebook.vocabulary
        self._inputs = [(_BOUNDS[one.kind], one.members) for one in rulebook.inputs.values()]
        self._medications = MedicationIndex(rulebook.vocabulary)
        self._groups: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for group in rulebook.drug_groups.values():
            for member in group.members:
                self._groups.setdefault(member, []).append((group.key, group.routes))
        self._codes: dict[tuple[str, str], list[str]] = {}
        for key, condition in self._vocabulary.conditions.items():
            for system, codes in ((SNOMED, condition.snomed), (ICD10CM, condition.icd10cm)):
                for code in codes:
                    self._codes.setdefault((system, code), []).append(key)

    def paint(self, request: Mapping[str, Any]) -> Picture:
        """The bounds of every input for one request."""
        unrecognised: list[tuple[str, str]] = []
        conditions = self._conditions(request, unrecognised)
        medications = self._recognise(request, unrecognised)
        context = _Context(
            request=_with_condition_keys(request, conditions),
            vocabulary_labs=self._vocabulary.labs,
            conditions=conditions,
            egfr=None,
            calcium=adjust_calcium(self._vocabulary, request.get("labs", {})),
            medications=medications,
            groups=self._group_positions(request, medications),
        )
        context.egfr = estimate_gfr(self._vocabulary, context.request)
        low: list[float] = []
        high: list[float] = []
        for bounds, members in self._inputs:
            if len(members) == 1:
                lo, hi = bounds(self, members[0], context)
            else:
                several = [bounds(self, one, context) for one in members]
                lo, hi = max(one[0] for one in several), max(one[1] for one in several)
            low.append(lo)
            high.append(hi)
        return Picture(
            request,
            low,
            high,
            context.egfr,
            context.calcium,
            medications,
            conditions,
            unrecognised,
            context.groups,
        )

    def _conditions(self, request: Mapping[str, Any], unrecognised: list[tuple[str, str]]) -> dict[str, list[int]]:
        positions: dict[str, list[int]] = {}
        for index, one in enumerate(request.get("conditions", ())):
            keys = [one["key"]] if "key" in one else []
            if "code" in one:
                found = self._codes.get((one["code"]["system"], one["code"]["code"]), [])
                if not found:
                    unrecognised.append((f"/conditions/{index}/code", str(one["code"]["code"])))
                keys.extend(found)
            for key in dict.fromkeys(keys):
                positions.setdefault(key, []).append(index)
        return positions

    def _recognise(
        self, request: Mapping[str, Any], unrecognised: list[tuple[str, str]]
    ) -> list[frozenset[str]] | None:
        if "medications" not in request:
            return None
        result = []
        for index, one in enumerate(request["medications"]):
            found = self._medications.recognise(one)
            if not found:
                unrecognised.append((f"/medications/{index}", one.get("name") or one["code"]["code"]))
            result.append(found)
        return result

    def _group_positions(
        self, request: Mapping[str, Any], medications: list[frozenset[str]] | None
    ) -> dict[str, list[int]]:
        positions: dict[str, list[int]] = {}
        for index, members in enumerate(medications or ()):
            # A medication whose route is not given counts as taken by mouth.
            route = request["medications"][index].get("route", "oral")
            keys = {
                key
                for member in members
                for key, routes in self._groups.get(member, ())
                if not routes or route in routes
            }
            for key in keys:
                positions.setdefault(key, []).append(index)
        return positions

    # The bounds of one input, by kind.

    def _age(self, one: Input, context: _Context) -> Bounds:
        return _number(context.patient.get("age_years"))

    def _sex(self, one: Input, context: _Context) -> Bounds:
        sex = context.patient.get("sex", "unknown")
        return _UNKNOWN_FLAG if sex == "unknown" else _flag(sex == one.key)

    def _pregnancy(self, one: Input, context: _Context) -> Bounds:
        value = context.patient.get("pregnancy", "unknown")
        if value == "unknown" and context.patient.get("sex") == "male":
            value = "none"
        return _UNKNOWN_FLAG if value == "unknown" else _flag(value == one.key)

    def _bowel(self, one: Input, context: _Context) -> Bounds:
        value = context.request.get("bowel_pattern", "unknown")
        return _UNKNOWN_FLAG if value == "unknown" else _flag(value == one.key)

    def _lab_value(self, one: Input, context: _Context) -> Bounds:
        if one.key == "egfr":
            return _UNKNOWN if context.egfr is None else _number(context.egfr.value)
        result = context.lab(one.key)
        return _UNKNOWN if result is None else _number(in_unit(self._vocabulary, one.key, result, one.unit))

    def _lab_reported(self, one: Input, context: _Context) -> Bounds:
        result = context.lab(one.key)
        if result is None:
            return _UNKNOWN
        printed_as = self._vocabulary.labs[one.key].units[result["unit"]].printed_as
        if printed_as != one.unit:
            return _ABSENT
        return _number(in_unit(self._vocabulary, one.key, result, one.unit))

    def _lab_age(self, one: Input, context: _Context) -> Bounds:
        used = context.used(one.key)
        if not used:
            return _UNKNOWN
        days = [context.request["labs"][key].get("collected_on") for key in used]
        # A result without a date was sent as the current one.
        ages = [(context.request["as_of"] - day).days if day is not None else 0 for day in days]
        return _number(min(ages) if one.key == "egfr" else max(ages))

    def _lab_measured(self, one: Input, context: _Context) -> Bounds:
        if one.key == "egfr":
            return _flag(context.egfr is not None)
        return _flag(context.lab(one.key) is not None)

    def _vital(self, one: Input, context: _Context) -> Bounds:
        vital = context.request.get("vitals", {}).get(one.key)
        return _UNKNOWN if vital is None else _number(vital["value"])

    def _condition(self, one: Input, context: _Context) -> Bounds:
        if "conditions" not in context.request:
            return _UNKNOWN_FLAG
        return _flag(one.key in context.conditions)

    def _symptom(self, one: Input, context: _Context) -> Bounds:
        return _listed(context.request.get("symptoms"), one.key)

    def _goal(self, one: Input, context: _Context) -> Bounds:
        goals = context.request.get("goals")
        return _UNKNOWN_FLAG if goals is None else _flag(one.key in goals)

    def _drug(self, one: Input, context: _Context) -> Bounds:
        if "medications" not in context.request:
            return _UNKNOWN_FLAG
        return _flag(one.key in context.groups)

    def _drug_days(self, one: Input, context: _Context) -> Bounds:
        if "medications" not in context.request:
            return _UNKNOWN
        medications = [context.request["medications"][index] for index in context.groups.get(one.key, ())]
        if not medications:
            return _NO
        known = [(context.request["as_of"] - medicine["since"]).days for medicine in medications if "since" in medicine]
        longest = float(max(known, default=0))
        return longest, longest if len(known) == len(medications) else float(UNREACHED)

    def _supplement(self, one: Input, context: _Context) -> Bounds:
        supplements = context.request.get("supplements")
        return _UNKNOWN_FLAG if supplements is None else _flag(one.key in supplements)

    def _supplement_form(self, one: Input, context: _Context) -> Bounds:
        agent, _, form = one.key.partition("/")
        supplements = context.request.get("supplements")
        if any(form in ingredients for ingredients in context.medications or ()):
            return _YES  # a salt taken as a medicine, such as a laxative
        if supplements is None:
            return _UNKNOWN_FLAG
        if agent not in supplements:
            return _NO
        taken = supplements[agent].get("form")
        return _UNKNOWN_FLAG if taken is None else _flag(taken == form)

    def _supplement_number(self, one: Input, context: _Context) -> Bounds:
        supplements = context.request.get("supplements")
        if supplements is None:
            return _UNKNOWN
        if one.key not in supplements:
            return _NO
        names = ("weeks",) if one.kind == "supplement_weeks" else ("elemental_mg_per_day", "dose_iu_per_day")
        return _number(next((supplements[one.key][name] for name in names if name in supplements[one.key]), None))

    def _preference(self, one: Input, context: _Context) -> Bounds:
        preferences = context.request.get("preferences", {})
        name, _, value = one.key.partition("_")
        if name == "region":
            return _flag(preferences.get("region") == value)
        return _flag(preferences.get(one.key) is True)

    def _stated(self, one: Input, context: _Context) -> Bounds:
        if one.key in ("age_years", "sex", "pregnancy"):
            if one.key == "pregnancy" and context.patient.get("sex") == "male":
                return _YES
            return _flag(context.patient.get(one.key, "unknown") != "unknown")
        return _flag(one.key in context.request)

    def _derived(self, one: Input, context: _Context) -> Bounds:
        return _UNKNOWN if context.egfr is None else _number(context.egfr.disagreement_percent)


@dataclass
class _Context:
    request: Mapping[str, Any]
    vocabulary_labs: Mapping[str, Lab]
    conditions: Mapping[str, Sequence[int]]
    egfr: Egfr | None
    calcium: AdjustedCalcium | None
    medications: Sequence[frozenset[str]] | None
    groups: dict[str, list[int]]

    @property
    def patient(self) -> Mapping[str, Any]:
        patient: Mapping[str, Any] = self.request.get("patient", {})
        return patient

    def lab(self, key: str) -> Mapping[str, Any] | None:
        """A lab result; adjusted calcium may be a calculated one."""
        if key == "calcium_adjusted":
            return None if self.calcium is None else {"value": self.calcium.value, "unit": self.calcium.unit}
        result: Mapping[str, Any] | None = self.request.get("labs", {}).get(key)
        return result

    def used(self, key: str) -> list[str]:
        """The labs of the request that a value rests on."""
        labs = self.request.get("labs", {})
        if key == "egfr":
            calculated = self.egfr.calculated if self.egfr is not None else ()
            return [one for one in ("egfr", *(name for each in calculated for name in each.used)) if one in labs]
        if key == "calcium_adjusted":
            return list(self.calcium.used) if self.calcium is not None else []
        return [key] if key in labs else []


def _with_condition_keys(request: Mapping[str, Any], conditions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request with coded conditions under their keys, for what depends on a condition."""
    if "conditions" not in request:
        return request
    return {**request, "conditions": [{"key": key} for key in conditions]}


def _number(value: Any) -> Bounds:
    if value is None:
        return _UNKNOWN
    number = float(value) if isinstance(value, int | Decimal) else value
    return number, number


def _flag(holds: bool) -> Bounds:
    return _YES if holds else _NO


def _listed(items: Sequence[Mapping[str, Any]] | None, key: str) -> Bounds:
    if items is None:
        return _UNKNOWN_FLAG
    return _flag(any(item["key"] == key for item in items))


_BOUNDS = {
    "age_years": Painter._age,
    "sex": Painter._sex,
    "pregnancy": Painter._pregnancy,
    "bowel_pattern": Painter._bowel,
    "lab_value": Painter._lab_value,
    "lab_reported": Painter._lab_reported,
    "lab_age": Painter._lab_age,
    "lab_measured": Painter._lab_measured,
    "vital": Painter._vital,
    "condition": Painter._condition,
    "symptom": Painter._symptom,
    "drug": Painter._drug,
    "drug_days": Painter._drug_days,
    "goal": Painter._goal,
    "supplement": Painter._supplement,
    "supplement_form": Painter._supplement_form,
    "supplement_dose": Painter._supplement_number,
    "supplement_weeks": Painter._supplement_number,
    "preference": Painter._preference,
    "stated": Painter._stated,
    "derived": Painter._derived,
}
