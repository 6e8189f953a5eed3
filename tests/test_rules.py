"""Every worked case of every rule, each as a test of its own, and what the cases must cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.api.schemas import refused_cases
from service.assessment import Assessor
from service.assessment.cases import check_cases, run_case
from service.assessment.trace import Tracer
from service.knowledge import Rule, load_rulebook
from service.knowledge.rule import Case

RULEBOOK = load_rulebook(Path(__file__).parent.parent / "rules")
ASSESSOR = Assessor(RULEBOOK)
TRACER = Tracer(RULEBOOK)
CASES = [(rule, case) for rule in RULEBOOK.rules.values() for case in rule.cases]


@pytest.mark.parametrize(("rule", "case"), CASES, ids=[f"{rule.id}: {case.name}" for rule, case in CASES])
def test_worked_case(rule: Rule, case: Case) -> None:
    """A worked case ends as its file says."""
    assert run_case(ASSESSOR, TRACER, rule, case) is None


def test_every_case_is_a_request_that_can_be_sent() -> None:
    """A word that the service would refuse proves nothing about a rule."""
    assert [str(fault) for fault in refused_cases(RULEBOOK)] == []


def test_cases_cover_every_outcome_and_boundary() -> None:
    """No rule lacks a case for an outcome it can have, or one exactly on a number it writes."""
    assert [str(fault) for fault in check_cases(RULEBOOK)] == []
