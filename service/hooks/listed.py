"""Whether magnesium or vitamin D is in a list of medicines; both are mostly bought without a prescription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from service.fhir.chart import Chart
from service.knowledge.rulebook import Rulebook
from service.terminology import Recogniser

State = Literal["listed", "not_listed", "not_known"]
_READ = ("used", "none_found", "incomplete")
_LISTS = ("medications", "otc")


class Agents:
    """Which drug classes make a medicine one of magnesium or of vitamin D; made once, shared by all threads."""

    def __init__(self, rulebook: Rulebook, recogniser: Recogniser, classes: Mapping[str, list[str]]) -> None:
        self._recogniser = recogniser
        self._drugs = rulebook.vocabulary.drugs
        known = rulebook.vocabulary.drug_classes
        self._members = {
            agent: frozenset(member for key in keys for member in known[key].members) for agent, keys in classes.items()
        }

    def of(self, ingredients: frozenset[str]) -> frozenset[str]:
        """The agents that are among some ingredients."""
        return frozenset(agent for agent, members in self._members.items() if members & ingredients)

    def name(self, ingredients: frozenset[str]) -> str:
        """How people call those of some ingredients that are one of magnesium or of vitamin D."""
        every = frozenset[str]().union(*self._members.values())
        return " and ".join(self._drugs[key].display for key in sorted(ingredients & every))

    def listed(self, chart: Chart) -> Listed:
        """For one chart."""
        return Listed(self, self._recogniser, chart)


class Listed:
    """What one chart says; looked at only when it is asked."""

    def __init__(self, agents: Agents, recogniser: Recogniser, chart: Chart) -> None:
        self._agents = agents
        self._recogniser = recogniser
        self._chart = chart
        self._found: dict[str, frozenset[int]] | None = None

    def of(self, agent: str) -> State:
        """Whether the agent is in a medicine that is taken or drafted; not known where no list was read."""
        if self.places(agent):
            return "listed"
        states = self._chart.states
        was_read = any(key in states and states[key].status in _READ for key in _LISTS)
        return "not_listed" if was_read else "not_known"

    def places(self, agent: str) -> frozenset[int]:
        """Where in the list of medicines the agent is."""
        if self._found is None:
            found: dict[str, set[int]] = {}
            for place, one in enumerate(self._chart.body.get("medications", ())):
                for contained in self._agents.of(self._recogniser.recognise(one).ingredients):
                    found.setdefault(contained, set()).add(place)
            self._found = {key: frozenset(places) for key, places in found.items()}
        return self._found.get(agent, frozenset())
