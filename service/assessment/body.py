"""Request bodies of worked cases, as the request schema would give them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any


def from_json(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request body with dates as dates, as the request schema would give it."""
    result = dict(request)
    result["as_of"] = date.fromisoformat(request["as_of"])
    if "labs" in request:
        result["labs"] = {key: _dated(value, "collected_on") for key, value in request["labs"].items()}
    if "medications" in request:
        result["medications"] = [_dated(one, "since") for one in request["medications"]]
    return result


def _dated(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    result = dict(item)
    if key in result:
        result[key] = date.fromisoformat(result[key])
    return result
