"""Fields that take a value as it is or refuse it: nothing is coerced, trimmed or guessed.

Every field also says in `json_schema` what it accepts, so that the published contract and the
check are one thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar, cast

from marshmallow import RAISE, Schema, ValidationError, fields

from service.api.complaints import (
    AFTER_AS_OF,
    AFTER_TODAY,
    GENERAL,
    NOT_A_BOOLEAN,
    NOT_A_DATE,
    NOT_A_NUMBER,
    NOT_A_STRING,
    NOT_AN_ARRAY,
    NOT_AN_INTEGER,
    NOT_AN_OBJECT,
    NOT_WRITTEN_WHOLE,
    REPEATED,
    UNKNOWN_FIELD,
    Complaint,
    refuse,
)

T = TypeVar("T")
Json = dict[str, Any]

_DATE = re.compile(r"(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
_LISTED_AT_MOST = 20


class Calendar(NamedTuple):
    """The two days that dates of a request are held against."""

    today: date
    as_of: date


_calendar: ContextVar[Calendar] = ContextVar("calendar")


@contextmanager
def calendar(today: date, as_of: date) -> Iterator[None]:
    """Hold the dates read inside against these days."""
    token = _calendar.set(Calendar(today, as_of))
    try:
        yield
    finally:
        _calendar.reset(token)


def parse_date(value: object) -> date | None:
    """The day that `value` names as YYYY-MM-DD, else None."""
    if type(value) is not str or _DATE.fullmatch(value) is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


class StrictSchema(Schema):
    """An object whose fields are all known; `constraints` adds what JSON Schema can say beyond."""

    class Meta:
        """Refuse what is not declared."""

        unknown = RAISE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.error_messages |= {"unknown": UNKNOWN_FIELD, "type": NOT_AN_OBJECT}

    def constraints(self) -> Json:
        """Further JSON Schema keywords of this object."""
        return {}


class Strict:
    """What all fields here share: `about` for the contract, and one wording for each fault."""

    def __init__(self, *args: Any, about: str | None = None, **options: Any) -> None:
        if about is not None:
            options["metadata"] = {"description": about}
        super().__init__(*args, **options)

    def make_error(self, key: str, **_: Any) -> ValidationError:
        """The complaint that marshmallow's `key` stands for."""
        return refuse(GENERAL[key])


class StrictField(Strict, fields.Field[T]):
    """A field that describes itself."""

    def json_schema(self) -> Json:
        """What the field accepts, as JSON Schema."""
        raise NotImplementedError


