"""FHIR in: what becomes of each resource, and that none is dropped without a word."""

import random
import shutil
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.api import schemas
from service.api.schemas import RequestReader
from service.assessment import Assessor
from service.assessment.picture import ICD10CM, SNOMED
from service.fhir import Chart, ChartReader, limits
from service.knowledge import KnowledgeError, Rulebook, load_rulebook
from service.knowledge.fhir_map import spelled
from service.settings import Settings
from service.terminology.recognise import RXNORM

TODAY = date(2026, 11, 21)
ME = {"reference": "Patient/p1"}
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def assessor(rulebook: Rulebook) -> Assessor:
    return Assessor(rulebook)


@pytest.fixture(scope="module")
def reader(rulebook: Rulebook, assessor: Assessor) -> ChartReader:
    return ChartReader(rulebook.vocabulary, assessor.recogniser)


Read = Callable[..., Chart]


@pytest.fixture(scope="module")
def read(rulebook: Rulebook, reader: ChartReader) -> Read:
    """Reads a chart, and holds of each one what must hold of all."""
    requests = RequestReader(rulebook.vocabulary)

    def reading(prefetch: Json | None = None, patient_id: str = "p1", **context: Any) -> Chart:
        chart = reader.read(patient_id, prefetch, TODAY, **context)
        requests.read(chart.body, TODAY)
        for key, state in chart.states.items():
            assert state.left_out == sum(one.count for one in chart.notes if one.key == key and one.left_out), key
        assert list(chart.notes) == sorted(chart.notes)
        return chart

    return reading


def observation(code: str = "2160-0", value: Any = Decimal("0.9"), unit: str = "mg/dL", **more: Any) -> Json:
    quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": ME,
        "effectiveDateTime": "2026-11-10T08:00:00Z",
        "valueQuantity": quantity,
    } | more


