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


class IncompleteEvaluation(Exception):
    """The rules were not evaluated to the end, or two readings of them differ. There is no answer."""


class Assessor:
    """Evaluates requests against one rulebook; built once, shared by all threads."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rules = list(rulebook.rules.values())
        criteria = [rule.criterion for rule in self.rules]
        names = list(rulebook.inputs)
        self.input_names = names
        self.painter = Painter(rulebook)
        self.engine = Engine(criteria, names)
        self.second = build_evaluator(criteria, names)
        self._composer = Composer(rulebook, self.rules)

    def evaluate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one validated request. Raises IncompleteEvaluation; there is no partial answer."""
        picture = self.painter.paint(request)
        return self._composer.compose(picture, self.outcomes(picture))

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
        if not found.certain <= found.possible:
            raise IncompleteEvaluation("a rule is certain and yet not possible")
        return found

    def outcome_by_rule(self, request: Mapping[str, Any]) -> dict[str, Outcome]:
        """How every rule ends for a request."""
        found = self.outcomes(self.painter.paint(request))
        return {rule.id: _outcome(number, found) for number, rule in enumerate(self.rules)}


def _outcome(number: int, found: Outcomes) -> Outcome:
    if number in found.certain:
        return Outcome.FIRES
    return Outcome.NOT_EVALUATED if number in found.possible else Outcome.SILENT
