"""Marshmallow fields for knowledge files: a value has the type it is written with, nothing is converted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields

from service.clinical.quantity import Quantity, parse_quantity
from service.knowledge.errors import Fault
from service.knowledge.yaml_file import Document, KeyPath


class Strict(Schema):
    """A mapping in which every key is known."""

    class Meta:
        unknown = RAISE


class Text(fields.Field[str]):
    """A sentence or word that is not empty."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValidationError("must be text that is not empty")
        return " ".join(value.split())


class Key(fields.Field[str]):
    """A word of a closed list."""

    def __init__(self, *allowed: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allowed = allowed

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or (self.allowed and value not in self.allowed):
            raise ValidationError(f"must be one of: {', '.join(self.allowed)}" if self.allowed else "must be a word")
        return value


class Number(fields.Field[Decimal]):
    """A plain number."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValidationError("must be a number")
        return Decimal(value)


class Whole(fields.Field[int]):
    """A whole number above zero."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValidationError("must be a whole number above zero")
        return value


class Flag(fields.Field[bool]):
    """``true`` or ``false``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Day(fields.Field[date]):
    """A date, YYYY-MM-DD."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> date:
        if not isinstance(value, date):
            raise ValidationError("must be a date, YYYY-MM-DD")
        return value


class Amount(fields.Field[Quantity]):
    """A quantity: number and unit."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Quantity:
        try:
            return parse_quantity(value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValidationError("must be a quantity 'number unit'") from error


class Days(fields.Field[int]):
    """A number of days, ``30 days``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        match = re.fullmatch(r"([1-9]\d*) days", value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError("must be a number of days, '30 days'")
        return int(match[1])


class Amounts(fields.Field[list[Quantity]]):
    """One quantity, or the same threshold in several units."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Quantity]:
        written = value if isinstance(value, list) else [value]
        try:
            return [parse_quantity(one if isinstance(one, str) else "") for one in written]
        except ValueError as error:
            raise ValidationError("must be a quantity 'number unit', or a list of them") from error


class Words(fields.Field[list[str]]):
    """One word or a list of words."""

    def __init__(self, *, single: bool = True, empty: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.single = single
        self.empty = empty

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[str]:
        written = [value] if isinstance(value, str) and self.single else value
        if not isinstance(written, list) or not all(isinstance(one, str) and one.strip() for one in written):
            raise ValidationError("must be a list of words")
        if not written and not self.empty:
            raise ValidationError("must not be empty")
        if len(set(written)) != len(written):
            raise ValidationError("the same word stands twice")
        return [" ".join(one.split()) for one in written]


def load(schema: Schema, document: Document, path: KeyPath, value: Any, faults: list[Fault]) -> dict[str, Any] | None:
    """Validate part of a document; report what is wrong with its line and return None."""
    if not isinstance(value, dict):
        faults.append(document.fault(path, "must be a mapping"))
        return None
    try:
        loaded = schema.load(value)
    except ValidationError as error:
        faults.extend(_flatten(document, path, error.messages))
        return None
    assert isinstance(loaded, dict)
    return loaded


def _flatten(document: Document, path: KeyPath, messages: Any) -> list[Fault]:
    if isinstance(messages, dict):
        return [
            fault
            for key, value in messages.items()
            for fault in _flatten(document, path if key == "_schema" else (*path, key), value)
        ]
    where = ".".join(str(part) for part in path)
    found = messages if isinstance(messages, list) else [messages]
    return [document.fault(path, f"{where}: {message}") for message in found]
