"""What every operation shares of HTTP: media types, bodies, conditional answers, headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from service.api.problems import LARGEST_BODY, Problem

JSON = "application/json"
FHIR_JSON = "application/fhir+json"
_TAKEN_IN_AT_MOST = 4 * 1024 * 1024
_PIECE = 64 * 1024
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class Resource:
    """Something that does not change while the service runs."""

    def __init__(self, body: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None) -> None:
        self.body = body
        self.content_type = content_type
        self.headers = {"Cache-Control": "no-cache", **(headers or {})}
        self.etag = hashlib.sha256(body).hexdigest()[:32]

    def response(self) -> Response:
        """The resource, or 304 for a client that has it already."""
        response = Response(self.body, content_type=self.content_type, headers=self.headers)
        response.set_etag(self.etag)
        # If-None-Match alone: a failed If-Match would be a 412 with the whole resource for its body.
        asked = {"REQUEST_METHOD": request.method, "HTTP_IF_NONE_MATCH": request.headers.get("If-None-Match", "")}
        response.make_conditional(asked)
        return response


def json_body() -> bytes:
    """The body of a request, which must say that it is plain JSON in UTF-8."""
    _not_coded()
    if request.environ.get("CONTENT_TYPE") != JSON:
        charset = request.mimetype_params.get("charset", "utf-8")
        if request.mimetype != JSON or charset.lower() != "utf-8":
            raise Problem("unsupported-media-type", headers={"Accept": JSON})
    return _whole_body(LARGEST_BODY)


def fhir_body(largest: int) -> bytes:
    """The body of a request that says it is JSON, or FHIR in JSON, with whatever parameters (RFC 8259: it is UTF-8)."""
    _not_coded()
    if request.mimetype not in (JSON, FHIR_JSON):
        raise Problem("unsupported-media-type", headers={"Accept": f"{JSON}, {FHIR_JSON}"})
    request.max_content_length = largest
    return _whole_body(largest)


def _not_coded() -> None:
    sent = request.environ
    coded = (sent.get("HTTP_CONTENT_ENCODING") or "identity").lower() != "identity"
    if coded or sent.get("HTTP_TRANSFER_ENCODING", "chunked").lower() != "chunked":
        raise Problem("unsupported-media-type", headers={"Accept-Encoding": "identity"})


def _whole_body(largest: int) -> bytes:
    try:
        body = request.get_data(cache=False)
        # Of a body that does not say its length only the first part is read: more must not go unseen.
        more = request.content_length is None and len(body) == largest and request.environ["wsgi.input"].read(1)
    except HTTPException:
        raise
    except Exception:
        # Chunks that make no sense, or break off. Each server has its own errors for it, which quote.
        raise Problem("bad-request") from None
    if more:
        raise Problem("content-too-large")
    if request.content_length is not None and len(body) != request.content_length:
        raise Problem("bad-request")
    return body


def _take_in() -> None:
    """Read what of the body nobody has read.

    A server closes a connection on which much of it is left, at once and unannounced: the client may lose the answer,
    and finds out about the connection at its next request.
    """
    if not request.environ.get("wsgi.input_terminated"):
        return
    left = _TAKEN_IN_AT_MOST
    try:
        while left > 0 and (piece := request.environ["wsgi.input"].read(min(left, _PIECE))):
            left -= len(piece)
    except Exception:
        # It breaks off, or has been found out to make no sense; the answer is made already.
        return


def accepts(accept: str, media_type: str) -> bool:
    """Whether an Accept header lets an answer of this type through (RFC 9110, 12.5.1)."""
    kind = media_type.partition("/")[0]
    ranges = {media_type: 3, f"{kind}/*": 2, "*/*": 1}
    best = (0, False)
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name in ranges:
            refused = any(p.startswith("q=") and not p[2:].strip("0.") for p in parameters)
            best = max(best, (ranges[name], not refused))
    return best[1]


def install(app: Flask, produces: Mapping[str, str], takes: Mapping[str, frozenset[str]]) -> None:
    """Hold requests to what the operations take and give; `produces` and `takes` are by endpoint."""

    @app.before_request
    def negotiate() -> None:
        media_type = produces.get(request.endpoint or "")
        if media_type is None or request.method == "OPTIONS":
            return
        accept = request.environ.get("HTTP_ACCEPT")
        if accept and accept != "*/*" and not accepts(accept, media_type):
            raise Problem("not-acceptable", f"The answer is {media_type}.")
        if request.query_string and request.path.startswith("/v1/"):
            known = takes.get(request.endpoint or "")
            if known is None:
                raise Problem("bad-request", "This operation has no query parameters.")
            if not set(request.args) <= known:
                raise Problem("bad-request", "This operation has no such query parameter.")

    @app.after_request
    def finish(response: Response) -> Response:
        _take_in()
        if request.method == "OPTIONS" and response.status_code == 200:
            response.status_code = 204
            response.headers.pop("Content-Type", None)
            response.headers["Allow"] = ", ".join(sorted(response.allow))
        headers = response.headers
        for name, value in _HEADERS.items():
            if name not in headers:
                headers.add(name, value)
        return response
