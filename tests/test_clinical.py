"""Clinical arithmetic against printed and worked examples: equations, conversions, values exactly on a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from service.assessment import Assessor
from service.assessment.body import from_json
from service.assessment.derive import adjust_calcium, estimate_gfr, in_unit
from service.clinical.outcome import Outcome
from service.knowledge import Rulebook

EGFR_UNIT = "mL/min/{1.73_m2}"

# Age, sex, creatinine in mg/dL, cystatin C in mg/L, eGFR.
CKD_EPI = {
    "2021 creatinine": [
        (55, "male", "1.2", None, 71.418),
        (30, "female", "0.6", None, 123.758),
        (30, "male", "0.9", None, 117.831),
        (50, "female", "1.0", None, 68.633),
        (60, "male", "1.5", None, 52.967),
        (70, "female", "1.3", None, 44.237),
        (72, "male", "2.0", None, 34.807),
        (80, "female", "1.8", None, 28.131),
        (82, "male", "4.2", None, 13.428),
        (68, "male", "2.3", None, 30.174),
    ],
    "2021 creatinine-cystatin C": [
        (50, "female", "1.0", "1.0", 74.036),
        (60, "male", "1.5", "1.4", 52.329),
        (30, "male", "0.8", "0.7", 127.503),
        (75, "female", "0.6", "1.2", 73.172),
        (70, "male", "2.0", "2.1", 31.391),
    ],
    "2012 cystatin C": [
        (50, "female", None, "1.0", 75.429),
        (60, "male", None, "1.4", 49.734),
        (30, "male", None, "0.7", 126.058),
    ],
}


@pytest.fixture(scope="module")
def assessor(rulebook: Rulebook) -> Assessor:
    """Evaluates the rules."""
    return Assessor(rulebook)


def lab(value: str | float | Decimal, unit: str, day: str | None = None) -> dict[str, Any]:
    """One result."""
    return {"value": Decimal(str(value)), "unit": unit, **({"collected_on": day} if day is not None else {})}


def person(labs: Mapping[str, Any], **patient: Any) -> dict[str, Any]:
    """A request about an adult who has nothing and takes nothing."""
    return {
        "as_of": "2026-11-20",
        "patient": {"age_years": 52, "sex": "female", "pregnancy": "none", **patient},
        "labs": dict(labs),
        "medications": [],
        "conditions": [],
        "symptoms": [],
        "goals": ["general_repletion"],
        "bowel_pattern": "normal",
        "supplements": {},
    }


def kidney(creatinine: str | None, cystatin: str | None) -> dict[str, Any]:
    """Results that eGFR is calculated from."""
    found = {}
    if creatinine is not None:
        found["creatinine"] = lab(creatinine, "mg/dL")
    if cystatin is not None:
        found["cystatin_c"] = lab(cystatin, "mg/L")
    return found


def fired(assessor: Assessor, request: Mapping[str, Any]) -> set[str]:
    """The rules that fire."""
    outcomes = assessor.outcome_by_rule(from_json(request))
    return {rule for rule, outcome in outcomes.items() if outcome is Outcome.FIRES}


def stage(assessor: Assessor, request: Mapping[str, Any]) -> str:
    """The one stage of kidney function that the request is in."""
    (found,) = {rule for rule in fired(assessor, request) if rule.startswith("egfr-status-")}
    return found.removeprefix("egfr-status-").capitalize()


# Kidney function.


@pytest.mark.parametrize(
    ("equation", "example"), [(equation, example) for equation, examples in CKD_EPI.items() for example in examples]
)
def test_egfr(equation: str, example: tuple[Any, ...], rulebook: Rulebook) -> None:
    """The equations give the worked examples to three decimals, and are called by their name."""
    age, sex, creatinine, cystatin, value = example
    egfr = estimate_gfr(rulebook.vocabulary, person(kidney(creatinine, cystatin), age_years=age, sex=sex))
    assert egfr is not None
    assert egfr.value == pytest.approx(value, abs=0.0005)
    (calculated,) = egfr.calculated
    assert calculated.equation == f"CKD-EPI {equation}"


@pytest.mark.parametrize("example", CKD_EPI["2021 creatinine"])
def test_egfr_from_micromoles(example: tuple[Any, ...], rulebook: Rulebook) -> None:
    """Creatinine in umol/L gives the same."""
    age, sex, creatinine, _, value = example
    labs = {"creatinine": lab(Decimal(creatinine) * Decimal("88.42"), "umol/L")}
    egfr = estimate_gfr(rulebook.vocabulary, person(labs, age_years=age, sex=sex))
    assert egfr is not None
    assert egfr.value == pytest.approx(value, abs=0.0005)


@pytest.mark.parametrize("example", [example for examples in CKD_EPI.values() for example in examples])
@pytest.mark.parametrize("unknown", [{"sex": "unknown"}, {"sex": None}])
def test_unknown_sex_takes_the_lower_value(
    example: tuple[Any, ...], unknown: dict[str, str | None], rulebook: Rulebook
) -> None:
    """Of the two readings the one that is safer to be wrong with."""
    age, _, creatinine, cystatin, _ = example
    values = {}
    for sex in ("female", "male", None):
        patient = {key: value for key, value in unknown.items() if value is not None} if sex is None else {"sex": sex}
        request = person(kidney(creatinine, cystatin), age_years=age)
        del request["patient"]["sex"]
        request["patient"] |= patient
        egfr = estimate_gfr(rulebook.vocabulary, request)
        assert egfr is not None
        values[sex] = egfr.value
    assert values[None] == min(values["female"], values["male"])
    assert values["female"] != values["male"]


def test_unknown_sex_decides_the_stage(assessor: Assessor) -> None:
    """A creatinine of 2.0 mg/dL at 60 years is G3b for a man and G4 for a woman, and so for whoever it may be."""
    stages = {
        sex: stage(assessor, person({"creatinine": lab("2.0", "mg/dL")}, age_years=60, sex=sex))
        for sex in ("male", "female", "unknown")
    }
    assert stages == {"male": "G3b", "female": "G4", "unknown": "G4"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("14.9", "G5"), ("14.999999", "G5"), ("15", "G4"), ("29.5", "G4"), ("29.6", "G4"), ("29.999999", "G4"),
        ("30", "G3b"), ("44.6", "G3b"), ("45", "G3a"), ("59.6", "G3a"), ("60", "G2"), ("89.6", "G2"), ("90", "G1"),
    ],
)  # fmt: skip
def test_stages_are_not_rounded(value: str, expected: str, assessor: Assessor) -> None:
    """29.6 is G4: a value is rounded for display only."""
    assert stage(assessor, person({"egfr": lab(value, EGFR_UNIT)})) == expected


@pytest.mark.parametrize(
    ("creatinine", "age", "sex", "value", "expected"),
    [
        # Each would be in the next stage if it were rounded first.
        ("2.33", 68, "male", 29.709, "G4"),
        ("1.71", 80, "female", 29.916, "G4"),
        ("1.64", 70, "male", 44.719, "G3b"),
        ("1.29", 69, "female", 44.927, "G3b"),
        ("1.39", 55, "male", 59.870, "G3a"),
    ],
)
def test_calculated_stages_are_not_rounded(
    creatinine: str, age: int, sex: str, value: float, expected: str, assessor: Assessor, rulebook: Rulebook
) -> None:
    """A calculated value is compared as it is."""
    request = person({"creatinine": lab(creatinine, "mg/dL")}, age_years=age, sex=sex)
    egfr = estimate_gfr(rulebook.vocabulary, request)
    assert egfr is not None
    assert egfr.value == pytest.approx(value, abs=0.0005)
    assert stage(assessor, request) == expected


def test_the_lower_of_reported_and_calculated(assessor: Assessor) -> None:
    """Whichever is lower decides."""
    high, low = lab("1.0", "mg/dL"), lab("2.3", "mg/dL")
    cases = ((high, "52", "G3a"), (low, "82", "G4"), (low, "20", "G4"), (low, "14", "G5"))
    for creatinine, reported, expected in cases:
        assert stage(assessor, person({"egfr": lab(reported, EGFR_UNIT), "creatinine": creatinine})) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"patient": {"age_years": 17, "sex": "female"}},
        {"patient": {"sex": "female"}},
        {"patient": {"age_years": 30, "sex": "female", "pregnancy": "pregnant"}},
        {"conditions": [{"key": "acute_kidney_injury"}]},
        {"conditions": [{"code": {"system": "http://snomed.info/sct", "code": "14669001"}}]},
    ],
)
def test_no_egfr_where_the_equations_do_not_hold(change: dict[str, Any], assessor: Assessor) -> None:
    """Under 18 or of unknown age, in pregnancy, and while kidney function is changing, however that was coded."""
    request = {**person({"creatinine": lab("0.8", "mg/dL")}), **change}
    assert not {rule for rule in fired(assessor, request) if rule.startswith("egfr-status-")}


def test_labs_of_different_days_are_not_combined(assessor: Assessor, rulebook: Rulebook) -> None:
    """An old cystatin C cannot hide a fresh high creatinine, nor the other way round: each counts by itself."""
    labs = {"creatinine": lab("2.2", "mg/dL", "2026-11-19"), "cystatin_c": lab("0.5", "mg/L", "2026-10-20")}
    assert stage(assessor, person(labs)) == "G2"
    labs["cystatin_c"]["collected_on"] = "2026-10-19"
    assert stage(assessor, person(labs)) == "G4"
    egfr = estimate_gfr(rulebook.vocabulary, from_json(person(labs)))
    assert egfr is not None
    assert [one.equation for one in egfr.calculated] == ["CKD-EPI 2021 creatinine", "CKD-EPI 2012 cystatin C"]


def test_a_combined_value_is_as_old_as_its_oldest_part(assessor: Assessor) -> None:
    """Of labs that are combined the older one says how old the value is."""
    labs = {"creatinine": lab("0.8", "mg/dL", "2025-11-21"), "cystatin_c": lab("0.8", "mg/L", "2025-11-21")}
    assert "kidney-function-not-established" not in fired(assessor, person(labs))
    for old in ("creatinine", "cystatin_c"):
        older = {**labs, old: {**labs[old], "collected_on": "2025-11-01"}}
        assert "kidney-function-not-established" in fired(assessor, person(older))


# Calcium.


@pytest.mark.parametrize(
    ("calcium", "albumin", "adjusted"),
    [
        (("2.4", "mmol/L"), ("30", "g/L"), "2.6"),
        (("9.0", "mg/dL"), ("2.5", "g/dL"), "10.2"),
        (("2.7", "mmol/L"), ("48", "g/L"), "2.54"),
        # The same albumin in the other unit.
        (("2.4", "mmol/L"), ("3.0", "g/dL"), "2.6"),
        (("9.0", "mg/dL"), ("25", "g/L"), "10.2"),
        (("2.7", "mmol/L"), ("4.8", "g/dL"), "2.54"),
        # Nothing to adjust.
        (("2.31", "mmol/L"), ("40", "g/L"), "2.31"),
        (("2.31", "mmol/L"), None, "2.31"),
    ],
)
def test_adjusted_calcium(
    calcium: tuple[str, str], albumin: tuple[str, str] | None, adjusted: str, rulebook: Rulebook
) -> None:
    """The worked examples, exactly, in the unit that calcium was reported in."""
    labs = {"calcium_total": lab(*calcium), **({"albumin": lab(*albumin)} if albumin is not None else {})}
    found = adjust_calcium(rulebook.vocabulary, labs)
    assert found is not None
    assert found.value == Decimal(adjusted)
    assert found.unit == calcium[1]
    assert found.from_albumin == (albumin is not None)


def test_calcium_is_not_adjusted_twice(rulebook: Rulebook) -> None:
    """The laboratory's own adjusted value goes first, and is taken as it is."""
    labs = {
        "calcium_adjusted": lab("2.5", "mmol/L"),
        "calcium_total": lab("2.4", "mmol/L"),
        "albumin": lab("20", "g/L"),
    }
    found = adjust_calcium(rulebook.vocabulary, labs)
    assert found is not None
    assert (found.value, found.unit) == (Decimal("2.5"), "mmol/L")


