"""The value of a prefetch key: which state it is in, and the resources that came with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from service.fhir.chart import Status
from service.fhir.wire import Json, kind, obj, objects, text

_DEEPEST = 8
_MERE_WARNINGS = frozenset({"warning", "information", "success"})
_UNFILLED = re.compile(r"(?:\{|%7B){2}", re.IGNORECASE)
_VERSION = re.compile(r"/_history/[^/]*$")
_TAIL = re.compile(r"(?:^|/)([A-Z][A-Za-z]*)/([A-Za-z0-9\-.]{1,64})$")


@dataclass(frozen=True)
class Entry:
    """A resource, and under which address it came."""

    resource: Json
    full_url: str = ""


@dataclass
class Read:
    """What one key brought."""

    status: Status = "used"
    entries: list[Entry] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_key(value: Any) -> Read:
    """The state of a prefetch value that was sent (null included), and its resources."""
    if value is None:
        return Read("null")
    found = Read()
    if not isinstance(value, dict) or not kind(value):
        return Read("failed", remarks=["malformed"])
    if kind(value) == "OperationOutcome":
        return Read("failed", remarks=["search_failed"])
    if kind(value) != "Bundle":
        found.entries.append(Entry(value))
        return found
    outcomes = _gather(value, found, 0)
    severities = [text(issue.get("severity")) for one in outcomes for issue in objects(one.get("issue"))] or (
        [""] if outcomes else []
    )
    if any(one not in _MERE_WARNINGS for one in severities):
        found.remarks.append("search_failed")
    elif severities:
        found.remarks.append("search_warning")
    # A search that was warned of and found nothing may have looked for something else.
    if found.status == "failed" or "search_failed" in found.remarks or (severities and not found.entries):
        found.status = "failed"
    elif "next_page" in found.remarks:
        found.status = "incomplete"
    elif not found.entries and "query_not_filled" in found.remarks:
        found.status = "failed"
    elif not found.entries:
        found.status = "none_found"
    return found


def _gather(bundle: Json, found: Read, depth: int) -> list[Json]:
    """Put the resources of a Bundle, and of Bundles within, into ``found``; OperationOutcomes are returned."""
    outcomes: list[Json] = []
    listed = bundle.get("entry", [])
    if depth > _DEEPEST or not isinstance(listed, list):
        found.remarks.append("malformed")
        found.status = "failed"
        return outcomes
    if any(text(one.get("relation")) == "next" for one in objects(bundle.get("link"))):
        found.remarks.append("next_page")
    if any(_UNFILLED.search(text(one.get("url"))) for one in objects(bundle.get("link"))):
        # Somebody sent the template as it is, and was told of nothing what it would have found.
        found.remarks.append("query_not_filled")
    total = bundle.get("total")
    if not listed and isinstance(total, int) and not isinstance(total, bool) and total > 0:
        # Counted, and not sent.
        found.remarks.append("next_page")
    for one in listed:
        entry = obj(one)
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            if text(obj(entry.get("response")).get("status"))[:1] in ("4", "5"):
                found.remarks.append("search_failed")
            found.entries.append(Entry({}))
            continue
        if kind(resource) == "OperationOutcome":
            outcomes.append(resource)
        elif kind(resource) == "Bundle":
            outcomes += _gather(resource, found, depth + 1)
        else:
            found.entries.append(Entry(resource, text(entry.get("fullUrl"))))
        outcome = obj(entry.get("response")).get("outcome")
        if isinstance(outcome, dict):
            outcomes.append(outcome)
    return outcomes


def reference_target(reference: str) -> tuple[str, str] | None:
    """Type and id that a relative or absolute reference names; None for other references."""
    found = _TAIL.search(_VERSION.sub("", reference))
    return (found[1], found[2]) if found is not None else None


def contained(resource: Json, reference: str) -> Json | None:
    """The resource inside another one that ``#id`` names."""
    for one in _inside(resource, 0):
        if text(one.get("id")) in (reference.removeprefix("#"), reference):
            return one
    return None


def _inside(resource: Json, depth: int) -> Iterator[Json]:
    for one in objects(resource.get("contained")):
        yield one
        if depth < _DEEPEST:
            yield from _inside(one, depth + 1)


class Index:
    """Finds resources that came along, by what refers to them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_url: dict[str, Json] = {}
        self._by_id: dict[tuple[str, str], Json] = {}
        for one in entries:
            if one.full_url:
                self._by_url.setdefault(_VERSION.sub("", one.full_url), one.resource)
            name = text(one.resource.get("id"))
            if name:
                self._by_id.setdefault((kind(one.resource), name), one.resource)

    def find(self, reference: str, within: Json) -> Json | None:
        """The resource, from inside the one that refers to it or from beside it."""
        if reference.startswith("#"):
            return contained(within, reference)
        found = self._by_url.get(_VERSION.sub("", reference))
        if found is None and (target := reference_target(reference)) is not None:
            found = self._by_id.get(target)
        return found