def bundle(*resources: Any, **more: Any) -> Json:
    entries = [one if "resource" in one else {"resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries} | more


def concept(code: str, display: str = "", system: str = RXNORM, **more: Any) -> Json:
    return {"coding": [{"system": system, "code": code} | ({"display": display} if display else {})]} | more


def order(text: str = "Ciprofloxacin 500 mg tablet", **more: Any) -> Json:
    return {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "subject": ME,
        "medicationCodeableConcept": {"text": text},
    } | more


def statement(text: str = "Magnesium oxide 400 mg tablet", **more: Any) -> Json:
    return order(text) | {"resourceType": "MedicationStatement"} | more


def condition(coded: str = "31541009", system: str = SNOMED, **more: Any) -> Json:
    return {
        "resourceType": "Condition",
        "clinicalStatus": concept("active", system="http://terminology.hl7.org/CodeSystem/condition-clinical"),
        "subject": ME,
        "code": concept(coded, system=system),
    } | more


def without(resource: Json, *names: str) -> Json:
    return {name: value for name, value in resource.items() if name not in names}


def reasons(chart: Chart, key: str) -> set[str]:
    return {one.code for one in chart.notes if one.key == key and one.left_out}


def remarks(chart: Chart, key: str) -> set[str]:
    return {one.code for one in chart.notes if one.key == key and not one.left_out}


# Patient


@pytest.mark.parametrize(
    ("more", "expected", "remark"),
    [
        ({"birthDate": "1980-11-21", "gender": "female"}, {"age_years": 46, "sex": "female"}, None),
        ({"birthDate": "1980-11-22", "gender": "male"}, {"age_years": 45, "sex": "male"}, None),
        ({"birthDate": "2008-02-29", "gender": "male"}, {"age_years": 18, "sex": "male"}, None),
        ({"birthDate": "1980-10", "gender": "male"}, {"age_years": 46, "sex": "male"}, None),
        ({"birthDate": "1980-11", "gender": "male"}, {"age_years": 45, "sex": "male"}, "partial_date"),
        ({"birthDate": "1980", "gender": "other"}, {"age_years": 45, "sex": "unknown"}, "partial_date"),
        ({"birthDate": "2026", "gender": "male"}, {"age_years": 0, "sex": "male"}, None),
        ({"birthDate": "2026-11-22", "gender": "unknown"}, {"sex": "unknown"}, "future_date"),
        ({"birthDate": "1905-01-01", "gender": "Male"}, {"sex": "unknown"}, "impossible_value"),
        ({"birthDate": "1980-13-01"}, {"sex": "unknown"}, "unreadable_date"),
        ({"birthDate": 1980}, {"sex": "unknown"}, "unreadable_date"),
        ({"gender": ["male"]}, {"sex": "unknown"}, "no_birth_date"),
    ],
)
def test_patient(read: Read, more: Json, expected: Json, remark: str | None) -> None:
    """Age on the day of the call, of partial dates what is certain; a gender that is no sex is unknown."""
    chart = read({"patient": {"resourceType": "Patient", "id": "p1"} | more})
    assert chart.body["patient"] == expected
    assert remark is None or remark in remarks(chart, "patient")
    assert chart.states["patient"].used == 1


@pytest.mark.parametrize("more", [{"deceasedBoolean": True}, {"deceasedDateTime": "2020"}])
def test_patient_who_has_died(read: Read, more: Json) -> None:
    """It is said, so that nobody is advised about the dead."""
    chart = read({"patient": {"resourceType": "Patient", "id": "p1"} | more})
    assert chart.deceased
    assert "deceased" in remarks(chart, "patient")


@pytest.mark.parametrize(
    ("patient", "reason"),
    [
        ({"resourceType": "Patient", "id": "p2", "gender": "male"}, "wrong_patient"),
        ({"resourceType": "Person", "id": "p1"}, "unexpected_type"),
        ({"resourceType": "Patient", "id": "p1", "modifierExtension": [{"url": "x"}]}, "modifier_extension"),
    ],
)
def test_patient_not_used(read: Read, patient: Json, reason: str) -> None:
    """Another patient's record is not read, nor one that says it must not be."""
    chart = read({"patient": patient})
    assert "patient" not in chart.body
    assert reasons(chart, "patient") == {reason}


# Results: one at a time


@pytest.mark.parametrize(
    ("key", "code", "value", "unit", "lab", "our_unit"),
    [
        ("creatinine", "2160-0", Decimal("0.9"), "mg/dL", "creatinine", "mg/dL"),
        ("creatinine", "14682-9", 80, "umol/L", "creatinine", "umol/L"),
        ("creatinine", "14682-9", 80, "µmol/l", "creatinine", "umol/L"),
        ("creatinine", "14682-9", 80, "μmol/L", "creatinine", "umol/L"),
        ("vitd25oh", "1989-3", 30, "ng/mL", "vitamin_d_25oh", "ng/mL"),
        ("vitd25oh", "1989-3", 30, "ug/L", "vitamin_d_25oh", "ng/mL"),
        ("vitd25oh", "14635-7", 75, "nmol/L", "vitamin_d_25oh", "nmol/L"),
        ("vitd25oh", "49054-0", 12, "ng/mL", "vitamin_d2_25oh", "ng/mL"),
        ("magnesium", "2601-3", Decimal("1.6"), "mEq/L", "magnesium", "meq/L"),
        ("calcium", "1995-0", Decimal("1.2"), "mmol/L", "calcium_ionised", "mmol/L"),
        ("calcium", "17861-6", Decimal("9.4"), "mg/dl", "calcium_total", "mg/dL"),
        ("egfr", "98979-8", 62, "mL/min/{1.73_m2}", "egfr", "mL/min/{1.73_m2}"),
        ("egfr", "33914-3", 62, "mL/min/1.73 m²", "egfr", "mL/min/{1.73_m2}"),
        ("egfr", "33914-3", 62, "ml/min/1.73m2", "egfr", "mL/min/{1.73_m2}"),
        ("pth", "2731-8", 45, "ng/L", "pth", "pg/mL"),
        ("labs", "6768-6", 90, "[IU]/L", "alkaline_phosphatase", "U/L"),
        ("labs", "9318-7", 12, "mg/g{creat}", "albumin_creatinine_ratio", "mg/g"),
        ("labs", "2160-0", Decimal("0.9"), "mg/dL", "creatinine", "mg/dL"),
        ("creatinine", "38483-4", Decimal("0.9"), "mg/dL", "creatinine", "mg/dL"),
        ("calcium", "49765-1", Decimal("9.4"), "mg/dL", "calcium_total", "mg/dL"),
    ],
)
def test_result(read: Read, key: str, code: str, value: Any, unit: str, lab: str, our_unit: str) -> None:
    """Code, unit and key meet."""
    chart = read({key: bundle(observation(code, value, unit))})
    assert chart.body["labs"] == {lab: {"value": value, "unit": our_unit, "collected_on": "2026-11-10"}}
    assert (chart.states[key].status, chart.states[key].used) == ("used", 1)
    assert not chart.notes


def test_the_unit_decides(read: Read) -> None:
    """A molar unit with the code of a mass is read as molar, and it is said."""
    chart = read({"vitd25oh": bundle(observation("1989-3", 75, "nmol/L"))})
    assert chart.body["labs"]["vitamin_d_25oh"]["unit"] == "nmol/L"
    assert remarks(chart, "vitd25oh") == {"unit_against_code"}


def quantity(**more: Any) -> Json:
    return {"valueQuantity": {"value": Decimal("0.9")} | more}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (quantity(unit="mg/dL"), "mg/dL"),
        (quantity(unit="milligrams", code="mg/dL", system=UCUM), "mg/dL"),
        (quantity(unit="mg/dL", code="258797006", system=SNOMED), "mg/dL"),
        (quantity(unit="mg/dL", code="mg/dl"), "mg/dL"),
        (quantity(), "unit_missing"),
        (quantity(unit="arbitrary"), "unit_unknown"),
        (quantity(unit="mg/dL", code="{nonsense}", system=UCUM), "unit_unknown"),
        (quantity(unit="umol/L", code="mg/dL", system=UCUM), "unit_ambiguous"),
        (quantity(unit="mg/d"), "unit_property_mismatch"),
        (quantity(unit="mg/dL", comparator="<"), "comparator"),
        (quantity(unit="mg/dL", comparator="ad"), "comparator"),
        (quantity(unit="mg/dL", value="0.9"), "no_value"),
        (quantity(unit="mg/dL", value=True), "no_value"),
        (quantity(unit="mg/dL", value=Decimal("NaN")), "no_value"),
        (quantity(unit="mg/dL", value=4000), "impossible_value"),
        (quantity(unit="mg/dL", value=-1), "impossible_value"),
        ({"valueQuantity": "0.9 mg/dL"}, "no_value"),
        ({"valueQuantity": None, "valueString": "0.9"}, "no_value"),
        ({"dataAbsentReason": concept("unknown")}, "data_absent"),
        ({"status": "preliminary"}, "not_final"),
        ({"status": "registered"}, "not_final"),
        ({"status": "cancelled"}, "not_final"),
        ({"status": "entered-in-error"}, "entered_in_error"),
        ({"status": "FINAL"}, "status_unknown"),
        ({"status": None}, "no_status"),
        ({"status": "amended"}, "mg/dL"),
        ({"status": "corrected"}, "mg/dL"),
        ({"subject": {"reference": "Patient/p2"}}, "wrong_patient"),
        ({"subject": {"reference": "Patient/p11"}}, "wrong_patient"),
        ({"subject": {"reference": "Group/p1"}}, "wrong_patient"),
        ({"subject": {"display": "p1"}}, "wrong_patient"),
        ({"subject": {"reference": "#p1"}, "contained": [{"resourceType": "Patient", "id": "p1"}]}, "wrong_patient"),
        ({"subject": None}, "no_patient"),
        ({"subject": {"reference": "https://ehr.test/fhir/Patient/p1/_history/3", "display": "Someone"}}, "mg/dL"),
        ({"subject": {"reference": "urn:uuid:p1"}}, "mg/dL"),
        ({"modifierExtension": [{"url": "x"}]}, "modifier_extension"),
        ({"implicitRules": "urn:x"}, "modifier_extension"),
        ({"resourceType": "DiagnosticReport"}, "unexpected_type"),
        ({"effectiveDateTime": "2026-11-22"}, "future_date"),
        ({"effectiveDateTime": "2027"}, "future_date"),
        ({"effectiveDateTime": "tomorrow"}, "unreadable_date"),
        ({"effectiveDateTime": "2026-02-30"}, "unreadable_date"),
        ({"effectiveDateTime": None, "issued": "2026-11-10T08:00:00Z"}, "unreadable_date"),
        ({"code": concept("14631-6", system=LOINC)}, "code_unknown"),
        ({"code": concept("2160-0", system="urn:local")}, "code_unknown"),
        ({"code": {"text": "Creatinine"}}, "code_unknown"),
        ({"code": {"coding": [{"system": LOINC, "code": one} for one in ("2160-0", "2823-3")]}}, "code_ambiguous"),
        ({"code": {"coding": [{"code": "CREA"}, {"system": LOINC, "code": "2160-0"}]}}, "mg/dL"),
        ({"code": concept("19123-9", system=LOINC)}, "not_requested"),
    ],
)
def test_each_guard(read: Read, said: Json, expected: str) -> None:
    """One thing is different from a good result, and it is used or it is said why not."""
    chart = read({"creatinine": bundle(observation() | said)})
    if expected == "mg/dL":
        assert chart.body["labs"]["creatinine"]["unit"] == expected
    else:
        assert "labs" not in chart.body
        assert reasons(chart, "creatinine") == {expected}


