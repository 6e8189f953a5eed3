"""Which forms are suggested and which are not, after the safety gates have spoken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from service.assessment.trace import plain
from service.knowledge.rule import Rule
from service.knowledge.rulebook import Rulebook

ALL_FORMS = "magnesium_forms"
DOSE = "magnesium_dose"

_DEFAULT_WHEN_UNKNOWN = {ALL_FORMS: DOSE}
"""A gate on all forms that cannot be evaluated lets the forms be shown, without a dose."""


@dataclass(frozen=True)
class Hold:
    """What one gate holds back, and why."""

    rule: Rule
    fired: bool
    targets: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """One sentence for the clinician."""
        if self.fired:
            summary: str = self.rule.then["caution"]["summary"] if "caution" in self.rule.then else self.rule.title
            return summary
        return f"{self.rule.title}: cannot be checked with what was sent."


def hold_of(rule: Rule, fired: bool, missing: Sequence[str] = ()) -> Hold:
    """The hold of a gate that fired, or that could not be evaluated."""
    targets = rule.then["holds_back"]
    if not fired:
        block = rule.then.get("when_not_evaluated", {})
        targets = block.get("holds_back", [_DEFAULT_WHEN_UNKNOWN.get(target, target) for target in targets])
    return Hold(rule, fired, tuple(targets), tuple(missing))


@dataclass
class _Offer:
    """What the suggestion rules say about one form."""

    entries: list[tuple[Rule, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def standing(self) -> str:
        return "preferred" if any(entry["standing"] == "preferred" for _, entry in self.entries) else "alternative"

    @property
    def rank(self) -> int:
        ranks: list[int] = [entry["rank"] for _, entry in self.entries if entry["standing"] == self.standing]
        return min(ranks)


Grounds = Callable[[Rule], Mapping[str, Any]]
Fill = Callable[[Rule, str], str]


@dataclass(frozen=True)
class Suggestions:
    """Both lists, and whether any form may be named at all."""

    suggested: list[dict[str, Any]]
    refused: list[dict[str, Any]]


def suggest(
    rulebook: Rulebook,
    fired: Sequence[Rule],
    holds: Sequence[Hold],
    taken: str | None,
    grounds: Grounds,
    fill: Fill,
) -> Suggestions:
    """Merge what all fired rules say about each form: contraindicated, avoid, preferred, alternative, in this order."""
    offers: dict[str, _Offer] = {}
    for rule in fired:
        for entry in rule.then.get("suggest", ()):
            offers.setdefault(entry["form"], _Offer()).entries.append((rule, entry))
    refusals: dict[str, list[tuple[str, str, Rule]]] = {}
    named = [*offers, *([taken] if taken is not None and taken not in offers else [])]
    avoided = [form for rule in fired for entry in rule.then.get("avoid", ()) for form in entry["forms"]]
    for hold in holds:
        severe = hold.fired and hold.rule.severity == "contraindicated"
        forms = (
            list(dict.fromkeys([*named, *avoided]))
            if ALL_FORMS in hold.targets
            else [one for one in hold.targets if one in rulebook.vocabulary.forms]
        )
        if not hold.fired:
            # What is not known keeps a form from being suggested; it is no news about a form that nobody asked for.
            forms = [form for form in forms if form in named]
        for form in forms:
            refusals.setdefault(form, []).append(("contraindicated" if severe else "avoid", hold.reason, hold.rule))
    for rule in fired:
        for entry in rule.then.get("avoid", ()):
            for form in entry["forms"]:
                refusals.setdefault(form, []).append((entry["standing"], fill(rule, entry["reason"]), rule))
    limit = dose_limit(fired)
    dose_held = any(DOSE in hold.targets for hold in holds)
    order = sorted(
        (form for form in offers if form not in refusals),
        key=lambda form: (offers[form].standing != "preferred", offers[form].rank, form),
    )
    return Suggestions(
        [_suggestion(rulebook, form, offers[form], limit, dose_held, grounds, fill) for form in order],
        [
            _refusal(rulebook, form, refusals[form], grounds)
            for form in sorted(refusals, key=lambda f: _worst(refusals, f))
        ],
    )


def dose_limit(fired: Sequence[Rule]) -> Decimal | None:
    """The lowest limit of elemental magnesium, mg/day, that any fired rule sets."""
    limits = [rule.then["limit_dose"]["elemental_mg_per_day"] for rule in fired if "limit_dose" in rule.then]
    return min(limits, default=None)


def _worst(refusals: Mapping[str, list[tuple[str, str, Rule]]], form: str) -> tuple[bool, str]:
    return all(standing != "contraindicated" for standing, _, _ in refusals[form]), form


def _refusal(rulebook: Rulebook, form: str, reasons: list[tuple[str, str, Rule]], grounds: Grounds) -> dict[str, Any]:
    ordered = sorted(reasons, key=lambda one: one[0] != "contraindicated")
    rules = {rule.id: rule for _, _, rule in ordered}
    return {
        "form": form,
        "display": rulebook.vocabulary.forms[form].display,
        "standing": ordered[0][0],
        "reason": " ".join(dict.fromkeys(_sentence(reason) for _, reason, _ in ordered)),
        "grounds": [grounds(rule) for rule in rules.values()],
    }


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _suggestion(
    rulebook: Rulebook,
    form: str,
    offer: _Offer,
    limit: Decimal | None,
    dose_held: bool,
    grounds: Grounds,
    fill: Fill,
) -> dict[str, Any]:
    vocabulary = rulebook.vocabulary
    known = vocabulary.forms[form]
    standing_by_goal: dict[str, str] = {}
    for _, entry in offer.entries:
        if standing_by_goal.get(entry["for_goal"]) != "preferred":
            standing_by_goal[entry["for_goal"]] = entry["standing"]
    limitations: dict[str, None] = {}
    for rule, entry in offer.entries:
        for caveat in (*entry["caveats"], *rule.then.get("caveats", ())):
            limitations[vocabulary.caveats[caveat].data["text"]] = None
        limitations.update(dict.fromkeys(rule.limits))
    limitations.update(dict.fromkeys(known.limitations))
    return {
        "form": form,
        "display": known.display,
        "standing": offer.standing,
        "standing_by_goal": standing_by_goal,
        "for_goals": list(standing_by_goal),
        "dose": None if dose_held else _dose(rulebook, offer, limit),
        "rationale": list(
            dict.fromkeys(fill(rule, text) for rule, entry in offer.entries for text in entry["rationale"])
        ),
        "limitations": list(limitations),
        "cost_tier": known.cost_tier,
        "grounds": [grounds(rule) for rule in {rule.id: rule for rule, _ in offer.entries}.values()],
    }


def _dose(rulebook: Rulebook, offer: _Offer, limit: Decimal | None) -> dict[str, Any] | None:
    """The range over all goals, never above the limit, and the dose of each goal; None where a rule gives no dose."""
    if limit is None or any(entry["dose"] is None for _, entry in offer.entries):
        return None
    doses: dict[str, Mapping[str, Any]] = {}
    for _, entry in offer.entries:
        other = doses.setdefault(entry["for_goal"], entry["dose"])
        if entry["dose"]["high"] < other["high"]:
            # Two rules for one goal: the smaller range is the safe one.
            doses[entry["for_goal"]] = entry["dose"]
    by_goal = [
        {
            "goal": goal,
            "elemental_mg_per_day": {"low": plain(min(limit, one["low"])), "high": plain(min(limit, one["high"]))},
            "schedule": one["schedule"],
            "titration": one["titration"],
            "review_after_weeks": one["review_after_weeks"],
        }
        for goal, one in doses.items()
    ]
    return {
        "elemental_mg_per_day": {
            "low": min(one["elemental_mg_per_day"]["low"] for one in by_goal),
            "high": max(one["elemental_mg_per_day"]["high"] for one in by_goal),
        },
        "schedule": _for_each_goal(rulebook, by_goal, "schedule"),
        "titration": _for_each_goal(rulebook, by_goal, "titration"),
        "upper_limit_mg_per_day": plain(limit),
        "review_after_weeks": min(one["review_after_weeks"] for one in by_goal),
        "by_goal": by_goal,
    }


def _for_each_goal(rulebook: Rulebook, by_goal: Sequence[Mapping[str, Any]], what: str) -> str:
    """One text where all goals agree; otherwise each with its goal."""
    texts = {one["goal"]: one[what] for one in by_goal}
    if len(set(texts.values())) == 1:
        return str(next(iter(texts.values())))
    return " ".join(f"{rulebook.vocabulary.goals[goal].display}: {text}" for goal, text in texts.items())
