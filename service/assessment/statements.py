"""Cautions, questions and advice of the rules that fired, with texts filled in and grounds given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.assessment.derive import age_in_days, labs_used, shown_gfr
from service.assessment.picture import Picture
from service.assessment.trace import Places, Tracer, shown_value
from service.clinical.outcome import SEVERITIES
from service.knowledge.interactions import ACTIONS
from service.knowledge.rule import Rule
from service.knowledge.rule_schema import PRIORITIES, TOPICS
from service.knowledge.rulebook import Rulebook

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Writer:
    """Fills in texts and grounds for one picture."""

    def __init__(
        self,
        rulebook: Rulebook,
        tracer: Tracer,
        evidence: Mapping[str, list[dict[str, Any]]],
        limits: Mapping[str, list[str]],
        picture: Picture,
    ) -> None:
        self._rulebook = rulebook
        self._tracer = tracer
        self._evidence = evidence
        self._limits = limits
        self._picture = picture
        self._grounds: dict[str, dict[str, Any]] = {}
        self._places: dict[str, Places] = {}

    def grounds(self, rule: Rule) -> dict[str, Any]:
        """The rule, what triggered it, and its evidence."""
        if rule.id not in self._grounds:
            self._grounds[rule.id] = {
                "rule": {"id": rule.id, "version": rule.version},
                "triggered_by": [
                    {"pointer": one.pointer, "display": one.display}
                    for one in self._tracer.triggers(rule, self._picture, self._places)
                ],
                "evidence": self._evidence[rule.id],
            }
        return self._grounds[rule.id]

    def fill(self, rule: Rule, text: str, drug: str | None = None) -> str:
        """Replace placeholders by what the request says; ``drug`` is the one that is spoken of."""
        if "{" not in text:
            return text
        return _PLACEHOLDER.sub(lambda match: self._placeholder(rule, match[1], drug), text)

    def _placeholder(self, rule: Rule, name: str, drug: str | None) -> str:
        picture = self._picture
        request = picture.request
        kind, _, key = name.partition(".")
        if kind == "age":
            return str(request.get("patient", {}).get("age_years", "not known"))
        if kind == "lab":
            return self._shown_lab(key)
        if kind == "drugs":
            return drug or " and ".join(self._tracer.ingredients(rule, picture)) or "not known"
        if kind == "supplement":
            return self._tracer.show_supplement(key, request) if key in request.get("supplements", {}) else "not known"
        kinds = {"conditions": "condition", "symptoms": "symptom", "goals": "goal", "vital": "vital"}
        shown = [
            trigger.display
            for wanted in rule.inputs.values()
            for one in wanted.members
            if one.kind == kinds.get(kind, kind) and (not key or one.key == key)
            for trigger in (self._tracer.places(one, picture) if self._said(one.kind) else ())
        ]
        return ", ".join(dict.fromkeys(shown)) or "not known"

    def _said(self, kind: str) -> bool:
        plural = {"vital": "vitals", "symptom": "symptoms", "goal": "goals"}.get(kind)
        return plural is None or plural in self._picture.request

    def _shown_lab(self, key: str) -> str:
        picture = self._picture
        labs = picture.request.get("labs", {})
        if key == "egfr" and picture.egfr is not None:
            how = " (calculated)" if picture.egfr.deciding is not None else ""
            return f"{shown_gfr(picture.egfr.value)} mL/min/1.73 m2{how}"
        if key == "calcium_adjusted" and picture.calcium is not None:
            return f"{shown_value(picture.calcium.value)} {picture.calcium.unit}"
        if key not in labs:
            return "not known"
        result = labs[key]
        day = result.get("collected_on")
        return f"{shown_value(result['value'])} {result['unit']}" + (
            f" on {day.isoformat()}" if day is not None else ""
        )

    # The lists.

    def cautions(self, fired: Sequence[Rule]) -> list[dict[str, Any]]:
        """One caution for each code, and for each drug and agent one, the most severe first."""
        escalations: dict[str, list[Rule]] = {}
        for rule in fired:
            if rule.parent is not None:
                escalations.setdefault(rule.parent, []).append(rule)
        written: dict[tuple[str, str], dict[str, Any]] = {}
        for rule in fired:
            if "caution" not in rule.then:
                continue
            if rule.kind == "interaction":
                of_rule = [
                    ((drug, rule.then["caution"]["agent"]), self._caution(rule, escalations.get(rule.id, []), drug))
                    for drug in self._tracer.ingredients(rule, self._picture)
                ]
            else:
                of_rule = [((rule.then["caution"]["code"], rule.then["caution"]["agent"]), self._caution(rule, ()))]
            for key, one in of_rule:
                written[key] = _merge_cautions(written[key], one) if key in written else one
        return sorted(
            ({key: value for key, value in one.items() if key != "asks"} for one in written.values()),
            key=lambda one: (
                SEVERITIES.index(one["severity"]),
                one["category"],
                one["code"],
                one["grounds"][0]["rule"]["id"],
                one["summary"],
            ),
        )

    def _caution(self, rule: Rule, escalations: Sequence[Rule], drug: str | None = None) -> dict[str, Any]:
        """What a rule says; of an interaction, what it says about one drug."""
        said = rule.then["caution"]
        speaking = (rule, *escalations)
        grounds = [self._grounds_about(one, drug) for one in speaking]
        spacing = _longest([said["spacing"], *(one.then["spacing"] for one in escalations)])
        added = " ".join(self.fill(one, one.then["add"], drug) for one in escalations)
        triggers = {one["pointer"]: one for ground in grounds for one in ground["triggered_by"]}
        return {
            "code": said["code"],
            "codes": [said["code"]],
            "severity": min((one.severity or "minor" for one in speaking), key=SEVERITIES.index),
            "category": said["category"],
            "agent": said["agent"],
            "summary": self.fill(rule, said["summary"], drug),
            "detail": f"{self.fill(rule, said['detail'], drug)} {added}".strip(),
            "action": self._action(rule, escalations, drug),
            "spacing": None if spacing is None else {side: _hours(hours) for side, hours in spacing.items()},
            "monitoring": list(said["monitoring"]),
            "triggered_by": list(triggers.values()),
            "limitations": [*self._limits[rule.id], *self._assumed(rule, drug)],
            "grounds": grounds,
            "asks": rule.then.get("interaction", {}).get("action", "none"),
        }

    def _assumed(self, rule: Rule, drug: str | None) -> list[str]:
        """That a route was taken for granted, where the route decides."""
        names = self._tracer.route_assumed(rule, self._picture, drug)
        return (
            [self.fill(rule, self._rulebook.about["messages"]["route_assumed"], " and ".join(names))] if names else []
        )

    def _grounds_about(self, rule: Rule, drug: str | None) -> dict[str, Any]:
        """The grounds of a rule, without the medications that are other drugs than the one spoken of."""
        grounds = self.grounds(rule)
        if drug is None:
            return grounds
        others = self._tracer.places_of_other_drugs(rule, self._picture, drug)
        shown = [one for one in grounds["triggered_by"] if one["pointer"] not in others]
        return {**grounds, "triggered_by": shown}

    def _action(self, rule: Rule, escalations: Sequence[Rule], drug: str | None) -> str:
        """What to do: the words of the most severe escalation that has its own, else those of the rule."""
        ordered = sorted(escalations, key=lambda one: SEVERITIES.index(one.severity or "minor"))
        own = next(((one, one.then["do"]) for one in ordered if one.then["do"] is not None), None)
        speaker, text = own if own is not None else (rule, rule.then["caution"]["action"])
        return self.fill(speaker, text, drug)

    def lab_questions(self, fired: Sequence[Rule]) -> list[dict[str, Any]]:
        """One question for each lab, with the most pressing wording; labs in the request are not asked for again."""
        asked: dict[str, list[tuple[Rule, Mapping[str, Any]]]] = {}
        for rule in fired:
            for one in rule.then.get("labs", ()):
                if one["repeat"] or not self._answered(one["lab"], one["stale_after"]):
                    asked.setdefault(one["lab"], []).append((rule, one))
        questions = [self._lab_question(lab, entries) for lab, entries in asked.items()]
        return sorted(questions, key=lambda one: (PRIORITIES.index(one["priority"]), one["lab"]))

    def _answered(self, key: str, stale_after: int | None) -> bool:
        """Whether the request has the lab, or one that answers for it, and not an older one than is wanted."""
        lab = self._rulebook.vocabulary.labs[key]
        ages = [age for one in (key, *lab.answered_by) if (age := self._age(one)) is not None]
        return bool(ages) and (stale_after is None or min(ages) <= stale_after)

    def _age(self, key: str) -> int | None:
        picture = self._picture
        labs = picture.request.get("labs", {})
        return age_in_days(picture.request["as_of"], labs, labs_used(key, labs, picture.egfr, picture.calcium))

    def _lab_question(self, key: str, entries: list[tuple[Rule, Mapping[str, Any]]]) -> dict[str, Any]:
        entries = sorted(entries, key=lambda one: PRIORITIES.index(one[1]["priority"]))
        rule, first = entries[0]
        lab = self._rulebook.vocabulary.labs[key]
        return {
            "lab": key,
            "display": lab.display,
            "loinc": lab.loinc,
            "priority": first["priority"],
            "question": self.fill(rule, first["question"]),
            "reason": " ".join(dict.fromkeys(self.fill(rule, one["reason"]) for rule, one in entries)),
            "timing": _timings([one["timing"] for _, one in entries]),
            "would_change": list(dict.fromkeys(code for _, one in entries for code in one["would_change"])),
            "grounds": [self.grounds(rule) for rule in {rule.id: rule for rule, _ in entries}.values()],
        }

    def questions(self, fired: Sequence[Rule], held: Sequence[Rule]) -> list[dict[str, Any]]:
        """Questions of fired rules and of gates that could not be evaluated; the same question is asked once."""
        asked: dict[tuple[str, str], dict[str, Any]] = {}
        blocks = [(rule, one) for rule in fired for one in rule.then.get("questions", ())]
        blocks += [
            (rule, rule.then["when_not_evaluated"]["question"])
            for rule in held
            if "question" in rule.then.get("when_not_evaluated", {})
        ]
        for rule, one in blocks:
            question = self.fill(rule, one["question"])
            known = asked.setdefault(
                (one["about"], question),
                {"about": one["about"], "question": question, "would_change": [], "grounds": []},
            )
            known["would_change"] = list(dict.fromkeys([*known["would_change"], *one["would_change"]]))
            known["grounds"].append(self.grounds(rule))
        return [asked[key] for key in sorted(asked)]

    def advice(
        self, fired: Sequence[Rule], silenced: frozenset[str], suggested: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Advice by topic, without the topics that a gate holds back."""
        items = [
            {
                "topic": one["topic"],
                "text": self.fill(rule, one["text"]),
                "fields": list(one["fields_"]),
                "limitations": self._limits[rule.id],
                "grounds": [self.grounds(rule)],
            }
            for rule in fired
            for one in rule.then.get("advice", ())
            if one["topic"] not in silenced and _needed(one, suggested)
        ]
        return sorted(items, key=lambda one: TOPICS.index(one["topic"]))


