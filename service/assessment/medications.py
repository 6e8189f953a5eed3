"""Which ingredients a medication is: by whole words of its name, or by its RxNorm code. Nothing is guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from service.knowledge.vocabulary import Vocabulary

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> tuple[str, ...]:
    """Lower-case words without accents; whatever is no letter or digit parts them."""
    plain = "".join(one for one in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(one))
    return tuple(_WORD.findall(plain))


class MedicationIndex:
    """Names and codes of every known ingredient."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._codes: dict[str, str] = {}
        for key, drug in vocabulary.drugs.items():
            for name in (drug.display, *drug.names):
                self._names[words(name)] = (key,)
            if drug.rxnorm is not None:
                self._codes[drug.rxnorm] = key
        for combination in vocabulary.combinations.values():
            for name in (combination.display, *combination.names):
                self._names[words(name)] = combination.ingredients
        self._longest = max((len(name) for name in self._names), default=0)

    def recognise(self, medication: Mapping[str, Any]) -> frozenset[str]:
        """The ingredients; empty when neither name nor code is known."""
        found = set(self._in_text(medication.get("name", "")))
        code = medication.get("code")
        if code is not None:
            if code["system"] == RXNORM and code["code"] in self._codes:
                found.add(self._codes[code["code"]])
            elif not found:
                found.update(self._in_text(code.get("display", "")))
        return frozenset(found)

    def _in_text(self, text: str) -> list[str]:
        """Longest names first, left to right; a word belongs to one name only."""
        parts = words(text)
        found: list[str] = []
        start = 0
        while start < len(parts):
            for length in range(min(self._longest, len(parts) - start), 0, -1):
                ingredients = self._names.get(parts[start : start + length])
                if ingredients is not None:
                    found.extend(ingredients)
                    start += length
                    break
            else:
                start += 1
        return found
