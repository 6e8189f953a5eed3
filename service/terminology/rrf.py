"""Read an official RxNorm release: RXNCONSO.RRF, RXNREL.RRF and RXNSAT.RRF, line by line.

Of each file only the rows of RxNorm itself (SAB=RXNORM) are used; they are in the public domain. What is torn, cut off
or not what it says is refused, with file and line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from service.terminology.collect import Concept
from service.terminology.errors import TerminologyError

CONSO, REL, SAT = "RXNCONSO.RRF", "RXNREL.RRF", "RXNSAT.RRF"
COLUMNS = {CONSO: 18, REL: 16, SAT: 13}
"""How many columns each file has; every line ends with a bar."""

Progress = Callable[[str, int, int], None]
"""Is told the file, how many of its bytes were read, and how many there are."""

_KINDS = {
    "IN": "ingredient",
    "PIN": "precise ingredient",
    "BN": "brand",
    "MIN": "combination",
    **dict.fromkeys(("SCD", "SBD", "SCDC", "SBDC", "SCDF", "SBDF", "SCDG", "SBDG", "GPCK", "BPCK"), "product"),
}
_LINKS = frozenset(
    f"{prefix}{relation}"
    for prefix, relations in (
        ("has_", ("ingredient", "ingredients", "precise_ingredient", "part", "form", "tradename", "quantified_form")),
        ("", ("ingredient_of", "ingredients_of", "precise_ingredient_of", "part_of", "form_of", "tradename_of")),
        ("", ("quantified_form_of", "consists_of", "constitutes", "contains", "contained_in", "isa", "inverse_isa")),
    )
    for relation in relations
)
"""Relations between a concept and what it is made of. A release has each in both directions."""

_TOWARDS = {
    "IN": 0, "PIN": 1, "MIN": 2, "SCDC": 2, "SCDG": 3, "SCDF": 4, "SCD": 5, "BN": 6, "SBDC": 7, "SBDG": 7, "SBDF": 8,
    "SBD": 9, "GPCK": 10, "BPCK": 11,
}  # fmt: skip
"""Ingredients come first; a concept takes its ingredients from those before it."""

_DOSE_FORM = "has_dose_form"
_VETERINARY, _HUMAN = "RXN_VET_DRUG", "RXN_HUMAN_DRUG"
_EVERY = 1 << 16


class _Row(NamedTuple):
    number: int
    cells: list[str]


def release_of(folder: Path) -> str:
    """The release, as the name of its folder says it (``RxNorm_full_10062025``)."""
    for place in (folder.resolve(), folder.resolve().parent):
        for part in place.name.split("_"):
            if len(part) == 8 and part.isdigit():
                return f"RxNorm {part[4:]}-{part[:2]}-{part[2:4]}"
    return "RxNorm, release not known"


def digest_of(folder: Path) -> str:
    """Of the three files."""
    total = hashlib.sha256()
    for name in COLUMNS:
        with _path(folder, name).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def concepts(folder: Path, progress: Progress) -> Iterator[Concept]:
    """Every concept of a release with its ingredients, these first. Raises TerminologyError."""
    for name in COLUMNS:
        _path(folder, name)
    kinds, names = _read_names(folder, progress)
    forms = {code for code, kind in kinds.items() if kind == "DF"}
    parts, dose_forms = _read_relations(folder, kinds, forms, names, progress)
    veterinary = _read_attributes(folder, kinds, progress)
    known: dict[str, tuple[str, ...]] = {}
    ordered = sorted((code for code, kind in kinds.items() if kind in _TOWARDS), key=lambda code: _order(kinds, code))
    for code in ordered:
        kind = kinds[code]
        if kind == "IN":
            known[code] = (code,)
            if code not in veterinary:
                yield Concept(code, names[code], "ingredient", ())
            continue
        found = sorted(_ingredients(code, kinds, parts, known), key=int)
        if not found or code in veterinary:
            continue
        if kind == "PIN":
            known[code] = (found[0],)
            yield Concept(code, names[code], "precise ingredient", (found[0],))
            continue
        known[code] = tuple(found)
        name = names[code] if kind in ("BN", "MIN") else ""
        yield Concept(code, name, _KINDS[kind], tuple(found), "|".join(sorted(_forms(code, kinds, parts, dose_forms))))


def _order(kinds: dict[str, str], code: str) -> tuple[int, int]:
    return _TOWARDS[kinds[code]], int(code)


def _ingredients(
    code: str, kinds: dict[str, str], parts: dict[str, set[str]], known: dict[str, tuple[str, ...]]
) -> set[str]:
    """All ingredients of all parts. A brand says less of a product than what the product consists of."""
    mine = parts.get(code, set())
    exact = {part for part in mine if kinds[part] != "BN"}
    return {one for part in exact or mine for one in known.get(part, ())}


def _forms(code: str, kinds: dict[str, str], parts: dict[str, set[str]], dose_forms: dict[str, set[str]]) -> set[str]:
    """The dose forms of a concept; of a pack those of what is in it."""
    own = dose_forms.get(code, set())
    if own or kinds[code] not in ("GPCK", "BPCK"):
        return own
    return {form for part in parts.get(code, ()) for form in dose_forms.get(part, ())}


def _read_names(folder: Path, progress: Progress) -> tuple[dict[str, str], dict[str, str]]:
    """The kind (TTY) and the name of each concept."""
    kinds: dict[str, str] = {}
    names: dict[str, str] = {}
    wanted = {*_TOWARDS, "DF"}
    for number, cells in _rows(folder, CONSO, progress):
        code, source, kind, name, suppress = cells[0], cells[11], cells[12], cells[14], cells[16]
        if source != "RXNORM" or kind not in wanted or suppress == "Y":
            continue
        if not code.isdigit() or not name:
            raise TerminologyError(f"{CONSO}:{number}: a row of RxNorm without a code or a name")
        if code in kinds and kinds[code] != kind:
            continue
        kinds[code], names[code] = kind, name
    if "IN" not in kinds.values():
        raise TerminologyError(f"{CONSO}: no ingredient of RxNorm (SAB=RXNORM, TTY=IN) in it")
    return kinds, names


def _read_relations(
    folder: Path, kinds: dict[str, str], forms: set[str], names: dict[str, str], progress: Progress
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """What each concept consists of, and its dose forms.

    Which of two concepts is the part follows from their kinds, whatever the direction that the row is written in.
    """
    parts: dict[str, set[str]] = {}
    dose_forms: dict[str, set[str]] = {}
    seen = False
    for _, cells in _rows(folder, REL, progress):
        first, second, relation, source = cells[0], cells[4], cells[7], cells[10]
        if source != "RXNORM" or first not in kinds or second not in kinds:
            continue
        if relation in (_DOSE_FORM, "dose_form_of"):
            concept, form = (second, first) if first in forms else (first, second)
            if form in forms:
                dose_forms.setdefault(concept, set()).add(names[form])
            continue
        if first in forms or second in forms or relation not in _LINKS:
            continue
        seen = True
        whole, part = (second, first) if _TOWARDS[kinds[second]] > _TOWARDS[kinds[first]] else (first, second)
        if _TOWARDS[kinds[whole]] > _TOWARDS[kinds[part]]:
            parts.setdefault(whole, set()).add(part)
    if not seen:
        raise TerminologyError(f"{REL}: no relation of RxNorm (SAB=RXNORM) between the concepts of {CONSO}")
    return parts, dose_forms


def _read_attributes(folder: Path, kinds: dict[str, str], progress: Progress) -> set[str]:
    """Codes of what is for animals alone."""
    said: dict[str, set[str]] = {_VETERINARY: set(), _HUMAN: set()}
    for _, cells in _rows(folder, SAT, progress):
        code, name, source = cells[0], cells[8], cells[9]
        if source == "RXNORM" and name in said and code in kinds:
            said[name].add(code)
    return said[_VETERINARY] - said[_HUMAN]


def _path(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise TerminologyError(f"{path}: the file is missing; a release has it in its folder rrf")
    return path


def _rows(folder: Path, name: str, progress: Progress) -> Iterator[_Row]:
    path = _path(folder, name)
    size, read, columns = path.stat().st_size, 0, COLUMNS[name]
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            read += len(line)
            if number % _EVERY == 1:
                progress(name, read, size)
            if not line.endswith(b"|\n") and not line.endswith(b"|\r\n"):
                raise TerminologyError(
                    f"{name}:{number}: the line is cut off; it must end with a bar and an end of line"
                )
            try:
                cells = line.decode("utf-8").rstrip("\r\n").split("|")
            except UnicodeDecodeError:
                raise TerminologyError(f"{name}:{number}: the line is not UTF-8") from None
            if len(cells) != columns + 1:
                raise TerminologyError(f"{name}:{number}: has {len(cells) - 1} columns, not {columns}")
            yield _Row(number, cells)
    if not read:
        raise TerminologyError(f"{name}:1: the file is empty")
    progress(name, size, size)
