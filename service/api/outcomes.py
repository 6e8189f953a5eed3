"""Refusals of CDS Hooks: a FHIR R4 OperationOutcome, an issue for each fault. None repeats a value that was sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response

from service.api.problems import SHOWN_AT_MOST, Fault, Kind, Problem

MEDIA_TYPE = "application/json; charset=utf-8"
LARGEST_CALL = 2 * 1024 * 1024
DEEPEST_CALL = 64

KINDS: Mapping[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind(
            "invalid-call",
            HTTPStatus.BAD_REQUEST,
            "The body is not what CDS Hooks asks for",
            "A member is missing, of another type, or does not fit another one; every fault is an issue of its own.",
        ),
        Kind(
            "unauthorised",
            HTTPStatus.UNAUTHORIZED,
            "Not authorised",
            "The caller has not proved who it is. Why is said to nobody but the log.",
        ),
        Kind(
            "forbidden",
            HTTPStatus.FORBIDDEN,
            "Not for this tenant",
            "The token is good, and its tenant may not use this service.",
        ),
        Kind(
            "data-missing",
            HTTPStatus.PRECONDITION_FAILED,
            "Data that this service cannot do without was not to be had",
            "Each issue names a prefetch key that is required. Nothing may be concluded from it.",
        ),
        Kind(
            "unavailable",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The caller cannot be checked now",
            "The memory of used tokens cannot be asked. The call may be sent again, with a new token.",
        ),
    )
}
"""Refusals that only these operations have."""

TITLES: Mapping[str, str] = {"unsupported-media-type": "The body must be JSON in UTF-8, not compressed"}
MEANINGS: Mapping[str, str] = {
    "content-too-large": f"The limit is {LARGEST_CALL // 1024 // 1024} MiB ({LARGEST_CALL:,} bytes).",
    "not-found": "There is no such service here, or it is not switched on.",
    "unsupported-media-type": "The body must be application/json or application/fhir+json in UTF-8, not compressed.",
}
"""Where a title or a meaning is another one than elsewhere."""

ISSUES: Mapping[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: "structure",
    HTTPStatus.UNAUTHORIZED: "login",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "not-supported",
    HTTPStatus.PRECONDITION_FAILED: "required",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-long",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "not-supported",
    HTTPStatus.SERVICE_UNAVAILABLE: "transient",
}
"""FHIR issue types (http://hl7.org/fhir/issue-type) by status."""

OTHERWISE = "exception"
"""Of whatever else goes wrong."""

OF_FAULT: Mapping[str, str] = {"required": "required", "value": "value", "invariant": "invariant"}
"""FHIR issue types by what is wrong at a place."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def outcome(problem: Problem) -> Response:
    """The problem as these operations send it."""
    kind = replace(problem.kind, title=TITLES.get(problem.kind.slug, problem.kind.title))
    detail = MEANINGS.get(kind.slug, problem.detail) if problem.detail == kind.meaning else problem.detail
    if kind.status == HTTPStatus.UNAUTHORIZED:
        issues = [_issue(kind, None)]
    elif problem.faults:
        issues = [_issue(kind, _said(fault), fault) for fault in problem.faults[:SHOWN_AT_MOST]]
        if len(problem.faults) > SHOWN_AT_MOST:
            issues.append(_issue(kind, f"And {len(problem.faults) - SHOWN_AT_MOST} more."))
    else:
        issues = [_issue(kind, detail)]
    body = {"resourceType": "OperationOutcome", "issue": issues}
    response = Response(orjson.dumps(body), int(kind.status), content_type=MEDIA_TYPE)
    response.headers.update(problem.headers)
    if kind.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _said(fault: Fault) -> str:
    return f"{fault.pointer}: {fault.detail}" if fault.pointer else fault.detail


def _issue(kind: Kind, said: str | None, fault: Fault | None = None) -> dict[str, Any]:
    code = ISSUES.get(kind.status, OTHERWISE)
    issue: dict[str, Any] = {
        "severity": "error",
        "code": OF_FAULT.get(fault.code, code) if fault is not None else code,
        "details": {"text": kind.title},
    }
    if said is not None:
        issue["diagnostics"] = said
    place = _expression(fault.pointer) if fault is not None else None
    if place is not None:
        issue["expression"] = [place]
    return issue


def _expression(pointer: str) -> str | None:
    """The place as FHIRPath names it, where it can be named so."""
    path = ""
    for part in pointer.split("/")[1:]:
        if part.isdecimal():
            path += f"[{part}]"
        elif _NAME.fullmatch(part):
            path += f".{part}" if path else part
        else:
            return None
    return path or None