def test_value_that_is_no_quantity(read: Read) -> None:
    chart = read({"creatinine": bundle(without(observation(valueString="0.9"), "valueQuantity"))})
    assert reasons(chart, "creatinine") == {"value_not_quantity"}
    chart = read({"creatinine": bundle(without(observation(), "effectiveDateTime"))})
    assert reasons(chart, "creatinine") == {"no_date"}


@pytest.mark.parametrize(
    ("when", "day", "remark"),
    [
        ({"effectiveDateTime": "2026-11-21"}, "2026-11-21", None),
        ({"effectiveDateTime": "2026-11-22T00:30:00+13:00"}, "2026-11-21", None),
        ({"effectiveDateTime": "2026-11-20T23:30:00-05:00"}, "2026-11-20", None),
        ({"effectiveDateTime": "2026-11"}, "2026-11-01", "partial_date"),
        ({"effectiveDateTime": "2025"}, "2025-01-01", "partial_date"),
        ({"effectiveInstant": "2026-11-20T08:00:00.123Z"}, "2026-11-20", None),
        ({"effectivePeriod": {"start": "2026-11-01", "end": "2026-11-02"}}, "2026-11-02", None),
        ({"effectivePeriod": {"start": "2026-11-01"}}, "2026-11-01", None),
        ({"effectivePeriod": {"start": "2026-11-01", "end": "2026-12-01"}}, "2026-11-01", None),
        ({"effectiveTiming": {"event": ["2026-11-01", "2026-11-03"]}}, "2026-11-03", None),
    ],
)
def test_when(read: Read, when: Json, day: str, remark: str | None) -> None:
    """The day of a result, however it is written; of a partial date the earliest, so that it is rather too old."""
    chart = read({"creatinine": bundle(without(observation(), "effectiveDateTime") | when)})
    assert chart.body["labs"]["creatinine"]["collected_on"] == day
    assert remarks(chart, "creatinine") == ({remark} if remark else set())


# Results: which of several


def at(day: str, value: Any = Decimal("0.9"), unit: str = "mg/dL", code: str = "2160-0", **more: Any) -> Json:
    return observation(code, value, unit, effectiveDateTime=day, **more)


LESS = {"comparator": "<"}


def compared(day: str, comparator: str, value: Any, unit: str = "mL/min/{1.73_m2}") -> Json:
    return at(day, code="98979-8") | {"valueQuantity": {"value": value, "unit": unit, "comparator": comparator}}


def egfr(day: str, value: int, code: str = "98979-8") -> Json:
    return at(day, value, "mL/min/{1.73_m2}", code)


@pytest.mark.parametrize(
    ("key", "resources", "expected", "left_out"),
    [
        ("creatinine", [at("2026-01-01"), at("2026-11-01", 2), at("2025-01-01", 3)], 2, {"older_result"}),
        ("creatinine", [at("2026-11-10T08:00:00Z"), at("2026-11-10T09:30:00+02:00", 2)], Decimal("0.9"), None),
        ("creatinine", [at("2026-11-10"), at("2026-11-10")], Decimal("0.9"), {"same_time"}),
        ("creatinine", [at("2026-11-10", 1), at("2026-11-10", 4)], None, {"conflicting_results"}),
        ("creatinine", [at("2026-11-10", 1, issued="2026-11-10T10:00:00Z"), at("2026-11-10", 4)], 1, {"same_time"}),
        ("creatinine", [at("2026-11-10", 4, status="preliminary"), at("2026-11-01", 1)], 1, {"not_final"}),
        ("creatinine", [at("2026-11-10", 4, unit="?"), at("2026-11-01", 1)], None, None),
        ("creatinine", [at("2026-11-01", 4, unit="?"), at("2026-11-10", 1)], 1, {"unit_unknown"}),
        ("creatinine", [at("2026-12-10", 4), at("2026-11-01", 1)], 1, {"future_date"}),
        ("vitd25oh", [at("2026-11-10", 20, "ng/mL", "1989-3"), at("2026-11-10", 24, "ng/mL", "62292-8")], 24, None),
        ("vitd25oh", [at("2026-11-11", 20, "ng/mL", "1989-3"), at("2026-11-10", 24, "ng/mL", "62292-8")], 20, None),
        ("vitd25oh", [at("2026-11-10", 75, "nmol/L", "1989-3"), at("2026-11-10", 30, "ng/mL", "1989-3")], 75, None),
        ("vitd25oh", [at("2026-11-10", 75, "nmol/L", "1989-3"), at("2026-11-10", 75, "ng/mL", "1989-3")], None, None),
        ("egfr", [egfr("2026-11-10", 90, "48642-3"), egfr("2025-11-10", 62)], 62, {"obsolete_code"}),
        ("egfr", [egfr("2026-11-10", 90, "88294-4")], None, {"obsolete_code"}),
        ("egfr", [compared("2026-11-10", ">", 60), egfr("2026-10-10", 72)], 72, {"comparator"}),
        ("egfr", [compared("2026-11-10", "<", 15), egfr("2026-10-10", 72)], None, {"comparator", "newer_unreadable"}),
        ("egfr", [compared("2026-09-10", "<", 15), egfr("2026-10-10", 72)], 72, {"comparator"}),
        ("egfr", [at("2026-11-10", 70, "mL/min", "33914-3")], None, {"unit_property_mismatch"}),
    ],
)
def test_newest(read: Read, key: str, resources: list[Json], expected: Any, left_out: set[str] | None) -> None:
    """The newest result that can be read; none, where a newer one may say something else."""
    for listed in (resources, resources[::-1]):
        chart = read({key: bundle(*listed)})
        values = [one["value"] for one in chart.body.get("labs", {}).values()]
        assert values == ([] if expected is None else [expected])
        assert left_out is None or reasons(chart, key) == left_out
        assert chart.states[key].used + chart.states[key].left_out == len(resources)


