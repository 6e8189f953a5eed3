"""How messages of CDS Hooks are read: nothing is converted, and no fault repeats a value that was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NoReturn

from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, ValidationError, fields, validate
from marshmallow.exceptions import SCHEMA

Json = dict[str, Any]
SEEN = r"[^\x00-\x20\x7f-\xa0]"
"""Neither a blank nor a control character; the class for blanks has other characters for each reader of patterns."""
_DAY = r"[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_HOUR = r"(?:[01][0-9]|2[0-3])"
TIMESTAMP = rf"^{_DAY}[Tt]{_HOUR}:[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?(?:[Zz]|[+-]{_HOUR}:[0-5][0-9])$"
_ONE_DAY = timedelta(days=1)
_ONE_MINUTE = timedelta(minutes=1)
_MOST_DIGITS = 40
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


def text(
    pattern: str = SEEN, *, required: bool = True, longest: int | None = None, about: str | None = None
) -> fields.String:
    """A string with something in it that the pattern finds."""
    rules: list[Any] = [_Matches(pattern)]
    if longest is not None:
        rules.append(validate.Length(min=1, max=longest))
    return fields.String(required=required, validate=rules, metadata=_metadata(about))


def word(*words: str, required: bool = True, about: str | None = None) -> fields.String:
    """One of a closed list of words."""
    known = validate.OneOf(words, error=f"Must be one of: {', '.join(words)}.")
    return fields.String(required=required, validate=known, metadata=_metadata(about))


def only(word: str, complaint: str, *, about: str | None = None) -> fields.String:
    """A word that must be this one, for what stands elsewhere."""
    return fields.String(required=True, validate=_Is(word, complaint), metadata=_metadata(about))


def moment(about: str | None = None) -> fields.String:
    """A date and time with a zone, as RFC 3339 writes it."""
    return fields.String(required=True, validate=_Moment(TIMESTAMP), metadata=_metadata(about, format="date-time"))


def count(*, required: bool = True, about: str | None = None) -> fields.Field[Any]:
    """A whole number that is not negative."""
    return WholeNumber(required=required, validate=validate.Range(min=0), metadata=_metadata(about))


def one(schema: type[Schema], *, required: bool = True, about: str | None = None) -> fields.Nested:
    """An object."""
    return fields.Nested(schema, required=required, metadata=_metadata(about))


def some(
    inner: fields.Field[Any] | type[Schema], *, required: bool = False, about: str | None = None
) -> fields.List[Any]:
    """An array that is not empty."""
    item = inner if isinstance(inner, fields.Field) else fields.Nested(inner)
    return fields.List(item, required=required, validate=validate.Length(min=1), metadata=_metadata(about))


def _metadata(about: str | None, **schema: Any) -> Json:
    return {**({"description": about} if about else {}), **schema}


class _Matches(validate.Regexp):
    """Looks for the pattern anywhere, as JSON Schema does."""

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        # Python's `$` also matches before a line break at the end.
        self._find = re.compile(re.sub(r"\$$", r"\\Z", pattern)).search

    def __call__(self, value: Any) -> Any:
        """Complain in words that repeat nothing."""
        if self._find(value) is None:
            raise ValidationError("Does not have the form that CDS Hooks gives it.")
        return value


class _Moment(_Matches):
    """And there is such a moment."""

    def __call__(self, value: Any) -> Any:
        """Complain in words that repeat nothing."""
        super().__call__(value)
        # datetime has no leap seconds, which stand at the end of a day of UTC, and needs no fractions.
        leaps = value[17:19] == "60"
        plain = re.sub(r"\.[0-9]+", "", value.upper())
        try:
            at = datetime.fromisoformat(f"{plain[:17]}59{plain[19:]}" if leaps else plain)
        except ValueError:
            raise ValidationError("There is no such time.") from None
        ahead = at.utcoffset() or timedelta()
        if leaps and (timedelta(hours=at.hour, minutes=at.minute) - ahead) % _ONE_DAY != _ONE_DAY - _ONE_MINUTE:
            raise ValidationError("There is no such time.")
        return value


class _Is(validate.Equal):
    """The one word."""

    def __init__(self, comparable: str, complaint: str) -> None:
        super().__init__(comparable)
        self.complaint = complaint

    def __call__(self, value: Any) -> Any:
        """Complain in words that repeat nothing."""
        if value != self.comparable:
            raise ValidationError([Invariant(self.complaint)])
        return value


def clash(message: str, member: str = SCHEMA) -> NoReturn:
    """Complain about what members have to do with each other."""
    raise ValidationError({member: [Invariant(message)]})


class Message(Schema):
    """An object of CDS Hooks."""

    def constraints(self) -> Json:
        """What JSON Schema can say of it beyond its members."""
        return {}


class Lenient(Message):
    """An object of a client: what is not known is passed over."""

    class Meta:
        """More may come than is declared."""

        unknown = EXCLUDE


class Closed(Message):
    """An object of ours: nothing is in it that is not declared."""

    class Meta:
        """Nothing else."""

        unknown = RAISE


class Whole(Message):
    """An object that is read elsewhere: everything in it is kept."""

    class Meta:
        """Whatever comes."""

        unknown = INCLUDE


class WholeNumber(fields.Integer):
    """A JSON number without fraction, however it is written: to JSON Schema 3e2 is an integer."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if type(value) is int:
            return value
        if type(value) is not Decimal or value != value.to_integral_value():
            raise ValidationError("Must be a whole number.")
        # There is not room for every integer that can be written with an exponent.
        return int(value) if value.adjusted() < _MOST_DIGITS else value


