"""What a text that was not understood may have meant. Nothing is ever taken for it: it is only shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

from service.terminology.store import Store

MOST = 5
_SHORTEST = 4
_LONGEST = 60
_PARTS = 5
_PER_LENGTH = 10


class _Near(NamedTuple):
    """Names of one length: their words, and for each its place in the order, how it is shown and what it means."""

    words: list[str]
    about: list[tuple[int, str, str]]


class Spelling:
    """The names that are near a text."""

    def __init__(self, store: Store) -> None:
        self._by_length: dict[int, _Near] = {}
        meanings: dict[str, str] = {}
        for place, name in enumerate(store.names(_SHORTEST)):
            near = self._by_length.setdefault(len(name.words), _Near([], []))
            near.words.append(name.words)
            meaning = meanings.setdefault(name.ingredients, name.ingredients)
            near.about.append((place, name.shown, meaning))

    def near(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Names at most a few letters away from one of some texts, the nearest first; always in the same order.

        Of names that mean the same only the nearest is there.
        """
        found: dict[str, tuple[int, int, str]] = {}
        asked = [text[:_LONGEST] for text in dict.fromkeys(texts) if len(text) >= _SHORTEST]
        for text in asked[:_PARTS]:
            allowed = _allowed(len(text))
            for length in range(len(text) - allowed, len(text) + allowed + 1):
                if length not in self._by_length:
                    continue
                names = self._by_length[length]
                # Alike ones keep the order of the store.
                matches = process.extract(
                    text, names.words, scorer=OSA.distance, score_cutoff=allowed, limit=_PER_LENGTH
                )
                for _, distance, index in matches:
                    place, shown, meaning = names.about[index]
                    found[meaning] = min((int(distance), place, shown), found.get(meaning, (_LONGEST, 0, "")))
        nearest = sorted(found.values())
        return tuple(shown for distance, _, shown in nearest if distance <= nearest[0][0] + 1)[:MOST]

    def nearest(self, word: str) -> bool:
        """Whether a name is one slip away from a word."""
        return len(word) > _SHORTEST + 1 and any(
            process.extractOne(word, self._by_length[length].words, scorer=OSA.distance, score_cutoff=1)
            for length in range(len(word) - 1, len(word) + 2)
            if length in self._by_length
        )


def _allowed(length: int) -> int:
    """How many letters may differ: one in a short word, three in a long one."""
    return 1 if length <= _SHORTEST + 1 else 2 if length < 2 * _SHORTEST + 1 else 3