def _needed(advice: Mapping[str, Any], suggested: Sequence[Mapping[str, Any]]) -> bool:
    """Whether advice that speaks of a form, or of a dose, has one to speak of."""
    if advice["needs"] == "dose":
        return any(one["dose"] is not None for one in suggested)
    return advice["needs"] is None or bool(suggested)


def _timings(texts: Sequence[str]) -> str:
    """Every timing once, whatever the capitals and the full stop."""
    once = {text.rstrip(".").lower(): text.rstrip(".") for text in reversed(texts)}
    return "; ".join(reversed(once.values()))


def _hours(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number


def _merge_cautions(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The more severe one speaks, of two alike the one that asks for more; the other adds words, hours and grounds.

    No hours are added to one that forbids the combination.
    """
    first, second = sorted(
        (first, second), key=lambda one: (SEVERITIES.index(one["severity"]), ACTIONS.index(one["asks"]))
    )
    triggers = {one["pointer"]: one for one in (*first["triggered_by"], *second["triggered_by"])}
    return {
        **first,
        "codes": list(dict.fromkeys([*first["codes"], *second["codes"]])),
        "detail": _joined(first["detail"], second["detail"]),
        "action": _joined(first["action"], second["action"]),
        "spacing": first["spacing"] if first["asks"] == "avoid" else _longest([first["spacing"], second["spacing"]]),
        "monitoring": list(dict.fromkeys([*first["monitoring"], *second["monitoring"]])),
        "triggered_by": list(triggers.values()),
        "limitations": list(dict.fromkeys([*first["limitations"], *second["limitations"]])),
        "grounds": [*first["grounds"], *second["grounds"]],
    }


def _longest(spacings: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The longest gap on each side."""
    given = [one for one in spacings if one is not None]
    return {side: max(one[side] for one in given) for side in ("hours_before", "hours_after")} if given else None


def _joined(first: str, second: str) -> str:
    return first if second in first else f"{first} {second}"
