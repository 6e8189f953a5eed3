"""FHIR dates and times, partial ones too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from service.fhir.wire import Json, obj, text

_WRITTEN = re.compile(
    r"(?P<year>(?:19|20)\d\d)(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Moment:
    """A date or time: the days it may be, and where it stands among others (in UTC; a day begins at midnight)."""

    first: date
    last: date
    at: datetime

    @property
    def partial(self) -> bool:
        """Whether the day is not known."""
        return self.first != self.last


def moment(value: Any) -> Moment | None:
    """What a FHIR date, dateTime or instant says; None where it is none."""
    found = _WRITTEN.fullmatch(text(value))
    if found is None:
        return None
    year, month, day = found["year"], found["month"], found["day"]
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        last = first if day else _before_next(first, bool(month))
        at = datetime.combine(first, time(), UTC)
        if found["hour"]:
            # A leap second is written as 60.
            clock = time(int(found["hour"]), int(found["minute"]), min(int(found["second"] or 0), 59))
            at = datetime.combine(first, clock, UTC) - _offset(found["zone"])
    except (ValueError, OverflowError):
        return None
    return Moment(first, last, at)


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta()
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return -ahead if zone[0] == "-" else ahead


def _before_next(first: date, is_month: bool) -> date:
    following = date(first.year + (first.month == 12), first.month % 12 + 1, 1) if is_month else None
    return (following or date(first.year + 1, 1, 1)) - timedelta(days=1)


def on_or_before(found: Moment, as_of: date) -> date | None:
    """The day, or the first it may be; None when it is after ``as_of``.

    Where it is tomorrow already, the day in UTC counts.
    """
    if found.first <= as_of:
        return found.first
    there = found.at.date()
    return there if there <= as_of and not found.partial else None


def effective(resource: Json, as_of: date) -> Iterator[Moment]:
    """The times an observation is about, the one that counts first: the end of a period, if it is over."""
    for name in ("effectiveDateTime", "effectiveInstant"):
        if (found := moment(resource.get(name))) is not None:
            yield found
    period = obj(resource.get("effectivePeriod"))
    ends = [moment(period.get("end")), moment(period.get("start"))]
    yield from (one for one in ends if one is not None and on_or_before(one, as_of) is not None)
    yield from (one for one in ends if one is not None)
    events = obj(resource.get("effectiveTiming")).get("event")
    times = [moment(one) for one in events] if isinstance(events, list) else []
    yield from sorted((one for one in times if one is not None), key=lambda one: one.at, reverse=True)


def full_years(born: date, as_of: date) -> int:
    """Completed years."""
    return as_of.year - born.year - ((as_of.month, as_of.day) < (born.month, born.day))
