"""The detail of a card: the first caution in full, the others in short; cut step by step until it is short enough.

What was seen, the summary, the hours apart and the action of a major or contraindicated caution are never cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.clinical.outcome import SEVERITIES
from service.hooks.wording import PARTS, Test, Wording, bullets

Item = Mapping[str, Any]
_Lines = Mapping[str, Sequence[str]]

_CUTS: Sequence[tuple[str, frozenset[str], bool]] = (
    ("limits", frozenset(SEVERITIES), False),
    ("why", frozenset(SEVERITIES), False),
    ("action", frozenset({"minor"}), False),
    ("limits", frozenset(SEVERITIES), True),
    ("action", frozenset({"moderate"}), False),
)
"""What is cut, of cautions of which severities, and whether of the first of a card or of the others; in this order."""


_NAMED_ONLY = frozenset(PARTS) - {"spacing"}


@dataclass
class Parts:
    """What stands in a detail, in this order."""

    before: list[str] = field(default_factory=list)
    cautions: list[Item] = field(default_factory=list)
    doubts: dict[int, str] = field(default_factory=dict)
    """By the identity of a caution, which text says that it depends on what is not known to be taken."""
    after: list[str] = field(default_factory=list)
    """Forms, and refused forms."""
    tests: list[Test] = field(default_factory=list)
    headed: bool = False
    """Whether the first caution needs a heading, because the summary of the card is not its own."""

    def joined(self, other: Parts) -> Parts:
        """Both in one, each caution once; the first of the other is one of several now."""
        known = {id(one) for one in self.cautions}
        return Parts(
            [*self.before, *(one for one in other.before if one not in self.before)],
            [*self.cautions, *(one for one in other.cautions if id(one) not in known)],
            self.doubts | other.doubts,
            [*self.after, *other.after],
            [*self.tests, *other.tests],
            self.headed,
        )


@dataclass(frozen=True)
class Written:
    """A detail, and what was cut from it: parts of cautions, and of questions for tests."""

    text: str
    cut: Sequence[tuple[Item, Sequence[str]]]
    cut_tests: Sequence[tuple[str, Sequence[str]]]


def write_detail(
    wording: Wording,
    parts: Parts,
    drafted: Sequence[str],
    elsewhere: Collection[int],
    tail: Sequence[str],
    longest: int,
) -> Written:
    """The detail, no longer than ``longest`` if it can be; ``tail`` is never cut.

    ``elsewhere`` are the identities of cautions that an earlier card has; here they are only called by name.
    """
    lines = [wording.caution(one, drafted, parts.doubts.get(id(one))) for one in parts.cautions]
    named_only = [at > 0 and id(one) in elsewhere for at, one in enumerate(parts.cautions)]
    text, gone, in_full = "", [frozenset[str]()] * len(lines), len(parts.tests)
    # First what can be cut of cautions, then of tests, the last one first.
    for step in range(len(_CUTS) + 1 + len(parts.tests)):
        in_full = len(parts.tests) - max(step - len(_CUTS), 0)
        gone = [
            _NAMED_ONLY if named else _gone(one, at == 0, step)
            for at, (one, named) in enumerate(zip(parts.cautions, named_only, strict=True))
        ]
        text = "\n".join([*_body(wording, parts, lines, gone), *_tests(wording, parts, in_full), *tail])
        if len(text) <= longest:
            break
    return Written(text, list(_cut(parts, lines, gone, elsewhere)), list(_cut_tests(parts, in_full)))


def _cut(
    parts: Parts, lines: Sequence[_Lines], gone: Sequence[frozenset[str]], elsewhere: Collection[int]
) -> Iterator[tuple[Item, Sequence[str]]]:
    for one, said, without in zip(parts.cautions, lines, gone, strict=True):
        left = [part for part in PARTS if (part in without and said[part]) or f"more_{part}" in said]
        if left and id(one) not in elsewhere:
            yield one, left


def _cut_tests(parts: Parts, in_full: int) -> Iterator[tuple[str, Sequence[str]]]:
    for at, one in enumerate(parts.tests):
        left = list(one.cut) if at < in_full else list(dict.fromkeys(("question", "reason", *one.cut)))
        if left:
            yield one.lab, left
        yield from ((lab, ("question", "reason", "timing")) for lab in one.together)


def _tests(wording: Wording, parts: Parts, in_full: int) -> list[str]:
    headed = bool(parts.tests) and bool(parts.cautions or parts.after)
    shown = [one.text if at < in_full else one.short for at, one in enumerate(parts.tests)]
    return [*(["", wording.detail("tests"), ""] if headed else []), *bullets(shown)]


def _gone(caution: Item, first: bool, steps: int) -> frozenset[str]:
    return frozenset(
        part for part, severities, of_first in _CUTS[:steps] if of_first == first and caution["severity"] in severities
    )


def _body(wording: Wording, parts: Parts, lines: Sequence[_Lines], gone: Sequence[frozenset[str]]) -> Iterator[str]:
    if parts.before:
        yield from (*parts.before, "")
    seen: set[str] = set()
    for at, (said, without) in enumerate(zip(lines, gone, strict=True)):
        # What was seen is said once on a card.
        facts = [one for one in said["facts"] if one not in seen]
        seen.update(facts)
        shown = [*said["doubt"], *([wording.seen(facts)] if facts else [])]
        shown += [line for part in PARTS if part not in without for line in said[part]]
        if at == 0:
            yield from bullets([*said["heading"], *shown] if parts.headed else shown)
        else:
            yield from ("", wording.detail("also"), "") if at == 1 else ()
            yield "- " + " ".join([*said["heading"], *shown])
    if parts.cautions and parts.after:
        yield ""
    yield from parts.after
