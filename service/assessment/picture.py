"""From a request to the bounds of every input: what is known, what is unknown, and where it was said.

A known value has equal bounds; an unknown one has bounds that nothing reaches; an input that does not exist for
this patient (the threshold printed for a unit that was not used) has none (NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import nan
from typing import Any

from service.assessment.derive import (
    AdjustedCalcium,
    Egfr,
    adjust_calcium,
    age_in_days,
    estimate_gfr,
    in_unit,
    labs_used,
)
from service.assessment.medications import MedicationReader, Medications
from service.knowledge import Rulebook
from service.knowledge.criteria import UNREACHED
from service.knowledge.inputs import PREGNANCY, Input
from service.knowledge.vocabulary import Condition
from service.terminology import Recogniser

SNOMED = "http://snomed.info/sct"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"

_UNKNOWN = (float(-UNREACHED), float(UNREACHED))
_UNKNOWN_FLAG = (0.0, 1.0)
_ABSENT = (nan, nan)
_YES = (1.0, 1.0)
_NO = (0.0, 0.0)

_LISTS = ("condition", "symptom", "goal", "drug")
"""Kinds of flags that are decided by a list of words."""

_RESULTS = {"lab_value": "lab", "lab_reported": "lab", "lab_sent": "lab", "lab_age": "lab", "vital": "vital"}
"""Kinds of numbers that are decided by one result, and where results of that kind are sent."""

Bounds = tuple[float, float]
Unread = tuple[str, str, Sequence[str]]


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
    unrecognised: Sequence[Unread]
    """JSON Pointer and text of what was not understood, and what may have been meant."""
    group_positions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """The positions of the medications in each drug group."""
    route_assumed: frozenset[int] = frozenset()
    """The positions of the medications that count as taken by mouth because nothing says the route."""
    conflicts: Sequence[int] = ()
    """The positions of the medications whose name and code disagree."""


class Painter:
    """Makes pictures; built once for a rulebook."""

    def __init__(self, rulebook: Rulebook, recogniser: Recogniser) -> None:
        self._vocabulary = rulebook.vocabulary
        self._prepare(list(rulebook.inputs.values()))
        self._medications = MedicationReader(rulebook, recogniser)
        self._codes: dict[tuple[str, str], list[str]] = {}
        for key, condition in self._vocabulary.conditions.items():
            for system, codes in ((SNOMED, condition.snomed), (ICD10CM, condition.icd10cm)):
                for code in codes:
                    self._codes.setdefault((system, code), []).append(key)

    def _prepare(self, inputs: Sequence[Input]) -> None:
        """Sort the inputs by what decides them, so that a request costs what it says and not what it might say."""
        # Where nothing is said below: every list is empty, every result unknown.
        self._blank = [_UNKNOWN if one.kind in _RESULTS else _NO for one in inputs]
        self._by_word: dict[tuple[str, str], list[int]] = {}
        self._by_list: dict[str, list[int]] = {kind: [] for kind in _LISTS}
        self._by_result: dict[tuple[str, str], list[tuple[int, Input]]] = {}
        self._others: list[tuple[int, Reader, Input]] = []
        self._any_of: list[tuple[int, tuple[Input, ...]]] = []
        for number, one in enumerate(inputs):
            if one.kind in _LISTS:
                self._by_list[one.kind].append(number)
                for member in one.members:
                    self._by_word.setdefault((one.kind, member.key), []).append(number)
            elif one.kind in _RESULTS:
                self._by_result.setdefault((_RESULTS[one.kind], one.key), []).append((number, one))
            elif len(one.members) == 1:
                self._others.append((number, _BOUNDS[one.members[0].kind], one.members[0]))
            else:
                self._any_of.append((number, one.members))

    def paint(self, request: Mapping[str, Any]) -> Picture:
        """The bounds of every input for one request."""
        unrecognised: list[Unread] = []
        conditions = self._conditions(request, unrecognised)
        medications = self._medications.read(request.get("medications", ()))
        unrecognised.extend(medications.not_understood)
        context = _Context(
            request=request,
            conditions=conditions,
            egfr=None,
            calcium=adjust_calcium(self._vocabulary, request.get("labs", {})),
            medications=medications,
        )
        context.egfr = estimate_gfr(
            self._vocabulary, context.request, context.pregnancy(self._vocabulary.conditions), set(conditions)
        )
        low, high = zip(*self._bounds(context), strict=True)
        return Picture(
            request,
            low,
            high,
            context.egfr,
            context.calcium,
            medications.ingredients if "medications" in request else None,
            conditions,
            unrecognised,
            medications.groups,
            medications.route_assumed,
            medications.conflicts,
        )

    def _conditions(self, request: Mapping[str, Any], unrecognised: list[Unread]) -> dict[str, list[int]]:
        positions: dict[str, list[int]] = {}
        for index, one in enumerate(request.get("conditions", ())):
            keys = [one["key"]] if "key" in one else []
            if "code" in one:
                found = self._codes.get((one["code"]["system"], one["code"]["code"]), [])
                if not found:
                    unrecognised.append((f"/conditions/{index}/code", str(one["code"]["code"]), ()))
                keys.extend(found)
            for key in dict.fromkeys(keys):
                positions.setdefault(key, []).append(index)
        return positions

    def _bounds(self, context: _Context) -> list[Bounds]:
        bounds = self._blank.copy()
        for kind, said in context.said().items():
            if said is None:
                for number in self._by_list[kind]:
                    bounds[number] = _UNKNOWN_FLAG
            else:
                for word in said:
                    for number in self._by_word.get((kind, word), ()):
                        bounds[number] = _YES
        for result in context.results():
            for number, one in self._by_result.get(result, ()):
                bounds[number] = _BOUNDS[one.kind](self, one, context)
        for number, read, one in self._others:
            bounds[number] = read(self, one, context)
        for number, members in self._any_of:
            each = [_BOUNDS[one.kind](self, one, context) for one in members]
            bounds[number] = max(lo for lo, _ in each), max(hi for _, hi in each)
        return bounds

    # The bounds of one input, by kind.

    def _age(self, one: Input, context: _Context) -> Bounds:
        return _number(context.patient.get("age_years"))

    def _sex(self, one: Input, context: _Context) -> Bounds:
        sex = context.patient.get("sex", "unknown")
        return _UNKNOWN_FLAG if sex == "unknown" else _flag(sex == one.key)

    def _pregnancy(self, one: Input, context: _Context) -> Bounds:
        value = context.pregnancy(self._vocabulary.conditions)
        return _UNKNOWN_FLAG if value == "unknown" else _flag(value == one.key)

    def _bowel(self, one: Input, context: _Context) -> Bounds:
        value = context.request.get("bowel_pattern", "unknown")
        return _UNKNOWN_FLAG if value == "unknown" else _flag(value == one.key)

    def _lab_value(self, one: Input, context: _Context) -> Bounds:
        if one.key == "egfr":
            if context.egfr is None:
                return _UNKNOWN
            units = self._vocabulary.labs["egfr"].units
            own = self._vocabulary.derived["egfr"]["unit"]
            return _number(context.egfr.value * float(units[own].factor / units[one.unit].factor))
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

    def _lab_sent(self, one: Input, context: _Context) -> Bounds:
        result = context.request.get("labs", {}).get(one.key)
        if result is None:
            return _UNKNOWN
        return _number(result["value"]) if result["unit"] == one.unit else _ABSENT

    def _lab_age(self, one: Input, context: _Context) -> Bounds:
        labs = context.request.get("labs", {})
        values = labs_used(one.key, labs, context.egfr, context.calcium)
        return _number(age_in_days(context.request["as_of"], labs, values))

    def _lab_measured(self, one: Input, context: _Context) -> Bounds:
        if one.key == "egfr":
            return _flag(context.egfr is not None)
        return _flag(context.lab(one.key) is not None)

    def _vital(self, one: Input, context: _Context) -> Bounds:
        vital = context.request.get("vitals", {}).get(one.key)
        return _UNKNOWN if vital is None else _number(vital["value"])

    def _drug_days(self, one: Input, context: _Context) -> Bounds:
        if "medications" not in context.request:
            return _UNKNOWN
        medications = [context.request["medications"][index] for index in context.medications.groups.get(one.key, ())]
        if not medications:
            return _NO
        known = [(context.request["as_of"] - medicine["since"]).days for medicine in medications if "since" in medicine]
        longest = float(max(known, default=0))
        return longest, longest if len(known) == len(medications) else float(UNREACHED)

    def _medication_check(self, one: Input, context: _Context) -> Bounds:
        if "medications" not in context.request:
            return _UNKNOWN_FLAG
        return _flag(bool(context.medications.conflicts))

    def _supplement(self, one: Input, context: _Context) -> Bounds:
        supplements = context.request.get("supplements")
        return _UNKNOWN_FLAG if supplements is None else _flag(one.key in supplements)

    def _supplement_form(self, one: Input, context: _Context) -> Bounds:
        agent, _, form = one.key.partition("/")
        supplements = context.request.get("supplements")
        if form in context.medications.by_mouth:
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
            if one.key == "pregnancy":
                return _flag(context.pregnancy(self._vocabulary.conditions) != "unknown")
            return _flag(context.patient.get(one.key, "unknown") != "unknown")
        return _flag(one.key in context.request)

    def _derived(self, one: Input, context: _Context) -> Bounds:
        return _UNKNOWN if context.egfr is None else _number(context.egfr.disagreement_percent)


@dataclass
class _Context:
    request: Mapping[str, Any]
    conditions: Mapping[str, Sequence[int]]
    egfr: Egfr | None
    calcium: AdjustedCalcium | None
    medications: Medications

    def said(self) -> dict[str, Collection[str] | None]:
        """The words of each list; None where nothing is said."""
        request = self.request
        return {
            "condition": self.conditions if "conditions" in request else None,
            "symptom": [one["key"] for one in request["symptoms"]] if "symptoms" in request else None,
            "goal": request.get("goals"),
            "drug": self.medications.groups if "medications" in request else None,
        }

    def results(self) -> set[tuple[str, str]]:
        """Labs and vitals that are known, calculated ones included."""
        known = {("lab", key) for key in self.request.get("labs", ())}
        known |= {("vital", key) for key in self.request.get("vitals", ())}
        known |= {("lab", "egfr")} if self.egfr is not None else set()
        known |= {("lab", "calcium_adjusted")} if self.calcium is not None else set()
        return known

    @property
    def patient(self) -> Mapping[str, Any]:
        patient: Mapping[str, Any] = self.request.get("patient", {})
        return patient

    def pregnancy(self, conditions: Mapping[str, Condition]) -> str:
        """The status that a diagnosis implies, else what is stated; none for a man of whom nothing is stated."""
        stated: str = self.patient.get("pregnancy", "unknown")
        implied = [status for key in self.conditions if (status := conditions[key].pregnancy) is not None]
        if implied and stated in ("unknown", "none"):
            return min(implied, key=PREGNANCY.index)
        return "none" if stated == "unknown" and self.patient.get("sex") == "male" else stated

    def lab(self, key: str) -> Mapping[str, Any] | None:
        """A lab result; adjusted calcium may be a calculated one."""
        if key == "calcium_adjusted":
            return None if self.calcium is None else {"value": self.calcium.value, "unit": self.calcium.unit}
        result: Mapping[str, Any] | None = self.request.get("labs", {}).get(key)
        return result


def _number(value: Any) -> Bounds:
    if value is None:
        return _UNKNOWN
    number = float(value) if isinstance(value, int | Decimal) else value
    return number, number


def _flag(holds: bool) -> Bounds:
    return _YES if holds else _NO


Reader = Callable[[Painter, Input, _Context], Bounds]
"""Gives the bounds of one input."""

_BOUNDS: dict[str, Reader] = {
    "age_years": Painter._age,
    "sex": Painter._sex,
    "pregnancy": Painter._pregnancy,
    "bowel_pattern": Painter._bowel,
    "lab_value": Painter._lab_value,
    "lab_reported": Painter._lab_reported,
    "lab_sent": Painter._lab_sent,
    "lab_age": Painter._lab_age,
    "lab_measured": Painter._lab_measured,
    "vital": Painter._vital,
    "drug_days": Painter._drug_days,
    "medication_check": Painter._medication_check,
    "supplement": Painter._supplement,
    "supplement_form": Painter._supplement_form,
    "supplement_dose": Painter._supplement_number,
    "supplement_weeks": Painter._supplement_number,
    "preference": Painter._preference,
    "stated": Painter._stated,
    "derived": Painter._derived,
}