def test_an_obsolete_equation_is_shown(read: Read) -> None:
    """A value of an equation with race may be shown, and never counts."""
    both = {"coding": [{"system": LOINC, "code": code} for code in ("98979-8", "48643-1")]}
    chart = read({"egfr": bundle(egfr("2026-11-10", 90, "48642-3"), egfr("2026-11-12", 88) | {"code": both})})
    assert [(one.lab, one.value, one.collected_on) for one in chart.shown] == [("egfr", 88, "2026-11-12")]
    assert "labs" not in chart.body


@pytest.mark.parametrize(
    ("resources", "shown"),
    [
        ([compared("2026-11-10", ">", 60)], [("egfr", 60, "mL/min/{1.73_m2}", "2026-11-10", "comparator", ">")]),
        ([compared("2026-11-10", "ad", 60)], []),
        (
            [at("2026-11-10", 41, "mL/min", "33914-3"), at("2026-10-10", 43, "mL/min", "33914-3")],
            [("egfr", 41, "mL/min", "2026-11-10", "unit_property_mismatch", "")],
        ),
        ([at("2026-11-10", 41, "mL/min", "33914-3"), egfr("2026-11-11", 62)], []),
        (
            [at("2026-11-10", 41, "mL/min", "33914-3"), egfr("2026-10-10", 62)],
            [("egfr", 41, "mL/min", "2026-11-10", "unit_property_mismatch", "")],
        ),
        ([at("2026-11-10", 41, "furlongs", "33914-3")], []),
    ],
)
def test_what_cannot_be_used_may_be_shown(read: Read, resources: list[Json], shown: list[Any]) -> None:
    """A limit, or a unit of another size, where it was understood and nothing of the lab is used."""
    for listed in (resources, resources[::-1]):
        chart = read({"egfr": bundle(*listed)})
        assert [
            (one.lab, one.value, one.unit, one.collected_on, one.reason, one.comparator) for one in chart.shown
        ] == shown


def test_panels(read: Read) -> None:
    """Results are found among components and contained members; a panel of references says nothing by itself."""
    code = concept("24323-8", system=LOINC)
    parts = [
        {"code": concept("2160-0", system=LOINC), "valueQuantity": {"value": 1, "unit": "mg/dL"}},
        {"code": concept("2823-3", system=LOINC), "valueQuantity": {"value": 4, "unit": "mmol/L"}},
        {"code": concept("2777-1", system=LOINC), "valueQuantity": {"value": 3}},
        {"code": concept("2951-2", system=LOINC), "valueQuantity": {"value": 140, "unit": "mmol/L"}},
        "junk",
    ]
    panel = without(observation(code=code, component=parts), "valueQuantity") | {"code": code}
    chart = read({"labs": bundle(panel)})
    assert {key: one["value"] for key, one in chart.body["labs"].items()} == {"creatinine": 1, "potassium": 4}
    assert remarks(chart, "labs") == {"unit_missing"}
    assert (chart.states["labs"].used, chart.states["labs"].left_out) == (1, 0)

    inner = without(observation("2777-1", Decimal("3.1")), "effectiveDateTime") | {"id": "a"}
    other = observation("1751-7", 4, "g/dL", id="b", subject={"reference": "Patient/p2"})
    group = without(observation(hasMember=[{"reference": "#a"}, {"reference": "#b"}, {"reference": "Observation/c"}]))
    group = without(group, "valueQuantity") | {"code": code, "contained": [{"contained": [inner]}, other]}
    chart = read({"labs": bundle(group)})
    assert list(chart.body["labs"]) == ["phosphate"]
    assert "wrong_patient" in remarks(chart, "labs")

    chart = read({"labs": bundle(without(group, "contained"))})
    assert reasons(chart, "labs") == {"panel"}


def test_one_resource_under_two_keys(read: Read) -> None:
    """It counts once."""
    same = observation(id="o1")
    chart = read({"creatinine": bundle(same), "labs": bundle(same, observation("2823-3", 4, "mmol/L", id="o2"))})
    assert set(chart.body["labs"]) == {"creatinine", "potassium"}
    assert reasons(chart, "labs") == {"duplicate"}


def test_a_server_that_ignores_what_was_asked_for(read: Read) -> None:
    """Every key brings all results: each is read under its own key, once, and not lost as one that was seen."""
    panel = without(
        observation(
            id="o4",
            component=[
                {"code": concept("2777-1", system=LOINC), "valueQuantity": {"value": 3, "unit": "mg/dL"}},
                {"code": concept("17861-6", system=LOINC), "valueQuantity": {"value": 9, "unit": "mg/dL"}},
            ],
        ),
        "valueQuantity",
    ) | {"code": concept("24323-8", system=LOINC)}
    everything = [
        observation(id="o1"),
        observation("19123-9", 2, id="o2"),
        egfr("2026-11-10", 62) | {"id": "o3"},
        panel,
        observation("718-7", 14, "g/dL", id="o5"),
    ]
    keys = ("vitd25oh", "magnesium", "creatinine", "egfr", "calcium", "albumin", "phosphate", "pth")
    chart = read({key: bundle(*everything) for key in keys})
    assert {key: one["value"] for key, one in chart.body["labs"].items()} == {
        "creatinine": Decimal("0.9"),
        "magnesium": 2,
        "egfr": 62,
        "phosphate": 3,
        "calcium_total": 9,
    }
    assert {key for key in keys if chart.states[key].used} == {
        "creatinine",
        "magnesium",
        "egfr",
        "phosphate",
        "calcium",
    }
    assert not any("duplicate" in reasons(chart, key) for key in keys)


