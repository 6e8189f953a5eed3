"""What is wrong in rules/ is refused at start, with file and line; what is new needs no Python."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.__main__ import main
from service.api.schemas import refused_cases
from service.app import create_app
from service.assessment.cases import check_cases
from service.knowledge import KnowledgeError, load_rulebook
from service.settings import Settings

ROOT = Path(__file__).parent.parent
GATE = "safety/gate-mg-long-qt.yaml"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the rules to change."""
    return Path(shutil.copytree(ROOT / "rules", tmp_path / "rules"))


def replace(path: Path, pattern: str, by: str) -> int:
    """Change one place of a file; gives its line."""
    text = path.read_text(encoding="utf-8")
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, f"{pattern!r} is not in {path.name}"
    path.write_text(text[: match.start()] + by + text[match.end() :], encoding="utf-8")
    return text[: match.start()].count("\n") + 1


def faults(rules: Path) -> list[str]:
    """What the loader, or the check of the cases, says."""
    try:
        rulebook = load_rulebook(rules)
        return [str(fault) for fault in (*refused_cases(rulebook), *check_cases(rulebook))]
    except KnowledgeError as error:
        return [str(fault) for fault in error.faults]


HIGH = "vitamin-d/vitd-high.yaml"
DERIVED = "vocabulary/derived.yaml"
LABS = "vocabulary/labs.yaml"
ROWS = "interactions/magnesium-thyroid-hormones.yaml"
NONE = "interactions/magnesium-no-interaction.yaml"
CONDITIONS = "vocabulary/conditions.yaml"
ESCALATION = "{when: {aged: {age_years: {at_least: 65}}}, add: More"
CALCIUM_UNIT = """  calcium_total:
    display: Serum total calcium
    loinc: 17861-6
    unit: mmol/L
    units:
      meq/L: {factor: 0.5, possible: [1.6, 12], plausible: [3.8, 6.0]}
"""

