"""Patients as a clinician would describe them, and what the answer must and must not say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

GFR = "mL/min/{1.73_m2}"
ADULT: dict[str, Any] = {
    "as_of": "2026-11-20",
    "patient": {"age_years": 44, "sex": "male"},
    "labs": {"egfr": {"value": 92, "unit": GFR}},
    "medications": [],
    "conditions": [],
    "symptoms": [],
    "goals": ["general_repletion"],
    "bowel_pattern": "normal",
    "supplements": {},
}


def labs(**values: str) -> dict[str, Any]:
    """Labs beside the eGFR, written ``value unit``."""
    written = {key: value.split(" ", 1) for key, value in values.items()}
    return {**ADULT["labs"], **{key: {"value": float(number), "unit": unit} for key, (number, unit) in written.items()}}


def egfr(value: float) -> dict[str, Any]:
    """Only an eGFR."""
    return {"egfr": {"value": value, "unit": GFR}}


def takes(*names: str) -> list[dict[str, str]]:
    """Medications by name."""
    return [{"name": name} for name in names]


def has(*keys: str) -> list[dict[str, str]]:
    """Conditions or symptoms by key."""
    return [{"key": key} for key in keys]


@dataclass(frozen=True)
class Vignette:
    """Changes to a healthy man of 44 who wants magnesium, and what must hold of the answer."""

    change: dict[str, Any]
    disposition: str | None = None
    says: tuple[str, ...] = ()
    """Caution codes that must be there."""
    silent: tuple[str, ...] = ()
    """Parts of caution codes that must not be there."""
    first: str | None = None
    suggests: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    high: float | None = field(default=-1)
    """The upper end of every dose shown; None: no dose is shown; -1: not looked at."""
    asks_lab: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


D = "vitamin_d_optimisation"
VIGNETTES: dict[str, Vignette] = {
    "healthy and wants nothing": Vignette({"goals": []}, "routine", silent=("",)),
    "healthy, general repletion": Vignette({}, "routine", silent=("",), first="magnesium_glycinate", high=250),
    "healthy, sleep": Vignette(
        {"goals": ["sleep"]}, "routine", silent=("",), first="magnesium_glycinate", suggests=("magnesium_l_threonate",)
    ),
    "healthy, cognition": Vignette(
        {"goals": ["cognition"]}, first="magnesium_l_threonate", suggests=("magnesium_acetyl_taurate",)
    ),
    "loose stools": Vignette(
        {"bowel_pattern": "loose"}, first="magnesium_glycinate", refuses=("magnesium_citrate", "magnesium_oxide")
    ),
    "constipation": Vignette(
        {"goals": ["constipation_relief"], "bowel_pattern": "constipated"}, first="magnesium_citrate"
    ),
    "eGFR 60": Vignette({"labs": egfr(60)}, "routine", silent=("kidney",), high=250),
    "eGFR 59.9": Vignette({"labs": egfr(59.9)}, says=("magnesium-kidney-g3a",), high=200, asks_lab=("magnesium",)),
    "eGFR 45": Vignette({"labs": egfr(45)}, says=("magnesium-kidney-g3a",), high=200),
    "eGFR 44.9": Vignette({"labs": egfr(44.9)}, "review", says=("magnesium-kidney-g3b",), high=None),
    "eGFR 30": Vignette({"labs": egfr(30)}, "review", says=("magnesium-kidney-g3b",), high=None),
    "eGFR 29.9": Vignette(
        {"labs": egfr(29.9)}, "review", says=("magnesium-severe-kidney-disease",), refuses=("magnesium_glycinate",)
    ),
    "dialysis": Vignette({"conditions": has("dialysis")}, "review", says=("magnesium-dialysis",)),
    "kidney function unknown": Vignette({"labs": {}}, "review", high=None, asks_lab=("creatinine", "egfr")),
    "conditions unknown": Vignette({"conditions": None}, "review", high=None, asks=("/conditions",)),
    "medications unknown": Vignette({"medications": None}, asks=("/medications",)),
    "age unknown": Vignette({"patient": {"sex": "male"}}, "review", high=None, asks=("/patient/age_years",)),
    "a child": Vignette({"patient": {"age_years": 17, "sex": "male"}}, "out_of_scope"),
    "reported and calculated eGFR contradict each other": Vignette(
        {"labs": {**egfr(75), "creatinine": {"value": 1.9, "unit": "mg/dL"}}},
        "review",
        says=("egfr-values-disagree", "magnesium-kidney-g3b"),
    ),
    "myasthenia gravis": Vignette(
        {"conditions": has("myasthenia_gravis")}, "review", refuses=("magnesium_glycinate",)
    ),
    "heart block": Vignette({"conditions": has("heart_block")}, "review", says=("magnesium-heart-block",)),
    "bowel obstruction": Vignette(
        {"conditions": has("bowel_obstruction")}, "review", says=("magnesium-bowel-obstruction",)
    ),
    "magnesium 0.98 mg/dL": Vignette(
        {"labs": labs(magnesium="0.98 mg/dL")}, "urgent", says=("magnesium-severely-low",), asks_lab=("potassium",)
    ),
    "magnesium 0.40 mmol/L, which is 0.97 mg/dL": Vignette({"labs": labs(magnesium="0.40 mmol/L")}, "urgent"),
    "magnesium 0.42 mmol/L": Vignette({"labs": labs(magnesium="0.42 mmol/L")}, "review"),
    "magnesium 0.62, a vitamin D level that stays low": Vignette(
        {
            "labs": labs(magnesium="0.62 mmol/L", vitamin_d_25oh="35 nmol/L"),
            "goals": [D],
            "supplements": {"vitamin_d": {"dose_iu_per_day": 2000, "weeks": 20}},
        },
        high=None,
    ),
    "magnesium 4.9 mg/dL": Vignette({"labs": labs(magnesium="4.9 mg/dL")}, "urgent"),
    "magnesium 1.10 mmol/L": Vignette(
        {"labs": labs(magnesium="1.10 mmol/L")}, "review", refuses=("magnesium_glycinate",)
    ),
    "potassium 2.4": Vignette({"labs": labs(potassium="2.4 mmol/L")}, "urgent"),
    "calcium 2.4 with albumin 30": Vignette(
        {"labs": labs(calcium_total="2.4 mmol/L", albumin="30 g/L"), "goals": [D]},
        "review",
        says=("vitamin-d-hypercalcaemia",),
    ),
    "calcium 14.1 mg/dL": Vignette({"labs": labs(calcium_total="14.1 mg/dL", albumin="4.0 g/dL")}, "urgent"),
    "25-OH-D 20 ng/mL": Vignette({"labs": labs(vitamin_d_25oh="20 ng/mL"), "goals": []}, "routine", silent=("",)),
    "25-OH-D 9.9 ng/mL": Vignette(
        {"labs": labs(vitamin_d_25oh="9.9 ng/mL"), "goals": []}, says=("vitamin-d-very-low",), asks_lab=("magnesium",)
    ),
    "25-OH-D 150 ng/mL": Vignette(
        {"labs": labs(vitamin_d_25oh="150 ng/mL"), "goals": []},
        "review",
        says=("vitamin-d-toxic-range",),
        asks_lab=("calcium_adjusted",),
    ),
    "stays low at exactly 800 IU and 12 weeks": Vignette(
        {
            "labs": labs(vitamin_d_25oh="49 nmol/L"),
            "goals": [D],
            "supplements": {"vitamin_d": {"dose_iu_per_day": 800, "weeks": 12}},
        },
        says=("vitamin-d-refractory",),
        asks_lab=("magnesium",),
    ),
    "sarcoidosis": Vignette(
        {"conditions": has("sarcoidosis"), "goals": [D]}, "review", says=("vitamin-d-granulomatous-disease",)
    ),
    "thyroid hormone": Vignette(
        {"medications": takes("Synthroid 75 mcg")}, says=("magnesium-thyroid-hormone-binding",)
    ),
    "thyroid hormone, magnesium not in question": Vignette(
        {"medications": takes("levothyroxine"), "goals": []}, "routine", silent=("",)
    ),
    "ciprofloxacin tablets": Vignette(
        {"medications": takes("Ciprofloxacin 500 mg")}, "review", says=("magnesium-fluoroquinolone-chelation",)
    ),
    "ciprofloxacin eye drops": Vignette(
        {"medications": [{"name": "Ciprofloxacin", "route": "ophthalmic"}]}, silent=("fluoroquinolone",)
    ),
    "above the upper limit": Vignette(
        {"supplements": {"magnesium": {"elemental_mg_per_day": 351}}}, says=("magnesium-dose-above-upper-limit",)
    ),
    "at the upper limit": Vignette(
        {"supplements": {"magnesium": {"elemental_mg_per_day": 350}}}, silent=("above-upper-limit",)
    ),
    "European limits": Vignette({"preferences": {"region": "eu"}}, high=250),
    "pregnancy": Vignette(
        {"patient": {"age_years": 30, "sex": "female", "pregnancy": "pregnant"}, "goals": ["sleep"]},
        "review",
        refuses=("magnesium_l_threonate",),
        high=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(VIGNETTES))
def test_vignette(client: FlaskClient, name: str) -> None:
    """The answer to one patient."""
    wanted = VIGNETTES[name]
    body = {key: value for key, value in {**ADULT, **wanted.change}.items() if value is not None}
    response = client.post("/v1/evaluations", json=body)
    assert response.status_code == 200
    answer = response.get_json()
    codes = [one["code"] for one in answer["cautions"]]
    suggested = [one["form"] for one in answer["form_suggestions"]]
    if wanted.disposition is not None:
        assert answer["disposition"] == wanted.disposition
    assert set(wanted.says) <= set(codes)
    assert not [code for code in codes if any(part in code for part in wanted.silent)]
    if wanted.first is not None:
        assert suggested[0] == wanted.first
        assert answer["form_suggestions"][0]["standing"] == "preferred"
    assert set(wanted.suggests) <= set(suggested)
    assert set(wanted.refuses) <= {one["form"] for one in answer["forms_not_suggested"]}
    assert not set(suggested) & {one["form"] for one in answer["forms_not_suggested"]}
    if wanted.high != -1:
        assert suggested, "a dose is looked for, and no form is suggested"
        doses = [one["dose"] for one in answer["form_suggestions"]]
        highest = {None if dose is None else dose["elemental_mg_per_day"]["high"] for dose in doses}
        assert highest == {wanted.high}
    assert set(wanted.asks_lab) <= {one["lab"] for one in answer["lab_questions"]}
    assert set(wanted.asks) <= {one["about"] for one in answer["follow_up_questions"]}
    assert answer["knowledge"]["sign_off"] == "pending"
