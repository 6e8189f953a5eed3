"""How messages of CDS Hooks are read: nothing is converted, and no fault repeats a value that was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate
from marshmallow.exceptions import SCHEMA

Json = dict[str, Any]
RESOURCE_TYPE = r"^[A-Z][A-Za-z]+$"
NOT_BLANK = r"\S"
_KEY_SHOWN = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a body, and where, as a JSON Pointer."""

    pointer: str
    code: Literal["required", "value", "invariant"]
    detail: str


class Refused(Exception):
    """A body that is not what CDS Hooks asks for."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{one.pointer or '/'}: {one.detail}" for one in faults))
        self.faults = faults


class InvalidResponse(Refused):
    """A response of ours that must not leave."""


class Invariant(str):
    """A complaint that is about several members together."""

    __slots__ = ()


def text(pattern: str = NOT_BLANK, *, required: bool = True, longest: int | None = None, about: str = "") -> Any:
    rules: list[Any] = [_Matches(pattern)]
    if longest is not None:
        rules.append(validate.Length(min=1, max=longest))
    return fields.String(required=required, validate=rules, metadata={"description": about} if about else {})


class _Matches(validate.Regexp):
    """Looks for the pattern anywhere, as JSON Schema does."""

    def __call__(self, value: Any) -> Any:
        """Complain in words that repeat nothing."""
        # `$` also matches before a line break at the end.
        if self.regex.search(value) is None or (str(self.regex.pattern).endswith("$") and value.endswith("\n")):
            raise ValidationError("Does not have the form that CDS Hooks gives it.")
        return value


def word(*words: str, required: bool = True) -> fields.String:
    return fields.String(
        required=required, validate=validate.OneOf(words, error=f"Must be one of: {', '.join(words)}.")
    )


def clash(message: str, member: str = SCHEMA) -> NoReturn:
    raise ValidationError({member: [Invariant(message)]})


class Lenient(Schema):
    """An object of a client: what is not known is passed over."""

    class Meta:
        """More may come than is declared."""

        unknown = EXCLUDE


class Closed(Schema):
    """An object of ours: nothing is in it that is not declared."""

    class Meta:
        """Nothing else."""

        unknown = RAISE


class WholeNumber(fields.Integer):
    """A JSON number without fraction; nothing is converted."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if type(value) is not int:
            raise ValidationError("Must be a whole number.")
        return value


class Truth(fields.Boolean):
    """true or false; nothing is converted."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("Must be true or false.")
        return value


class Resource(fields.Field[Json]):
    """A FHIR resource; what is in it is read elsewhere."""

    def __init__(self, kind: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.kind = kind
        self.metadata = {
            **self.metadata,
            "type": "object",
            "required": ["resourceType"],
            "properties": {"resourceType": {"const": kind} if kind else {"type": "string", "pattern": RESOURCE_TYPE}},
        }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Json:
        if not isinstance(value, dict):
            raise ValidationError("Must be a FHIR resource.")
        name = value.get("resourceType")
        if not isinstance(name, str) or re.search(RESOURCE_TYPE, name) is None:
            raise ValidationError({"resourceType": ["Must name the type of the resource."]})
        if self.kind is not None and name != self.kind:
            raise ValidationError({"resourceType": [f"Must be {self.kind}."]})
        return value


def load(schema: Schema, body: Any, refusal: type[Refused]) -> Json:
    try:
        return dict(schema.load(body))
    except ValidationError as error:
        faults = tuple(sorted(set(_faults(error.messages, "")), key=lambda one: (one.pointer, one.detail)))
        raise refusal(faults) from None


def _faults(messages: Any, at: str) -> Iterator[Fault]:
    if isinstance(messages, Mapping):
        for key, below in messages.items():
            # Keys of an object may be anyone's words.
            shown = str(key) if _KEY_SHOWN.fullmatch(str(key)) else "?"
            inside = key in (SCHEMA, "value") and isinstance(below, list | Mapping)
            yield from _faults(below, at if inside else f"{at}/{shown}")
        return
    for message in messages if isinstance(messages, list) else [messages]:
        if isinstance(message, Mapping):
            yield from _faults(message, at)
        elif isinstance(message, Invariant):
            yield Fault(at, "invariant", str(message))
        else:
            yield Fault(at, "required" if "required" in str(message) else "value", str(message))
