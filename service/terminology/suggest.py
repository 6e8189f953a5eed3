"""What a text that was not understood may have meant. Nothing is ever taken for it: it is only shown."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from rapidfuzz import process
from rapidfuzz.distance import OSA

from service.terminology.store import Name, Store

MOST = 5
_SHORTEST = 4
_LONGEST = 60
_TEXTS = 5
_EACH = 20
_BEGINNINGS = 200


class Spelling:
    """The names that are near a text.

    Few people miss both the first letter and the two after it, so only names that have one or the other are compared.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._first: dict[str, list[str]] = {}
        self._second: dict[str, list[str]] = {}
        for name in store.spellings(_SHORTEST):
            self._first.setdefault(name[:1], []).append(name)
            self._second.setdefault(name[1:3], []).append(name)

    def near(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Names at most a few letters away from one of some texts, then longer ones that begin with it.

        The nearest first, and always in the same order. Of names that mean the same only the nearest is there.
        """
        asked = [text[:_LONGEST] for text in dict.fromkeys(texts) if len(text) >= _SHORTEST][:_TEXTS]
        near: dict[str, tuple[int, int]] = {}
        for place, text in enumerate(asked):
            for name, distance in self._close(text, _allowed(len(text))):
                near[name] = min((distance, place), near.get(name, (distance, place)))
        nearest, _ = min(near.values(), default=(0, 0))
        close = {name: found for name, found in near.items() if found[0] <= nearest + 1}
        known = self._store.named(close) if close else {}
        ordered = sorted(known.values(), key=lambda one: (close[one.words], one.rank, one.words))
        longer = self._beginning(asked) if nearest or not near else []
        return _different([*ordered, *longer])

    def _close(self, text: str, allowed: int) -> Iterator[tuple[str, int]]:
        """Names and how many letters they are away: a letter too many, too few, another one, or two exchanged."""
        for names in (
            self._first.get(text[:1], ()),
            self._first.get(text[1:2], ()),
            self._second.get(text[1:3], ()),
            self._second.get(text[:2], ()),
        ):
            shortest = bisect_left(names, len(text) - allowed, key=len)
            longest = bisect_right(names, len(text) + allowed, key=len)
            found = process.extract(
                text, names[shortest:longest], scorer=OSA.distance, score_cutoff=allowed, limit=_EACH
            )
            for name, distance, _ in found:
                yield name, int(distance)

    def _beginning(self, texts: Iterable[str]) -> list[Name]:
        """Names that are longer than what was written: ``levoflox``."""
        found = {one for text in texts for one in self._store.starting(text, _BEGINNINGS) if one.words.startswith(text)}
        return sorted(found, key=lambda one: (one.rank, len(one.words), one.words))


def _different(names: Iterable[Name]) -> tuple[str, ...]:
    """How the first few are shown that do not mean the same."""
    shown: dict[str, str] = {}
    for one in names:
        shown.setdefault(one.ingredients, one.shown)
    return tuple(dict.fromkeys(shown.values()))[:MOST]


def _allowed(length: int) -> int:
    """How many letters may differ: one in a short word, three in a long one."""
    return 1 if length <= _SHORTEST + 1 else 2 if length < 2 * _SHORTEST + 1 else 3