# States


OUTCOME: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
WARNING: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "processing"}]}
NEXT = {"link": [{"relation": "self", "url": "x"}, {"relation": "next", "url": "y"}]}


@pytest.mark.parametrize(
    ("value", "status", "used", "known"),
    [
        (None, "null", 0, False),
        (bundle(), "none_found", 0, True),
        ({"resourceType": "Bundle", "type": "searchset", "total": 0}, "none_found", 0, True),
        ({"resourceType": "Bundle", "type": "searchset", "total": 3}, "incomplete", 0, False),
        (bundle(statement()), "used", 1, True),
        (statement(), "used", 1, True),
        (bundle(bundle(statement())), "used", 1, True),
        (bundle(statement(status="stopped")), "used", 0, True),
        (bundle(statement(subject={"reference": "Patient/p2"})), "used", 0, False),
        (bundle(statement(), WARNING), "used", 1, True),
        (bundle(WARNING), "failed", 0, False),
        (OUTCOME, "failed", 0, False),
        (WARNING, "failed", 0, False),
        (bundle(OUTCOME), "failed", 0, False),
        (bundle(statement(), OUTCOME), "failed", 0, False),
        (bundle(statement(), {"resourceType": "OperationOutcome"}), "failed", 0, False),
        (bundle({"resource": None, "response": {"status": "404"}}), "failed", 0, False),
        (bundle(statement(), **NEXT), "incomplete", 1, True),
        (bundle(**NEXT), "incomplete", 0, False),
        ({"resourceType": "Bundle", "entry": {"resource": statement()}}, "failed", 0, False),
        ([statement()], "failed", 0, False),
        ("none", "failed", 0, False),
        ({}, "failed", 0, False),
    ],
)
def test_states_stay_apart(read: Read, value: Any, status: str, used: int, known: bool) -> None:
    """Only an empty search is "none found"; what is not known is not stated as none."""
    chart = read({"otc": value})
    assert (chart.states["otc"].status, chart.states["otc"].used) == (status, used)
    assert ("medications" in chart.body) is known
    assert {key: state.status for key, state in chart.states.items() if key != "otc"} == dict.fromkeys(
        (key for key in chart.states if key != "otc"), "absent"
    )
    if known:
        assert "list_not_whole" in remarks(chart, "medications")


def test_nothing_is_known_of_nothing(read: Read) -> None:
    """An empty call states nothing."""
    for prefetch in (None, {}, {"patient": None, "labs": None, "conditions": None, "somebody@home": 1}):
        chart = read(prefetch)
        assert chart.body == {"as_of": "2026-11-21"}
        assert all("@" not in one.key for one in chart.notes)


@pytest.mark.parametrize(
    ("value", "body"),
    [(None, None), (OUTCOME, None), (bundle(), []), (bundle(condition(clinicalStatus="resolved")), [])],
)
def test_conditions_known_or_not(read: Read, value: Any, body: Any) -> None:
    assert read({"conditions": value}).body.get("conditions") == body


# Medications


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (order(), {"name": "Ciprofloxacin 500 mg tablet"}),
        (order(status="stopped"), "not_active"),
        (order(status="on-hold"), "not_active"),
        (order(status="entered-in-error"), "entered_in_error"),
        (order(status="unknown"), "status_unknown"),
        (order(intent="proposal"), "not_ordered"),
        (order(intent="plan"), {"name": "Ciprofloxacin 500 mg tablet"}),
        (order(intent="wish"), "status_unknown"),
        (order(doNotPerform=True), "do_not_perform"),
        (order(subject={"reference": "Patient/p2"}), "wrong_patient"),
        (without(order(), "subject"), "no_patient"),
        (order(""), "no_medication"),
        (order("x" * 301), "too_long"),
        (order(medicationCodeableConcept=None), "no_medication"),
        (order(category={"text": "Outpatient"}), {"name": "Ciprofloxacin 500 mg tablet"}),
        (statement(status="completed"), "not_active"),
        (statement(status="not-taken"), "not_active"),
        (statement(effectivePeriod={"end": "2026-01-01"}), "ended"),
        (
            statement(effectivePeriod={"start": "2025-01-01"}),
            {"name": "Magnesium oxide 400 mg tablet", "since": "2025-01-01"},
        ),
        (statement(effectivePeriod={"start": "2025"}), {"name": "Magnesium oxide 400 mg tablet"}),
        (
            order("", medicationCodeableConcept=concept("309309", "ciprofloxacin 500 MG Oral Tablet", text="Cipro")),
            {
                "name": "Cipro",
                "code": {"system": RXNORM, "code": "309309", "display": "ciprofloxacin 500 MG Oral Tablet"},
            },
        ),
        (
            order(
                "",
                medicationCodeableConcept={
                    "coding": [
                        {"system": "http://hl7.org/fhir/sid/ndc", "code": "0000-0000", "display": "CIPRO 500"},
                        {"system": RXNORM, "code": "99999999"},
                        {"system": "urn:oid:2.16.840.1.113883.6.88", "code": "309309"},
                    ]
                },
            ),
            {"name": "CIPRO 500", "code": {"system": RXNORM, "code": "309309"}},
        ),
        (
            order("", medicationCodeableConcept={"coding": [{"display": "frobnicate"}, {"display": "warfarin 5 mg"}]}),
            {"name": "warfarin 5 mg"},
        ),
        (
            order("", medicationCodeableConcept=concept("A1", system="urn:oid:1.2.3")),
            {"code": {"system": "urn:oid:1.2.3", "code": "A1"}},
        ),
        (order("", medicationCodeableConcept=concept("A1", system="no uri")), "no_medication"),
    ],
)
def test_medication(read: Read, resource: Json, expected: Any) -> None:
    """What is taken, by name and code; and why the rest is not counted."""
    key = "otc" if resource["resourceType"] == "MedicationStatement" else "medications"
    chart = read({key: bundle(resource)})
    if isinstance(expected, str):
        assert not chart.body.get("medications")
        assert reasons(chart, key) == {expected}
    else:
        assert chart.body["medications"] == [expected]


