"""What is wrong in rules/ is refused at start, with file and line; what is new needs no Python."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.__main__ import main
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
        return [str(fault) for fault in check_cases(load_rulebook(rules))]
    except KnowledgeError as error:
        return [str(fault) for fault in error.faults]


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
        "safety/ask-medications.yaml", r"magnesium-in-play", "magnesium-at-play", "no definition 'magnesium-at-play'",
    ),
    "band edges that fall": (
        "bands/potassium-status.yaml", r"to: \[?2\.5 mmol/L\]?", "to: [3.2 mmol/L]", "the edges must rise",
    ),
    "a review before the date": (GATE, r"next_review: .*", "next_review: 2020-01-01", "must be later than date"),
    "a drug name with two owners": (
        "vocabulary/drugs.yaml", r"names: \[", "names: [Synthroid, ", "is also a name of",
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
    assert re.match(r"\d+ rules, \d+ cases, 0 faults; sha256:", capsys.readouterr().out)


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