def test_adjusted_calcium_decides(assessor: Assessor) -> None:
    """A total of 2.45 mmol/L is usual, and high with an albumin of 30 g/L."""
    labs = {"calcium_total": lab("2.45", "mmol/L"), "albumin": lab("40", "g/L")}
    assert "calcium-adjusted-status-usual" in fired(assessor, person(labs))
    labs["albumin"] = lab("30", "g/L")
    assert "calcium-adjusted-status-mildly-high" in fired(assessor, person(labs))


# Units.


@pytest.mark.parametrize(
    ("key", "value", "unit", "converted", "wanted"),
    [
        ("vitamin_d_25oh", "20", "ng/mL", "49.92", "nmol/L"),
        ("vitamin_d_25oh", "30", "ng/mL", "74.88", "nmol/L"),
        ("vitamin_d_25oh", "150", "ng/mL", "374.4", "nmol/L"),
        ("magnesium", "2.07", "mg/dL", "0.8516", "mmol/L"),
        ("magnesium", "1.0", "mg/dL", "0.4114", "mmol/L"),
        ("magnesium", "1.7", "meq/L", "0.85", "mmol/L"),
        ("calcium_total", "14", "mg/dL", "3.493", "mmol/L"),
        ("creatinine", "1.0", "mg/dL", "88.42", "umol/L"),
        ("pth", "65", "pg/mL", "6.89", "pmol/L"),
        ("phosphate", "1", "mg/dL", "0.3229", "mmol/L"),
        ("albumin", "4.1", "g/dL", "41", "g/L"),
        ("albumin_creatinine_ratio", "30", "mg/g", "3.393", "mg/mmol"),
        ("potassium", "3.5", "meq/L", "3.5", "mmol/L"),
    ],
)
def test_conversion(key: str, value: str, unit: str, converted: str, wanted: str, rulebook: Rulebook) -> None:
    """Conversion factors, to the digits that are printed, and back again."""
    found = in_unit(rulebook.vocabulary, key, lab(value, unit), wanted)
    assert round(found, -Decimal(converted).as_tuple().exponent) == Decimal(converted)
    assert in_unit(rulebook.vocabulary, key, lab(found, wanted), unit) == pytest.approx(Decimal(value))


