"""The one shape of every refusal: RFC 9457 problem details, all faults of a request at once.

A problem says where the fault is and what would be right. It never repeats a value that was sent,
never shows how the service is made, and is never HTML.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, request
from marshmallow.exceptions import SCHEMA
from werkzeug.exceptions import HTTPException

from service.api.complaints import UNKNOWN_FIELD, Complaint

MEDIA_TYPE = "application/problem+json"
LARGEST_BODY = 256 * 1024
SHOWN_AT_MOST = 200
_KEY_AT_MOST = 64

log = logging.getLogger("service.problems")


@dataclass(frozen=True)
class Kind:
    """A sort of refusal: the last part of its type's address, its status, title and meaning."""

    slug: str
    status: HTTPStatus
    title: str
    meaning: str


KINDS: Mapping[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind(
            "malformed-json",
            HTTPStatus.BAD_REQUEST,
            "The body is not well-formed JSON",
            "The body is empty, not UTF-8, not JSON, nested too deeply, or has a repeated key, "
            "NaN, Infinity, an unreadable number or half of a surrogate pair.",
        ),
        Kind(
            "bad-request",
            HTTPStatus.BAD_REQUEST,
            "The request cannot be read",
            "The request breaks HTTP itself, or ended before all of it had arrived.",
        ),
        Kind(
            "not-found",
            HTTPStatus.NOT_FOUND,
            "There is nothing at this address",
            "No such path, or no rule with this id.",
        ),
        Kind(
            "method-not-allowed",
            HTTPStatus.METHOD_NOT_ALLOWED,
            "This method cannot be used here",
            "The Allow header lists those that can.",
        ),
        Kind(
            "not-acceptable",
            HTTPStatus.NOT_ACCEPTABLE,
            "The answer does not exist in a form that the request accepts",
            "The Accept header leaves out the media type of the answer.",
        ),
        Kind(
            "content-too-large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The body is too large",
            f"The limit is {LARGEST_BODY // 1024} KiB ({LARGEST_BODY:,} bytes).",
        ),
        Kind(
            "unsupported-media-type",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json in UTF-8, not compressed",
            "Content-Type is missing or another one, names another charset, or Content-Encoding is used.",
        ),
        Kind(
            "invalid-input",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The body does not fit the contract",
            "Well-formed JSON with a field that is unknown, missing, of the wrong type, without a "
            "unit, impossible or in the future. `errors` lists every fault.",
        ),
        Kind(
            "no-safe-answer",
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "No answer, because it could not be made certain",
            "The evaluation did not run to its end, or its two evaluators disagreed. No part of an "
            "answer is given. Nothing may be concluded from it.",
        ),
        Kind(
            "internal-error",
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Something went wrong on our side",
            "The request may be sent again. Nothing may be concluded from it.",
        ),
        Kind(
            "not-ready",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The service is not ready to answer",
            "It cannot evaluate a patient.",
        ),
    )
}
_BY_STATUS = {
    kind.status: kind
    for kind in (
        KINDS[slug]
        for slug in (
            "bad-request",
            "not-found",
            "method-not-allowed",
            "not-acceptable",
            "content-too-large",
            "unsupported-media-type",
            "internal-error",
        )
    )
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a body, and where, as a JSON Pointer."""

    pointer: str
    code: str
    detail: str


class Problem(Exception):
    """A refusal on its way out."""

    def __init__(
        self,
        kind: str | Kind,
        detail: str | None = None,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = KINDS[kind] if isinstance(kind, str) else kind
        super().__init__(self.kind.slug)
        self.detail = detail or self.kind.meaning
        self.faults = faults
        self.headers = headers or {}

    def response(self) -> Response:
        """The problem as it is sent, unless its address has a shape of its own."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.kind.slug}",
            "title": self.kind.title,
            "status": int(self.kind.status),
            "detail": self.detail,
        }
        if self.faults:
            body["errors"] = [
                {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail}
                for fault in self.faults[:SHOWN_AT_MOST]
            ]
            if len(self.faults) > SHOWN_AT_MOST:
                body["errors_left_out"] = len(self.faults) - SHOWN_AT_MOST
        response = Response(orjson.dumps(body), int(self.kind.status), content_type=MEDIA_TYPE)
        response.headers.update(self.headers)
        response.headers["Cache-Control"] = "no-store"
        return response


def pointer(path: Iterable[str | int]) -> str:
    """The JSON Pointer (RFC 6901) to `path`; keys, which may be anyone's, are cut and cleaned."""
    return "".join(f"/{_token(part)}" for part in path)


def _token(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    kept = part if len(part) <= _KEY_AT_MOST else part[:_KEY_AT_MOST] + "…"
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in kept)
    return clean.replace("~", "~0").replace("/", "~1")


def faults_in(messages: object) -> list[Fault]:
    """All faults that marshmallow found, in a fixed order."""
    found: list[tuple[list[tuple[int, int, str]], Fault]] = []

    def walk(node: object, path: tuple[str | int, ...]) -> None:
        if isinstance(node, Mapping):
            for key, below in node.items():
                walk(below, (*path, key))
            return
        for complaint in node if isinstance(node, list) else [node]:
            if not isinstance(complaint, Complaint):
                raise TypeError("a field complains in words that are not its own")
            about_the_object = path and path[-1] == SCHEMA and complaint is not UNKNOWN_FIELD
            where = path[:-1] if about_the_object else path
            order = [(0, p, "") if isinstance(p, int) else (1, 0, p) for p in where]
            found.append((order, Fault(pointer(where), complaint.code, str(complaint))))

    walk(messages, ())
    return [fault for _, fault in sorted(found, key=lambda item: (item[0], item[1].code))]


def refused(error: HTTPException) -> Problem:
    """What Flask and Werkzeug refuse, as a problem."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = KINDS["bad-request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal-error"]
    allow = sorted(getattr(error, "valid_methods", None) or ())
    return Problem(kind, headers={"Allow": ", ".join(allow)} if allow else None)


def unexpected(error: Exception, slug: str = "internal-error") -> Problem:
    """A fault of ours: said plainly, and logged by its place, not by its text, which may quote."""
    frames = traceback.extract_tb(error.__traceback__)
    log.error(
        slug,
        extra={
            "error": type(error).__name__,
            "route": request.url_rule.rule if request.url_rule else None,
            "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]],
        },
    )
    return Problem(slug)


def install(app: Flask, shapes: Mapping[str, Callable[[Problem], Response]]) -> None:
    """Let every refusal of `app` take this shape, or below an address of `shapes` the one that is given there."""

    def respond(problem: Problem) -> Response:
        for path, shape in shapes.items():
            if request.path == path or request.path.startswith(f"{path}/"):
                return shape(problem)
        return problem.response()

    app.register_error_handler(Problem, respond)
    app.register_error_handler(HTTPException, lambda error: respond(refused(error)))
    app.register_error_handler(Exception, lambda error: respond(unexpected(error)))
