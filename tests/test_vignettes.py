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
    asks_no_lab: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    asks_not: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    """What the advice says."""
    never: tuple[str, ...] = ()
    """What stands nowhere in the advice or the questions."""


def woman(age: int, pregnancy: str = "none") -> dict[str, Any]:
    """A woman of this age."""
    return {"patient": {"age_years": age, "sex": "female", "pregnancy": pregnancy}}


def magnesium(form: str | None = None, dose: int = 200, weeks: int = 20) -> dict[str, Any]:
    """A magnesium supplement that is taken."""
    taken = {"elemental_mg_per_day": dose, "weeks": weeks}
    return {"supplements": {"magnesium": taken if form is None else {"form": form, **taken}}}


def vitamin_d(dose: int, weeks: int = 20) -> dict[str, Any]:
    """A vitamin D supplement that is taken."""
    return {"supplements": {"vitamin_d": {"dose_iu_per_day": dose, "weeks": weeks}}}


D = "vitamin_d_optimisation"
NO_GOAL: dict[str, Any] = {"goals": []}
GOAL_D: dict[str, Any] = {"goals": [D]}
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
    # One fact, sent in another way, gives the same answer.
    "mild hypercalcaemia and constipation as a symptom": Vignette(
        {"labs": labs(calcium_adjusted="2.65 mmol/L"), "symptoms": has("constipation")}, "urgent"
    ),
    "mild hypercalcaemia and constipation as the bowel pattern": Vignette(
        {"labs": labs(calcium_adjusted="2.65 mmol/L"), "bowel_pattern": "constipated"}, "urgent"
    ),
    "mild hypercalcaemia, stools not said": Vignette(
        {"labs": labs(calcium_adjusted="2.65 mmol/L"), "bowel_pattern": None},
        "review",
        says=("vitamin-d-hypercalcaemia",),
    ),
    "constipation as a symptom brings citrate": Vignette(
        {"symptoms": has("constipation"), "bowel_pattern": None, "goals": ["sleep"]},
        suggests=("magnesium_citrate",),
        asks_not=("/bowel_pattern",),
    ),
    "long QT recorded": Vignette(
        {"conditions": has("long_qt")}, "review", says=("magnesium-long-qt",), high=None
    ),
    "QTc 500": Vignette(
        {"vitals": {"qtc": {"value": 500, "unit": "ms"}}}, "review", says=("magnesium-long-qt",), high=None
    ),
    "QTc 499": Vignette({"vitals": {"qtc": {"value": 499, "unit": "ms"}}}, silent=("long-qt",), high=250),
    "calcium 10.4 mg/dL": Vignette(
        {**GOAL_D, "labs": labs(calcium_adjusted="10.4 mg/dL")}, "review", says=("vitamin-d-hypercalcaemia",)
    ),
    "calcium 10.3 mg/dL": Vignette({**GOAL_D, "labs": labs(calcium_adjusted="10.3 mg/dL")}, silent=("calcaemia",)),
    "total calcium 2.7 with albumin 48 is usual": Vignette(
        {**GOAL_D, "labs": labs(calcium_total="2.7 mmol/L", albumin="48 g/L")}, "routine", silent=("calc",)
    ),
    "ionised calcium 1.36": Vignette(
        {**GOAL_D, "labs": labs(calcium_ionised="1.36 mmol/L")}, "review", says=("vitamin-d-hypercalcaemia",)
    ),
    "hypercalcaemia among the conditions": Vignette(
        {**GOAL_D, "conditions": has("hypercalcaemia")}, "review", says=("vitamin-d-hypercalcaemia",)
    ),
    # Calcium and potassium.
    "calcium 2.19": Vignette(
        {**NO_GOAL, "labs": labs(calcium_adjusted="2.19 mmol/L")},
        "review",
        says=("calcium-low",),
        asks_lab=("magnesium", "pth", "vitamin_d_25oh", "ecg"),
    ),
    "calcium 2.20": Vignette({**NO_GOAL, "labs": labs(calcium_adjusted="2.20 mmol/L")}, "routine", silent=("calcium",)),
    "calcium 7.6 mg/dL": Vignette(
        {"labs": labs(calcium_adjusted="7.6 mg/dL")}, "urgent", says=("calcium-severely-low",), silent=("calcium-low",)
    ),
    "potassium 6.1, and no list of foods rich in it": Vignette(
        {"labs": labs(potassium="6.1 mmol/L")}, "review", says=("potassium-needs-ecg",), high=None, never=("spinach",)
    ),
    # Magnesium levels and symptoms.
    "magnesium 0.45 without symptoms": Vignette(
        {"labs": labs(magnesium="0.45 mmol/L")},
        "review",
        says=("magnesium-markedly-low",),
        refuses=("magnesium_glycinate",),
        never=("pumpkin",),
    ),
    "magnesium 0.45 with weakness": Vignette(
        {"labs": labs(magnesium="0.45 mmol/L"), "symptoms": has("weakness")}, "urgent"
    ),
    "magnesium 0.45 with potassium 2.9": Vignette(
        {"labs": labs(magnesium="0.45 mmol/L", potassium="2.9 mmol/L")}, "urgent"
    ),
    "magnesium 0.45, symptoms not said": Vignette(
        {"labs": labs(magnesium="0.45 mmol/L"), "symptoms": None}, "review", asks=("/symptoms",)
    ),
    "magnesium 0.60 and no goal": Vignette(
        {**NO_GOAL, "labs": labs(magnesium="0.60 mmol/L")}, "review", says=("magnesium-low",), high=None
    ),
    "magnesium 0.70": Vignette({"labs": labs(magnesium="0.70 mmol/L")}, "routine", silent=("",), high=250),
    "magnesium 1.04": Vignette({"labs": labs(magnesium="1.04 mmol/L")}, "routine", silent=("",), high=250),
    "magnesium 1.7 mEq/L": Vignette({"labs": labs(magnesium="1.7 meq/L")}, "routine", silent=("",), high=250),
    "magnesium 1.10 with weakness": Vignette(
        {"labs": labs(magnesium="1.10 mmol/L"), "symptoms": has("weakness")}, "urgent"
    ),
    "hypermagnesaemia among the conditions": Vignette(
        {"conditions": has("hypermagnesaemia")}, "review", refuses=("magnesium_glycinate",), never=("pumpkin",)
    ),
    "weakness on magnesium": Vignette(
        {**magnesium(), "symptoms": has("weakness")},
        "review",
        says=("magnesium-possible-excess",),
        asks_lab=("magnesium",),
        never=("pumpkin",),
    ),
    # Nothing is suggested and warned of in one breath.
    "breastfeeding, cognition and repletion": Vignette(
        {**woman(30, "lactating"), "goals": ["cognition", "general_repletion"]},
        first="magnesium_glycinate",
        refuses=("magnesium_l_threonate",),
        never=("Split L-threonate",),
    ),
    "pregnancy not said, cognition and sleep": Vignette(
        {"patient": {"age_years": 30, "sex": "female"}, "goals": ["cognition", "sleep"]},
        asks=("/patient/pregnancy",),
        refuses=("magnesium_l_threonate",),
        never=("Split L-threonate",),
    ),
    "eGFR 55, constipation and repletion": Vignette(
        {"labs": egfr(55), "goals": ["constipation_relief", "general_repletion"]},
        refuses=("magnesium_citrate", "magnesium_oxide"),
        high=200,
        never=("Take citrate",),
    ),
    "loose stools and a wish for relief of constipation": Vignette(
        {"goals": ["constipation_relief"], "bowel_pattern": "loose"},
        refuses=("magnesium_citrate",),
        never=("Take citrate",),
    ),
    "PTSD and mood": Vignette(
        {"conditions": has("ptsd"), "goals": ["mood_anxiety"]},
        tells=("not suggested for PTSD",),
        never=("on the label",),
    ),
    "PTSD and sleep": Vignette({"conditions": has("ptsd"), "goals": ["sleep"]}, first="magnesium_glycinate"),
    "diarrhoea for days": Vignette(
        {"symptoms": has("persistent_diarrhoea")},
        "review",
        says=("magnesium-diarrhoea-now",),
        refuses=("magnesium_citrate",),
        high=None,
        asks_lab=("potassium", "magnesium"),
    ),
    "diarrhoea for days on magnesium": Vignette(
        {**magnesium(), "symptoms": has("persistent_diarrhoea")}, "review", says=("magnesium-persistent-diarrhoea",)
    ),
    "loose stools on citrate": Vignette(
        {**NO_GOAL, **magnesium("magnesium_citrate"), "bowel_pattern": "loose"}, tells=("hold it or lower the dose",)
    ),
    "heart block and kidney disease": Vignette(
        {"conditions": has("heart_block"), "labs": egfr(25)},
        "review",
        says=("magnesium-heart-block", "magnesium-severe-kidney-disease"),
        refuses=("magnesium_glycinate",),
        never=("pumpkin",),
    ),
    # What is already taken.
    "Epsom salt": Vignette({**NO_GOAL, **magnesium("magnesium_sulfate")}, "review", says=("magnesium-epsom-salt",)),
    "oxide for long at 70": Vignette(
        {**NO_GOAL, **magnesium("magnesium_oxide", 300), "patient": {"age_years": 70, "sex": "male"}},
        "routine",
        silent=("",),
        asks_lab=("magnesium",),
    ),
    "oxide for long at 64": Vignette(
        {**NO_GOAL, **magnesium("magnesium_oxide", 300), "patient": {"age_years": 64, "sex": "male"}},
        asks_no_lab=("magnesium",),
    ),
    "magnesium taken at 65, kidney function not known": Vignette(
        {**NO_GOAL, **magnesium(), "patient": {"age_years": 65, "sex": "male"}, "labs": {}},
        "review",
        says=("magnesium-kidney-function-unknown",),
    ),
    "vitamin D 4000 IU": Vignette({**NO_GOAL, **vitamin_d(4000)}, "routine", silent=("",)),
    "vitamin D 4001 IU": Vignette(
        {**NO_GOAL, **vitamin_d(4001)}, says=("vitamin-d-above-upper-limit",), asks_lab=("calcium_adjusted",)
    ),
    "vitamin D 10000 IU": Vignette({**NO_GOAL, **vitamin_d(10_000)}, silent=("far-above",)),
    "vitamin D 20000 IU": Vignette(
        {**NO_GOAL, **vitamin_d(20_000)},
        "review",
        says=("vitamin-d-far-above-upper-limit",),
        silent=("vitamin-d-above-upper-limit",),
        asks_lab=("calcium_adjusted", "vitamin_d_25oh"),
    ),
    "vitamin D 5000 IU with nausea": Vignette(
        {**NO_GOAL, **vitamin_d(5000), "symptoms": has("nausea_or_vomiting")},
        "review",
        says=("vitamin-d-intake-with-symptoms",),
    ),
    # Vitamin D: a test that is asked for is not questioned, and a question is asked once.
    "vitamin D wanted, nothing else known of it": Vignette(
        GOAL_D, "routine", silent=("",), asks=("/labs/vitamin_d_25oh",)
    ),
    "vitamin D wanted in osteoporosis": Vignette(
        {**GOAL_D, "conditions": has("osteoporosis")}, asks_lab=("vitamin_d_25oh",), asks_not=("/labs/vitamin_d_25oh",)
    ),
    "vitamin D wanted in sarcoidosis": Vignette(
        {**GOAL_D, "conditions": has("sarcoidosis")},
        "review",
        asks_lab=("calcium_adjusted", "vitamin_d_125oh", "vitamin_d_25oh"),
        asks_not=("/labs/vitamin_d_25oh", "/labs/magnesium"),
    ),
    "vitamin D wanted with bone pain": Vignette(
        {**GOAL_D, "symptoms": has("bone_pain")}, asks_lab=("vitamin_d_25oh",), asks_not=("/labs/vitamin_d_25oh",)
    ),
    "vitamin D wanted at an adequate level": Vignette(
        {**GOAL_D, "labs": labs(vitamin_d_25oh="80 nmol/L")}, "routine", silent=("",), asks_not=("/labs/magnesium",)
    ),
    "stays low: its cause is asked for once": Vignette(
        {**NO_GOAL, **vitamin_d(2000), "labs": labs(vitamin_d_25oh="40 nmol/L")},
        says=("vitamin-d-refractory",),
        never=("What explains the low 25-OH-D",),
    ),
    "low on calcitriol is left to its prescriber": Vignette(
        {**NO_GOAL, "labs": labs(vitamin_d_25oh="40 nmol/L"), "medications": takes("calcitriol")},
        "review",
        says=("vitamin-d-duplicate",),
        never=("Replace by the local guideline",),
    ),
    "low in osteoporosis on alendronate": Vignette(
        {
            **NO_GOAL,
            "conditions": has("osteoporosis"),
            "labs": labs(vitamin_d_25oh="22 nmol/L"),
            "medications": takes("alendronate"),
        },
        says=("vitamin-d-very-low",),
        tells=("before zoledronate or denosumab",),
    ),
    "25-OH-D 249.9 nmol/L": Vignette(
        {**NO_GOAL, "labs": labs(vitamin_d_25oh="249.9 nmol/L")}, "routine", says=("vitamin-d-above-recommended-range",)
    ),
    "25-OH-D 100 ng/mL": Vignette(
        {**NO_GOAL, "labs": labs(vitamin_d_25oh="100 ng/mL")}, "review", says=("vitamin-d-high",)
    ),
    "25-OH-D 150 ng/mL with nausea": Vignette(
        {"labs": labs(vitamin_d_25oh="150 ng/mL"), "symptoms": has("nausea_or_vomiting")}, "urgent"
    ),
    # Medicines over time.
    "proton pump inhibitor for 90 days": Vignette(
        {**NO_GOAL, "medications": [{"name": "omeprazole", "since": "2026-08-22"}]},
        "routine",
        asks_no_lab=("magnesium",),
    ),
    "proton pump inhibitor for 90 days and palpitations": Vignette(
        {
            **NO_GOAL,
            "medications": [{"name": "omeprazole", "since": "2026-08-22"}],
            "symptoms": has("palpitations"),
        },
        asks_lab=("magnesium", "potassium"),
    ),
    "proton pump inhibitor for a year": Vignette(
        {**NO_GOAL, "medications": [{"name": "omeprazole", "since": "2025-11-20"}]}, asks_lab=("magnesium",)
    ),
    "proton pump inhibitor since a day not said": Vignette(
        {**NO_GOAL, "medications": takes("omeprazole")}, "routine", asks=("/medications",)
    ),
    # Little is known.
    "nothing known at all": Vignette(
        dict.fromkeys(key for key in ADULT if key != "as_of"),
        "review",
        says=("magnesium-kidney-function-unknown",),
        asks=("/conditions", "/goals", "/medications", "/patient/age_years"),
    ),
    "nothing wanted, nothing taken, little known": Vignette(
        {**NO_GOAL, "labs": None, "conditions": None, "symptoms": None, "bowel_pattern": None},
        "routine",
        silent=("",),
    ),
    "healthy at 70 on both supplements": Vignette(
        {
            **woman(70),
            "labs": labs(magnesium="0.82 mmol/L", vitamin_d_25oh="70 nmol/L", calcium_adjusted="2.35 mmol/L"),
            "medications": takes("paracetamol", "atorvastatin"),
            "goals": ["sleep"],
            "supplements": {
                "magnesium": {"form": "magnesium_glycinate", "elemental_mg_per_day": 200, "weeks": 8},
                "vitamin_d": {"dose_iu_per_day": 1000, "weeks": 30},
            },
        },
        "routine",
        silent=("",),
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
    asked_labs = {one["lab"] for one in answer["lab_questions"]}
    assert set(wanted.asks_lab) <= asked_labs
    assert not set(wanted.asks_no_lab) & asked_labs
    asked = {one["about"] for one in answer["follow_up_questions"]}
    assert set(wanted.asks) <= asked
    assert not set(wanted.asks_not) & asked
    advice = " ".join(one["text"] for one in answer["advice"])
    questions = " ".join(one["question"] for one in answer["follow_up_questions"])
    assert not [text for text in wanted.tells if text not in advice]
    assert not [text for text in wanted.never if text in advice or text in questions]
    if answer["disposition"] == "urgent":
        assert not answer["form_suggestions"] + answer["advice"] + answer["follow_up_questions"]
    assert answer["knowledge"]["sign_off"] == "pending"
