"""A run of schemathesis, every check in every phase, from the committed contract against a real application."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from flask import Flask
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.run import PhaseName

from service.settings import Settings

PHASES = ("EXAMPLES", "COVERAGE", "FUZZING", "STATEFUL_TESTING")


@dataclass
class Run:
    """What was found."""

    faults: list[str] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)
    sent: Counter[PhaseName] = field(default_factory=Counter)
    """How many cases in each phase."""
    answered: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """By method, path as the contract has it, and status."""


def run(app: Flask, paths: str, examples: int, excused: Callable[[Any, Any], bool]) -> Run:
    """Send `examples` for each operation whose path fits, and the same ones each time.

    `excused` says of a failure and its response whether JSON Schema could not have said it.
    """
    configuration = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"deterministic": True, "max-examples": examples, "database": "none"},
            "phases": {"coverage": {"generate-duplicate-query-parameters": True}},
        }
    )
    schema = schemathesis.openapi.from_path(Settings().contract, config=configuration).include(path_regex=paths)
    schema.app = app

    @schema.hook
    def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
        return not excused(failure, response)

    found = Run()
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            found.faults.append(f"{event.label}: {event.value!r}")
        if isinstance(event, events.PhaseFinished):
            assert event.phase.is_enabled, event.phase
        if isinstance(event, events.ScenarioFinished):
            _enter(event.recorder, event.phase, found)
    for phase in PHASES:
        assert found.sent[PhaseName[phase]], f"{phase} sent nothing"
    return found


def _enter(recorder: Any, phase: PhaseName, found: Run) -> None:
    found.sent[phase] += len(recorder.cases)
    for checks in recorder.checks.values():
        found.checks |= {one.name for one in checks}
        found.faults += [
            f"{one.name}: {one.failure_info.failure}\n{one.failure_info.code_sample}"
            for one in checks
            if one.failure_info is not None
        ]
    for key, interaction in recorder.interactions.items():
        if interaction.response is not None:
            case = recorder.cases[key].value
            found.answered[interaction.request.method, case.operation.path, interaction.response.status_code] += 1
