"""Write a collection as one finished SQLite file; whoever looks sees all of it or nothing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from service.knowledge.vocabulary import Vocabulary
from service.terminology.collect import Collection, Concept, built_in
from service.terminology.errors import TerminologyError
from service.terminology.rrf import Progress, concepts, digest_of, release_of
from service.terminology.store import SHAPE, TABLES
from service.terminology.tables import FILES

RELEASE = "RxNorm 2025-10-06"
SOURCE = "built-in"
IMPORTED = "imported"


def vocabulary_digest(vocabulary: Vocabulary, folder: Path) -> str:
    """Of everything in ``rules/`` that a table is built from."""
    total = hashlib.sha256(SHAPE.encode())
    for key, drug in vocabulary.drugs.items():
        total.update(repr((key, drug.display, drug.rxnorm, drug.names)).encode())
    for key, one in vocabulary.combinations.items():
        total.update(repr((key, one.display, one.ingredients, one.names)).encode())
    for key, route in vocabulary.routes.items():
        total.update(repr((key, route.says, route.forms)).encode())
    for name in FILES:
        try:
            total.update(hashlib.sha256((folder / f"{name}.tsv").read_bytes()).digest())
        except OSError as error:
            raise TerminologyError(f"{name}.tsv: cannot be read: {error}") from error
    return total.hexdigest()


def build_built_in(vocabulary: Vocabulary, folder: Path, path: Path) -> None:
    """The table of ``rules/``."""
    digest = vocabulary_digest(vocabulary, folder)
    build(vocabulary, folder, built_in(folder), path, RELEASE, SOURCE, digest)


def build_imported(vocabulary: Vocabulary, folder: Path, release: Path, path: Path, progress: Progress) -> None:
    """The table of an official release, and of ours what the release does not have. Raises TerminologyError."""
    digest = digest_of(release)
    found = chain(concepts(release, progress), built_in(folder))
    build(vocabulary, folder, found, path, release_of(release), IMPORTED, digest)


def build(
    vocabulary: Vocabulary,
    folder: Path,
    found: Iterable[Concept],
    path: Path,
    release: str,
    source: str,
    digest: str,
) -> None:
    """Gather, write beside the place and move there at once; several processes may do so together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    collection = Collection(vocabulary, folder)
    collection.add(found)
    collection.add_synonyms(folder)
    collection.finish()
    meta = {
        "shape": SHAPE,
        "vocabulary": vocabulary_digest(vocabulary, folder),
        "release": release,
        "source": source,
        "digest": f"sha256:{digest}",
    }
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        _write(collection, meta, part)
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(collection: Collection, meta: dict[str, str], path: Path) -> None:
    names = sorted(collection.names.values())
    first: dict[str, int] = {}
    for one in names:
        said = one.words.split(" ")
        first[said[0]] = max(first.get(said[0], 0), len(said))
    every = {(word, one.words) for one in names for word in one.words.split(" ")}
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(TABLES)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
        rows = [(key, *said) for key, said in sorted(collection.ingredients.items())]
        connection.executemany("INSERT INTO ingredient VALUES (?, ?, ?)", rows)
        connection.executemany("INSERT INTO name VALUES (?, ?, ?, ?, ?, ?, ?)", names)
        connection.executemany("INSERT INTO first VALUES (?, ?)", sorted(first.items()))
        connection.executemany("INSERT INTO word VALUES (?, ?)", sorted(every))
        codes = [(code, *said) for code, said in sorted(collection.codes.items())]
        connection.executemany("INSERT INTO code VALUES (?, ?, ?)", codes)
        connection.executemany("INSERT INTO whole VALUES (?, ?)", sorted(collection.wholes.items()))
        connection.executemany("INSERT INTO general VALUES (?, ?)", sorted(collection.general))
        connection.execute("COMMIT")
    finally:
        connection.close()
    # All of it is on the disk before anyone can find it.
    with path.open("rb+") as file:
        os.fsync(file.fileno())
