"""When one of the two evaluators is broken there is no answer, not even a part of one; the next request is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import durable_rules_engine
import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.assessment import Assessor
from service.engine import EngineError, Outcomes
from service.knowledge import Rulebook
from tests.patients import Patients, as_json

Evaluate = Callable[[Any, Any], Outcomes]

BODY = as_json(
    {
        "as_of": "2026-11-20",
        "patient": {"age_years": 67, "sex": "female", "pregnancy": "none"},
        "labs": {"egfr": {"value": 52, "unit": "mL/min/{1.73_m2}"}, "magnesium": {"value": 0.58, "unit": "mmol/L"}},
        "medications": [{"name": "Synthroid 75 mcg"}, {"name": "ciprofloxacin"}],
        "goals": ["sleep"],
        "supplements": {},
    }
)


@pytest.fixture
def assessor(app: Flask) -> Assessor:
    """What the application under test evaluates with."""
    found: Assessor = app.view_functions["create_evaluation"].__self__.assessor
    return found


def post(client: FlaskClient, body: bytes = BODY) -> Any:
    """Ask for an evaluation."""
    return client.post("/v1/evaluations", data=body, content_type="application/json")


@pytest.fixture
def right(client: FlaskClient) -> bytes:
    """The right answer, and the proof that there is something to lose."""
    response = post(client)
    assert response.status_code == 200
    answer = response.get_json()
    assert answer["cautions"]
    assert answer["not_evaluated"]
    return response.data


def assert_no_answer(client: FlaskClient) -> None:
    """A problem that says so, and nothing else."""
    response = post(client)
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    problem = response.get_json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["type"] == "/problems/no-safe-answer"
    assert problem["status"] == 500
    for word in (b"caution", b"magnesium", b"suggest", b"Synthroid", b"egfr", b"Traceback", b".py"):
        assert word not in response.data
    assert response.headers["Cache-Control"] == "no-store"


def without_one(outcomes: Outcomes) -> Outcomes:
    """A rule that fired is lost."""
    lost = {min(outcomes.certain)}
    return Outcomes(outcomes.certain - lost, outcomes.possible - lost)


def less_certain(outcomes: Outcomes) -> Outcomes:
    """A rule that fired is said to be unknown."""
    return Outcomes(outcomes.certain - {max(outcomes.certain)}, outcomes.possible)


def less_unknown(outcomes: Outcomes) -> Outcomes:
    """A rule that cannot be evaluated is said to be silent."""
    return Outcomes(outcomes.certain, outcomes.possible - {min(outcomes.possible - outcomes.certain)})


def with_one_more(outcomes: Outcomes) -> Outcomes:
    """A silent rule is said to fire."""
    more = {next(number for number in range(10**6) if number not in outcomes.possible)}
    return Outcomes(outcomes.certain | more, outcomes.possible | more)


def certain_of_the_unknown(outcomes: Outcomes) -> Outcomes:
    """A rule that cannot be evaluated is said to fire."""
    return Outcomes(outcomes.certain | {max(outcomes.possible - outcomes.certain)}, outcomes.possible)


def nothing(_: Outcomes) -> Outcomes:
    """All rules are lost."""
    return Outcomes(frozenset(), frozenset())


def raised(_: Outcomes) -> Outcomes:
    """The evaluation breaks off."""
    raise EngineError("cut short")


CHANGES = (without_one, less_certain, less_unknown, with_one_more, certain_of_the_unknown, nothing)


def broken(evaluate: Evaluate, change: Callable[[Outcomes], Outcomes]) -> Evaluate:
    """An evaluator with a fault."""
    return lambda low, high: change(evaluate(low, high))


@pytest.mark.parametrize("change", [*CHANGES, raised])
def test_a_broken_engine(
    change: Callable[[Outcomes], Outcomes],
    assessor: Assessor,
    client: FlaskClient,
    right: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the engine gets wrong, the second evaluator does not."""
    with monkeypatch.context() as patch:
        patch.setattr(assessor.engine, "evaluate", broken(assessor.engine.evaluate, change))
        assert_no_answer(client)
    assert post(client).data == right


