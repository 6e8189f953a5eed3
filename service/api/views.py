"""The operations: parse, check, assess, answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from flask import Flask, Response, request

from service.api import problems
from service.api.decode import decode
from service.api.problems import KINDS, Problem
from service.api.schemas import LONGEST_QUERY, QUERY, QUERY_PATTERN, SHORTEST_QUERY, RequestReader
from service.api.transport import JSON, Resource, json_body
from service.api.turn import TURN
from service.assessment import Assessor, IncompleteEvaluation
from service.knowledge import Rulebook
from service.knowledge.describe import (
    describe_forms,
    describe_knowledge,
    describe_rule,
    describe_rules,
    describe_vocabulary,
)
from service.terminology import MedicationSearch


class Views:
    """One method for each operation; what never changes is made ready once."""

    def __init__(
        self,
        rulebook: Rulebook,
        assessor: Assessor,
        search: MedicationSearch,
        contract: bytes,
        clock: Callable[[], date],
    ) -> None:
        self.assessor = assessor
        self.search = search
        self.reader = RequestReader(rulebook.vocabulary)
        self.clock = clock
        self.contract_file = Resource(contract)
        terminology = {"terminology": assessor.recogniser.release.described()}
        about = {"version": rulebook.version, "digest": rulebook.digest, "sign_off": rulebook.sign_off, **terminology}
        self.mark = mark = {"knowledge": about}
        self.knowledge_page = _resource({**describe_knowledge(rulebook), **terminology})
        self.forms_page = _resource({**mark, "forms": describe_forms(rulebook)})
        self.vocabulary_page = _resource({**mark, **describe_vocabulary(rulebook)})
        self.rules_page = _resource({**mark, "rules": describe_rules(rulebook)})
        self.rule_pages = {key: _resource({**mark, **describe_rule(rulebook, key)}) for key in rulebook.rules}
        self.problem_pages = {slug: _resource(_about(slug)) for slug in KINDS}

    def create_evaluation(self) -> Response:
        """POST /v1/evaluations."""
        sent = decode(json_body())
        with TURN:
            body = self.reader.read(sent, self.clock())
            answer = orjson.dumps(evaluated(self.assessor, body))
        return Response(answer, content_type=JSON, headers={"Cache-Control": "no-store"})

    def get_knowledge(self) -> Response:
        """GET /v1/knowledge."""
        return self.knowledge_page.response()

    def list_rules(self) -> Response:
        """GET /v1/rules."""
        return self.rules_page.response()

    def get_rule(self, rule_id: str) -> Response:
        """GET /v1/rules/{id}."""
        return _found(self.rule_pages, rule_id)

    def list_forms(self) -> Response:
        """GET /v1/forms."""
        return self.forms_page.response()

    def get_vocabulary(self) -> Response:
        """GET /v1/vocabulary."""
        return self.vocabulary_page.response()

    def search_medications(self) -> Response:
        """GET /v1/medications?query=."""
        try:
            # What werkzeug cannot decode it replaces, and something else would be looked up.
            unquote_to_bytes(request.query_string).decode()
        except UnicodeDecodeError:
            raise Problem("bad-request", "The query is not UTF-8.") from None
        query = request.args.getlist(QUERY)
        if len(query) != 1 or re.fullmatch(QUERY_PATTERN, query[0]) is None:
            length = f"{SHORTEST_QUERY} to {LONGEST_QUERY} characters"
            raise Problem("bad-request", f"`query` is needed once, with {length}, none of them a control character.")
        found = orjson.dumps({**self.mark, "medications": self.search.find(query[0])})
        # What is typed may be about a patient: nobody on the way keeps it.
        return Resource(found, headers={"Cache-Control": "no-store"}).response()

    def get_problem(self, slug: str) -> Response:
        """GET /problems/{slug}."""
        return _found(self.problem_pages, slug)

    def get_contract(self) -> Response:
        """GET /openapi.json."""
        return self.contract_file.response()

    def livez(self) -> Response:
        """GET /livez."""
        return _state("alive")

    def readyz(self) -> Response:
        """GET /readyz."""
        try:
            self.assessor.evaluate({"as_of": self.clock()})
        except Exception as error:
            raise problems.unexpected(error, "not-ready") from None
        return _state("ready")


PATHS: Mapping[str, tuple[str, str]] = {
    "create_evaluation": ("POST", "/v1/evaluations"),
    "get_knowledge": ("GET", "/v1/knowledge"),
    "list_rules": ("GET", "/v1/rules"),
    "get_rule": ("GET", "/v1/rules/<rule_id>"),
    "list_forms": ("GET", "/v1/forms"),
    "get_vocabulary": ("GET", "/v1/vocabulary"),
    "search_medications": ("GET", "/v1/medications"),
    "get_problem": ("GET", "/problems/<slug>"),
    "get_contract": ("GET", "/openapi.json"),
    "livez": ("GET", "/livez"),
    "readyz": ("GET", "/readyz"),
}
"""Every operation with its method and path; the contract describes the same ones."""

PRODUCES: Mapping[str, str] = {
    # A probe is answered whatever it accepts.
    name: JSON
    for name in PATHS
    if name not in ("livez", "readyz")
}


TAKES: Mapping[str, frozenset[str]] = {"search_medications": frozenset({QUERY})}
"""The query parameters of the operations that have any."""


def install(app: Flask, views: Views) -> None:
    """Add the operations to `app`."""
    for name, (method, path) in PATHS.items():
        app.add_url_rule(path, name, getattr(views, name), methods=[method])


def evaluated(assessor: Assessor, body: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer to a body that was read, or a Problem; never a part of it."""
    try:
        return assessor.evaluate(body)
    except IncompleteEvaluation as error:
        raise problems.unexpected(error, "no-safe-answer") from None


def _resource(data: Any) -> Resource:
    return Resource(orjson.dumps(data))


def _found(pages: Mapping[str, Resource], key: str) -> Response:
    page = pages.get(key)
    if page is None:
        raise Problem("not-found")
    return page.response()


def _about(slug: str) -> dict[str, Any]:
    kind = KINDS[slug]
    return {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": int(kind.status),
        "meaning": kind.meaning,
    }


def _state(status: str) -> Response:
    body = orjson.dumps({"status": status})
    return Response(body, content_type=JSON, headers={"Cache-Control": "no-store"})
