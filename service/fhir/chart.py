"""What was read from FHIR: the request body, and what became of every resource."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["absent", "null", "none_found", "used", "failed", "incomplete"]
"""Of a prefetch key: not sent; sent as null; a search that found nothing; read; not to be had; more pages follow.

Only ``none_found`` may be worded as such. ``used`` says that it could be read, not that anything in it was of use.
"""

DRAFTS = "draftOrders"
OTHER = "other"
"""Under which keys notes on the draft orders, and on prefetch keys that are not known, stand."""


@dataclass(frozen=True)
class State:
    """What became of one prefetch key: how many of its resources were used, and how many left out."""

    status: Status
    used: int = 0
    left_out: int = 0


@dataclass(frozen=True, order=True)
class Note:
    """Why resources were left out, or what to know of those that were used. Never a word of the record."""

    key: str
    code: str
    detail_code: str = ""
    """A key of our vocabulary, or a resource type of FHIR."""
    left_out: bool = False
    """Whether whole resources were left out for it; else a remark."""
    count: int = 1


@dataclass(frozen=True)
class Shown:
    """A result that may be shown and is not used."""

    lab: str
    value: Any
    unit: str
    collected_on: str
    reason: str
    comparator: str = ""
    """Where it is a limit: `<`, `<=`, `>` or `>=`."""


@dataclass(frozen=True)
class Draft:
    """A draft order. ``resource_id`` is None where it has no id, ``medication_index`` where it is no medication."""

    resource_id: str | None
    medication_index: int | None
    selected: bool
    resource: Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """One patient as the EHR sent them; ``body`` is a body of POST /v1/evaluations."""

    body: dict[str, Any]
    states: Mapping[str, State]
    notes: tuple[Note, ...]
    drafts: tuple[Draft, ...]
    shown: tuple[Shown, ...] = ()
    deceased: bool = False


class Ledger:
    """Counts for each key what was used and what was left out, and why."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._notes: Counter[tuple[str, str, str, bool]] = Counter()

    def use(self, key: str) -> None:
        """A resource was used."""
        self._used[key] += 1

    def leave_out(self, key: str, code: str, detail: str = "") -> None:
        """A resource was not used."""
        self._left_out[key] += 1
        self._notes[key, code, detail, True] += 1

    def remark(self, key: str, code: str, detail: str = "") -> None:
        """Something to know of a key, or of a resource that was used."""
        self._notes[key, code, detail, False] += 1

    def state(self, key: str, status: Status) -> State:
        """The state of a key, with its counts."""
        return State(status, self._used[key], self._left_out[key])

    def reasons(self, key: str) -> set[str]:
        """Why resources of a key were left out."""
        return {code for of, code, _, left_out in self._notes if of == key and left_out}

    def notes(self) -> tuple[Note, ...]:
        """Everything noted, in a fixed order."""
        return tuple(sorted(Note(*what, count) for what, count in self._notes.items()))
