"""What clinicians did with cards, to be counted for each rule. No patient, no user, no comment is kept or passed on.

A card's id says which rules it came from; a digest of the opinion is kept for a while, so that what is sent twice
counts once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from service.hooks.ids import Ids, RuleMark
from service.hooks.schema import read_feedback_body
from service.knowledge.hooks_file import Hooks

OTHER = "other"
"""A reason that is not one of ours; its code may be anyone's words."""

MOST_REMEMBERED = 100_000


@dataclass(frozen=True)
class Tally:
    """One thing that is counted. ``rule`` is None for a card that was not made here."""

    rule: RuleMark | None
    outcome: str
    """accepted or overridden; of a suggestion, taken."""
    reason: str | None = None


@dataclass(frozen=True)
class Opinion:
    """What became of one card; ``key`` knows it again."""

    key: bytes
    tallies: tuple[Tally, ...]


class FeedbackReader:
    """Reads feedback for the services of one installation."""

    def __init__(self, hooks: Hooks, ids: Ids) -> None:
        self._ids = ids
        self._system = hooks.cards["override"]["system"]
        self._reasons = frozenset(hooks.cards["override"]["reasons"])

    def read(self, service: str, body: Any) -> tuple[Opinion, ...]:
        """The opinions of a call, each once. Raises Refused for a body that is none."""
        found = (self._opinion(service, one) for one in read_feedback_body(body))
        return tuple({one.key: one for one in found}.values())

    def _opinion(self, service: str, said: Mapping[str, Any]) -> Opinion:
        outcome: str = said["outcome"]
        suggestions = sorted({one["id"] for one in said.get("acceptedSuggestions", ())})
        reasons = sorted(self._codes(said))
        parts = [service, said["card"], outcome, said["outcomeTimestamp"], *suggestions, "", *reasons]
        tallies: list[Tally] = []
        for rule in self._rules(service, said["card"], "card"):
            tallies += [Tally(rule, outcome, one) for one in reasons] or [Tally(rule, outcome)]
        if outcome == "accepted":
            taken = (rule for one in suggestions for rule in self._rules(service, one, "suggestion"))
            tallies += [Tally(rule, "taken") for rule in taken]
        return Opinion(self._ids.seal_of(parts), tuple(tallies))

    def _rules(self, service: str, text: str, kind: str) -> Sequence[RuleMark | None]:
        origin = self._ids.read(service, text)
        return origin.rules if origin is not None and origin.kind == kind else (None,)

    def _codes(self, said: Mapping[str, Any]) -> set[str]:
        given = [said["overrideReason"]] if "overrideReason" in said else []
        given += said.get("overrideReasons", ())
        codings = [one["reason"] for one in given if "reason" in one]
        return {
            one["code"] if one["system"] == self._system and one["code"] in self._reasons else OTHER for one in codings
        }


class Heard:
    """Opinions that came before, of this process; may be used by many threads."""

    def __init__(self, most_remembered: int = MOST_REMEMBERED) -> None:
        self._most = most_remembered
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def new(self, opinions: Sequence[Opinion]) -> tuple[Opinion, ...]:
        """Those that were not heard before; from now on they were."""
        with self._lock:
            new = tuple(one for one in opinions if one.key not in self._seen)
            self._seen.update(dict.fromkeys(one.key for one in new))
            while len(self._seen) > self._most:
                self._seen.popitem(last=False)
        return new
