"""Values calculated from others: estimated GFR and albumin-adjusted calcium. Coefficients come from the rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import floor
from typing import Any

from service.knowledge.vocabulary import Vocabulary

Labs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Calculated:
    """A calculated value with the equation it comes from and the labs it used."""

    equation: str
    value: float
    used: tuple[str, ...]


@dataclass(frozen=True)
class Egfr:
    """Estimated GFR in mL/min/1.73 m2. The lower of the reported and the calculated value decides."""

    value: float
    reported: Decimal | None
    calculated: tuple[Calculated, ...]
    disagreement_percent: float

    @property
    def deciding(self) -> Calculated | None:
        """The calculated value that decides, or None when the reported one does."""
        lowest = min(self.calculated, key=lambda one: one.value, default=None)
        if lowest is None or (self.reported is not None and float(self.reported) <= lowest.value):
            return None
        return lowest


def estimate_gfr(
    vocabulary: Vocabulary, request: Mapping[str, Any], pregnancy: str = "unknown", conditions: Collection[str] = ()
) -> Egfr | None:
    """Reported eGFR and, where creatinine or cystatin C allow it, the calculated one; None when neither is there.

    Where sex is not known both readings of an equation are given. The lowest value decides.
    """
    labs: Labs = request.get("labs", {})
    unit = vocabulary.derived["egfr"]["unit"]
    reported = in_unit(vocabulary, "egfr", labs["egfr"], unit) if "egfr" in labs else None
    calculated = _calculate(vocabulary, request, labs, pregnancy, conditions)
    values = [float(reported)] if reported is not None else []
    if calculated:
        values.append(min(one.value for one in calculated))
    if not values:
        return None
    lowest, highest = min(values), max(values)
    apart = 100 * (highest - lowest) / highest if highest > 0 else 0.0
    return Egfr(lowest, reported, calculated, round(apart, 6))


def _calculate(
    vocabulary: Vocabulary, request: Mapping[str, Any], labs: Labs, pregnancy: str, conditions: Collection[str]
) -> tuple[Calculated, ...]:
    rules = vocabulary.derived["egfr"]
    patient = request.get("patient", {})
    age = patient.get("age_years")
    not_valid_in = rules["not_valid_in"]
    if age is None or age < rules["minimum_age_years"]:
        return ()
    if pregnancy in not_valid_in["pregnancy"] or any(key in conditions for key in not_valid_in["conditions"]):
        return ()
    sexes = (patient["sex"],) if patient.get("sex") in ("female", "male") else ("female", "male")
    found: list[Calculated] = []
    for equation in _possible(rules, request["as_of"], labs):
        keys = tuple(term["lab"] for term in equation["terms"])
        for sex in sexes:
            name = equation["display"] if len(sexes) == 1 else f"{equation['display']}, {sex}"
            found.append(Calculated(name, _equation(vocabulary, equation, labs, sex, age), keys))
    return tuple(found)


def _possible(rules: Mapping[str, Any], as_of: date, labs: Labs) -> list[Mapping[str, Any]]:
    """The first equation whose labs are there.

    One that combines labs wants them from about the same time; otherwise each lab is used by itself, so that an old
    value cannot hide a new one.
    """
    apart = False
    single = []
    for equation in rules["equations"]:
        keys = [term["lab"] for term in equation["terms"]]
        if not all(key in labs for key in keys):
            continue
        ages = [age_in_days(as_of, labs, [[key]]) or 0 for key in keys]
        if max(ages) - min(ages) > rules["collected_within_days"]:
            apart = True
        elif apart:
            single.append(equation)
        else:
            return [equation]
    return single


def _equation(vocabulary: Vocabulary, equation: Mapping[str, Any], labs: Labs, sex: str, age: int) -> float:
    """Constant x product of (value/scale)^exponent x base^age, as all CKD-EPI equations are written."""
    result = float(equation["constant"]) * float(equation["age_base"]) ** age
    if sex == "female":
        result *= float(equation["female_factor"])
    for term in equation["terms"]:
        ratio = float(in_unit(vocabulary, term["lab"], labs[term["lab"]], term["unit"]) / term["scale"][sex])
        result *= min(ratio, 1.0) ** float(term["below"][sex]) * max(ratio, 1.0) ** float(term["above"][sex])
    return round(result, 6)


def in_unit(vocabulary: Vocabulary, key: str, result: Mapping[str, Any], unit: str) -> Decimal:
    """A lab result in another of the lab's units."""
    value = Decimal(result["value"])
    if result["unit"] == unit:
        return value
    units = vocabulary.labs[key].units
    return value * units[result["unit"]].factor / units[unit].factor


@dataclass(frozen=True)
class AdjustedCalcium:
    """Calcium adjusted for albumin, in the unit in which calcium was reported."""

    value: Decimal
    unit: str
    used: tuple[str, ...]

    @property
    def from_albumin(self) -> bool:
        """Whether albumin was known and used."""
        return "albumin" in self.used


def adjust_calcium(vocabulary: Vocabulary, labs: Labs) -> AdjustedCalcium | None:
    """The laboratory's own adjusted value where sent; else the total adjusted for albumin; else the total as it is."""
    own = labs.get("calcium_adjusted")
    if own is not None:
        return AdjustedCalcium(Decimal(own["value"]), own["unit"], ("calcium_adjusted",))
    total = labs.get("calcium_total")
    if total is None:
        return None
    value, unit = Decimal(total["value"]), total["unit"]
    albumin = labs.get("albumin")
    if albumin is None:
        return AdjustedCalcium(value, unit, ("calcium_total",))
    formula = next(one for one in vocabulary.derived["calcium_adjusted"]["formulae"] if one["calcium_unit"] == unit)
    measured = in_unit(vocabulary, "albumin", albumin, formula["albumin_unit"])
    adjusted = value + formula["slope"] * (formula["reference"] - measured)
    return AdjustedCalcium(adjusted, unit, ("calcium_total", "albumin"))


def labs_used(key: str, labs: Labs, egfr: Egfr | None, calcium: AdjustedCalcium | None) -> list[tuple[str, ...]]:
    """The labs of the request that each value of a lab rests on; eGFR may have several values."""
    if key == "calcium_adjusted":
        return [calcium.used] if calcium is not None else []
    values: list[tuple[str, ...]] = [(key,)] if key in labs else []
    if key == "egfr" and egfr is not None:
        values += [one.used for one in egfr.calculated]
    return values


def age_in_days(as_of: date, labs: Labs, values: Sequence[Sequence[str]]) -> int | None:
    """Days since a lab was collected: a value is as old as its oldest part, and the newest value counts.

    A result without a date was sent as the current one. None where there is no value.
    """

    def days(key: str) -> int:
        day = labs[key].get("collected_on")
        return (as_of - day).days if day is not None else 0

    return min((max(days(key) for key in used) for used in values), default=None)


def shown_gfr(value: float) -> int | float:
    """An eGFR as it is shown: one decimal, never rounded up, so that it never seems to lie in a better stage."""
    tenths = floor(value * 10)
    return tenths // 10 if tenths % 10 == 0 else tenths / 10
