"""Type-ahead: names that begin with what was typed, with what the rules know of them."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from service.knowledge import Rulebook
from service.terminology.routes import Routes
from service.terminology.store import Name, Store
from service.terminology.tables import read_words
from service.terminology.text import is_amount, words

MOST = 20
_LOOKED_AT = 3000


class MedicationSearch:
    """Finds names by the beginnings of their words."""

    def __init__(self, store: Store, rulebook: Rulebook) -> None:
        self._store = store
        self._classes: dict[str, list[str]] = {}
        self._rows: dict[str, list[str]] = {}
        for key, group in sorted(rulebook.drug_groups.items()):
            row = key.replace("_", "-")
            is_row = row in rulebook.rules and rulebook.rules[row].kind == "interaction"
            where = self._rows if is_row else self._classes if key in rulebook.vocabulary.drug_classes else None
            for member in group.members if where is not None else ():
                (self._rows if is_row else self._classes).setdefault(member, []).append(row if is_row else key)
        self._drugs = frozenset(rulebook.vocabulary.drugs)
        kinds = read_words(rulebook.folder / "terminology")
        self._units = kinds["unit"]
        self._beside = kinds["form"] | kinds["frequency"] | Routes(rulebook.vocabulary.routes).words

    def find(self, query: str) -> list[dict[str, Any]]:
        """At most twenty names all of whose typed words begin one of theirs; the likeliest first.

        Where none fits, a strength and what follows it do not count, then words that may stand beside a name.
        """
        typed = words(query)
        named = tuple(takewhile(lambda word: not is_amount(word, self._units), typed))
        bare = tuple(word for word in named if word not in self._beside)
        for asked in dict.fromkeys((typed, named, bare)):
            found = self._fitting(asked) if asked else []
            if found:
                return [self._shown(one) for one in found]
        return []

    def _fitting(self, typed: tuple[str, ...]) -> list[Name]:
        longest = max(typed, key=len)
        found = [one for one in self._store.starting(longest, _LOOKED_AT) if _fits(one, typed)]
        together = " ".join(typed)
        found.sort(key=lambda one: (not one.words.startswith(together), one.rank, len(one.words), one.words))
        # A name with and without its hyphen is shown once.
        different: dict[tuple[str, str], Name] = {}
        for one in found:
            different.setdefault((one.shown, one.ingredients), one)
        return list(different.values())[:MOST]

    def _shown(self, one: Name) -> dict[str, Any]:
        keys = one.ingredients.split(" ")
        return {
            "name": one.shown,
            "route": one.route,
            "ingredients": [self._ingredient(key) for key in keys],
            "drug_classes": sorted({name for key in keys for name in self._classes.get(key, ())}),
            "interactions": sorted({name for key in keys for name in self._rows.get(key, ())}),
        }

    def _ingredient(self, key: str) -> dict[str, Any]:
        display, rxnorm = self._store.ingredient(key)
        return {"key": key if key in self._drugs else None, "display": display, "rxnorm": rxnorm}


def _fits(one: Name, typed: tuple[str, ...]) -> bool:
    said = one.words.split(" ")
    return all(any(word.startswith(part) for word in said) for part in typed)
