"""The public keys of an issuer: from a pinned file, or fetched from the one address that its configuration pins."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK

from service.hooks.net import FAULTS, Origin, Session, said

log = logging.getLogger("service.hooks.keys")

KEY_TYPES: Mapping[str, tuple[str, str | None]] = {
    "ES384": ("EC", "P-384"),
    "RS384": ("RSA", None),
    "ES256": ("EC", "P-256"),
}
"""What kind of key, and on which curve, an algorithm goes with; nothing else is ever verified."""

LARGEST = 64 * 1024
"""Bytes of a key set."""
FETCH_SECONDS = 2
FRESH_SECONDS = 600
STALE_SECONDS = 24 * 3600
"""For so long after the last good fetch a set is still used while its address does not answer."""
PAUSE_SECONDS = 10
"""Between two fetches of one set, whatever the reason: a token that anyone can make up may ask for one."""
UNKNOWN_SECONDS = 60
UNKNOWN_KIDS = 256

_RSA_BITS = range(2048, 8193)


class KeyFault(Exception):
    """No key could be had; ``code`` says why, for the log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def strict_object(data: bytes) -> dict[str, Any]:
    """The JSON object that these bytes spell; a repeated member, NaN or anything else in doubt is a ValueError."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_members, parse_constant=_refused)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("repeated member")
    return members


def _refused(_: str) -> None:
    raise ValueError("no JSON number")


@dataclass(frozen=True)
class Key:
    """One key of a set: which algorithm it is good for, None for a key that nothing here may use."""

    kid: str
    algorithm: str | None
    verifier: PyJWK | None


def read_keys(data: bytes) -> tuple[Key, ...]:
    """The keys of a JWK set that have an id. Raises ValueError when it is no set."""
    entries = strict_object(data).get("keys")
    if not isinstance(entries, list):
        raise ValueError("no key set")
    return tuple(_key(entry) for entry in entries if isinstance(entry, dict) and isinstance(entry.get("kid"), str))


def _key(entry: dict[str, Any]) -> Key:
    unusable = Key(entry["kid"], None, None)
    kind = (entry.get("kty"), entry.get("crv"))
    algorithm = next((name for name, wanted in KEY_TYPES.items() if kind == wanted), None)
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return unusable
    operations = entry.get("key_ops", ["verify"])
    # A private half that was published can be used by anyone.
    if not isinstance(operations, list) or "verify" not in operations or "d" in entry:
        return unusable
    if not all(isinstance(entry.get(part), str) for part in (("x", "y") if kind[0] == "EC" else ("n", "e"))):
        return unusable
    try:
        verifier = PyJWK(entry, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return unusable
    if isinstance(verifier.key, RSAPublicKey) and verifier.key.key_size not in _RSA_BITS:
        return unusable
    return Key(entry["kid"], algorithm, verifier)


def pick(keys: tuple[Key, ...], kid: str, algorithm: str) -> PyJWK:
    """The one key with this id that is good for this algorithm. Raises KeyFault."""
    named = [key for key in keys if key.kid == kid]
    if not named:
        raise KeyFault("unknown_kid")
    fitting = [key.verifier for key in named if key.algorithm == algorithm and key.verifier is not None]
    if not fitting:
        raise KeyFault("key_mismatch")
    if len(fitting) > 1:
        raise KeyFault("key_ambiguous")
    return fitting[0]


class KeySource(Protocol):
    """Where the keys of one issuer are."""

    def keys(self, kid: str) -> tuple[Key, ...]:
        """The set as it is known now, looked up again if it lacks `kid`. Raises KeyFault."""
        ...  # pragma: no cover


class FileKeys:
    """A pinned file, read again whenever it was changed; one that cannot be read means no key at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, ...], tuple[Key, ...]] | None = None

    def keys(self, kid: str) -> tuple[Key, ...]:
        """The keys in the file. A key that was taken out by an edit gone wrong must not live on, so nothing stale."""
        read = self._read
        try:
            with self._path.open("rb") as file:
                state = os.fstat(file.fileno())
                version = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                if read is not None and read[0] == version:
                    return read[1]
                data = file.read(LARGEST + 1)
            if len(data) > LARGEST:
                raise ValueError("too large")
            keys = read_keys(data)
        except (OSError, ValueError) as error:
            log.warning("key file not usable", extra={"error": type(error).__name__, "where": self._path.name})
            raise KeyFault("keys_unavailable") from None
        self._read = (version, keys)
        return keys


@dataclass(frozen=True)
class _Held:
    keys: tuple[Key, ...]
    at: float

    def has(self, kid: str) -> bool:
        return any(key.kid == kid for key in self.keys)


class FetchedKeys:
    """A set at an https address: cached, refreshed for a new key id, used stale for a while when the fetch fails."""

    def __init__(
        self, origin: Origin, clock: Callable[[], float] = time.monotonic, seconds: float = FETCH_SECONDS
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._tried: float | None = None
        self._unknown: OrderedDict[str, float] = OrderedDict()

    def keys(self, kid: str) -> tuple[Key, ...]:
        """The set, fetched first if it is needed and may be."""
        held = self._held
        known = held is not None and held.has(kid)
        if held is not None and known and self._clock() - held.at < FRESH_SECONDS:
            return held.keys
        # Whoever has a key to go on with does not wait for another thread's fetch.
        if self._lock.acquire(blocking=not known):
            try:
                self._refresh(kid)
            finally:
                self._lock.release()
        held = self._held
        if held is None or self._clock() - held.at >= STALE_SECONDS:
            raise KeyFault("keys_unavailable")
        return held.keys

    def _refresh(self, kid: str) -> None:
        now = self._clock()
        held = self._held
        known = held is not None and held.has(kid)
        if held is not None and known and now - held.at < FRESH_SECONDS:
            return
        if self._tried is not None and now - self._tried < PAUSE_SECONDS:
            return
        if held is not None and not known:
            missed = self._unknown.get(kid)
            if missed is not None and now - missed < UNKNOWN_SECONDS:
                return
        self._tried = now
        session = Session(self._origin, self._seconds, {"Accept": "application/json"})
        (got,) = session.get([self._origin.target], LARGEST, read_keys)
        if isinstance(got, FAULTS):
            log.warning("key set not fetched", extra={"error": said(got), "where": self._origin.url})
        elif isinstance(got, Exception):
            raise got
        else:
            self._held = held = _Held(got, now)
        if held is not None and not held.has(kid):
            self._unknown[kid] = now
            self._unknown.move_to_end(kid)
            if len(self._unknown) > UNKNOWN_KIDS:
                self._unknown.popitem(last=False)