MEDICATION: Json = {"resourceType": "Medication", "id": "m1", "code": {"text": "Levothyroxine 75 mcg"}}
LEVOTHYROXINE = [{"name": "Levothyroxine 75 mcg"}]


def referring(reference: str, display: str = "", **more: Any) -> Json:
    named = {"reference": reference} | ({"display": display} if display else {})
    return without(order(medicationReference=named, **more), "medicationCodeableConcept")


@pytest.mark.parametrize(
    ("entries", "expected", "note"),
    [
        ([referring("#m1", contained=[MEDICATION])], LEVOTHYROXINE, None),
        ([referring("#m1", contained=[{"id": "x", "contained": [MEDICATION]}])], LEVOTHYROXINE, None),
        ([referring("Medication/m1"), MEDICATION], LEVOTHYROXINE, None),
        ([MEDICATION, referring("https://ehr.test/fhir/Medication/m1/_history/2")], LEVOTHYROXINE, None),
        (
            [{"fullUrl": "urn:uuid:77", "resource": without(MEDICATION, "id")}, referring("urn:uuid:77")],
            LEVOTHYROXINE,
            None,
        ),
        ([referring("Medication/m2"), MEDICATION], None, "unresolved_reference"),
        ([referring("Medication/m2", "Levothyroxine 75 mcg")], LEVOTHYROXINE, "unresolved_reference"),
        ([referring("Medication/m1"), MEDICATION | {"status": "entered-in-error"}], None, "medication_in_error"),
        ([referring("Medication/m1"), MEDICATION | {"code": {}}], None, "no_medication"),
        ([referring("#m1")], None, "unresolved_reference"),
        ([without(referring(""), "medicationReference")], None, "no_medication"),
        (
            [
                referring("Medication/m1"),
                without(MEDICATION, "code")
                | {"ingredient": [{"itemCodeableConcept": {"text": one}} for one in ("zinc", "magnesium oxide")]},
            ],
            [{"name": "zinc / magnesium oxide"}],
            None,
        ),
    ],
)
def test_medication_by_reference(read: Read, entries: list[Json], expected: Any, note: str | None) -> None:
    """Contained, beside it in the Bundle, or not there."""
    chart = read({"medications": bundle(*entries)})
    assert chart.body.get("medications") == expected
    assert note is None or note in reasons(chart, "medications") | remarks(chart, "medications")
    assert chart.states["medications"].used + chart.states["medications"].left_out == len(entries)


def test_medication_beside_another_key(read: Read) -> None:
    """What refers to it may have come under another key, or with the drafts."""
    draft = referring("Medication/m1", id="d1", status="draft")
    chart = read({"otc": bundle(MEDICATION)}, draft_orders=bundle(draft))
    assert chart.drafts[0].medication_index == 0
    assert chart.body["medications"] == LEVOTHYROXINE


ORAL = concept("26643006", system=SNOMED)


@pytest.mark.parametrize(
    ("doses", "route", "remark"),
    [
        ([{"route": ORAL}], "oral", None),
        ({"route": ORAL}, "oral", None),
        ([{"route": {"text": "Intravenous"}}], "intravenous", None),
        ([{"route": concept("X", "by mouth", system="urn:local")}], "oral", None),
        ([{"route": ORAL}, {"route": {"text": "PO"}}, {}], "oral", None),
        ([{"route": ORAL}, {"route": concept("47625008", system=SNOMED)}], None, "routes_differ"),
        ([{"route": {"text": "as directed"}}], None, "route_unknown"),
        ([], None, None),
        ("junk", None, None),
    ],
)
def test_route(read: Read, doses: Any, route: str | None, remark: str | None) -> None:
    chart = read({"medications": bundle(order(dosageInstruction=doses)), "otc": bundle()})
    assert chart.body["medications"][0].get("route") == route
    assert remarks(chart, "medications") == ({remark} if remark else set())


def test_an_order_that_began_long_ago(read: Read) -> None:
    """A stated begin counts; the date of an order, which may be a renewal, does not."""
    dose = {"timing": {"repeat": {"boundsPeriod": {"start": "2024-01-05"}}}}
    chart = read({"medications": bundle(order(dosageInstruction=[dose]), order("Warfarin", authoredOn="2020-01-01"))})
    assert [one.get("since") for one in chart.body["medications"]] == ["2024-01-05", None]


def test_too_many(read: Read) -> None:
    """What does not fit is said; drafts always fit."""
    chart = read(
        {
            "medications": bundle(*[order(f"Drug {number}") for number in range(250)]),
            "conditions": bundle(
                *[condition(f"{number}", "urn:x") for number in range(300)],
                condition(),
                *[condition("31541009")] * 3,
            ),
        },
        draft_orders=bundle(order("Magnesium oxide", id="d1", status="draft")),
    )
    assert len(chart.body["medications"]) == 200
    assert chart.body["medications"][199] == {"name": "Magnesium oxide"}
    assert chart.drafts[0].medication_index == 199
    assert chart.body["conditions"][0]["code"]["code"] == "31541009"
    assert chart.states["medications"].left_out == 51
    assert "too_many" in reasons(chart, "conditions")