class Number(fields.Float):
    """A JSON number; nothing is converted."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if type(value) not in (int, float, Decimal):
            raise ValidationError("Must be a number.")
        return value


class Truth(fields.Boolean):
    """true or false; nothing is converted."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("Must be true or false.")
        return value


class UpTo(fields.List[Any]):
    """An array; one that is longer than `most` is refused before anything in it is looked at."""

    def __init__(self, most: int, inner: fields.Field[Any] | type[Schema], **options: Any) -> None:
        super().__init__(inner if isinstance(inner, fields.Field) else fields.Nested(inner), **options)
        self.most = most

    def _deserialize(self, value: Any, *rest: Any, **options: Any) -> list[Any]:
        if isinstance(value, list) and len(value) > self.most:
            raise ValidationError(f"Must have at most {self.most} items.")
        return super()._deserialize(value, *rest, **options)

    def limits(self) -> Json:
        """What JSON Schema says of the array besides its items."""
        return {"maxItems": self.most}


class UpToKeys(fields.Dict):
    """An object; one with more than `most` members is refused before anything in it is looked at."""

    def __init__(self, most: int, values: fields.Field[Any], **options: Any) -> None:
        super().__init__(keys=fields.String(), values=values, **options)
        self.most = most

    def _deserialize(self, value: Any, *rest: Any, **options: Any) -> Json:
        if isinstance(value, dict) and len(value) > self.most:
            raise ValidationError(f"Must have at most {self.most} members.")
        parent: Any = super()  # marshmallow gives this one no types
        return dict(parent._deserialize(value, *rest, **options))

    def limits(self) -> Json:
        """What JSON Schema says of the object besides its values."""
        return {"maxProperties": self.most}


def _not_empty(value: Json) -> None:
    # A validator for lengths would be described as one for strings.
    if not value:
        raise ValidationError("Must not be empty.")


class Named(fields.Dict):
    """Values of one shape by names of one form; at least one."""

    def __init__(self, names: str, values: fields.Field[Any] | type[Schema], *, about: str | None = None) -> None:
        inner = values if isinstance(values, fields.Field) else fields.Nested(values)
        super().__init__(keys=text(names), values=inner, required=True, validate=_not_empty, metadata=_metadata(about))
        self.names = names

    def limits(self) -> Json:
        """What JSON Schema says of the object besides its values."""
        return {"minProperties": 1, "propertyNames": {"pattern": self.names}}


class OneOrMany(fields.Field[Any]):
    """An object, or an array of such objects."""

    def __init__(self, inner: type[Schema], **options: Any) -> None:
        super().__init__(**options)
        self.inner = inner()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Json]:
        many = isinstance(value, list)
        loaded = self.inner.load(value, many=many)
        return list(loaded) if many else [dict(loaded)]


def load(schema: Schema, body: Any, refusal: type[Refused]) -> Json:
    """What the schema makes of a body. Raises the refusal with everything that is wrong with it."""
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


def without_empty(value: Any) -> Any:
    """The value without members that are null or empty, in all depths."""
    if isinstance(value, dict):
        kept = {key: without_empty(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if not _is_empty(one)}
    if isinstance(value, list | tuple):
        return [one for one in map(without_empty, value) if not _is_empty(one)]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and len(value) == 0)
