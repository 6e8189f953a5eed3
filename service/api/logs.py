"""One JSON line for each request: method, route, status, time taken. Never what was sent."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from http import HTTPMethod
from time import perf_counter
from typing import Any

import orjson
from flask import Flask, Response, g, request

_EXTRAS = (
    *("method", "route", "status", "duration_ms", "error", "where"),
    *("service", "hook", "issuer", "tenant", "jti", "reason", "instance", "data", "fetched", "rules", "faults"),
    *("opinion", "outcome", "reasons", "taken"),
)
_METHODS = frozenset(HTTPMethod)
_STARTED = "service.started"

log = logging.getLogger("service.requests")


class JsonLine(logging.Formatter):
    """A record as one line of JSON, with the few extras that are known to be harmless."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: vars(record)[key] for key in _EXTRAS if key in vars(record)}
        return orjson.dumps(line).decode()


def configure(level: str) -> None:
    """Send what the service logs to standard error, once however often it is called."""
    logger = logging.getLogger("service")
    logger.setLevel(level.upper())
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLine())
        logger.addHandler(handler)
        logger.propagate = False


def note(**said: Any) -> None:
    """Say more in the line of this request: names of ours, counts and digests, never what was sent."""
    g.setdefault("noted", {}).update({key: value for key, value in said.items() if value is not None})


def install(app: Flask) -> None:
    """Log every request that `app` answers."""

    @app.before_request
    def start() -> None:
        request.environ[_STARTED] = perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        took = perf_counter() - request.environ.get(_STARTED, perf_counter())
        log.info(
            "request",
            extra={
                # A method of the caller's own can hold anything too.
                "method": request.method if request.method in _METHODS else None,
                # The template, not the path: a path can hold anything.
                "route": request.url_rule.rule if request.url_rule else None,
                "status": response.status_code,
                "duration_ms": round(took * 1000, 2),
                **g.get("noted", {}),
            },
        )
        return response
