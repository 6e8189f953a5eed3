"""The tables of ``rules/terminology/``, read strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from service.terminology.errors import TerminologyError

FILES = ("brands", "combinations", "ingredients", "products", "synonyms", "words")


def rows(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, with their line numbers. Lines with ``#`` come first, then the names of the columns."""
    path = folder / f"{name}.tsv"
    head = True
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                cells = line.rstrip("\n").split("\t")
                if head:
                    if line.startswith("#"):
                        continue
                    if tuple(cells) != columns:
                        raise TerminologyError(f"{path.name}:{number}: the columns must be {', '.join(columns)}")
                    head = False
                    continue
                if len(cells) != len(columns) or not line.endswith("\n"):
                    raise TerminologyError(f"{path.name}:{number}: must have {len(columns)} columns and an end of line")
                yield number, cells
    except (OSError, UnicodeDecodeError) as error:
        raise TerminologyError(f"{path.name}: cannot be read: {error}") from error


KINDS = (
    "unit", "form", "salt", "frequency", "maker", "ordinary", "element", "finding", "plain", "denial", "purpose",
)  # fmt: skip
"""What a word of ``words.tsv`` can be; the README beside it says what each means."""


def read_words(folder: Path) -> dict[str, frozenset[str]]:
    """The words that name no medication, and those that do so only in company, by kind."""
    kinds: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for number, (word, kind) in rows(folder, "words", ("word", "kind")):
        if kind not in kinds:
            raise TerminologyError(f"words.tsv:{number}: the kind {kind!r} is not known; one of: {', '.join(KINDS)}")
        kinds[kind].add(word)
    return {kind: frozenset(found) for kind, found in kinds.items()}
