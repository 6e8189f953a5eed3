"""The medications of a request as the rules see them: ingredients, routes, and the drug groups that they are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.knowledge import Rulebook
from service.terminology import Recognised, Recogniser

BY_MOUTH = "oral"
"""What a medication counts as whose route nothing says."""


@dataclass(frozen=True)
class Medications:
    """Every medication of a request, in its order."""

    recognised: Sequence[Recognised] = ()
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """The positions of the medications in each drug group."""

    @property
    def ingredients(self) -> list[frozenset[str]]:
        """The ingredients of each."""
        return [one.ingredients for one in self.recognised]

    @property
    def by_mouth(self) -> set[str]:
        """Ingredients of what is taken by mouth, so far as anyone says otherwise."""
        return {key for one in self.recognised if (one.route or BY_MOUTH) == BY_MOUTH for key in one.ingredients}

    @property
    def route_assumed(self) -> frozenset[int]:
        """The positions of those that count as taken by mouth because nothing says the route."""
        return frozenset(index for index, one in enumerate(self.recognised) if one.route_assumed)

    @property
    def conflicts(self) -> tuple[int, ...]:
        """The positions of those whose name and code disagree."""
        return tuple(index for index, one in enumerate(self.recognised) if one.conflict)

    @property
    def not_understood(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """JSON Pointer, text, and what may have been meant."""
        return [
            (f"/medications/{index}{part.place}", part.text, part.did_you_mean)
            for index, one in enumerate(self.recognised)
            for part in one.unread
        ]


class MedicationReader:
    """Reads the medications of requests; made once for a rulebook."""

    def __init__(self, rulebook: Rulebook, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._groups: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for group in rulebook.drug_groups.values():
            for member in group.members:
                self._groups.setdefault(member, []).append((group.key, group.routes))

    def read(self, medications: Sequence[Mapping[str, Any]]) -> Medications:
        """What they are, and the groups that they are in."""
        recognised = [self._recogniser.recognise(one) for one in medications]
        positions: dict[str, list[int]] = {}
        for index, one in enumerate(recognised):
            route = one.route or BY_MOUTH
            keys = {
                key
                for member in one.ingredients
                for key, routes in self._groups.get(member, ())
                if not routes or route in routes
            }
            for key in sorted(keys):
                positions.setdefault(key, []).append(index)
        return Medications(recognised, positions)
