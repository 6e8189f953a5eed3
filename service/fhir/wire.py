"""Reaching into JSON of which nothing is certain: what is not there, or of another type, is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

Json = Mapping[str, Any]

_NOTHING: Json = {}


def obj(value: Any) -> Json:
    """The object, else an empty one."""
    return value if isinstance(value, Mapping) else _NOTHING


def objects(value: Any) -> list[Json]:
    """The objects of an array. One object in the place of an array counts as an array of it."""
    if isinstance(value, Mapping):
        return [value]
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The string without blanks around it, else an empty one."""
    return value.strip() if isinstance(value, str) else ""


def number(value: Any) -> int | Decimal | None:
    """The finite number, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return value if isinstance(value, int) else None


def codings(concept: Any) -> Iterator[tuple[str, str, str]]:
    """System, code and display of each coding of a CodeableConcept that has a code or a display."""
    for one in objects(obj(concept).get("coding")):
        found = text(one.get("system")), text(one.get("code")), text(one.get("display"))
        if found[1] or found[2]:
            yield found


def first_code(value: Any) -> str:
    """The code of a CodeableConcept that has one; a bare word, as older servers send it, counts too."""
    return text(value) or next((code for _, code, _ in codings(value) if code), "")


def kind(resource: Json) -> str:
    """The type of a resource, where it is a word."""
    name = text(resource.get("resourceType"))
    return name if name.isascii() and name.isalpha() and len(name) <= 64 else ""


def not_understood(resource: Json) -> bool:
    """Whether it says that it must not be read without knowing something that we do not know."""
    return bool(resource.get("modifierExtension")) or bool(resource.get("implicitRules"))
