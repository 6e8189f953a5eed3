"""Words to describe answers with. Nothing is read or written with them: they make the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from service.api.strict import StrictSchema

POINTER = "^(?:/(?:[^~/]|~[01])*)*$"
RULE_ID = "^[a-z0-9]+(?:-[a-z0-9]+)*$"

Members = dict[str, fields.Field[Any]]


def string(about: str | None = None, *, null: bool = False, always: bool = True, **schema: Any) -> fields.String:
    """A string."""
    return fields.String(required=always, allow_none=null, metadata=_metadata(about, schema))


def number(about: str | None = None, *, null: bool = False) -> fields.Float:
    """A number."""
    return fields.Float(required=True, allow_none=null, metadata=_metadata(about, {}))


def integer(about: str | None = None, *, null: bool = False) -> fields.Integer:
    """A whole number that is not negative."""
    return fields.Integer(required=True, allow_none=null, metadata=_metadata(about, {"minimum": 0}))


def boolean(about: str | None = None) -> fields.Boolean:
    """true or false."""
    return fields.Boolean(required=True, metadata=_metadata(about, {}))


def word(words: tuple[str, ...], about: str | None = None) -> fields.String:
    """One of a closed list of words."""
    return string(about, enum=list(words))


def place(about: str) -> fields.String:
    """A JSON Pointer into the request."""
    return string(about, pattern=POINTER)


def many(
    inner: fields.Field[Any] | type[Schema], about: str | None = None, *, always: bool = True, **options: Any
) -> fields.List[Any]:
    """An array; unless said otherwise it is always there, if only as an empty one."""
    item = inner if isinstance(inner, fields.Field) else fields.Nested(inner)
    return fields.List(item, required=always, metadata=_metadata(about, {}), **options)


def strings(about: str | None = None, **options: Any) -> fields.List[Any]:
    """An array of strings."""
    return many(fields.String(), about, **options)


def by_key(inner: fields.Field[Any], about: str) -> fields.Dict:
    """An object with any keys, and values of one shape."""
    return fields.Dict(keys=fields.String(), values=inner, required=True, metadata=_metadata(about, {}))


def one(schema: type[Schema], about: str | None = None, *, null: bool = False) -> fields.Nested:
    """An object."""
    return fields.Nested(schema, required=True, allow_none=null, metadata=_metadata(about, {}))


def shape(name: str, about: str, members: Members) -> type[Schema]:
    """A schema whose members depend on the vocabulary."""
    made = StrictSchema.from_dict(members, name=name)
    made.__doc__ = about
    return made


def _metadata(about: str | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**({"description": about} if about else {}), **schema}
