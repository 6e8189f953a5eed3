"""Bytes to values, strictly: RFC 8259 with nothing left to the reader's taste.

The usual body is read once. When it is doubtful (a repeated key, NaN, a number that cannot be
held, half of a surrogate pair) it is read a second time, to say where, for all faults at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Never

from service.api.problems import Fault, Problem, pointer

DEEPEST = 32
LONGEST_NUMBER = 40

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_NEITHER = bytes(set(range(256)) - set(b'"[]{}'))
"""All bytes that are neither a quotation mark nor a bracket."""
_STRING = re.compile(rb'"[^"]*+"?')
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Doubtful(Exception):
    """The body has to be read again, to say what is wrong with it."""


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, repeated keys and all."""


class _Fault:
    """Stands in the second reading for a number that is none."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail


_NOT_FINITE = _Fault("not_a_number", "NaN and Infinity are not JSON.")
_UNREADABLE = _Fault(
    "unreadable_number",
    f"A number must have at most {LONGEST_NUMBER} characters and fit a decimal.",
)


def decode(body: bytes, deepest: int = DEEPEST) -> Any:
    """The value that `body` spells. Raises Problem with every fault that can be placed."""
    text = _text(body)
    _check_depth(body, deepest)
    try:
        return _first_reading(text)
    except _Doubtful:
        faults = list(_faults(_second_reading(text), ()))
    except json.JSONDecodeError as error:
        raise _syntax(error) from None
    raise Problem("malformed-json", "The body has values that JSON does not have.", faults)


def _text(body: bytes) -> str:
    if not body.strip(b" \t\r\n"):
        raise _malformed("The body is empty.")
    if body.startswith(b"\xef\xbb\xbf"):
        raise _malformed("The body begins with a byte order mark, which JSON does not have.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not UTF-8: byte {error.start} is out of place.") from None


def _syntax(error: json.JSONDecodeError) -> Problem:
    return _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}.")


def _malformed(detail: str) -> Problem:
    return Problem("malformed-json", detail)


def _check_depth(body: bytes, deepest: int) -> None:
    if body.count(b"{") + body.count(b"[") <= deepest:
        return
    # Usual bodies are large and shallow. Taking away strings, and then pairs of brackets from the inside, is the fast
    # look; a turn takes away two levels at most, so what is gone in time was not too deep.
    bare = (_ESCAPE.sub(b"", body) if b"\\" in body else body).translate(None, _NEITHER)
    bare = _STRING.sub(b"", bare.replace(b'""', b""))
    for _ in range(deepest // 2):
        bare = bare.replace(b"{}", b"").replace(b"[]", b"")
    if bare:
        _count_depth(body.decode(), deepest)


def _count_depth(text: str, deepest: int) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match.group()
        if token in ("{", "["):
            depth += 1
            if depth > deepest:
                raise _malformed(f"The body is nested more than {deepest} levels deep.")
        elif token in ("}", "]"):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Doubtful
    return result


def _doubt(_: str) -> Never:
    raise _Doubtful


def _decimal(literal: str) -> Decimal:
    if len(literal) > LONGEST_NUMBER:
        raise _Doubtful
    try:
        return Decimal(literal)
    except InvalidOperation:
        raise _Doubtful from None


def _integer(literal: str) -> int:
    if len(literal) > LONGEST_NUMBER:
        raise _Doubtful
    return int(literal)


def _first_reading(text: str) -> Any:
    value = json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=_doubt,
        parse_float=_decimal,
        parse_int=_integer,
    )
    if _SURROGATE_ESCAPE.search(text) is not None and _has_half_pair(value):
        raise _Doubtful
    return value


def _has_half_pair(value: Any) -> bool:
    """Escapes that come in pairs are one character by now."""
    return _SURROGATE.search(json.dumps(value, ensure_ascii=False, default=str)) is not None


def _second_reading(text: str) -> Any:
    def number(literal: str) -> Any:
        try:
            return _decimal(literal)
        except _Doubtful:
            return _UNREADABLE

    try:
        return json.loads(
            text,
            object_pairs_hook=_Pairs,
            parse_constant=lambda _: _NOT_FINITE,
            parse_float=number,
            parse_int=number,
        )
    except json.JSONDecodeError as error:
        raise _syntax(error) from None


def _faults(node: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(node, _Fault):
        yield Fault(pointer(path), node.code, node.detail)
    elif isinstance(node, str):
        if _SURROGATE.search(node):
            yield _half_pair(path)
    elif isinstance(node, _Pairs):
        seen: set[str] = set()
        for key, value in node:
            here = (*path, key)
            if key in seen:
                yield Fault(pointer(here), "repeated_key", "This key stands more than once.")
            seen.add(key)
            if _SURROGATE.search(key):
                yield _half_pair(here)
            yield from _faults(value, here)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _faults(item, (*path, index))


def _half_pair(path: tuple[str | int, ...]) -> Fault:
    detail = "A \\u escape gives half of a surrogate pair, which is no character."
    return Fault(pointer(path), "unpaired_surrogate", detail)