class Number(StrictField[int | Decimal]):
    """A JSON number within bounds, both included (``above``: not the lower one); never a boolean or a string."""

    def __init__(self, low: int | Decimal, high: int | Decimal, above: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.low = low
        self.high = high
        self.above = above
        bounds = f"above {shown(low)}, and at most {shown(high)}" if above else f"from {shown(low)} to {shown(high)}"
        self._outside = Complaint("out_of_range", f"Must be {bounds}.")

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int | Decimal:
        if type(value) is not int and type(value) is not Decimal:
            raise refuse(NOT_A_NUMBER)
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise refuse(self._outside)
        return value if value else 0  # never a negative zero

    def json_schema(self) -> Json:
        """A number and its bounds."""
        lowest = "exclusiveMinimum" if self.above else "minimum"
        return {"type": "number", lowest: plain(self.low), "maximum": plain(self.high)}


class Integer(StrictField[int]):
    """A JSON number without fraction or exponent, within bounds, both included."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(**options)
        self.low = low
        self.high = high
        self._outside = Complaint("out_of_range", f"Must be from {low} to {high}.")

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if type(value) is not int:
            raise refuse(NOT_WRITTEN_WHOLE if type(value) is Decimal else NOT_AN_INTEGER)
        if not self.low <= value <= self.high:
            raise refuse(self._outside)
        return value

    def json_schema(self) -> Json:
        """An integer and its bounds."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Boolean(StrictField[bool]):
    """true or false, and no word or number for them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if type(value) is not bool:
            raise refuse(NOT_A_BOOLEAN)
        return value

    def json_schema(self) -> Json:
        """A boolean."""
        return {"type": "boolean"}


class Text(StrictField[str]):
    """A string of 1 to `longest` characters; `pattern`, where given, covers all of it."""

    def __init__(self, longest: int, *, pattern: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.longest = longest
        self.pattern = pattern
        self._whole = re.compile(pattern) if pattern is not None else None
        self._length = Complaint("wrong_length", f"Must have 1 to {longest} characters.")

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if type(value) is not str:
            raise refuse(NOT_A_STRING)
        if not 1 <= len(value) <= self.longest:
            raise refuse(self._length)
        if self._whole is not None and self._whole.fullmatch(value) is None:
            raise refuse(Complaint("wrong_pattern", "Must have the form that the contract gives."))
        return value

    def json_schema(self) -> Json:
        """A string, its length and its pattern."""
        schema: Json = {"type": "string", "minLength": 1, "maxLength": self.longest}
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema


class Choice(StrictField[str]):
    """One of a closed list of words; case counts."""

    def __init__(self, words: Sequence[str], *, are_units: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.words = tuple(words)
        self._known = frozenset(words)
        listed = ", ".join(self.words)
        if are_units:
            detail = f"Must be one of these units, letter for letter: {listed}."
            self._unknown = Complaint("unknown_unit", detail)
        elif len(self.words) <= _LISTED_AT_MOST:
            self._unknown = Complaint("unknown_value", f"Must be one of: {listed}.")
        else:
            self._unknown = Complaint("unknown_value", "Must be a key of GET /v1/vocabulary.")

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if type(value) is not str:
            raise refuse(NOT_A_STRING)
        if value not in self._known:
            raise refuse(self._unknown)
        return value

    def json_schema(self) -> Json:
        """An enumeration."""
        return {"type": "string", "enum": list(self.words)}


class Date(StrictField[date]):
    """A day as YYYY-MM-DD, which is the past: not after `as_of`, and `as_of` not after tomorrow."""

    def __init__(self, *, is_as_of: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.is_as_of = is_as_of

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        day = parse_date(value)
        if day is None:
            raise refuse(NOT_A_DATE if type(value) is str else NOT_A_STRING)
        today, as_of = _calendar.get()
        # Somewhere on earth it is tomorrow already.
        if self.is_as_of and day > today + timedelta(days=1):
            raise refuse(AFTER_TODAY)
        if not self.is_as_of and day > as_of:
            raise refuse(AFTER_AS_OF)
        return day

    def json_schema(self) -> Json:
        """A date in its one spelling."""
        return {"type": "string", "format": "date", "pattern": f"^{_DATE.pattern}$"}


class Items(Strict, fields.List[Any]):
    """An array of at most `most` items; with `unique`, no item twice."""

    def __init__(self, inner: fields.Field[Any], *, most: int, unique: bool = False, **options: Any) -> None:
        super().__init__(inner, **options)
        self.most = most
        self.unique = unique
        self._too_many = Complaint("too_many", f"Must have at most {most} items.")

    def _deserialize(self, value: Any, *rest: Any, **options: Any) -> list[Any]:
        if type(value) is not list:
            raise refuse(NOT_AN_ARRAY)
        if len(value) > self.most:
            raise refuse(self._too_many)
        faults: dict[int, Any] = {}
        if self.unique:
            faults = {i: [REPEATED] for i, item in enumerate(value) if item in value[:i]}
        try:
            items = super()._deserialize(value, *rest, **options)
        except ValidationError as error:
            raise ValidationError(faults | cast(dict[int, Any], error.messages)) from None
        if faults:
            raise ValidationError(faults)
        return items

    def limits(self) -> Json:
        """What JSON Schema says of the array besides its items."""
        return {"maxItems": self.most} | ({"uniqueItems": True} if self.unique else {})


class Nested(Strict, fields.Nested):
    """An object within an object."""


def shown(number: int | Decimal) -> str:
    """The number as people write it, without an exponent."""
    return f"{Decimal(number):f}"


def plain(number: int | Decimal) -> int | float:
    """The number as JSON writes it most plainly."""
    return int(number) if number == int(number) else float(number)