# What is broken, where, and what the refusal must say.
BROKEN: dict[str, tuple[str, str, str, str]] = {
    "an unknown key": (GATE, r"^purpose:", "porpose: x\npurpose:", "porpose: Unknown field"),
    "a key that is missing": (GATE, r"^title: .*\n", "", "title: Missing data"),
    "a repeated key": (GATE, r"^title:", "title: x\ntitle:", "the key 'title' stands twice"),
    "not YAML": (GATE, r"^title: ", "title: [", "not YAML"),
    "an unknown condition": (GATE, r"condition: long_qt", "condition: long_tq", "the condition 'long_tq' is not known"),
    "an unknown kind of criterion": (GATE, r"\{condition: long_qt\}", "{diagnosis: long_qt}", "exactly one kind"),
    "an unknown lab": (
        "labs/drug-ppi-long-term.yaml", r"lab: magnesium$", "lab: magnesium_serum", "'magnesium_serum' is not known",
    ),
    "an unknown status": (
        "vitamin-d/vitd-high.yaml", r"status: \[?high\]?", "status: [hihg]", "the status 'hihg' is not known",
    ),
    "an unknown drug": (
        "vocabulary/drug-classes.yaml", r"members: \[", "members: [levothyroxin, ", "'levothyroxin' is not known",
    ),
    "an unknown unit": (
        "urgent/urgent-magnesium-severely-low.yaml", r"below: \[0\.40 mmol/L", "below: [0.40 mmol", "does not belong",
    ),
    "a threshold without its unit": (
        "urgent/urgent-magnesium-severely-low.yaml", r"below: \[0\.40 mmol/L", "below: [0.40", "must be a quantity",
    ),
    "a missing source": (GATE, r"sources: \[[A-Z0-9-]+", "sources: [SRC-NOBODY", "'SRC-NOBODY' is not known"),
    "an unknown form": (
        "magnesium/mg-goal-sleep.yaml", r"form: magnesium_glycinate", "form: magnesium_glycine", "the form",
    ),
    "an unknown caveat": (
        "magnesium/mg-goal-sleep.yaml", r"options_not_prescriptions", "options_only", "the caveat 'options_only'",
    ),
    "a number without evidence": (
        "safety/limit-mg-upper-level.yaml", r"^    adult: \{sources.*\n", "", "the number in 'adult' has no evidence",
    ),
    "a number in the words without evidence": (
        "safety/limit-mg-upper-level.yaml", r"^    then:\n(?:      .*\n)+", "", "the numbers in then have no evidence",
    ),
    "a severity that is not one": (GATE, r"^severity: \w+", "severity: severe", "must be one of: contraindicated"),
    "a summary that is too long": (GATE, r"summary: .*", "summary: " + "x" * 141, "at most 140"),
    "a placeholder that nothing fills": (GATE, r"action: ", "action: \"{lab.pth}\"\n    # ", "{lab.pth}"),
    "a code that nothing says": (
        "labs/magnesium-low.yaml", r"would_change: \[", "would_change: [no-such-code, ", "'no-such-code'",
    ),
    "no case on the boundary": (
        "safety/limit-mg-upper-level.yaml", r"patient: \{age_years: 18\}", "patient: {age_years: 19}",
        "no case exactly on the boundary 18 of age_years",
    ),
    "no case for an outcome": (
        "safety/limit-mg-upper-level.yaml", r"^    - \{name: age not stated.*\n", "", "no case ends as not_evaluated",
    ),
    "a case that is wrong": (
        "safety/limit-mg-upper-level.yaml", r"name: 17 years, expect: silent", "name: 17 years, expect: fires",
        "ends as silent, expected fires",
    ),
    "a definition that is missing": (
        "definitions/faster-kidney-staleness.yaml",
        r"defined: diuretic\b",
        "defined: diuretics",
        "no definition 'diuretics'",
    ),
    "band edges that fall": (
        "bands/potassium-status.yaml", r"to: \[?2\.5 mmol/L\]?", "to: [3.2 mmol/L]", "the edges must rise",
    ),
    "a review before the date": (GATE, r"next_review: .*", "next_review: 2020-01-01", "must be later than date"),
    "a drug name with two owners": (
        "vocabulary/drugs.yaml", r"names: \[", "names: [Synthroid, ", "is also a name of",
    ),
    "a drug name that differs only in accents and signs": (
        "vocabulary/drugs.yaml", r"names: \[", "names: [Sýnthroid!, ", "is also a name of",
    ),
    "a drug name without a letter": ("vocabulary/drugs.yaml", r"names: \[", "names: ['-', ", "no letter and no digit"),
    "measured that is neither true nor false": (HIGH, r"measured: true", "measured: yes", "must be true or false"),
    "a lab asked two things": (HIGH, r"measured: true", "measured: true, older_than: 7 days", "exactly one of"),
    "a lab asked nothing": (HIGH, r", measured: true", "", "exactly one of: status"),
    "an unknown key next to a lab": (HIGH, r"measured: true", "within: 7 days", "unknown key 'within'"),
    "an unknown key next to a comparator": (
        "vitamin-d/vitd-intake-above-limit.yaml", r"dose: \{above:", "dose: {abvoe: 1 mg/d, above:",
        "unknown key 'abvoe'",
    ),
    "comparators in different units": (
        "urgent/urgent-magnesium-severely-low.yaml", r"below: \[0\.40", "at_least: 0.1 mmol/L, below: [0.40",
        "the same units everywhere",
    ),
    "an anchor": (GATE, r"^title: ", "title: &here ", "an anchor is not allowed: &here"),
    "an alias": (GATE, r"^title: .*", "title: *there", "an alias is not allowed: *there"),
    "a tag": (GATE, r"^title: ", "title: !!str ", "a tag is not allowed"),
    "an unknown key in the equations": (DERIVED, r"^    unit:", "    unti: x\n    unit:", "unti: Unknown field"),
    "an unknown lab in an equation": (DERIVED, r"lab: cystatin_c", "lab: cystatin", "the lab 'cystatin' is not known"),
    "an unknown unit in an equation": (DERIVED, r"unit: mg/dL", "unit: mg/L", "'mg/L' does not belong to creatinine"),
    "a sex without a coefficient": (
        DERIVED, r"scale: \{female: 0\.7, ", "scale: {", "a number for each of: female, male",
    ),
    "an unknown source of an equation": (
        DERIVED, r"sources: \[SRC-INKER2021", "sources: [SRC-X", "'SRC-X' is not known",
    ),
    "an unknown condition of an equation": (DERIVED, r"acute_kidney_injury", "kidney", "the condition 'kidney' is not"),
    "an unknown pregnancy of an equation": (
        DERIVED, r"\[pregnant\]", "[expecting]", "the pregnancy 'expecting' is not",
    ),
    "a worked example of eGFR that is wrong": (
        DERIVED, r"value: 71\.418", "value: 71.419", "ckd_epi_2021_creatinine: gives 71.41",
    ),
    "a worked example of calcium that is wrong": (DERIVED, r"value: \"2\.6 mmol", 'value: "2.5 mmol', "gives 2.6"),
    "a worked example without a number": (
        DERIVED, r"creatinine: 1\.0, cystatin_c", "cystatin_c", "must have: age_years",
    ),
    "a unit of calcium without a formula": (
        DERIVED, r"^ *- \{calcium_unit: mg/dL.*\n", "", "no formula for calcium_total in mg/dL",
    ),
    "a unit of calcium that the adjusted value has not": (
        LABS, r"(?s)(  calcium_total:.*?    units:\n)", CALCIUM_UNIT, "calcium_adjusted cannot",
    ),
    "an unknown lab that answers": (LABS, r"answered_by: \[egfr\]", "answered_by: [gfr]", "'gfr' is not known"),
    "an unknown unit of a hint": (
        LABS, r"swap_hint:\n      - \{unit: ng/mL", "swap_hint:\n      - {unit: ng", "'ng' is not",
    ),
    "a hint that falls": (LABS, r"from: 50, to: 150", "from: 150, to: 50", "must run from the lower number"),
    "a factor of zero": (LABS, r"factor: 2\.496", "factor: 0", "must be above zero"),
    "an own unit that is converted": (
        LABS, r"nmol/L: \{factor: 1,", "nmol/L: {factor: 2,", "must be 1 for the lab's own",
    ),
    "a range of one number": (LABS, r"possible: \[2\.5, 3750\]", "possible: [2.5]", "must be two numbers"),
    "a range that falls": (LABS, r"possible: \[2\.5, 3750\]", "possible: [3750, 2.5]", "must be two numbers"),
    "plausible but not possible": (LABS, r"plausible: \[10, 375\]", "plausible: [1, 375]", "must lie inside possible"),
    "a range of a vital sign that falls": (
        "vocabulary/vitals.yaml", r"possible: \[15, 300\]", "possible: [300, 15]", "must be two numbers",
    ),
    "an unknown agent of a goal": (
        "vocabulary/goals.yaml", r"agents: \[magnesium\]", "agents: [mg]", "'mg' is not known",
    ),
    "an unknown route of a class": (
        "vocabulary/drug-classes.yaml", r"routes: \[oral\]", "routes: [by_mouth]", "'by_mouth' is not known",
    ),
    "an unknown route of a row": (ROWS, r"routes: \[oral\]", "routes: [by_mouth]", "the route 'by_mouth' is not known"),
    "an unknown effect": (ROWS, r"effect: \[drug_effect_down\]", "effect: [down]", "one of: drug_effect_down"),
    "an unknown salt": (ROWS, r"salts: all", "salts: [oxide]", "or a list of: magnesium_glycinate"),
    "salts that are a word": (ROWS, r"salts: all", "salts: any", "must be one of: all, acid_neutralising, or a list"),
    "a silent row that asks for a lab": (
        ROWS, r"action: separate",
        "action: none\n    labs: [{lab: ecg, priority: urgent, question: q, reason: r, timing: t, would_change: [x]}]",
        "would be lost",
    ),
    "a silent row that is severe": (NONE, r"severity: minor", "severity: major", "with the action 'none' is minor"),
    "a silent row with an effect": (NONE, r"effect: \[none\]", "effect: [mg_down]", "has the effect none"),
    "a medicine of a silent row of which another speaks": (
        NONE, r"members: \[pregabalin", "members: [gabapentin, pregabalin", "gabapentin is also in mg-gabapentin",
    ),
    "a summary with other hours": (ROWS, r"keep them 4 h apart", "keep them 9 h apart", "speaks of 9 h"),
    "hours that no text says": (ROWS, r"hours_before: 4", "hours_before: 5", "5 h stands neither in the summary nor"),
    "hours longer than a day": (ROWS, r"hours_before: 4", "hours_before: 400", "do not fit into a day"),
    "cautious hours that are shorter": (
        "interactions/magnesium-quinolones.yaml", r"conservative_spacing: \{hours_before: \d",
        "conservative_spacing: {hours_before: 1", "mg-fq-levofloxacin: the hours are shorter",
    ),
    "an escalation that is milder": (
        ROWS, r"^    conflict: >-", f"    escalate: [{ESCALATION}, severity: minor}}]\n    conflict: >-",
        "below the row's own",
    ),
    "an escalation with shorter hours": (
        ROWS, r"^    conflict: >-",
        f"    escalate: [{ESCALATION}, severity: major, spacing: {{hours_before: 1, hours_after: 4}}}}]\n"
        "    conflict: >-",
        "shorter than the row's own",
    ),
    "a concept identifier with a wrong digit": (
        CONDITIONS, r"snomed: \['31541009'\]", "snomed: ['31541008']", "no SNOMED CT concept identifier",
    ),
    "a diagnosis code of another shape": (CONDITIONS, r"icd10cm: \[D86\.9\]", "icd10cm: [D869]", "no ICD-10-CM code"),
    "a LOINC number with a wrong digit": (LABS, r"loinc: 17861-6", "loinc: 17861-7", "no LOINC number"),
    "a code of two conditions": (CONDITIONS, r"icd10cm: \[D86\.9\]", "icd10cm: [G43.909]", "also belongs to"),
    "a rule that nobody signed in a signed rule set": (
        "knowledge.yaml", r"sign_off: pending", "sign_off: signed", "knowledge.yaml says that everything is",
    ),
    "a case with an unknown field": (GATE, r"with: \{", "with: {vitalz: {}, ", "/vitalz"),
    "a case with a medicine nobody knows": (ROWS, r"Cytomel 25 mcg", "Cytomle 25 mcg", "so it proves nothing"),
    "hours below zero": (ROWS, r"hours_before: 4", "hours_before: -4", "must not be below zero"),
    "a row that is called like a class": (
        ROWS, r"- id: mg-levothyroxine", "- id: thyroid-hormone", "is also a drug class",
    ),
    "edges of another authority that fall": (
        "bands/vitamin-d-25oh-status.yaml", r"to: \[75 nmol/L, 30 ng/mL\]\}", "to: [45 nmol/L, 30 ng/mL]}", "must rise",
    ),
    "edges of another authority in one unit": (
        "bands/vitamin-d-25oh-status.yaml", r"Insufficiency, to: \[75 nmol/L, 30 ng/mL\]", "I, to: 75 nmol/L",
        "must give the edge in",
    ),
    "no case below an edge": (
        "bands/egfr-status.yaml", r"^  - \{value: \"14\.9 .*\n", "", "no case in the band below the edge 15 mL",
    ),
    "a definition that is retired": (
        "definitions/diuretic.yaml", r"status: active", "status: retired", "the definition 'diuretic' is not active",
    ),
    "a band table that is retired": (
        "bands/potassium-status.yaml", r"status: active", "status: retired", "'potassium-status' is not active",
    ),
    "a code that only a retired rule says": (
        "urgent/urgent-calcium-high-same-day.yaml", r"status: active", "status: retired",
        "'calcium-high-same-day', which nothing says",
    ),
    "a code with two categories": (
        GATE, r"    code: .*", "    code: vitamin-d-high", "of the code 'vitamin-d-high' differs",
    ),
    "a result that is no quantity": (
        "safety/limit-mg-upper-level.yaml", r"patient: \{age_years: 18\}", "labs: {egfr: 30ml}",
        "egfr: must be 'number unit'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BROKEN))
def test_refused_with_file_and_line(rules: Path, what: str) -> None:
    """Each fault is named with the file and a line, and the rules are not used."""
    file, pattern, by, message = BROKEN[what]
    replace(rules / file, pattern, by)
    said = faults(rules)
    assert any(message in one for one in said), said
    assert all(re.match(r"[a-z-]+/[a-z0-9-]+\.yaml:\d+: ", one) for one in said)


@pytest.mark.parametrize(
    ("pattern", "by"),
    [
        (r"members: \[gabapentin, pregabalin\]", "members: [gabapentin, pregabalin]\n    routes: [intravenous]"),
        (r"status: active", "status: retired"),
    ],
    ids=["another route", "a retired table"],
)
def test_a_silent_row_that_contradicts_nothing(rules: Path, pattern: str, by: str) -> None:
    """Gabapentin has a row that speaks, by mouth; only a silent row beside it is a contradiction."""
    replace(rules / NONE, r"members: \[pregabalin\]", "members: [gabapentin, pregabalin]")
    assert any("is also in mg-gabapentin" in one for one in faults(rules))
    replace(rules / NONE, pattern, by)
    assert not any("is also in" in one for one in faults(rules))


def test_the_line_is_the_right_one(rules: Path) -> None:
    """The line of a refusal is the line that must be mended."""
    line = replace(rules / GATE, r"^severity: \w+", "severity: severe")
    assert faults(rules) == [f"{GATE}:{line}: severity: must be one of: contraindicated, major, moderate, minor"]


def test_a_repeated_id_is_refused(rules: Path) -> None:
    """Two files cannot carry one id, whatever their folders."""
    shutil.copy(rules / GATE, rules / "advice" / Path(GATE).name)
    assert any("is also used in" in one for one in faults(rules))


def test_a_file_that_is_not_called_like_its_id_is_refused(rules: Path) -> None:
    """The id is the file's name."""
    (rules / GATE).rename(rules / "safety" / "something-else.yaml")
    assert any("the id must be the file's name" in one for one in faults(rules))


@pytest.mark.parametrize(
    "name",
    ["stray.yaml", "safety/gate-extra.yml", "vocabulary/extra.yaml", "vocabulary/drugs.yml", "labs/notes.txt"],
)
def test_a_file_that_nobody_reads_is_refused(rules: Path, name: str) -> None:
    """A rule in a file that is not read would be missed without a word."""
    (rules / name).write_text("id: x\n", encoding="utf-8")
    assert faults(rules) == [f"{name}:1: the file is not known; nothing would read it"]


def test_a_wrong_band_table_is_one_fault(rules: Path) -> None:
    """What uses a table is not blamed for the faults of the table."""
    replace(rules / "bands/egfr-status.yaml", r"status: G4\}", "status: G44}")
    assert [one for one in faults(rules) if not one.startswith("bands/egfr-status.yaml")] == []
    replace(rules / "bands/egfr-status.yaml", r"^kind: bands", "kind: bands\nextra: 1")
    assert [one for one in faults(rules) if not one.startswith("bands/egfr-status.yaml")] == []


def test_a_retired_band_table_gives_way_to_its_successor(rules: Path) -> None:
    """Retire, never delete: the old table stays beside the new one."""
    old = rules / "bands/potassium-status.yaml"
    text = old.read_text(encoding="utf-8")
    new = rules / "bands/potassium-status-2.yaml"
    new.write_text(text.replace("id: potassium-status", "id: potassium-status-2"), encoding="utf-8")
    assert any("has two band tables" in one for one in faults(rules))
    replace(old, "status: active", "status: retired")
    assert faults(rules) == []
    assert "potassium-status-2-low" in load_rulebook(rules).rules


def test_what_is_retired_together_stays_readable(rules: Path) -> None:
    """A retired rule may use a retired definition."""
    body = NEW["new-tremor"](rules)
    definition = (rules / "labs/new-tremor.yaml").read_text(encoding="utf-8")
    definition = re.sub(r"(?ms)^severity:.*?(?=^evidence:)", "", definition)
    for old, by in (("id: new-tremor", "id: has-tremor"), ("kind: caution", "kind: definition")):
        definition = definition.replace(old, by)
    (rules / "definitions/has-tremor.yaml").write_text(definition, encoding="utf-8")
    replace(rules / "labs/new-tremor.yaml", r"\{symptom: tremor\}", "{defined: has-tremor}")
    assert faults(rules) == []
    replace(rules / "definitions/has-tremor.yaml", "status: active", "status: retired")
    assert any("the definition 'has-tremor' is not active" in one for one in faults(rules))
    replace(rules / "labs/new-tremor.yaml", "status: active", "status: retired")
    assert faults(rules) == []
    assert "new-tremor" not in [one["code"] for one in ask(rules, body)["cautions"]]


def test_the_line_of_a_missing_case_is_that_of_the_cases(rules: Path) -> None:
    """What no case shows is mended where the cases stand."""
    file = rules / "safety/limit-mg-upper-level.yaml"
    replace(file, r"^    - \{name: age not stated.*\n", "")
    line = file.read_text(encoding="utf-8").split("\nexamples:")[0].count("\n") + 2
    assert [one.split(": ")[0] for one in faults(rules)] == [f"safety/limit-mg-upper-level.yaml:{line}"]


def test_a_case_that_cannot_be_read_is_a_fault(rules: Path) -> None:
    """An unreadable case is reported, and the check goes on."""
    replace(rules / "safety/limit-mg-upper-level.yaml", r"patient: \{age_years: 17\}", "labs: {egfr: {value: 30}}")
    assert any("the request cannot be read" in one for one in faults(rules))


def test_one_day_ago(rules: Path) -> None:
    """A result of yesterday is written as one says it."""
    body = NEW["new-tremor"](rules)
    replace(rules / "labs/new-tremor.yaml", r"with: \{\}", 'with: {labs: {egfr: "82 mL/min/{1.73_m2}, 1 day ago"}}')
    assert faults(rules) == []
    assert ask(rules, body)
    silent = load_rulebook(rules).rules["new-tremor"].cases[1].request
    assert silent["labs"]["egfr"]["collected_on"] == "2026-11-19"


def test_egfr_in_another_unit(rules: Path) -> None:
    """A unit that is added to eGFR is converted, here one of mL/s."""
    add(
        rules,
        LABS,
        r'      "mL/min/\{1\.73_m2\}": .*\n',
        '      "mL/s/{1.73_m2}": {factor: 60, possible: [0, 3.3], plausible: [0.1, 2.3], '
        'printed_as: "mL/min/{1.73_m2}"}\n',
    )
    assert faults(rules) == []
    body = {"patient": {"age_years": 50}, "labs": {"egfr": {"value": 0.4, "unit": "mL/s/{1.73_m2}"}}}
    assert '"G4"' in json.dumps(ask(rules, body)["interpretation"])


def test_a_definition_cannot_use_itself(rules: Path) -> None:
    """A circle of definitions is refused."""
    replace(rules / "definitions/diuretic.yaml", r"^when:\n", "when:\n  itself: {defined: diuretic}\n")
    assert any("defined by itself" in one for one in faults(rules))


def test_all_faults_come_at_once(rules: Path) -> None:
    """The author sees every fault in one run."""
    replace(rules / GATE, r"^severity: \w+", "severity: severe")
    replace(rules / "safety/limit-mg-upper-level.yaml", r"^    adult: \{sources.*\n", "")
    assert len(faults(rules)) == 2


def test_start_up_refuses(rules: Path) -> None:
    """A service with a bad rule does not start."""
    replace(rules / GATE, r"^severity: \w+", "severity: severe")
    with pytest.raises(KnowledgeError):
        create_app(Settings(rules=rules))


def test_check_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m service check`` says what it read and ends with 0."""
    assert main(["check"]) == 0
    assert re.match(r"\d+ rules, \d+ cases, .*, 0 faults; sha256:", capsys.readouterr().out)


# Adding knowledge without Python. Each entry changes a copy of the rules; then the running service is asked.


def ask(rules: Path, body: dict[str, Any]) -> dict[str, Any]:
    """Start a service on these rules and evaluate one request."""
    client = create_app(Settings(rules=rules, log_level="error")).test_client()
    answer = client.post("/v1/evaluations", json={"as_of": "2026-11-20", **body})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    result: dict[str, Any] = json.loads(answer.data)
    return result


def rule(rule_id: str, when: str, case: str, says: str = "New.") -> str:
    """A small caution as a rule file."""
    return f"""
id: {rule_id}
title: A new rule
kind: caution
status: active
version: 1
date: 2026-11-21
next_review: 2027-11-21
sign_off: pending
purpose: To see that a rule needs no Python.
when:
  reason: {when}
severity: moderate
then:
  caution:
    code: {rule_id}
    category: lab_result
    agent: magnesium
    summary: {says}
    detail: New.
    action: Look.
evidence:
  certainty: not_graded
  supports:
    reason: {{sources: [SRC-POLICY], says: Policy.}}
limits: [New.]
examples:
  patient: {{patient: {{age_years: 50}}, conditions: [], medications: [], symptoms: [], goals: [], supplements: {{}}}}
  cases:
{case}
"""


def cases(fires: str, silent: str, unknown: str, on: str = "") -> str:
    """The cases that a rule must have."""
    lines = [
        f"    - {{name: fires, expect: fires, with: {fires}}}",
        f"    - {{name: silent, expect: silent, with: {silent}}}",
        f"    - {{name: not known, expect: not_evaluated, with: {unknown}}}",
    ]
    return "\n".join([*lines, on] if on else lines)


def add(rules: Path, file: str, after: str, text: str) -> None:
    """Put text behind the first line that matches."""
    path = rules / file
    content = path.read_text(encoding="utf-8")
    match = re.search(after, content, re.MULTILINE)
    assert match is not None
    path.write_text(content[: match.end()] + text + content[match.end() :], encoding="utf-8")


def new_lab(rules: Path) -> dict[str, Any]:
    add(
        rules,
        "vocabulary/labs.yaml",
        r"^labs:\n",
        """  selenium:
    display: Serum selenium
    loinc: null
    unit: umol/L
    units:
      umol/L: {factor: 1, possible: [0.1, 20], plausible: [0.4, 4]}
      ug/L: {factor: 0.01266, possible: [8, 1580], plausible: [31, 316]}
    sources: {factors: [SRC-POLICY], ranges: [SRC-POLICY]}
""",
    )
    text = cases(
        '{labs: {selenium: "0.7 umol/L"}}', '{labs: {selenium: "0.8 umol/L"}}', "{labs: null}",
        '    - {name: in the other unit, expect: fires, with: {labs: {selenium: "60 ug/L"}}}',
    )  # fmt: skip
    (rules / "labs/new-selenium.yaml").write_text(rule("new-selenium", "{lab: selenium, below: 0.8 umol/L}", text))
    return {"labs": {"selenium": {"value": 60, "unit": "ug/L"}}}


def new_unit(rules: Path) -> dict[str, Any]:
    replace(
        rules / "vocabulary/labs.yaml",
        r"(?s)(  potassium:.*?    units:\n)",
        re.search(r"(?s)(  potassium:.*?    units:\n)", (rules / "vocabulary/labs.yaml").read_text())[1]  # type: ignore[index]
        + "      mg/dL: {factor: 0.2558, possible: [4, 47], plausible: [9, 24], printed_as: mmol/L}\n",
    )
    text = cases(
        '{labs: {potassium: "12.5 mg/dL"}}', '{labs: {potassium: "3.3 mmol/L"}}', "{labs: null}",
    )  # fmt: skip
    (rules / "labs/new-unit.yaml").write_text(rule("new-unit", "{lab: potassium, below: 3.3 mmol/L}", text))
    return {"labs": {"potassium": {"value": 12.5, "unit": "mg/dL"}}}


def new_condition(rules: Path) -> dict[str, Any]:
    add(
        rules,
        "vocabulary/conditions.yaml",
        r"^conditions:\n",
        "  gitelman_syndrome: {display: Gitelman syndrome, snomed: ['707756004'], icd10cm: []}\n",
    )
    text = cases("{conditions: [{key: gitelman_syndrome}]}", "{}", "{conditions: null}")
    (rules / "safety/new-gitelman.yaml").write_text(rule("new-gitelman", "{condition: gitelman_syndrome}", text))
    return {"conditions": [{"code": {"system": "http://snomed.info/sct", "code": "707756004"}}]}


def new_drug(rules: Path) -> dict[str, Any]:
    add(
        rules,
        "vocabulary/drugs.yaml",
        r"^drugs:\n",
        "  newmycin: {display: newmycin, rxnorm: null, names: [Newbrand]}\n",
    )
    add(
        rules,
        "vocabulary/drug-classes.yaml",
        r"^drug_classes:\n",
        "  new_class: {display: new class, members: [newmycin]}\n",
    )
    text = cases("{medications: [{name: Newbrand 10 mg}]}", "{}", "{medications: null}")
    (rules / "labs/new-drug.yaml").write_text(rule("new-drug", "{drug_class: new_class}", text))
    return {"medications": [{"name": "NEWBRAND 10 mg tablets"}]}


def new_symptom(rules: Path) -> dict[str, Any]:
    add(rules, "vocabulary/symptoms.yaml", r"^symptoms:\n", "  tremor: {display: Tremor}\n")
    text = cases("{symptoms: [{key: tremor}]}", "{}", "{symptoms: null}")
    (rules / "labs/new-tremor.yaml").write_text(rule("new-tremor", "{symptom: tremor}", text))
    return {"symptoms": [{"key": "tremor"}]}


def new_form(rules: Path) -> dict[str, Any]:
    add(
        rules,
        "vocabulary/forms.yaml",
        r"^forms:\n",
        """  magnesium_pidolate:
    display: Magnesium pidolate
    formula: Mg(C5H6NO3)2
    elemental_percent: 8.7
    tolerability: fair
    absorption: little data
    certainty: very_low
    use: not preferred
    cost_tier: medium
    laxative: false
    acid_neutralising: false
    rxnorm: null
    sources: [SRC-POLICY]
""",
    )
    taken = "{supplements: {magnesium: {form: magnesium_pidolate}}}"
    text = cases(taken, "{}", "{supplements: null}")
    (rules / "labs/new-form.yaml").write_text(
        rule("new-form", "{supplement: magnesium, form: magnesium_pidolate}", text)
    )
    return {"supplements": {"magnesium": {"form": "magnesium_pidolate"}}}


def new_goal(rules: Path) -> dict[str, Any]:
    add(rules, "vocabulary/goals.yaml", r"^goals:\n", "  bone: {display: Bone, agents: [vitamin_d]}\n")
    text = cases("{goals: [bone]}", "{}", "{goals: null}")
    (rules / "labs/new-goal.yaml").write_text(rule("new-goal", "{goal: bone}", text))
    return {"goals": ["bone"]}


def new_threshold(rules: Path) -> dict[str, Any]:
    text = cases(
        "{vitals: {heart_rate: \"101 /min\"}}", "{vitals: {heart_rate: \"100 /min\"}}", "{vitals: null}",
    )  # fmt: skip
    (rules / "labs/new-threshold.yaml").write_text(rule("new-threshold", "{vital: heart_rate, above: 100 /min}", text))
    return {"vitals": {"heart_rate": {"value": 101, "unit": "/min"}}}


NEW: dict[str, Callable[[Path], dict[str, Any]]] = {
    "new-selenium": new_lab,
    "new-unit": new_unit,
    "new-gitelman": new_condition,
    "new-drug": new_drug,
    "new-tremor": new_symptom,
    "new-form": new_form,
    "new-goal": new_goal,
    "new-threshold": new_threshold,
}


@pytest.mark.parametrize("code", list(NEW))
def test_new_knowledge_needs_no_python(rules: Path, code: str) -> None:
    """A new lab, unit, condition, drug, symptom, form, goal or threshold works in the running service."""
    body = NEW[code](rules)
    assert faults(rules) == []
    assert code in [one["code"] for one in ask(rules, body)["cautions"]]


def test_a_draft_rule_is_read_but_does_not_speak(rules: Path) -> None:
    """Only active rules run; the others are named by GET /v1/knowledge."""
    body = NEW["new-threshold"](rules)
    replace(rules / "labs/new-threshold.yaml", "status: active", "status: draft")
    assert "new-threshold" not in [one["code"] for one in ask(rules, body)["cautions"]]
    assert load_rulebook(rules).inactive == ("new-threshold",)


def test_the_digest_changes_with_any_word(rules: Path) -> None:
    """Knowledge that differs in one word is other knowledge."""
    before = load_rulebook(rules).digest
    replace(rules / GATE, r"^title: ", "title: Note, ")
    assert load_rulebook(rules).digest != before