@pytest.mark.parametrize("change", CHANGES)
def test_a_broken_second_evaluator(
    change: Callable[[Outcomes], Outcomes],
    assessor: Assessor,
    client: FlaskClient,
    right: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the second evaluator gets wrong, the engine does not."""
    with monkeypatch.context() as patch:
        patch.setattr(assessor, "second", broken(assessor.second, change))
        assert_no_answer(client)
    assert post(client).data == right


@pytest.mark.parametrize("evaluator", ["engine", "second"])
@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, MemoryError])
def test_an_evaluator_that_fails(
    evaluator: str,
    error: type[Exception],
    assessor: Assessor,
    client: FlaskClient,
    right: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unforeseen failure is a fault of ours, without a part of an answer either."""

    def fail(*_: Any) -> Outcomes:
        raise error("Synthroid")

    with monkeypatch.context() as patch:
        patch.setattr(*((assessor.engine, "evaluate") if evaluator == "engine" else (assessor, "second")), fail)
        response = post(client)
        assert response.status_code == 500
        assert response.content_type == "application/problem+json"
        assert response.get_json()["type"] in ("/problems/no-safe-answer", "/problems/internal-error")
        assert b"Synthroid" not in response.data
    assert post(client).data == right


NO_SENTINEL = (
    '{"r0":{"all":[{"m":{"$and":[{"kind":"patient"}]}}],"pri":0},'
    '"y":{"all":[{"m":{"$and":[{"kind":"$sentinel"}]}}],"pri":65535}}'
)
"""Takes both facts, and never calls the sentinel by its name."""


@pytest.fixture
def rulesets(app: Flask, rulebook: Rulebook, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rulesets inside an engine that is there for one test only."""
    spare = Assessor(rulebook)
    monkeypatch.setattr(app.view_functions["create_evaluation"].__self__, "assessor", spare)
    return list(spare.engine._shards)


def test_a_corrupted_ruleset(rulesets: list[Any], client: FlaskClient, right: bytes) -> None:
    """Each ruleset in turn is replaced by one without the sentinel: where it is needed there is no answer."""
    noticed = 0
    for number, one in enumerate(rulesets):
        durable_rules_engine.delete_state(one.handle, "1")
        durable_rules_engine.delete_ruleset(one.handle)
        one.handle = durable_rules_engine.create_ruleset(f"corrupted{number}", NO_SENTINEL)
        if post(client).data != right:
            noticed += 1
            # It has been built anew in the meantime.
            assert post(client).data == right
            one.handle = durable_rules_engine.create_ruleset(f"corrupted{number}", NO_SENTINEL)
            assert_no_answer(client)
        assert post(client).data == right
    assert noticed > len(rulesets) / 2


def test_a_fact_left_behind(rulesets: list[Any], client: FlaskClient, right: bytes) -> None:
    """Another patient's fact in the engine is noticed where it would change an answer, and does not stay."""
    unknown = post(client, b"{}").data
    noticed = 0
    for one in rulesets:
        everything = ",".join(f"{name}:1" for name in sorted(set(re.findall(r'"(?:lo|hi)\d+"', one.definition))))
        for body, answer in ((None, right), (b"{}", unknown)):
            durable_rules_engine.assert_fact(one.handle, f'{{"id":"f1","sid":"1","kind":"patient",{everything}}}')
            left = durable_rules_engine.get_facts(one.handle, "1") != "[]"
            again = post(client) if body is None else post(client, body)
            noticed += left and again.data != answer
            assert again.status_code == 500 or again.data == answer
            assert (post(client) if body is None else post(client, body)).data == answer
            if durable_rules_engine.get_facts(one.handle, "1") != "[]":
                # The ruleset was not run: nothing in it can hold for this patient.
                durable_rules_engine.retract_fact(one.handle, '{"id":"f1","sid":"1"}')
    assert noticed > len(rulesets) / 2


def test_broken_for_many_patients(assessor: Assessor, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single rule that one of the evaluators always takes for silent never slips through where it matters."""
    patients = Patients()
    bodies = [as_json(patients.patient(number)) for number in range(60)]
    answers = [post(client, body) for body in bodies]
    assert all(answer.status_code == 200 for answer in answers)
    lost = next(number for number, rule in enumerate(assessor.rules) if rule.id == "ask-medications")
    real = assessor.engine.evaluate

    def deaf(low: Any, high: Any) -> Outcomes:
        found = real(low, high)
        return Outcomes(found.certain - {lost}, found.possible - {lost})

    with monkeypatch.context() as patch:
        patch.setattr(assessor.engine, "evaluate", deaf)
        for body, answer in zip(bodies, answers, strict=True):
            again = post(client, body)
            if again.status_code == 200:
                assert again.data == answer.data
                assert b"ask-medications" not in answer.data
            else:
                assert again.status_code == 500
    assert [post(client, body).data for body in bodies] == [answer.data for answer in answers]
