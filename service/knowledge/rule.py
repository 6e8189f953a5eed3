"""A rule as every reader of the knowledge sees it: plain, frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.knowledge.criteria import Criterion
from service.knowledge.inputs import AGENTS, Input

RULE_KINDS = ("definition", "urgent", "gate", "caution", "question", "suggestion", "advice")
"""Kinds that a rule file may have."""

ROW_KINDS = ("band", "intake", "interaction", "escalation", "data_quality")
"""Kinds that rows of a table become, or that the vocabulary implies."""

UNSAID_WHEN_UNKNOWN = ("definition", "band", "intake", "data_quality")
"""Kinds that are a part of something else: nobody is told that they could not be evaluated."""

IN_PLAY = {agent: f"{agent.replace('_', '-')}-in-play" for agent in AGENTS}
"""For each agent the definition that says whether it is wanted, taken or being replaced."""


@dataclass(frozen=True)
class Evidence:
    """One source and what it says for this rule."""

    source: str
    says: str
    certainty: str


@dataclass(frozen=True)
class Case:
    """A worked example: a request body and how the rule must end."""

    rule: str
    name: str
    expect: str
    request: Mapping[str, Any]
    missing: tuple[str, ...] = ()
    severity: str | None = None
    line: int = 1


@dataclass(frozen=True)
class Rule:
    """One clinical idea. ``then`` holds what it says, in the words of ``rules/README.md``."""

    id: str
    title: str
    kind: str
    version: int
    criterion: Criterion
    named: tuple[tuple[str, Criterion], ...]
    """The criteria of ``when`` and ``unless`` by name; those of ``unless`` already negated."""
    inputs: Mapping[str, Input]
    own_inputs: tuple[Input, ...]
    """The inputs that the rule names itself, not through a definition."""
    severity: str | None
    then: Mapping[str, Any]
    evidence: tuple[Evidence, ...]
    certainty: str
    limits: tuple[str, ...]
    file: str
    source: Mapping[str, Any]
    """The rule as its file says it, for those who want to read it."""
    cases: tuple[Case, ...] = ()
    cases_line: int = 1
    """Where in the file its worked cases stand."""
    parent: str | None = None
    """For an escalation: the row that it makes more severe."""
