"""Which pages a browser lets call the CDS Hooks operations. All else of this service is for its own pages alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from flask import Response, request

_METHODS = "GET, POST, OPTIONS"
_HEADERS = "Authorization, Content-Type"
_SECONDS = 600
_THIS_MACHINE = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")


def allows(origins: Collection[str] | None, this_machine: bool) -> Callable[[str], bool]:
    """Whether an origin is on the list; without a list, whether it is this machine, if that is let in."""
    if origins is not None:
        listed = frozenset(origins)
        return lambda origin: origin in listed
    return lambda origin: this_machine and _THIS_MACHINE.fullmatch(origin) is not None


def share(response: Response, allowed: Callable[[str], bool]) -> Response:
    """Say to the browser whether the page that asked may have this answer. Never with cookies."""
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin is None or not allowed(origin):
        return response
    response.headers["Access-Control-Allow-Origin"] = origin
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = _HEADERS
        response.headers["Access-Control-Max-Age"] = str(_SECONDS)
    else:
        response.headers["Access-Control-Expose-Headers"] = "ETag"
    return response
