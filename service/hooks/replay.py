"""Which tokens were used before: one memory for all workers of a machine, or Redis for several machines.

A memory that cannot be asked raises ReplayUnavailable: not knowing whether a token is new is no reason to take it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes of the embedded memory, enough for about 500,000 tokens at a time. A full one refuses; it forgets nothing."""

_PAGE = 4096
_LOCK_SECONDS = 1
_REDIS_SECONDS = 0.5
_PREFIX = "cofactor:replay:"
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (token BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_until ON seen (until);
"""


class ReplayUnavailable(Exception):
    """The memory cannot be read or written. Says why without saying where: an address can hold a password."""


class ReplayMemory(Protocol):
    """Remembers tokens until they have expired."""

    def first_use(self, token: bytes, now: int, until: int) -> bool:
        """Whether this token was not seen before; from now on it was, `until` then. Raises ReplayUnavailable."""
        ...  # pragma: no cover

    def close(self) -> None:
        """Let go of files and connections of this process."""
        ...  # pragma: no cover


def token_key(issuer: str, jti: str) -> bytes:
    """Stands for a token: ids are an issuer's own, and may be anything up to a patient's name."""
    return hashlib.sha256(f"{len(issuer)}:{issuer}|{jti}".encode()).digest()


def open_replay(location: str) -> ReplayMemory:
    """The memory at a redis://, rediss:// or unix:// address, or in a file. Raises ValueError or ReplayUnavailable."""
    if location.startswith(_REDIS_SCHEMES):
        return RedisReplay(location)
    if "://" in location:
        raise ValueError("the replay memory must be a file or a redis://, rediss:// or unix:// address")
    return FileReplay(Path(location))


class _Process:
    """What one process has open; never handed on by a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None


class FileReplay:
    """One SQLite file for all processes of a machine. Not for a network file system."""

    def __init__(self, path: Path, largest: int = LARGEST_FILE) -> None:
        self._path = path.absolute()
        self._pages = largest // _PAGE
        # By process id and never dropped: SQLite must not close in a child what its parent still uses.
        self._processes: dict[int, _Process] = {}
        try:
            # Nobody else needs to read it. What SQLite puts beside it gets the same permissions.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            connection = self._connect()
            try:
                connection.executescript(_TABLES)
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise ReplayUnavailable(_cause(error)) from None

    def _connect(self) -> sqlite3.Connection:
        uri = f"file:{quote(str(self._path))}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            # No wait for the disk at each call; what a power failure may lose is the last moments.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA max_page_count = {self._pages}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def first_use(self, token: bytes, now: int, until: int) -> bool:
        """Look and write in one transaction that no other process can come between."""
        mine = self._processes.setdefault(os.getpid(), _Process())
        with mine.lock:
            try:
                if mine.connection is None:
                    mine.connection = self._connect()
                return _insert(mine.connection, token, now, until)
            except sqlite3.Error as error:
                raise ReplayUnavailable(_cause(error)) from None

    def close(self) -> None:
        """Close what this process has open; the next use opens it again."""
        mine = self._processes.get(os.getpid())
        if mine is not None:
            with mine.lock:
                if mine.connection is not None:
                    mine.connection.close()
                    mine.connection = None


def _insert(connection: sqlite3.Connection, token: bytes, now: int, until: int) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM seen WHERE until <= ?", (now,))
        added = connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (token, until)).rowcount
        connection.execute("COMMIT")
    except sqlite3.Error:
        # A full disk has ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return added == 1


class RedisReplay:
    """A Redis that several machines share; it must not evict keys (`maxmemory-policy noeviction`)."""

    def __init__(self, url: str) -> None:
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_connect_timeout=_REDIS_SECONDS,
                socket_timeout=_REDIS_SECONDS,
                # One attempt: of a second one nobody could say whether the first had not arrived. A connection
                # that was kept open and has gone is found out, and replaced, before anything is sent.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise ValueError("the address of the replay memory cannot be read") from None

    def first_use(self, token: bytes, now: int, until: int) -> bool:
        """SET NX EX: one command, so no other machine can come between."""
        try:
            return self._client.set(_PREFIX + token.hex(), "1", nx=True, ex=max(1, until - now)) is True
        except (redis.RedisError, OSError) as error:
            raise ReplayUnavailable(_cause(error)) from None

    def close(self) -> None:
        """Close the connections of this process."""
        self._client.close()


def _cause(error: Exception) -> str:
    """SQLite's own name of the fault, or the kind of error; messages can quote addresses and paths."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
