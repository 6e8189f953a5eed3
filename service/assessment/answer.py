"""From outcomes to the answer: gates first, then suggestions, cautions, questions and advice, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.assessment.interpretation import interpret, reference_intake
from service.assessment.picture import Picture
from service.assessment.statements import Writer
from service.assessment.suggestions import ALL_FORMS, DOSE, Hold, hold_of, suggest
from service.assessment.trace import Tracer
from service.engine import Outcomes
from service.knowledge.rule import IN_PLAY, Rule
from service.knowledge.rulebook import Rulebook
from service.terminology import Release

_FORM_TOPICS = frozenset({"timing", "titration", "two_week_log", "tolerability", "quality"})
"""Advice on how to take magnesium: out of place when no form may be suggested."""

_OF = {
    "magnesium": {ALL_FORMS, DOSE, "food_advice"},
    "vitamin_d": {"vitamin_d_advice"},
}
"""What gates hold back of each agent, single forms aside."""

_TARGET_TOPICS = {"food_advice": frozenset({"food"}), "vitamin_d_advice": frozenset({"vitamin_d"})}


class Composer:
    """Writes answers for one rulebook."""

    def __init__(self, rulebook: Rulebook, rules: Sequence[Rule], terminology: Release) -> None:
        self._rulebook = rulebook
        self._rules = rules
        self._tracer = Tracer(rulebook)
        self._evidence = {rule.id: _evidence(rulebook, rule) for rule in rules}
        self._limits = {
            rule.id: list(
                dict.fromkeys(
                    (
                        *rule.limits,
                        *(rulebook.vocabulary.caveats[key].data["text"] for key in rule.then.get("caveats", ())),
                    )
                )
            )
            for rule in rules
        }
        self._intakes = {rule.id: reference_intake(rule) for rule in rules if rule.kind == "intake"}
        self._in_play = {
            agent: number for agent, name in IN_PLAY.items() for number, rule in enumerate(rules) if rule.id == name
        }
        self._knowledge = {
            "version": rulebook.version,
            "digest": rulebook.digest,
            "sign_off": rulebook.sign_off,
            "terminology": terminology.described(),
        }

    def compose(self, picture: Picture, outcomes: Outcomes) -> dict[str, Any]:
        """The answer to one request."""
        fired = [self._rules[number] for number in sorted(outcomes.certain)]
        unknown = [
            rule
            for number in sorted(outcomes.possible - outcomes.certain)
            if (rule := self._rules[number]).kind != "definition"
        ]
        missing = {rule.id: self._tracer.missing(rule, picture) for rule in unknown}
        holds = [hold_of(rule, True) for rule in fired if rule.kind == "gate"]
        concerned = self._concerned(fired, outcomes, picture)
        holds += [
            hold
            for rule in unknown
            if rule.kind == "gate" and concerned & set((hold := hold_of(rule, False, missing[rule.id])).targets)
        ]
        disposition = self._disposition(fired, holds)
        writer = Writer(self._rulebook, self._tracer, self._evidence, self._limits, picture)
        if disposition == "out_of_scope":
            body = _empty()
            body["cautions"] = writer.cautions([rule for rule in fired if _scope(rule)])
        elif disposition == "urgent":
            body = _empty()
            body["interpretation"] = interpret(self._rulebook, fired, picture, self._evidence, self._intakes)
            body["cautions"] = writer.cautions(fired)
            body["lab_questions"] = [one for one in writer.lab_questions(fired) if one["priority"] == "urgent"]
        else:
            body = self._routine(fired, holds, picture, writer)
        return {
            "as_of": picture.request["as_of"].isoformat(),
            "knowledge": self._knowledge,
            "disposition": disposition,
            "message": self._rulebook.about["messages"].get(disposition),
            **body,
            "unrecognised": [
                {"pointer": pointer, "text": text, "did_you_mean": list(near)}
                for pointer, text, near in picture.unrecognised
            ],
            "not_evaluated": _by_missing(unknown, missing),
        }

    def _concerned(self, fired: Sequence[Rule], outcomes: Outcomes, picture: Picture) -> set[str]:
        """What a gate that cannot be evaluated could hold back: nothing, for someone who neither wants nor takes it."""
        targets = {
            target for agent, number in self._in_play.items() if number in outcomes.possible for target in _OF[agent]
        }
        targets |= {one["form"] for rule in fired for one in rule.then.get("suggest", ())}
        taken = picture.request.get("supplements", {}).get("magnesium", {}).get("form")
        return targets | ({taken} if taken is not None else set())

    def _disposition(self, fired: Sequence[Rule], holds: Sequence[Hold]) -> str:
        said = {rule.then.get("disposition") for rule in fired}
        if "urgent" in said or any(rule.kind == "urgent" for rule in fired):
            return "urgent"
        if "out_of_scope" in said:
            return "out_of_scope"
        severe = any(rule.severity in ("contraindicated", "major") for rule in fired if rule.then)
        return "review" if holds or severe or "review" in said else "routine"

    def _routine(
        self,
        fired: Sequence[Rule],
        holds: Sequence[Hold],
        picture: Picture,
        writer: Writer,
    ) -> dict[str, Any]:
        taken = picture.request.get("supplements", {}).get("magnesium", {}).get("form")
        suggestions = suggest(self._rulebook, fired, holds, taken, writer.grounds, writer.fill)
        return {
            "interpretation": interpret(self._rulebook, fired, picture, self._evidence, self._intakes),
            "form_suggestions": suggestions.suggested,
            "forms_not_suggested": suggestions.refused,
            "held_back": _held(holds),
            "cautions": writer.cautions(fired),
            "lab_questions": writer.lab_questions(fired),
            "follow_up_questions": writer.questions(fired, [hold.rule for hold in holds if not hold.fired]),
            "advice": writer.advice(fired, _silenced(holds), suggestions.suggested),
        }


def _silenced(holds: Sequence[Hold]) -> frozenset[str]:
    """Topics of advice that a gate holds back."""
    targets = {target for hold in holds for target in hold.targets}
    topics: set[str] = set()
    for target, silenced in _TARGET_TOPICS.items():
        if target in targets:
            topics |= silenced
    if ALL_FORMS in targets:
        topics |= _FORM_TOPICS
    if DOSE in targets:
        topics.add("titration")
    return frozenset(topics)


def _held(holds: Sequence[Hold]) -> list[dict[str, Any]]:
    """What is held back; gates that hold the same for want of the same value stand together."""
    together: dict[tuple[Any, ...], dict[str, Any]] = {}
    for hold in holds:
        key = (hold.rule.id,) if hold.fired else (hold.targets, hold.missing)
        entry = together.setdefault(
            key,
            {
                "rules": [],
                "outcome": "fires" if hold.fired else "not_evaluated",
                "holds_back": list(hold.targets),
                "reason": hold.reason,
                "missing": list(hold.missing),
            },
        )
        entry["rules"].append({"id": hold.rule.id, "version": hold.rule.version})
        if len(entry["rules"]) > 1:
            entry["reason"] = f"{len(entry['rules'])} safety gates cannot be checked with what was sent."
    return list(together.values())


def _scope(rule: Rule) -> bool:
    return rule.then.get("disposition") == "out_of_scope"


def _empty() -> dict[str, Any]:
    return {
        "interpretation": {"reference_intakes": []},
        "form_suggestions": [],
        "forms_not_suggested": [],
        "held_back": [],
        "cautions": [],
        "lab_questions": [],
        "follow_up_questions": [],
        "advice": [],
    }


def _evidence(rulebook: Rulebook, rule: Rule) -> list[dict[str, Any]]:
    sources = rulebook.vocabulary.sources
    return [
        {
            "id": one.source,
            "citation": sources[one.source].citation,
            "certainty": one.certainty,
            "url": sources[one.source].url,
        }
        for one in rule.evidence
    ]


def _by_missing(unknown: Iterable[Rule], missing: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Not-evaluated rules by the place that a value is missing at."""
    rules: dict[str, list[str]] = {}
    for rule in unknown:
        for pointer in missing[rule.id]:
            rules.setdefault(pointer, []).append(rule.id)
    return [{"missing": pointer, "rules": rules[pointer]} for pointer in sorted(rules)]
