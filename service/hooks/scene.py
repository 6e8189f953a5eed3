"""One answer as the cards see it: what it rests on, what is in doubt, what has been said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from service.fhir.chart import Chart
from service.hooks.detail import Item
from service.hooks.ids import RuleMark
from service.hooks.listed import Listed
from service.hooks.report import Order
from service.hooks.resources import Subject
from service.hooks.wording import AGENT_WORDS, Wording
from service.knowledge.interactions import ACTIONS
from service.knowledge.rule import Rule
from service.knowledge.rulebook import Rulebook


class Scene:
    """One answer, with the drafts that are looked at, and what was said of it on cards."""

    def __init__(
        self,
        rulebook: Rulebook,
        words: Mapping[str, Any],
        wording: Wording,
        hook: str,
        answer: Mapping[str, Any],
        chart: Chart,
        considered: Sequence[Order],
        subject: Subject,
        together: bool,
        listed: Listed,
    ) -> None:
        self.rulebook = rulebook
        self.words = words
        self.wording = wording
        self.hook = hook
        self.answer = answer
        self.chart = chart
        self.considered = considered
        self.subject = subject
        self.together = together
        """Whether a suggestion may have several actions."""
        self.listed = listed
        self._said: set[int] = set()

    def touches(self, item: Item, order: Order) -> bool:
        """Whether the item rests on the order."""
        place = f"/medications/{order.draft.medication_index}"
        return any(pointer == place or pointer.startswith(f"{place}/") for pointer in pointers_of(item))

    def touched(self, item: Item) -> bool:
        """Whether the item rests on any draft that is looked at."""
        return any(self.touches(item, one) for one in self.considered)

    def say(self, items: Iterable[Item]) -> None:
        """Remember that the items are on a card."""
        self._said.update(id(one) for one in items)

    def said(self, item: Item) -> bool:
        """Whether the item is on a card."""
        return id(item) in self._said

    def urgent(self, caution: Item) -> bool:
        """Whether an urgent rule says it."""
        return any(self.rulebook.rules[one.id].kind == "urgent" for one in marks_of([caution]))

    def old(self, caution: Item, days: int) -> bool:
        """Whether it rests on results, all of which are older than so many days."""
        labs = self.chart.body.get("labs", {})
        places = (pointer.split("/") for pointer in pointers_of(caution))
        dates = {labs[place[2]].get("collected_on") for place in places if place[1] == "labs" and place[2] in labs}
        today = date.fromisoformat(self.answer["as_of"])
        return bool(dates) and all(one is not None and (today - date.fromisoformat(one)).days > days for one in dates)

    def in_doubt(self, caution: Item) -> bool:
        """Whether it speaks of something that would have to be taken, and that no list of medicines has."""
        return self._needs_intake(caution) and self.listed.of(caution["agent"]) != "listed"

    def _needs_intake(self, caution: Item) -> bool:
        if caution["category"] != "drug_interaction":
            return False
        spoken = self.words["no_intake_needed"]
        return not any(
            rule.then["caution"]["code"] in spoken["codes"]
            or set(rule.then["interaction"]["effect"]) <= set(spoken["effects"])
            for rule in self._rows(caution)
        )

    def alone(self, caution: Item) -> bool:
        """Whether it mildly speaks of what a draft has in common with others, and there is no other."""
        places = self.listed.places(caution["agent"])
        return (
            caution["category"] == "drug_interaction"
            and caution["severity"] in self.words["mild"]
            and len(places) == 1
            and any(one.draft.medication_index in places for one in self.considered)
            and _medications(caution) <= {f"/medications/{place}" for place in places}
        )

    def ordered(self) -> frozenset[str]:
        """Whether magnesium, vitamin D or both are in the orders that are looked at."""
        return frozenset(agent for one in self.considered for agent in one.contains)

    def results_of_interest(self, place: str) -> frozenset[str]:
        """Places of the results that matter for what is ordered: `first`, or `beside`."""
        of_interest = self.words["results_of_interest"]
        return frozenset(f"/labs/{lab}" for agent in self.ordered() for lab in of_interest[agent][place])

    def beside(self, caution: Item) -> bool:
        """Whether it speaks of a result that an order does not rest on, and that matters for it all the same."""
        if not self.considered or caution["category"] != "lab_result" or self.touched(caution):
            return False
        rests_on = {
            pointer for one in self.answer["cautions"] if self.touched(one) for pointer in pointers_of(one)
        } | self.results_of_interest("first")
        return rests_on.isdisjoint(pointers_of(caution))

    def asks(self, caution: Item) -> str:
        """What the row of an interaction asks for, the most of several."""
        said: list[str] = [rule.then["interaction"]["action"] for rule in self._rows(caution)]
        return min(said, key=ACTIONS.index)

    def of_all_forms(self, caution: Item) -> bool:
        """Whether it is an interaction of every form of magnesium."""
        return any(rule.then["interaction"]["salts"] == "all" for rule in self._rows(caution))

    def _rows(self, caution: Item) -> Iterator[Rule]:
        rules = (self.rulebook.rules[one.id] for one in marks_of([caution]))
        return (one for one in rules if one.kind == "interaction")

    def questions(self) -> list[Item]:
        """What to ask, for the cards there are: about the drafts, or about what is not known."""
        rules = {mark for one in self.shown() for mark in marks_of([one])}
        asked = [
            one
            for one in self.answer["follow_up_questions"]
            if (self.touched(one) if self.considered else bool(rules & set(marks_of([one]))))
        ]
        self.say(asked)
        return asked

    def unchecked(self) -> list[Item]:
        """Gates that could not be evaluated, of the agents that the cards are about."""
        about = {agent for one in self.considered for agent in one.agents}
        if not self.considered:
            about = {agent for agent in AGENT_WORDS if self.listed.of(agent) == "listed"}
            about |= {one["agent"] for one in self.shown()}
        of = self.words["held_back"]
        return [
            one
            for one in self.answer["held_back"]
            if one["outcome"] == "not_evaluated" and {of.get(what, "magnesium") for what in one["holds_back"]} & about
        ]

    def wanted_labs(self) -> frozenset[str]:
        """The labs that the cards are about; all, where magnesium or vitamin D is ordered or a chart is looked at."""
        if not self.considered or any(one.contains for one in self.considered):
            return frozenset(self.rulebook.vocabulary.labs)
        labs = {lab for one in self.shown() for lab in one["monitoring"]}
        labs |= {one["lab"] for one in self.answer["lab_questions"] if self.said(one)}
        return frozenset(labs)

    def places(self, pointers: Iterable[str]) -> list[str]:
        """How people call what is not known."""
        labs = {key: lab.display for key, lab in self.rulebook.vocabulary.labs.items()}
        return list(dict.fromkeys(self.wording.place(one, labs) for one in sorted(pointers)))

    def shown(self) -> list[Item]:
        """The cautions that are on a card."""
        return [one for one in self.answer["cautions"] if self.said(one)]


def marks_of(items: Iterable[Item]) -> list[RuleMark]:
    """The rules of the items, each once, in their order."""
    grounds = (ground["rule"] for item in items for ground in item["grounds"])
    return list(dict.fromkeys(RuleMark(one["id"], one["version"]) for one in grounds))


def pointers_of(item: Item) -> list[str]:
    """The places of a request that the item rests on."""
    own = [one["pointer"] for one in item.get("triggered_by", ())]
    return own + [one["pointer"] for ground in item["grounds"] for one in ground["triggered_by"]]


def _medications(caution: Item) -> set[str]:
    return {one["pointer"] for one in caution["triggered_by"] if one["pointer"].startswith("/medications/")}
