"""The service against the oracle: every rule ends the same for thousands of patients, and answers say what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.assessment import Assessor
from service.assessment.body import from_json
from service.knowledge import Rulebook
from tests.oracle import FIRES, NOT_EVALUATED, SILENT, Oracle, listed
from tests.patients import Patients, as_json

PATIENTS = 20_000
CHUNK = 1_000
ANSWERED = 600
"""How many of them are also sent as requests."""

PARTS = ("band", "definition", "data_quality", "intake")
"""Kinds of rules that are never listed as not evaluated by themselves."""


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """The third reading of the rules."""
    return Oracle()


@pytest.fixture(scope="session")
def patients() -> Patients:
    """Patients by number."""
    return Patients()


@pytest.fixture(scope="session")
def assessor(rulebook: Rulebook) -> Assessor:
    """Both evaluators of the service."""
    return Assessor(rulebook)


def test_same_rules(oracle: Oracle, rulebook: Rulebook) -> None:
    """The oracle reads as many rules as the service, under the same ids."""
    assert sorted(oracle.rules) == sorted(rulebook.rules)


def test_worked_cases(oracle: Oracle, patients: Patients) -> None:
    """The oracle ends every rule as its worked cases say, without the service."""
    wrong = [(rule, expect, body) for rule, expect, body in patients.worked if oracle.outcomes(body)[rule] != expect]
    assert not wrong
    assert len(patients.worked) > 1_000


@pytest.mark.parametrize("first", range(0, PATIENTS, CHUNK))
def test_outcomes(first: int, oracle: Oracle, patients: Patients, assessor: Assessor) -> None:
    """Engine, second evaluator and oracle agree on every rule for every patient."""
    differences = []
    for number in range(first, first + CHUNK):
        body = patients.patient(number)
        expected = oracle.outcomes(body)
        found = {rule: outcome.value for rule, outcome in assessor.outcome_by_rule(from_json(body)).items()}
        if found != expected:
            differences += [
                (rule, number, f"{expected[rule]}, not {found[rule]}")
                for rule in expected
                if found[rule] != expected[rule]
            ]
    assert not differences, (Counter(rule for rule, _, _ in differences), differences[:10])


def test_every_end_of_every_rule_is_met(oracle: Oracle, patients: Patients) -> None:
    """Every rule fires and is silent for some patients; which are not evaluated for some, the worked cases say."""
    met = {rule: set() for rule in oracle.rules}
    for number in range(2 * len(patients.cases)):
        for rule, end in oracle.outcomes(patients.patient(number)).items():
            met[rule].add(end)
    worked = {rule: set() for rule in oracle.rules}
    for rule, expect, _ in patients.worked:
        worked[rule].add(expect)
    for rule, about in oracle.about.items():
        # A row of a table and a generated rule need no case for what is missing: none is known without its input.
        if about["kind"] == "interaction" or not worked[rule]:
            worked[rule].add(NOT_EVALUATED)
    assert met == {rule: {FIRES, SILENT} | ends for rule, ends in worked.items()}


def test_every_word_and_number_is_met(oracle: Oracle, patients: Patients) -> None:
    """Every drug, condition and symptom comes up, and every value around every number of a lab."""
    drugs, values, keys = set(), set(), set()
    for number in range(PATIENTS):
        body = patients.patient(number)
        for one in body.get("medications", ()):
            drugs |= oracle.vocabulary.ingredients(one)
        values |= {(lab, one["unit"], one["value"]) for lab, one in body.get("labs", {}).items()}
        keys |= {one["key"] for part in ("conditions", "symptoms") for one in body.get(part, ()) if "key" in one}
    assert set(oracle.vocabulary.drugs) <= drugs
    assert {*oracle.vocabulary.conditions, *patients.symptoms} <= keys
    assert set(patients.probes) <= values


# The answer.


def rules_in(part: Any) -> set[str]:
    """The ids of all rules that a part of an answer names."""
    if isinstance(part, dict):
        named = {one["id"] for one in (*part.get("rules", ()), *([part["rule"]] if "rule" in part else ()))}
        return named.union(*(rules_in(one) for one in part.values()))
    return set().union(*(rules_in(one) for one in part)) if isinstance(part, list) else set()


def targets(held: Any) -> Iterator[str]:
    """What a gate holds back: words, and forms one by one."""
    for one in listed(held):
        yield from one["forms"] if isinstance(one, dict) else [one]


class Expected:
    """What must and what may be in the answer to a request, by the oracle and the rule files."""

    def __init__(self, oracle: Oracle, body: dict[str, Any]) -> None:
        self.about = oracle.about
        self.patient = oracle.patient(body)
        outcomes = oracle.outcomes(body)
        self.fired = {rule for rule, end in outcomes.items() if end == FIRES}
        self.unknown = {rule for rule, end in outcomes.items() if end == NOT_EVALUATED}
        self.concerned = self._concerned(outcomes, body)
        self.unrecognised = {
            f"/medications/{index}{part.place}"
            for index, one in enumerate(body.get("medications", ()))
            for part in oracle.vocabulary.recognised(one).unread
        }
        said = {self.about[rule].get("disposition") for rule in self.fired}
        self.urgent = "urgent" in said or bool(self.of_kind(self.fired, "urgent"))
        self.out_of_scope = "out_of_scope" in said and not self.urgent
        severe = any(self.about[rule].get("severity") in ("major", "contraindicated") for rule in self.fired)
        self.review = "review" in said or severe or bool(self.gates(self.fired))

    def of_kind(self, rules: set[str], *kinds: str) -> set[str]:
        """Those of the rules that are of these kinds."""
        return {rule for rule in rules if self.about[rule]["kind"] in kinds}

    def gates(self, rules: set[str]) -> set[str]:
        """Those of the rules that are gates."""
        return self.of_kind(rules, "gate")

    def _concerned(self, outcomes: dict[str, str], body: dict[str, Any]) -> set[str]:
        """What there is to hold back: nothing of an agent that is neither wanted nor taken."""
        found: set[str] = set()
        if outcomes["magnesium-in-play"] != SILENT:
            found |= {"magnesium_forms", "magnesium_dose", "food_advice"}
        if outcomes["vitamin-d-in-play"] != SILENT:
            found.add("vitamin_d_advice")
        found |= {one["form"] for rule in self.fired for one in self.about[rule].get("suggest", ())}
        return found | {body.get("supplements", {}).get("magnesium", {}).get("form")}

    def waiting(self) -> set[str]:
        """The gates that cannot be evaluated and have something to hold back."""
        return {rule for rule in self.gates(self.unknown) if self.concerned & self.held_unknown(rule)}

    def held_unknown(self, rule: str) -> set[str]:
        """What a gate holds back when it cannot be evaluated."""
        about = self.about[rule]
        usual = ["magnesium_dose" if one == "magnesium_forms" else one for one in targets(about["holds_back"])]
        return set(targets(about.get("when_not_evaluated", {}).get("holds_back", usual)))

    def saying(self, what: str) -> set[str]:
        """The fired rules that have something of this sort to say."""
        return {rule for rule in self.fired if self.about[rule].get(what)}

    def cautions(self) -> set[str]:
        """The fired rules with a caution, and what makes one of these more severe."""
        found = self.saying("caution")
        if self.out_of_scope:
            found = {rule for rule in found if self.about[rule].get("disposition") == "out_of_scope"}
        return found | {
            rule for rule in self.of_kind(self.fired, "escalation") if rule.rpartition("-escalation-")[0] in found
        }

    def held(self) -> set[str]:
        """What gates hold back, those that cannot be evaluated included."""
        found: set[str] = set()
        for rule in self.gates(self.fired):
            found |= set(targets(self.about[rule]["holds_back"]))
        return found.union(*(self.held_unknown(rule) for rule in self.waiting()))

    def asked(self) -> set[tuple[str, str]]:
        """Labs that fired rules ask for and that are not answered in the request, with the rule."""
        return {
            (one["lab"], rule)
            for rule in self.saying("labs")
            for one in self.about[rule]["labs"]
            if one.get("repeat") == "true" or not self.answered(one["lab"], one.get("stale_after"))
        }

    def answered(self, lab: str, stale_after: str | None) -> bool:
        """Whether a lab, or another one that answers for it, is known, and no older than it may be."""
        others = self.patient.vocabulary.labs.get(lab, {}).get("answered_by", ())
        ages = [age for one in (lab, *others) if (age := self.patient.lab_age(one)) is not None]
        return bool(ages) and (stale_after is None or min(ages) <= int(stale_after.removesuffix(" days")))


@pytest.mark.parametrize("share", range(6))
def test_answers(share: int, oracle: Oracle, patients: Patients, client: FlaskClient) -> None:
    """What fired is said, unless something more pressing silences it; what did not fire is not."""
    step = PATIENTS // ANSWERED
    for number in range(share * step, PATIENTS, 6 * step):
        body = patients.patient(number)
        response = client.post("/v1/evaluations", data=as_json(body), content_type="application/json")
        assert response.status_code == 200, (number, response.text)
        check_answer(number, response.get_json(), Expected(oracle, body))


def check_answer(number: int, answer: dict[str, Any], expected: Expected) -> None:
    """Hold an answer against what the oracle expects."""
    fired, unknown, gates = expected.fired, expected.unknown, expected.gates
    if expected.urgent:
        assert answer["disposition"] == "urgent", number
    elif expected.out_of_scope:
        assert answer["disposition"] == "out_of_scope", number
    else:
        assert answer["disposition"] in (("review",) if expected.review else ("routine", "review")), number

    assert rules_in(answer["cautions"]) == expected.cautions(), number
    listed_rules = {rule for one in answer["not_evaluated"] for rule in one["rules"]}
    assert listed_rules == unknown - expected.of_kind(unknown, *PARTS), number
    medicines = {one["pointer"] for one in answer["unrecognised"] if one["pointer"].startswith("/medications")}
    assert medicines == expected.unrecognised, number
    for part in ("interpretation", "form_suggestions", "lab_questions", "advice"):
        assert rules_in(answer[part]) <= fired, (number, part)
    for part in ("forms_not_suggested", "follow_up_questions", "held_back"):
        assert rules_in(answer[part]) <= fired | gates(unknown), (number, part)

    meanings = set() if expected.out_of_scope else expected.of_kind(fired, "band", "intake")
    assert rules_in(answer["interpretation"]) == meanings, number
    if expected.urgent or expected.out_of_scope:
        for part in ("form_suggestions", "forms_not_suggested", "held_back", "follow_up_questions", "advice"):
            assert answer[part] == [], (number, part)
        assert all(one["priority"] == "urgent" for one in answer["lab_questions"]), number
        return

    holding = {rule: one["outcome"] for one in answer["held_back"] for rule in rules_in(one)}
    assert holding == {
        **dict.fromkeys(gates(fired), FIRES),
        **dict.fromkeys(expected.waiting(), NOT_EVALUATED),
    }, number
    asked = {(one["lab"], rule) for one in answer["lab_questions"] for rule in rules_in(one)}
    assert asked == expected.asked(), number
    assert expected.saying("questions") <= rules_in(answer["follow_up_questions"]), number
    if not holding:
        doses = [one["dose"] for one in answer["form_suggestions"]]
        needed = {None: True, "form": bool(doses), "dose": any(doses)}
        said = {rule: expected.about[rule]["advice"] for rule in expected.saying("advice")}
        spoken = {rule for rule, items in said.items() if any(needed[one.get("needs")] for one in items)}
        assert rules_in(answer["advice"]) == spoken, number

    held, suggested = expected.held(), {one["form"] for one in answer["form_suggestions"]}
    assert not suggested & held, number
    assert not suggested & {one["form"] for one in answer["forms_not_suggested"]}, number
    if "magnesium_forms" in held:
        assert not suggested, number
    if "magnesium_dose" in held:
        assert all(one["dose"] is None for one in answer["form_suggestions"]), number
    if "food_advice" in held:
        assert "food" not in {one["topic"] for one in answer["advice"]}, number
    if "vitamin_d_advice" in held:
        assert "vitamin_d" not in {one["topic"] for one in answer["advice"]}, number