# Conditions


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (condition(), [{"code": {"system": SNOMED, "code": "31541009"}}]),
        (condition("D86.9", ICD10CM), [{"code": {"system": ICD10CM, "code": "D86.9"}}]),
        (condition("d869", ICD10CM), [{"code": {"system": ICD10CM, "code": "D86.9"}}]),
        (
            condition("31541009", "urn:oid:2.16.840.1.113883.6.96"),
            [{"code": {"system": SNOMED, "code": "31541009"}}],
        ),
        (
            condition(code={"coding": [{"code": "x"}, *concept("D86.9", system=ICD10CM)["coding"]]}),
            [{"code": {"system": ICD10CM, "code": "D86.9"}}],
        ),
        (
            condition(
                code={
                    "coding": [
                        {"system": SNOMED, "code": "31541009"},
                        {"system": ICD10CM, "code": "D86.9"},
                        {"system": ICD10CM, "code": "E83.52"},
                    ]
                }
            ),
            [
                {"code": {"system": SNOMED, "code": "31541009"}},
                {"code": {"system": ICD10CM, "code": "E83.52"}},
            ],
        ),
        (condition("40055000"), [{"code": {"system": SNOMED, "code": "40055000"}}]),
        (
            condition(category=[{"coding": [{"code": "encounter-diagnosis"}]}]),
            [{"code": {"system": SNOMED, "code": "31541009"}}],
        ),
        (condition(code={"text": "Sarcoidosis"}), "no_code"),
        (condition("x" * 101), "no_code"),
        (condition(clinicalStatus=concept("resolved")), "not_active"),
        (condition(clinicalStatus=concept("remission")), "not_active"),
        (condition(clinicalStatus=concept("recurrence")), [{"code": {"system": SNOMED, "code": "31541009"}}]),
        (condition(clinicalStatus="active"), [{"code": {"system": SNOMED, "code": "31541009"}}]),
        (condition(clinicalStatus=None), [{"code": {"system": SNOMED, "code": "31541009"}}]),
        (condition(clinicalStatus=None, abatementDateTime="2020"), "not_active"),
        (condition(clinicalStatus=concept("perhaps")), "status_unknown"),
        (condition(verificationStatus=concept("refuted")), "refuted"),
        (condition(verificationStatus=concept("entered-in-error")), "entered_in_error"),
        (condition(verificationStatus=concept("provisional")), [{"code": {"system": SNOMED, "code": "31541009"}}]),
        (condition(subject={"reference": "Patient/p2"}), "wrong_patient"),
    ],
)
def test_condition(read: Read, resource: Json, expected: Any) -> None:
    chart = read({"conditions": bundle(resource)})
    if isinstance(expected, str):
        assert not chart.body.get("conditions")
        assert reasons(chart, "conditions") == {expected}
    else:
        assert chart.body["conditions"] == expected


@pytest.mark.parametrize(
    ("code", "system", "key"),
    [
        ("433144002", SNOMED, "ckd_stage_3"),
        ("N18.30", ICD10CM, "ckd_stage_3"),
        ("72892002", SNOMED, "pregnancy"),
        ("161665007", SNOMED, "kidney_transplant"),
        ("368581000119106", SNOMED, "type_2_diabetes"),
        ("36976004", SNOMED, "hypoparathyroidism"),
        ("270492004", SNOMED, "first_degree_av_block"),
        ("236071009", SNOMED, "chronic_diarrhoea"),
        ("26929004", SNOMED, "cognitive_impairment"),
    ],
)
def test_codes_that_records_hold(
    read: Read, assessor: Assessor, rulebook: Rulebook, code: str, system: str, key: str
) -> None:
    """They are conditions that the rules know, and not among what was not recognised."""
    body = RequestReader(rulebook.vocabulary).read(read({"conditions": bundle(condition(code, system))}).body, TODAY)
    assert list(assessor.painter.paint(body).conditions) == [key]
    assert assessor.evaluate(body)["unrecognised"] == []


# Drafts


def test_drafts(read: Read) -> None:
    """Each draft comes back with its place among the medications; what is no medicine has none."""
    drafts = bundle(
        {"resourceType": "NutritionOrder", "id": "n1", "patient": ME},
        order("Magnesium oxide 400 mg", id="d1", status="draft", subject=None),
        without(order(id="d2", status="draft"), "medicationCodeableConcept", "intent"),
        {"fullUrl": "urn:uuid:d3", "resource": order("Warfarin", status="draft")},
        order("Digoxin", id="d4", subject={"reference": "Patient/p2"}),
        order("Aspirin", id="d5", doNotPerform=True),
    )
    chart = read(
        {"medications": bundle(order("Aspirin", id="a1"), order("Magnesium oxide 400 mg", id="d1"))},
        draft_orders=drafts,
        selections=["MedicationRequest/d1", "urn:uuid:d3", "n1", 7],
    )
    assert [(one.resource_id, one.medication_index, one.selected) for one in chart.drafts] == [
        ("NutritionOrder/n1", None, True),
        ("MedicationRequest/d1", 1, True),
        ("MedicationRequest/d2", None, False),
        (None, 2, True),
        ("MedicationRequest/d4", None, False),
        ("MedicationRequest/d5", None, False),
    ]
    assert [one["name"] for one in chart.body["medications"]] == ["Aspirin", "Magnesium oxide 400 mg", "Warfarin"]
    assert reasons(chart, "draftOrders") == {"unexpected_type", "no_medication", "wrong_patient", "do_not_perform"}
    assert chart.drafts[1].resource["id"] == "d1"


def test_drafts_alone(read: Read) -> None:
    """A draft counts where nothing else is known; and it is said that the list is not whole."""
    chart = read(draft_orders={"resourceType": "Bundle", "entry": [{"resource": order(status="draft", id="d")}]})
    assert chart.drafts[0].selected
    assert len(chart.body["medications"]) == 1
    assert "list_not_whole" in remarks(chart, "otc")
    for junk in ("x", [], {}, {"resourceType": "Bundle", "entry": 3}):
        assert read(draft_orders=junk).drafts == ()


@pytest.mark.parametrize(
    ("server", "reference", "used"),
    [
        ("https://ehr.test/fhir", "https://ehr.test/fhir/Patient/p1", True),
        ("https://ehr.test/fhir/", "Patient/p1", True),
        ("https://ehr.test/fhir", "https://other.test/fhir/Patient/p1", False),
        (None, "https://other.test/fhir/Patient/p1", True),
    ],
)
def test_the_same_number_elsewhere(read: Read, server: str | None, reference: str, used: bool) -> None:
    """Where the server is known, a patient of another one is another patient."""
    chart = read({"creatinine": bundle(observation(subject={"reference": reference}))}, fhir_server=server)
    assert ("labs" in chart.body) is used


# What comes of it


def test_a_draft_meets_what_is_taken(read: Read, rulebook: Rulebook, assessor: Assessor) -> None:
    """Ciprofloxacin for someone on magnesium; magnesium for someone with little kidney function."""
    requests = RequestReader(rulebook.vocabulary)

    def cautions(chart: Chart) -> list[Mapping[str, Any]]:
        answer = assessor.evaluate(requests.read(chart.body, TODAY))
        return list(answer["cautions"])

    spacing = cautions(read({"otc": bundle(statement())}, draft_orders=bundle(order(status="draft", id="d"))))
    assert any("spacing" in one and "ciprofloxacin" in one["summary"] for one in spacing)
    kidney = cautions(
        read(
            {"egfr": bundle(egfr("2026-11-10", 22)), "conditions": bundle(condition("N18.4", ICD10CM))},
            draft_orders=bundle(statement(resourceType="MedicationRequest", status="draft", id="d")),
        )
    )
    assert any(one["severity"] == "contraindicated" for one in kidney)


