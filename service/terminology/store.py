"""The read-only table: one SQLite file, one connection for each thread of each process."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from service.terminology.errors import TerminologyError

SHAPE = "2"
"""Raised when the tables below change, so that no older file is read."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE ingredient (id TEXT PRIMARY KEY, display TEXT NOT NULL, rxnorm TEXT) WITHOUT ROWID;
CREATE TABLE name (words TEXT PRIMARY KEY, shown TEXT NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL,
    ingredients TEXT NOT NULL, route TEXT, weak INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE first (word TEXT PRIMARY KEY, longest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE word (word TEXT, words TEXT, PRIMARY KEY (word, words)) WITHOUT ROWID;
CREATE TABLE code (code INTEGER PRIMARY KEY, ingredients TEXT NOT NULL, route TEXT);
CREATE TABLE whole (ingredients TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE general (id TEXT, special TEXT, PRIMARY KEY (id, special)) WITHOUT ROWID;
"""


class Name(NamedTuple):
    """A name that a medication goes by."""

    words: str
    shown: str
    kind: str
    rank: int
    ingredients: str
    route: str | None
    weak: bool


@dataclass(frozen=True)
class Release:
    """Which terminology it is."""

    release: str
    source: str
    digest: str

    def described(self) -> dict[str, str]:
        """As answers show it."""
        return {"release": self.release, "source": self.source, "digest": self.digest}


_MMAP_BYTES = 1 << 28
_CACHE_KIB = 512


class Store:
    """Looks things up in a finished file. Safe to share by threads, and by processes forked after it was made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        try:
            meta = dict(self._connection().execute("SELECT key, value FROM meta"))
        except sqlite3.DatabaseError as error:
            raise TerminologyError(f"{path.name}: is no terminology: {error}") from error
        if meta.get("shape") != SHAPE:
            raise TerminologyError(f"{path.name}: was built by another version; build or import it again")
        self.vocabulary = meta["vocabulary"]
        self.release = Release(meta["release"], meta["source"], meta["digest"])

    def _connection(self) -> sqlite3.Connection:
        local = self._local
        process = os.getpid()
        if getattr(local, "process", None) != process:
            # Never one that came along with a fork: the two processes would share what SQLite keeps of it.
            uri = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            local.connection, local.process = connection, process
        found: sqlite3.Connection = local.connection
        return found

    def longest(self, words: Collection[str]) -> dict[str, int]:
        """Of those words that begin a name: how many words the longest such name has."""
        return dict(self._among("SELECT word, longest FROM first WHERE word IN", words))

    def named(self, texts: Collection[str]) -> dict[str, Name]:
        """Those of some texts that are names."""
        return {row[0]: Name(*row) for row in self._among("SELECT * FROM name WHERE words IN", texts)}

    def name(self, words: str) -> Name | None:
        """The name with exactly these words."""
        return self.named((words,)).get(words)

    def _among(self, select: str, values: Collection[str]) -> sqlite3.Cursor:
        # One round trip, however many values; only question marks become part of the statement.
        places = ", ".join("?" * len(values))
        return self._connection().execute(f"{select} ({places})", tuple(values))

    def code(self, code: int) -> tuple[tuple[str, ...], str | None] | None:
        """The ingredients of an RxNorm code, and the route of its dose form."""
        row = self._connection().execute("SELECT ingredients, route FROM code WHERE code = ?", (code,)).fetchone()
        return (tuple(row[0].split(" ")), row[1]) if row is not None else None

    def whole(self, ingredients: frozenset[str]) -> str | None:
        """The product of its own that consists of exactly these ingredients."""
        wanted = " ".join(sorted(ingredients))
        row = self._connection().execute("SELECT id FROM whole WHERE ingredients = ?", (wanted,)).fetchone()
        return row[0] if row is not None else None

    def ingredient(self, key: str) -> tuple[str, str | None]:
        """How an ingredient is shown, and its RxNorm code. Raises KeyError."""
        row = self._connection().execute("SELECT display, rxnorm FROM ingredient WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return row[0], row[1]

    def starting(self, word: str, most: int) -> list[Name]:
        """The names one of whose words begins with this, at most so many."""
        rows = self._connection().execute(
            "SELECT DISTINCT name.* FROM word JOIN name USING (words) WHERE word.word >= ? AND word.word < ? LIMIT ?",
            (word, word + "\x7f", most),
        )
        return [Name(*row) for row in rows]

    def general(self) -> dict[str, frozenset[str]]:
        """The ingredients that say less than others, such as magnesium, and for each those that say more."""
        found: dict[str, set[str]] = {}
        for key, special in self._connection().execute("SELECT id, special FROM general"):
            found.setdefault(key, set()).add(special)
        return {key: frozenset(special) for key, special in found.items()}

    def spellings(self, shortest: int) -> list[str]:
        """The words of every name that could be meant by a misspelt one, shorter ones first."""
        rows = self._connection().execute(
            "SELECT words FROM name WHERE length(words) >= ? ORDER BY length(words), words", (shortest,)
        )
        return [row[0] for row in rows]
