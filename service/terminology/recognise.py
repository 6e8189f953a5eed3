"""Which ingredients a medication is, and by which route it is taken: by whole words, or by its code. Never by guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
_UNREAD_WORD = 3
"""Letters from which on an unknown word is reported though no strength follows it."""
_LONGEST_NAME = 24
"""Words; no name is longer, whatever a release says."""
_BY_MOUTH, _ON_THE_SKIN = "oral", "topical"


class Unread(NamedTuple):
    """What was not understood."""

    place: str
    """Where below the medication it stands: empty for the name, or for all of it."""
    text: str
    did_you_mean: tuple[str, ...]


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
    """The name, or what the code is shown as, has no ingredient in common with the code."""
    unread: tuple[Unread, ...] = ()


class _Match(NamedTuple):
    start: int
    end: int
    name: Name


class _Reading(NamedTuple):
    """A text: what it names, the route it says, and what is left."""

    ingredients: frozenset[str]
    route: str | None
    unread: tuple[str, ...]


_NOTHING = _Reading(_NONE, None, ())


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
        beside = frozenset().union(*(kinds[kind] for kind in ("unit", "form", "frequency", "maker")))
        self._said_beside = beside | self._routes.words
        self._quiet = self._said_beside | self._salts
        self._findings = kinds["finding"]
        self._denials = kinds["denial"]
        self._purposes = kinds["purpose"]
        self._plain = kinds["plain"] | kinds["finding"]
        self._general = store.general()
        self._spelling = Spelling(store)

    @classmethod
    def of(cls, rulebook: Rulebook, directory: Path | None = None, chosen: Path | None = None) -> Recogniser:
        """With the table of the rules, or the one that was chosen. Raises TerminologyError."""
        return cls(open_terminology(rulebook, directory, chosen), rulebook)

    def recognise(self, medication: Mapping[str, Any]) -> Recognised:
        """Name, code and what the code is shown as are all read; the route comes from the request, else from them."""
        text: str = medication.get("name", "")
        code: Mapping[str, Any] = medication.get("code", {})
        named = self._read(text) if text else _NOTHING
        display: str = code.get("display", "")
        # An EHR often says the same twice.
        shown = named if display == text else self._read(display) if display else _NOTHING
        by_code, code_route = self._by_code(code) if code else (_NONE, None)
        by_name = named.ingredients | shown.ingredients
        route = medication.get("route") or code_route or named.route or shown.route
        conflict = bool(by_code) and any(
            said.ingredients and not self._related(said.ingredients, by_code) for said in (named, shown)
        )
        unread = tuple(self._not_understood(text, named, code, shown, by_code))
        return Recognised(self._narrowed(by_name | by_code), route, route is None, by_name, by_code, conflict, unread)

    def _not_understood(
        self, text: str, named: _Reading, code: Mapping[str, Any], shown: _Reading, by_code: frozenset[str]
    ) -> Iterator[Unread]:
        """What the name says beyond what was understood; and the code, where neither it nor its text is known."""
        if text and (named.unread or not named.ingredients):
            yield self._reported("", " ".join(named.unread) if named.ingredients else text, named)
        if not code or by_code or (shown.ingredients and not shown.unread):
            return
        place = "/code" if text else ""
        if shown.ingredients:
            yield self._reported(place, " ".join(shown.unread), shown)
        else:
            yield self._reported(place, str(code["code"] if text else code.get("display", code["code"])), shown)

    def _reported(self, place: str, text: str, reading: _Reading) -> Unread:
        return Unread(place, text, self._spelling.near(word for word in reading.unread if word not in self._denials))

    def _by_code(self, code: Mapping[str, Any]) -> tuple[frozenset[str], str | None]:
        if code["system"] != RXNORM:
            return _NONE, None
        digits: str = code["code"]
        # Nothing longer is a code of RxNorm, nor fits the table.
        if not digits.isascii() or not digits.isdigit() or digits[0] == "0" or len(digits) > 12:
            return _NONE, None
        found = self.store.code(int(digits))
        return (frozenset(found[0]), found[1]) if found is not None else (_NONE, None)

    def _narrowed(self, ingredients: frozenset[str]) -> frozenset[str]:
        """Without those that say less than another one: ``iron`` beside ``ferrous sulfate``."""
        if len(ingredients) < 2:
            return ingredients
        return frozenset(key for key in ingredients if self._general.get(key, _NONE).isdisjoint(ingredients))

    def _related(self, some: frozenset[str], others: frozenset[str]) -> bool:
        """Whether they have an ingredient in common, or one says more of what another one says."""
        if not some.isdisjoint(others):
            return True
        return any(
            not self._general.get(key, _NONE).isdisjoint(there)
            for here, there in ((some, others), (others, some))
            for key in here
        )

    def _read(self, text: str) -> _Reading:
        said = split(text)
        matches = self._matches(said.words)
        covered = {place for match in matches for place in range(match.start, match.end)}
        rest = [
            place
            for place, word in enumerate(said.words)
            if place not in covered and word not in self._quiet and not is_amount(word, self._units)
        ]
        accepted = self._accepted(said, matches, rest)
        ids = frozenset(key for match in accepted for key in match.name.ingredients.split(" "))
        if len(ids) > 1:
            whole = self.store.whole(ids)
            ids = frozenset((whole,)) if whole is not None else ids
        taken = {place for match in accepted for place in range(match.start, match.end)}
        if ids:
            unread = self._unread(said, rest, taken) + self._not_counted(said, matches, accepted)
        else:
            unread = self._all_unread(said, rest, matches)
        return _Reading(ids, self._route(said.words, taken, accepted), unread)

    def _matches(self, words: tuple[str, ...]) -> list[_Match]:
        """Longest names first; a word belongs to one name only. In the order of the text."""
        longest = self.store.longest(words)
        asked: list[tuple[int, int, str]] = []
        for start, word in enumerate(words):
            # A unit after a number begins no name: sildenafil 50 mg citrate.
            if word not in longest or (word in self._units and start and words[start - 1].isdigit()):
                continue
            # A number alone is a strength or a count; it can begin a name (1,25-dihydroxycholecalciferol).
            shortest = 2 if word.isdigit() else 1
            for length in range(shortest, min(longest[word], len(words) - start, _LONGEST_NAME) + 1):
                asked.append((start, start + length, " ".join(words[start : start + length])))
        names = self.store.named([text for *_, text in asked]) if asked else {}
        found = [_Match(start, end, names[text]) for start, end, text in asked if text in names]
        if len(found) < 2:
            return found
        found.sort(key=lambda one: (one.start - one.end, -len(one.name.words), one.start))
        chosen: list[_Match] = []
        for one in found:
            if all(one.end <= other.start or other.end <= one.start for other in chosen):
                chosen.append(one)
        return sorted(chosen)

    def _accepted(self, said: Words, matches: list[_Match], rest: list[int]) -> list[_Match]:
        """Without salts of other names, findings, routes, and ordinary words where something else is said too."""
        accepted: list[_Match] = []
        strong = any(not one.name.weak for one in matches)
        for one in matches:
            if self._is_salt(said, one, accepted) or self._is_finding(said, one) or self._is_route(said, one, accepted):
                continue
            if one.name.weak and not self._counts(said, one, rest, strong):
                continue
            accepted.append(one)
        return accepted

    def _counts(self, said: Words, one: _Match, rest: list[int], strong: bool) -> bool:
        """Whether a weak name is one here: alone, with a strength, or a part of a combination by itself."""
        if len(one.name.words) == 1:
            # D, as in calcium + D.
            return said.parted[one.start] and one.start > 0
        if self._has_strength(said.words, one.end):
            return True
        start, end = _part(said, one.start)
        if strong and (start > 0 or end < len(said.words)) and not any(start <= place < end for place in rest):
            return True
        # A brand may be called `morning after`, which is also when something else is taken.
        return not rest and not (strong and self._said_beside.issuperset(one.name.words.split(" ")))

    def _is_finding(self, said: Words, one: _Match) -> bool:
        """``vitamin D`` in ``vitamin D deficiency``."""
        return one.end < len(said.words) and said.words[one.end] in self._findings and not said.parted[one.end]

    def _is_route(self, said: Words, one: _Match, accepted: list[_Match]) -> bool:
        """``INH`` in ``albuterol INH``: a name that is also a word for a route, after something else."""
        if one.name.words not in self._routes.words or not accepted:
            return False
        if any(other.name.ingredients == one.name.ingredients for other in accepted):
            return False
        if self._has_strength(said.words, one.end):
            return not said.parted[one.start] and not said.listed[one.start]
        return not said.parted[one.start] or said.words[one.start - 1] in self._units

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
        outside = [word for place, word in enumerate(words) if place not in taken]
        beside = self._routes.of(outside)
        if not accepted:
            return beside
        routes = {match.name.route for match in accepted}
        of_products = routes.pop() if len(routes) == 1 else None
        if beside == _ON_THE_SKIN and of_products not in (None, _BY_MOUTH) and self._routes.said(outside) is None:
            # An ointment may be for the eye.
            return of_products
        weak = {place for match in accepted if match.name.weak for place in range(match.start, match.end)}
        return beside or of_products or self._routes.of([word for place, word in enumerate(words) if place not in weak])

    def _unread(self, said: Words, rest: list[int], taken: set[int]) -> tuple[str, ...]:
        """Every word that is neither a name nor known to stand beside one, and those that say it is not taken."""
        found = []
        purpose = False
        for place, word in enumerate(said.words):
            # What something is taken for is no medicine: `for UTI`.
            purpose = word in self._purposes or (purpose and not said.parted[place] and not said.listed[place])
            if word in self._denials:
                # `not` may speak of food, and `stop` of a day, once the name has been said.
                counts = word not in self._quiet or place < min(taken)
            else:
                strength = self._has_strength(said.words, place + 1)
                enough = strength or (len(word) >= _UNREAD_WORD and not purpose)
                counts = place in rest and enough and not word[0].isdigit() and word not in self._plain
            if counts:
                found.append(word)
        return tuple(dict.fromkeys(found))

    def _not_counted(self, said: Words, matches: list[_Match], accepted: list[_Match]) -> tuple[str, ...]:
        """Elements that may be part of it, but stand among words that are not understood."""
        return tuple(
            one.name.words
            for one in matches
            if one.name.weak
            and one not in accepted
            and one.name.words in self._elements
            and not (self._is_salt(said, one, [other for other in accepted if other.end <= one.start]))
            and not self._is_finding(said, one)
        )

    def _all_unread(self, said: Words, rest: list[int], matches: list[_Match]) -> tuple[str, ...]:
        """All together first, then word for word. Words of plain English are no misspelt names."""
        places = sorted({*rest, *(place for match in matches for place in range(match.start, match.end))})
        words = [said.words[place] for place in places if said.words[place] not in self._plain]
        together = [word for word in said.words if not is_amount(word, self._units)]
        return tuple(dict.fromkeys((" ".join(together), " ".join(words), *words))) if words else ()


def _part(said: Words, place: int) -> tuple[int, int]:
    """From where to where the part of a combination reaches that a word is in."""
    start = max((index for index in range(place + 1) if said.parted[index]), default=0)
    end = next((index for index in range(place + 1, len(said.words)) if said.parted[index]), len(said.words))
    return start, end