# Every resource is used or noted


def test_nothing_is_dropped(read: Read) -> None:
    """Over many Bundles of whatever: the numbers add up, and the body can be sent."""
    chance = random.Random(4)
    for _ in range(400):
        prefetch = {key: _some_bundle(chance) for key in KEYS if chance.random() < 0.7}
        chart = read(prefetch, draft_orders=_some_bundle(chance), selections=["d1"])
        for key, value in prefetch.items():
            state = chart.states[key]
            assert state.used + state.left_out == len(value["entry"]), (key, state, value)
        assert len(chart.body.get("medications", ())) <= 200


def test_notes_hold_no_word_of_the_record(read: Read) -> None:
    """Whatever is written in a resource, no note repeats it."""
    secret = "Zyxwvut"
    chart = read(
        {
            "patient": {"resourceType": "Patient", "id": secret},
            secret: bundle(),
            "labs": bundle(
                observation(secret), observation(status=secret), observation(unit=secret), {"resourceType": secret}
            ),
            "medications": bundle(order(status=secret), referring(secret), {"resourceType": secret + " 1"}),
            "conditions": bundle(condition(clinicalStatus=secret), condition(code={"text": secret})),
        },
        draft_orders=bundle(order(status=secret), {"resourceType": secret}),
    )
    assert all(secret not in f"{one.key} {one.code}" for one in chart.notes)
    assert all(secret not in one.detail_code for one in chart.notes)


KEYS = ("patient", "labs", "creatinine", "egfr", "vitd25oh", "medications", "otc", "conditions")


def _some_bundle(chance: random.Random) -> Json:
    good: list[Callable[[], Json]] = [
        lambda: {"resourceType": "Patient", "id": chance.choice(["p1", "p2"]), "birthDate": "1970"},
        observation,
        lambda: egfr(f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 30):02}", chance.randint(-5, 300)),
        lambda: compared("2026-11-10", chance.choice("<>"), chance.randint(1, 90)),
        order,
        statement,
        lambda: referring("Medication/m1", chance.choice(["", "Warfarin"])),
        lambda: MEDICATION,
        condition,
        lambda: condition(str(chance.randint(1, 10**6))),
        lambda: {"resourceType": "Practitioner"},
    ]
    return bundle(*[{"resource": _spoilt(chance.choice(good)(), chance)} for _ in range(chance.randint(1, 8))])


JUNK: list[Any] = [
    None, True, 0, -1, Decimal("1.5"), "", "x", " ", "x" * 400, [], {}, [None], [[]], {"reference": "Patient/p2"},
    {"coding": "x"}, {"coding": [{"code": 3}]}, {"value": {}}, "2026", "2031-01-01", [{"code": "x", "system": "y"}],
]  # fmt: skip


def _spoilt(value: Any, chance: random.Random) -> Any:
    """The same with something changed here and there."""
    if isinstance(value, dict):
        return {
            name: chance.choice(JUNK) if chance.random() < 0.06 else _spoilt(inner, chance)
            for name, inner in value.items()
            if chance.random() > 0.03
        }
    if isinstance(value, list):
        return [_spoilt(one, chance) for one in value]
    return value


# The map


def test_limits_are_those_of_the_request() -> None:
    """What is read never exceeds what a request may hold."""
    for name in ("MOST_MEDICATIONS", "MOST_CONDITIONS", "LONGEST_NAME", "LONGEST_CODE", "LONGEST_SYSTEM"):
        assert getattr(limits, name) == getattr(schemas, name)
    assert limits.OLDEST_YEARS == schemas.OLDEST_YEARS
    assert limits.URI.pattern == schemas._ABSOLUTE_URI


def test_addresses_are_those_of_the_request(rulebook: Rulebook) -> None:
    addresses = rulebook.vocabulary.fhir.addresses
    assert (addresses["rxnorm"], addresses["snomed"], addresses["icd10cm"]) == (RXNORM, SNOMED, ICD10CM)


def test_spellings() -> None:
    assert spelled(" ML/MIN/{1.73_m2}\u200b") == spelled("mL/min/{1.73_m²}")
    assert spelled("µg/L") == spelled("μg/L") == "ug/l"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("observations", "2160-0", "2160-1", "no LOINC number"),
        ("observations", "loinc: 2160-0,", "loinc: 2823-3,", "stands twice"),
        (
            "observations",
            "    - {loinc: 2823-3, property: molar}\n    - {loinc: 6298-4,",
            "    - {loinc: 62238-1,",
            "stands",
        ),
        ("observations", "{loinc: 48642-3, why", "{loinc: 33863-2, why", "stands twice"),
        ("observations", "{loinc: 33863-2, property", "{loinc: 11524-6, property", "something else here"),
        ("observations", "loinc: 14682-9", "loinc: 2160-0", "stands twice"),
        ("observations", "  pth: [pth]", "  pth: [parathormone]", "is no lab that has a code"),
        ("units", "spellings: [pmol/mL]", "spellings: [umol/L]", "also a spelling"),
        ("resources", "'26643006'", "'26643007'", "no SNOMED CT"),
        ("resources", "['10547007']", "['54485002']", "also belongs to"),
        ("resources", "used: [confirmed, provisional", "used: [refuted, provisional", "used and out"),
        ("resources", "  ucum: [http://unitsofmeasure.org", "  mucu: [http://unitsofmeasure.org", "must be one of"),
        ("resources", "routes:", "ways:", "Unknown field"),
    ],
)
def test_a_wrong_map_is_refused(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    """With file and line."""
    rules = tmp_path / "rules"
    shutil.copytree(Settings().rules, rules)
    path = rules / "fhir" / f"{file}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(KnowledgeError) as refused:
        load_rulebook(rules)
    assert any(message in one.message and one.file == f"fhir/{file}.yaml" for one in refused.value.faults), str(
        refused.value
    )
