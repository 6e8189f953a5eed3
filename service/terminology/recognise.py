"""Which ingredients a medication is, and by which route it is taken: by whole words, or by its code. Never by guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from service.knowledge import Rulebook
from service.terminology.place import open_terminology
from service.terminology.routes import Routes
from service.terminology.store import Name, Store
from service.terminology.suggest import Spelling
from service.terminology.tables import read_words
from service.terminology.text import Words, is_amount, split

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"

_NONE: frozenset[str] = frozenset()
_PARTED_WORD = 4
"""Letters from which on an unknown word between slashes counts as a name that was not understood."""
_LONGEST_NAME = 24
"""Words; no name is longer, whatever a release says."""


@dataclass(frozen=True)
class Recognised:
    """What a medication was understood to be."""

    ingredients: frozenset[str]
    """Keys of drugs.yaml, or ``rxnorm:`` and a code where no rule speaks of it."""
    route: str | None
    route_assumed: bool
    """Neither the request nor the code nor the name says the route: it counts as oral."""
    by_name: frozenset[str]
    by_code: frozenset[str]
    conflict: bool
    """The name and the code have no ingredient in common."""
    did_you_mean: tuple[str, ...]
    unread: str | None = None
    """What was not understood: the whole, or a part of a combination."""


class _Match(NamedTuple):
    start: int
    end: int
    name: Name


class _Reading(NamedTuple):
    """A text: what it names, the route it says, and what is left."""

    ingredients: frozenset[str]
    route: str | None
    unread: tuple[str, ...]


class Recogniser:
    """Recognises medications; made once, shared by all threads."""

    def __init__(self, store: Store, rulebook: Rulebook) -> None:
        self.store = store
        self.release = store.release
        self._routes = Routes(rulebook.vocabulary.routes)
        kinds = read_words(rulebook.folder / "terminology")
        self._units = kinds["unit"]
        self._salts = kinds["salt"]
        self._elements = kinds["element"]
        beside = frozenset().union(*(kinds[kind] for kind in ("unit", "form", "salt", "frequency", "maker")))
        self._quiet = beside | self._routes.words
        self._spelling = Spelling(store)

    @classmethod
    def of(cls, rulebook: Rulebook, directory: Path | None = None, chosen: Path | None = None) -> Recogniser:
        """With the table of the rules, or the one that was chosen. Raises TerminologyError."""
        return cls(open_terminology(rulebook, directory, chosen), rulebook)

    def recognise(self, medication: Mapping[str, Any]) -> Recognised:
        """Name and code are both read; the route comes from the request, else the code, else the name."""
        text: str = medication.get("name", "")
        named = self._read(text) if text else _Reading(_NONE, None, ())
        by_code, code_route = self._by_code(medication.get("code"))
        code = medication.get("code")
        if not named.ingredients and not by_code and code is not None and "display" in code:
            shown = self._read(code["display"])
            if shown.ingredients or not text:
                named, text = shown, code["display"]
        route = medication.get("route") or code_route or named.route
        ingredients = named.ingredients | by_code
        unread = None
        near: tuple[str, ...] = ()
        if not ingredients:
            unread = text or str(code["code"] if code is not None else "")
            near = self._spelling.near(named.unread)
        elif named.unread and named.ingredients and not by_code:
            unread = " ".join(named.unread)
            near = self._spelling.near(named.unread)
        conflict = bool(named.ingredients and by_code) and named.ingredients.isdisjoint(by_code)
        return Recognised(ingredients, route, route is None, named.ingredients, by_code, conflict, near, unread)

    def _by_code(self, code: Mapping[str, Any] | None) -> tuple[frozenset[str], str | None]:
        if code is None or code["system"] != RXNORM:
            return _NONE, None
        digits: str = code["code"]
        # Nothing longer is a code of RxNorm, nor fits the table.
        if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
            return _NONE, None
        found = self.store.code(int(digits))
        return (frozenset(found[0]), found[1]) if found is not None else (_NONE, None)

    def _read(self, text: str) -> _Reading:
        said = split(text)
        matches = self._matches(said.words)
        covered = {place for match in matches for place in range(match.start, match.end)}
        rest = [
            place
            for place, word in enumerate(said.words)
            if place not in covered and word not in self._quiet and not is_amount(word, self._units)
        ]
        accepted = self._accepted(said, matches, bool(rest))
        ids = frozenset(key for match in accepted for key in match.name.ingredients.split(" "))
        if len(ids) > 1:
            whole = self.store.whole(ids)
            ids = frozenset((whole,)) if whole is not None else ids
        taken = {place for match in accepted for place in range(match.start, match.end)}
        unread = self._unread(said, rest, taken) if ids else self._all_unread(said, rest, matches)
        return _Reading(ids, self._route(said.words, taken, accepted), unread)

    def _matches(self, words: tuple[str, ...]) -> list[_Match]:
        """Longest names first; a word belongs to one name only. In the order of the text."""
        found: list[_Match] = []
        for start, word in enumerate(words):
            # A number alone is a strength or a count; it can begin a name (1,25-dihydroxycholecalciferol).
            shortest = 2 if word.isdigit() else 1
            longest = min(self.store.longest(word), len(words) - start, _LONGEST_NAME)
            for length in range(longest, shortest - 1, -1):
                name = self.store.name(" ".join(words[start : start + length]))
                if name is not None:
                    found.append(_Match(start, start + length, name))
        if len(found) < 2:
            return found
        found.sort(key=lambda one: (one.start - one.end, -len(one.name.words), one.start))
        chosen: list[_Match] = []
        for one in found:
            if all(one.end <= other.start or other.end <= one.start for other in chosen):
                chosen.append(one)
        return sorted(chosen)

    def _accepted(self, said: Words, matches: list[_Match], rest: bool) -> list[_Match]:
        """Without the salts of other names, and without ordinary words in a text that says something else too."""
        accepted: list[_Match] = []
        for one in matches:
            if self._is_salt(said, one, accepted):
                continue
            if one.name.weak and rest and not self._has_strength(said.words, one.end):
                continue
            accepted.append(one)
        return accepted

    def _is_salt(self, said: Words, one: _Match, accepted: list[_Match]) -> bool:
        """``calcium`` in ``atorvastatin calcium``: right after another name, which is no element itself."""
        if one.end - one.start != 1 or one.name.words not in self._salts or not accepted:
            return False
        before = accepted[-1]
        if before.end != one.start or said.parted[one.start]:
            return False
        return not (before.name.weak or self._elements & set(before.name.words.split(" ")))

    def _has_strength(self, words: tuple[str, ...], place: int) -> bool:
        following = words[place : place + 2]
        if not following or not is_amount(following[0], self._units):
            return False
        return not following[0].isdigit() or (len(following) > 1 and following[1] in self._units)

    def _route(self, words: tuple[str, ...], taken: set[int], accepted: list[_Match]) -> str | None:
        """What the words beside the names say; else the one route of the products; else the words of their names."""
        beside = self._routes.of([word for place, word in enumerate(words) if place not in taken])
        if beside is not None or not accepted:
            return beside
        routes = {match.name.route for match in accepted}
        of_products = routes.pop() if len(routes) == 1 else None
        weak = {place for match in accepted if match.name.weak for place in range(match.start, match.end)}
        return of_products or self._routes.of([word for place, word in enumerate(words) if place not in weak])

    def _unread(self, said: Words, rest: list[int], taken: set[int]) -> tuple[str, ...]:
        """Parts of a combination that name nothing known, and words that are one slip away from a name."""
        found = []
        for place in rest:
            word = said.words[place]
            if len(word) < _PARTED_WORD or word[0].isdigit():
                continue
            start = max((index for index in range(place + 1) if said.parted[index]), default=0)
            end = next((index for index in range(place + 1, len(said.words)) if said.parted[index]), len(said.words))
            alone = (start > 0 or end < len(said.words)) and taken.isdisjoint(range(start, end))
            if alone or self._spelling.nearest(word):
                found.append(word)
        return tuple(dict.fromkeys(found))

    def _all_unread(self, said: Words, rest: list[int], matches: list[_Match]) -> tuple[str, ...]:
        """All together first, then word for word."""
        places = sorted({*rest, *(place for match in matches for place in range(match.start, match.end))})
        words = [said.words[place] for place in places]
        together = [word for word in said.words if not is_amount(word, self._units)]
        return tuple(dict.fromkeys((" ".join(together), " ".join(words), *words))) if words else ()
