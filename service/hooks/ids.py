"""Ids of cards and suggestions that say, to whoever has the key, which rules they came from.

An id is a UUID of version 8 (RFC 9562). Its 122 free bits, from the left::

    1   kind        0 card, 1 suggestion
    2   count       of the rules that follow, 1 to 3
    1   more        the card rests on more rules than the id has room for
    9   ordinal     the place among the cards, or the suggestions, of the response
    60  rules       three keyed digests of 20 bits, each of rule id and version; the first leads; zero where none
    49  seal        keyed digest of the service and of everything above, with the rules' full ids and versions

The same rules at the same place of the same service give the same id, whoever the patient is. Digests may collide;
the seal decides. Without the key an id can be neither read nor made. Nothing about a patient goes into it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from typing import Literal, NamedTuple
from uuid import UUID

SHORTEST_KEY = 16

_SLOTS = 3
_DIGEST_BITS = 20
_SEAL_BITS = 49
_ORDINAL_BITS = 9
_LOW = 62
"""Bits after the variant; 12 stand between version and variant, 48 before the version."""

Kind = Literal["card", "suggestion"]


class RuleMark(NamedTuple):
    """A version of a rule."""

    id: str
    version: int


@dataclass(frozen=True)
class Origin:
    """What an id says."""

    kind: Kind
    rules: tuple[RuleMark, ...]
    """The leading one first."""
    more: bool
    ordinal: int


class Ids:
    """Makes and reads ids of one installation. ``versions`` has the present version of every rule."""

    def __init__(self, key: bytes, versions: Mapping[str, int]) -> None:
        if len(key) < SHORTEST_KEY:
            raise ValueError(f"the key must have at least {SHORTEST_KEY} bytes")
        self._key = key
        self._known: dict[int, list[RuleMark]] = {}
        for rule, newest in versions.items():
            # Opinions about earlier versions still come after a change.
            for version in range(1, newest + 1):
                mark = RuleMark(rule, version)
                self._known.setdefault(self._digest(mark), []).append(mark)

    def make(self, service: str, kind: Kind, ordinal: int, rules: Sequence[RuleMark]) -> str:
        """The id of a card or suggestion. Raises ValueError when there is no rule, or too high an ordinal."""
        marks = list(dict.fromkeys(rules))
        if not marks or not 0 <= ordinal < 1 << _ORDINAL_BITS:
            raise ValueError("an id needs a rule, and an ordinal that it has room for")
        origin = Origin(kind, tuple(marks[:_SLOTS]), len(marks) > _SLOTS, ordinal)
        head = int(kind == "suggestion")
        for bits, value in ((2, len(origin.rules)), (1, int(origin.more)), (_ORDINAL_BITS, ordinal)):
            head = head << bits | value
        digests = [self._digest(one) for one in origin.rules]
        for digest in (*digests, *[0] * (_SLOTS - len(digests))):
            head = head << _DIGEST_BITS | digest
        return str(_uuid(head << _SEAL_BITS | self._seal(service, origin)))

    def read(self, service: str, text: str) -> Origin | None:
        """What an id says, or None when it was not made here, or for another service."""
        number = _free_bits(text)
        if number is None:
            return None
        seal = number & (1 << _SEAL_BITS) - 1
        head = number >> _SEAL_BITS
        digests = [head >> _DIGEST_BITS * at & (1 << _DIGEST_BITS) - 1 for at in (2, 1, 0)]
        head >>= _DIGEST_BITS * _SLOTS
        ordinal = head & (1 << _ORDINAL_BITS) - 1
        head >>= _ORDINAL_BITS
        more, count, kind = bool(head & 1), head >> 1 & 3, head >> 3
        if count == 0:
            return None
        candidates = [self._known.get(one, []) for one in digests[:count]]
        for rules in product(*candidates):
            origin = Origin("suggestion" if kind else "card", rules, more, ordinal)
            if self._seal(service, origin) == seal and not any(digests[count:]):
                return origin
        return None

    def seal_of(self, parts: Iterable[str]) -> bytes:
        """A keyed digest by which the same thing is known again without being kept."""
        return self._mac("seen", *parts)[:16]

    def _digest(self, mark: RuleMark) -> int:
        return _bits(self._mac("rule", mark.id, str(mark.version)), _DIGEST_BITS)

    def _seal(self, service: str, origin: Origin) -> int:
        rules = [f"{one.id}@{one.version}" for one in origin.rules]
        parts = (service, origin.kind, str(origin.ordinal), str(origin.more), *rules)
        return _bits(self._mac("seal", *parts), _SEAL_BITS)

    def _mac(self, *parts: str) -> bytes:
        message = b"".join(len(one.encode()).to_bytes(4, "big") + one.encode() for one in parts)
        return hmac.new(self._key, message, sha256).digest()


def _bits(digest: bytes, bits: int) -> int:
    return int.from_bytes(digest[:8], "big") >> 64 - bits


def _uuid(free: int) -> UUID:
    """122 bits with the version and the variant put between them."""
    first, middle, low = free >> 12 + _LOW, free >> _LOW & 0xFFF, free & (1 << _LOW) - 1
    return UUID(int=first << 80 | 8 << 76 | middle << 64 | 2 << 62 | low)


def _free_bits(text: str) -> int | None:
    try:
        number = UUID(text).int
    except ValueError:
        return None
    if str(UUID(int=number)) != text.lower() or number >> 76 & 0xF != 8 or number >> 62 & 3 != 2:
        return None
    return number >> 80 << 12 + _LOW | (number >> 64 & 0xFFF) << _LOW | number & (1 << _LOW) - 1