@pytest.mark.parametrize(
    ("key", "value", "unit", "status"),
    [
        # Converted first, each of these would fall below the threshold that is printed for the other unit.
        ("vitamin_d_25oh", "10", "ng/mL", "deficient"),
        ("vitamin_d_25oh", "12", "ng/mL", "inadequate"),
        ("vitamin_d_25oh", "20", "ng/mL", "adequate-contested"),
        ("vitamin_d_25oh", "30", "ng/mL", "adequate"),
        ("vitamin_d_25oh", "150", "ng/mL", "toxic-range"),
        ("vitamin_d_25oh", "19.9", "ng/mL", "inadequate"),
        ("vitamin_d_25oh", "50", "nmol/L", "adequate-contested"),
        ("vitamin_d_25oh", "49.92", "nmol/L", "inadequate"),
        ("vitamin_d_25oh", "374.4", "nmol/L", "high"),
        ("magnesium", "1.7", "mg/dL", "low-normal"),
        ("magnesium", "0.699", "mmol/L", "low"),
        ("magnesium", "1.4", "meq/L", "low-normal"),
        ("magnesium", "1.39", "meq/L", "low"),
    ],
)
def test_thresholds_count_in_the_reported_unit(
    key: str, value: str, unit: str, status: str, assessor: Assessor
) -> None:
    """A value is held against the number that is printed for the unit it was reported in."""
    rules = fired(assessor, person({key: lab(value, unit)}))
    prefix = f"{key.replace('_', '-')}-status-"
    assert {rule for rule in rules if rule.startswith(prefix)} == {prefix + status}


# What nobody needs.


def test_a_healthy_adult_gets_no_caution(assessor: Assessor) -> None:
    """Normal kidneys, no medicines and no conditions: nothing is cautioned against, whatever the goal."""
    for goal in ("sleep", "muscle", "cognition", "general_repletion", "cardiovascular", "mood_anxiety"):
        for age, sex in ((19, "male"), (35, "female"), (52, "female"), (64, "male")):
            request = {**person({"egfr": lab("95", EGFR_UNIT)}, age_years=age, sex=sex), "goals": [goal]}
            answer = assessor.evaluate(from_json(request))
            assert answer["cautions"] == [], (goal, age, sex)
            assert answer["disposition"] == "routine", (goal, age, sex)
