"""From drugs.yaml and the tables (or an RxNorm release) to names, codes and ingredients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from service.knowledge.vocabulary import Vocabulary
from service.terminology.errors import TerminologyError
from service.terminology.routes import Routes
from service.terminology.store import Name
from service.terminology.tables import read_words, rows
from service.terminology.text import is_amount, words

OWN, SYNONYM, PUBLIC = 0, 1, 2
"""Whose name it is; the lower one wins where two say the same."""

_INJECTED = ("subcutaneous", "intramuscular", "intravenous")
"""Routes that a brand's name does not give: what is left on one market as an injection may be a tablet on another."""

_SYNONYMS = ("name", "kind", "of")

_WEAK_LETTERS = 4
"""A name with fewer letters is too easily something else."""


class Concept(NamedTuple):
    """An ingredient, brand or product of a release: its code, its ingredients' codes and its dose forms."""

    code: str
    name: str
    """Empty where the concept is known by its code alone."""
    kind: str
    ingredients: tuple[str, ...]
    forms: str = ""


class Collection:
    """Everything that is known of medications, before it becomes a table."""

    def __init__(self, vocabulary: Vocabulary, folder: Path) -> None:
        self.ingredients: dict[str, tuple[str, str | None]] = {}
        self.names: dict[str, Name] = {}
        self.codes: dict[int, tuple[str, str | None]] = {}
        self.wholes: dict[str, str] = {}
        self.general: set[tuple[str, str]] = set()
        self._routes = Routes(vocabulary.routes)
        kinds = read_words(folder)
        self._quiet = frozenset().union(*kinds.values()) | self._routes.words
        self._units = kinds["unit"]
        self._elements = kinds["element"]
        self._vocabulary = vocabulary
        self._keys = {drug.rxnorm: key for key, drug in vocabulary.drugs.items() if drug.rxnorm is not None}
        for key, drug in vocabulary.drugs.items():
            self.ingredients[key] = (drug.display, drug.rxnorm)
            if drug.rxnorm is not None:
                self._code(drug.rxnorm, (key,), None)
            for name in (drug.display, *drug.names):
                self._name(name, "drug", OWN, (key,))
        for combination in vocabulary.combinations.values():
            for name in (combination.display, *combination.names):
                self._name(name, "combination", OWN, combination.ingredients)
        # Before any concept: whatever code it has in a release, a synonym of what the rules know is the same.
        for _, (name, kind, of) in rows(folder, "synonyms", _SYNONYMS):
            known = self.names.get(" ".join(words(of)))
            if kind == "synonym" and known is not None and known.ingredients in vocabulary.drugs:
                self._name(name, kind, SYNONYM, (known.ingredients,))

    def _name(self, shown: str, kind: str, rank: int, ingredients: Iterable[str], route: str | None = None) -> None:
        said = words(shown)
        if not said:
            return
        ids = " ".join(sorted(set(ingredients)))
        known = self.names.get(" ".join(said))
        if known is not None:
            if known.rank <= rank and not (known.rank == rank and known.route is None and known.ingredients == ids):
                return
            rank = min(rank, known.rank)
        weak = self._ordinary(said) or len("".join(said)) < _WEAK_LETTERS
        self.names[" ".join(said)] = Name(" ".join(said), shown, kind, rank, ids, route, weak)

    def _ordinary(self, said: Sequence[str]) -> bool:
        """All of it stands beside other names too. An element with its salt (calcium carbonate) names a substance."""
        if len(said) > 1 and not self._elements.isdisjoint(said):
            return False
        return all(word in self._quiet or is_amount(word, self._units) for word in said)

    def add(self, concepts: Iterable[Concept]) -> None:
        """Take in the concepts of a release; ingredients come before what consists of them."""
        parents: dict[str, tuple[str, ...]] = {}
        for one in concepts:
            if one.kind == "ingredient":
                key = self._key(one)
                parents[one.code] = (key,)
                self.ingredients.setdefault(key, (one.name, one.code))
                self._name(one.name, "ingredient", PUBLIC, (key,))
                self._code(one.code, (key,), None)
            elif one.kind == "precise ingredient":
                # One that the rules know by itself is its own, such as a salt of magnesium.
                known = self._own_key(one)
                ids = (known,) if known is not None else parents.get(one.ingredients[0])
                if ids is not None:
                    parents[one.code] = ids
                    self._name(one.name, "ingredient", PUBLIC, ids)
                    self._code(one.code, ids, None)
            else:
                self._product(one, parents)

    def _key(self, one: Concept) -> str:
        known = self._own_key(one)
        return known if known is not None else f"rxnorm:{one.code}"

    def _own_key(self, one: Concept) -> str | None:
        """The key of drugs.yaml that has the code, or the name though without this code; never a combination's."""
        if one.code in self._keys:
            return self._keys[one.code]
        name = self.names.get(" ".join(words(one.name)))
        known = name is not None and name.rank < PUBLIC and name.ingredients in self._vocabulary.drugs
        return name.ingredients if name is not None and known else None

    def _product(self, one: Concept, parents: Mapping[str, tuple[str, ...]]) -> None:
        found = [parents[code] for code in one.ingredients if code in parents]
        ids = {key for keys in found for key in keys}
        if not ids:
            return
        route = self._routes.of_forms(one.forms, any_oral=one.kind != "brand")
        if one.kind == "brand":
            if route in _INJECTED:
                route = None
            own = self.names.get(" ".join(words(one.name)))
            if own is not None and own.rank == OWN:
                ids = self._own_product(own, ids)
                if route == "oral" and own.route is None:
                    self.names[own.words] = own._replace(route=route)
                if set(own.ingredients.split(" ")) != ids:
                    self.names[own.words] = self.names[own.words]._replace(ingredients=" ".join(sorted(ids)))
            else:
                self._name(one.name, "brand", PUBLIC, ids, route)
        elif one.name:
            self._name(one.name, "combination", PUBLIC, ids)
        self._code(one.code, ids, route)

    def _own_product(self, own: Name, ids: set[str]) -> set[str]:
        """A brand that the rules name: a product of its own, or the rules' reading and whatever else it holds."""
        said = set(own.ingredients.split(" "))
        if len(said) == 1 and not said & ids:
            if len(ids) > 1:
                self.wholes.setdefault(" ".join(sorted(ids)), own.ingredients)
            return said
        return said | ids

    def _code(self, code: str, ids: Iterable[str], route: str | None) -> None:
        found = (" ".join(sorted(set(ids))), route)
        known = self.codes.setdefault(int(code), found)
        if known == (found[0], None):
            self.codes[int(code)] = found

    def add_synonyms(self, folder: Path) -> None:
        """The names of ``synonyms.tsv``. Raises TerminologyError for one that stands for nothing known."""
        waiting = []
        for line, (name, kind, of) in rows(folder, "synonyms", _SYNONYMS):
            if kind == "ingredient":
                self._new_ingredient(name)
            else:
                waiting.append((line, name, kind, of))
        while waiting:
            later = []
            for line, name, kind, of in waiting:
                parts = [self.names.get(" ".join(words(part))) for part in of.split(" + ")]
                if all(part is not None for part in parts):
                    ids = [key for part in parts if part is not None for key in part.ingredients.split(" ")]
                    if kind == "general":
                        self._generalise(line, name, ids)
                    else:
                        self._name(name, kind, SYNONYM, ids)
                else:
                    later.append((line, name, kind, of))
            if len(later) == len(waiting):
                line, name, _, of = waiting[0]
                raise TerminologyError(f"synonyms.tsv:{line}: {name!r} stands for {of!r}, which nothing else names")
            waiting = later

    def _new_ingredient(self, name: str) -> None:
        if " ".join(words(name)) in self.names:
            return
        key = "name:" + "-".join(words(name))
        self.ingredients[key] = (name, None)
        self._name(name, "ingredient", SYNONYM, (key,))

    def _generalise(self, line: int, name: str, special: Iterable[str]) -> None:
        known = self.names.get(" ".join(words(name)))
        if known is None or " " in known.ingredients:
            raise TerminologyError(f"synonyms.tsv:{line}: {name!r} names no single ingredient")
        self.general |= {(known.ingredients, key) for key in special if key != known.ingredients}

    def finish(self) -> None:
        """Names are known without their hyphens too; codes of what is a product of its own say so."""
        for name in list(self.names.values()):
            joined = words(name.shown.replace("-", "")) if "-" in name.shown else ()
            if len("".join(joined)) > _WEAK_LETTERS and self._quiet.isdisjoint(joined):
                self.names.setdefault(" ".join(joined), name._replace(words=" ".join(joined)))
        for code, (ids, route) in self.codes.items():
            if ids in self.wholes:
                self.codes[code] = (self.wholes[ids], route)


def built_in(folder: Path) -> Iterable[Concept]:
    """The concepts of ``rules/terminology/``."""
    columns = ("code", "kind", "name", "of", "release")
    ingredients = [cells for _, cells in rows(folder, "ingredients", columns)]
    for code, kind, name, _, _ in ingredients:
        if kind == "IN":
            yield Concept(code, name, "ingredient", ())
    for code, kind, name, of, _ in ingredients:
        if kind == "PIN":
            yield Concept(code, name, "precise ingredient", (of,))
    for _, (code, name, parts, forms, _) in rows(folder, "brands", ("code", "name", "ingredients", "forms", "release")):
        yield Concept(code, name, "brand", tuple(parts.split("+")), forms)
    for _, (code, parts) in rows(folder, "combinations", ("code", "ingredients")):
        yield Concept(code, "", "combination", tuple(parts.split("+")))
    for _, (parts, form, _, codes) in rows(folder, "products", ("ingredients", "form", "release", "codes")):
        for code in codes.split(" "):
            yield Concept(code, "", "product", tuple(parts.split("+")), form)
