"""Which route a text names: of a medication as it was written, or of a dose form of RxNorm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.knowledge.vocabulary import Route
from service.terminology.text import words


class Routes:
    """The words of ``vocabulary/routes.yaml``."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._order = {key: number for number, key in enumerate(routes)}
        self._says: dict[tuple[str, ...], str] = {}
        self._forms: dict[tuple[str, ...], str] = {}
        for key, route in routes.items():
            self._says.update({words(phrase): key for phrase in route.says})
            self._forms.update({words(phrase): key for phrase in route.forms})
        phrases = (*self._says, *self._forms)
        self.words = frozenset(word for phrase in phrases for word in phrase)
        self._longest = max(map(len, phrases), default=0)

    def of(self, text: Sequence[str]) -> str | None:
        """The route that the words name, else the one that their dose form implies, else None."""
        if self.words.isdisjoint(text):
            return None
        return self.said(text) or self._first(self._forms, text)

    def said(self, text: Sequence[str]) -> str | None:
        """The route that the words name."""
        return self._first(self._says, text)

    def _first(self, known: Mapping[tuple[str, ...], str], text: Sequence[str]) -> str | None:
        named = {
            known[phrase]
            for length in range(1, self._longest + 1)
            for start in range(len(text) - length + 1)
            if (phrase := tuple(text[start : start + length])) in known
        }
        return min(named, key=self._order.__getitem__, default=None)

    def of_forms(self, forms: str, any_oral: bool) -> str | None:
        """The one route of several dose forms, parted by ``|``; oral where one is and ``any_oral``; else None."""
        named = {self.of(words(form)) for form in forms.split("|") if form}
        if len(named) == 1:
            return named.pop()
        return "oral" if any_oral and "oral" in named else None
