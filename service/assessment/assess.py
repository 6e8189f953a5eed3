"""The whole story of one request: picture, outcomes by two evaluators, answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.assessment.answer import Composer
from service.assessment.body import from_json
from service.assessment.picture import Painter, Picture
from service.clinical.outcome import Outcome
from service.engine import Engine, EngineError, Outcomes
from service.evaluator import build_evaluator
from service.knowledge import Rulebook
from service.knowledge.rule import IN_PLAY, UNSAID_WHEN_UNKNOWN
from service.terminology import Recogniser


class IncompleteEvaluation(Exception):
    """The rules were not evaluated to the end, or two readings of them differ. There is no answer."""


_LITTLE_SAID: Mapping[str, Any] = {
    "medications": [],
    "conditions": [],
    "symptoms": [],
    "goals": [],
    "supplements": {},
    "preferences": {},
}
"""A patient with nothing in any list: the engine sorts its rules by what can hold for most."""


class Assessor:
    """Evaluates requests against one rulebook; built once, shared by all threads."""

    def __init__(self, rulebook: Rulebook, recogniser: Recogniser | None = None) -> None:
        self.recogniser = recogniser if recogniser is not None else Recogniser.of(rulebook)
        self.rules = list(rulebook.rules.values())
        criteria = [rule.criterion for rule in self.rules]
        names = list(rulebook.inputs)
        self.input_names = names
        self.painter = Painter(rulebook, self.recogniser)
        only_certain = frozenset(
            number
            for number, rule in enumerate(self.rules)
            if rule.kind in UNSAID_WHEN_UNKNOWN and rule.id not in IN_PLAY.values()
        )
        self._only_certain = only_certain
        typical = self.painter.paint(_LITTLE_SAID)
        titles = [rule.id for rule in self.rules]
        self.engine = Engine(criteria, names, only_certain, (typical.low, typical.high), titles)
        self.second = build_evaluator(criteria, names, only_certain)
        self._all_readings = build_evaluator(criteria, names)
        self.compose = Composer(rulebook, self.rules, self.recogniser.release).compose

    def evaluate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one validated request. Raises IncompleteEvaluation; there is no partial answer."""
        picture = self.painter.paint(request)
        return self.compose(picture, self.outcomes(picture))

    def self_test(self) -> None:
        """Every rule that has a worked case in which it fires must fire in it. Raises IncompleteEvaluation."""
        for number, rule in enumerate(self.rules):
            case = next((one for one in rule.cases if one.expect == Outcome.FIRES), None)
            if case is not None:
                picture = self.painter.paint(from_json(case.request))
                if number not in self.outcomes(picture).certain:
                    raise IncompleteEvaluation(f"self-test: {rule.id} does not fire in {case.name!r}")

    def outcomes(self, picture: Picture) -> Outcomes:
        """Both evaluators on one picture. Raises IncompleteEvaluation unless they agree."""
        try:
            found = self.engine.evaluate(picture.low, picture.high)
        except EngineError as error:
            raise IncompleteEvaluation("the rule engine did not finish") from error
        if found != self.second(picture.low, picture.high):
            raise IncompleteEvaluation("the two evaluators differ")
        if not found.certain - self._only_certain <= found.possible:
            raise IncompleteEvaluation("a rule is certain and yet not possible")
        return found

    def outcome_by_rule(self, request: Mapping[str, Any]) -> dict[str, Outcome]:
        """How every rule ends for a request, also those of which nobody is told that they are unknown."""
        picture = self.painter.paint(request)
        found = self.outcomes(picture)
        everything = self._all_readings(picture.low, picture.high)
        if found.certain != everything.certain or not found.possible <= everything.possible:
            raise IncompleteEvaluation("the readings differ")
        return {rule.id: _outcome(number, everything) for number, rule in enumerate(self.rules)}


def _outcome(number: int, found: Outcomes) -> Outcome:
    if number in found.certain:
        return Outcome.FIRES
    return Outcome.NOT_EVALUATED if number in found.possible else Outcome.SILENT
