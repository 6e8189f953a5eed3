"""What the contract says of each operation, beyond the schemas: words, statuses, links, examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from marshmallow import INCLUDE, Schema, fields

from service.api import hook_operations, pages, problems
from service.api.schemas import LONGEST_QUERY, QUERY, QUERY_PATTERN, SHORTEST_QUERY
from service.api.shapes import POINTER, RULE_ID, integer, string, word
from service.api.strict import StrictSchema
from service.api.transport import JSON

INFO: Mapping[str, Any] = {
    "summary": "Rules for clinicians about magnesium and vitamin D, with the grounds of each statement.",
    "description": """\
Send what is known about one patient and get suggestions, cautions and questions, each with the rule,
the inputs and the evidence that it rests on. An EHR calls the same rules through CDS Hooks and gets
cards. The service keeps nothing of a patient: the answer depends on the request and the knowledge base
alone, and the same request with the same `as_of` and the same knowledge digest gives the same bytes.

**No clinician has signed these rules yet** (`sign_off: pending`). The answer supports a clinician's
decision and does not replace it.

For `/v1` (what CDS Hooks asks for instead is said with its operations):

* **Absent is unknown, empty is none.** Leave out what is not known; send `[]` or `{}` for what is
  known to be none. Unknown is never taken for normal: the answer asks instead.
* **Units are said**, as UCUM codes, letter for letter. A missing or unknown unit is an error.
* **Nothing is dropped.** A medicine or code that was not understood comes back in `unrecognised`.
  A field or a key of our own lists that does not exist is an error.
* **Numbers.** A value that cannot be a result is an error (422); an unlikely one is accepted and
  answered with a caution that says so. A whole number is written without a decimal point.
* **Refusals** are `application/problem+json` (RFC 9457) with all faults of a request at once, each
  with a JSON Pointer. A key in a pointer is cut after 64 characters. No refusal repeats a value.
* **Limits.** A body has at most 256 KiB, 32 levels, and numbers of 40 characters.
* **Methods.** `HEAD` works wherever `GET` does; `OPTIONS` answers with `Allow` everywhere.
* **Caching.** Evaluations and searches are `no-store`. What else is read with `GET` has an `ETag`; `If-None-Match` is
  answered with 304.
""",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
TAGS = [
    {"name": "evaluations", "description": "From a patient to advice."},
    hook_operations.TAG,
    {"name": "knowledge", "description": "What the advice rests on."},
    {"name": "service", "description": "The contract, refusals, and probes."},
]


class FaultItem(StrictSchema):
    """One fault of a body, and where."""

    pointer = string("JSON Pointer into the body.", pattern=POINTER)
    code = string("For programs.", pattern="^[a-z_]+$")
    detail = string("For people. Never repeats a value that was sent.")


class Problem(StrictSchema):
    """A refusal, as RFC 9457 has it."""

    type = word(tuple(f"/problems/{slug}" for slug in problems.KINDS), "Where it is explained.")
    title = string()
    status = integer()
    detail = string()
    errors = fields.List(fields.Nested(FaultItem), metadata={"description": "Every fault, in the order of pointers."})
    errors_left_out = fields.Integer(
        metadata={"minimum": 1, "description": f"How many more than {problems.SHOWN_AT_MOST}."}
    )


class ProblemKind(StrictSchema):
    """What a sort of refusal means."""

    type = string()
    title = string()
    status = integer()
    meaning = string()


class State(StrictSchema):
    """How the service is."""

    status = word(("alive", "ready"))


class OpenApi(Schema):
    """An OpenAPI 3.1 document."""

    class Meta:
        """Its keys are those of OpenAPI."""

        unknown = INCLUDE


SCHEMAS: Mapping[str, type[Schema]] = {
    "Problem": Problem,
    "ProblemKind": ProblemKind,
    "State": State,
    "OpenApi": OpenApi,
    **pages.SCHEMAS,
}

_ERROR = {"$ref": "#/components/schemas/Problem"}
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "Changes when the body does."}}
_NOT_CHANGED = {"description": "Not changed.", "headers": _ETAG}
_QUERY = {
    "in": "query",
    "name": QUERY,
    "required": True,
    "schema": {
        "type": "string",
        "minLength": SHORTEST_QUERY,
        "maxLength": LONGEST_QUERY,
        "pattern": f"^{QUERY_PATTERN}$",
    },
    "description": "The beginning of a name; more than one word may be given.",
    "example": "cipro hc",
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "schema": {"type": "string"},
    "description": "The `ETag` of what is there already.",
}


def problem_responses() -> dict[str, dict[str, Any]]:
    """One response for each status that a refusal can have."""
    found: dict[str, dict[str, Any]] = {}
    for kind in problems.KINDS.values():
        response = found.setdefault(
            _response_name(kind.status),
            {
                "description": "",
                "content": {problems.MEDIA_TYPE: {"schema": _ERROR, "examples": {}}},
            },
        )
        response["description"] = " ".join(filter(None, [response["description"], kind.meaning]))
        response["content"][problems.MEDIA_TYPE]["examples"][kind.slug] = {
            "summary": kind.title,
            "value": _problem_example(kind),
        }
        headers = _HEADERS.get(kind.slug)
        if headers is not None:
            response["headers"] = headers
    return found


_HEADERS: Mapping[str, Any] = {
    "method-not-allowed": {"Allow": {"schema": {"type": "string"}, "description": "The methods that can be used."}},
}
_FAULTS: Mapping[str, list[dict[str, str]]] = {
    "malformed-json": [
        {
            "pointer": "/labs/egfr",
            "code": "repeated_key",
            "detail": "This key stands more than once.",
        }
    ],
    "invalid-input": [
        {
            "pointer": "/labs/creatinine/unit",
            "code": "required",
            "detail": "This field is required.",
        },
        {
            "pointer": "/patient/age_years",
            "code": "not_an_integer",
            "detail": "Must be a whole number, without a decimal point or an exponent.",
        },
    ],
}


def _problem_example(kind: problems.Kind) -> dict[str, Any]:
    faults = _FAULTS.get(kind.slug)
    return {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": int(kind.status),
        "detail": kind.meaning if faults is None else "See errors.",
        **({"errors": faults} if faults is not None else {}),
    }


def _response_name(status: HTTPStatus) -> str:
    return f"Problem{int(status)}"


def _refusals(*statuses: int) -> dict[str, str]:
    return {str(status): _response_name(HTTPStatus(status)) for status in statuses}


def _ok(schema: str, description: str, *, examples: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if examples is not None:
        media["examples"] = examples
    return {"description": description, "content": {JSON: media}, **more}


def _read(
    tag: str,
    operation_id: str,
    schema: str,
    summary: str,
    description: str,
    *,
    parameters: Iterable[Mapping[str, Any]] = (),
    refusals: Iterable[int] = (400,),
    **more: Any,
) -> dict[str, Any]:
    """A GET of something that does not change while the service runs."""
    return {
        "get": {
            "operationId": operation_id,
            "tags": [tag],
            "summary": summary,
            "description": description,
            "parameters": [*parameters, _IF_NONE_MATCH],
            "responses": {
                "200": _ok(schema, summary, headers=_ETAG, **more),
                "304": _NOT_CHANGED,
                **_refusals(*refusals, 405, 406, 500),
            },
        }
    }


def _probe(operation_id: str, summary: str, description: str, *refusals: int) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation_id,
            "tags": ["service"],
            "summary": summary,
            "description": description,
            "responses": {"200": _ok("State", summary), **_refusals(405, 500, *refusals)},
        }
    }


def _to_rule(expression: str) -> dict[str, Any]:
    return {
        "operationId": "get_rule",
        "parameters": {"rule_id": f"$response.body#{expression}"},
        "description": "The rule, in full.",
    }


def paths(examples: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every path with its operations."""
    return {"/v1/evaluations": {"post": _evaluation(examples)}, **_knowledge(examples), **_service()}


def _evaluation(examples: Mapping[str, Any]) -> dict[str, Any]:
    request = {"schema": {"$ref": "#/components/schemas/EvaluationRequest"}, "examples": examples["requests"]}
    excerpt = {"summary": "To the first example, cut down to one item of each list", "value": examples["answer"]}
    return {
        "operationId": "create_evaluation",
        "tags": ["evaluations"],
        "summary": "Suggestions, cautions and questions for one patient",
        "description": (
            "Evaluates every rule against what is said about the patient. A rule that cannot come to an end for want "
            "of a value never counts as silent: what it would need is asked for, and what hangs on it is held back. "
            "Nothing is kept."
        ),
        "requestBody": {
            "required": True,
            "description": "One patient. Every part may be left out.",
            "content": {JSON: request},
        },
        "responses": {
            "200": _ok(
                "EvaluationAnswer",
                "What follows from the request.",
                examples={"excerpt": excerpt},
                links={
                    "RuleOfCaution": _to_rule("/cautions/0/grounds/0/rule/id"),
                    "RuleOfQuestion": _to_rule("/follow_up_questions/0/grounds/0/rule/id"),
                    "RuleNotEvaluated": _to_rule("/not_evaluated/0/rules/0"),
                },
            ),
            **_refusals(400, 405, 406, 413, 415, 422, 500),
        },
    }


def _knowledge(examples: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rule_id = {
        "in": "path",
        "name": "rule_id",
        "required": True,
        "schema": {"type": "string", "pattern": RULE_ID, "maxLength": 100},
        "description": "As in `GET /v1/rules`, or in the grounds of an answer.",
        "example": examples["rule_id"],
    }
    knowledge, medication = examples["answer"]["knowledge"], examples["medication"]
    return {
        "/v1/knowledge": _read(
            "knowledge",
            "get_knowledge",
            "Knowledge",
            "What the knowledge base is, and how far it can be trusted",
            "Version, digest, counts, review dates, and the source attributes that 45 CFR 170.315(b)(11) asks of an "
            "evidence-based decision support intervention.",
        ),
        "/v1/rules": _read(
            "knowledge",
            "list_rules",
            "RuleList",
            "All active rules, in short",
            "Each with its id, title, kind, version and certainty.",
            links={"Rule": _to_rule("/rules/0/id")},
        ),
        "/v1/rules/{rule_id}": _read(
            "knowledge",
            "get_rule",
            "Rule",
            "One rule in full",
            "Condition, outputs, evidence, limitations and worked examples, as data.",
            parameters=[rule_id],
            refusals=(400, 404),
        ),
        "/v1/forms": _read(
            "knowledge",
            "list_forms",
            "FormList",
            "The forms of magnesium with their properties",
            "Elemental content, tolerability, absorption, cost and limitations of each.",
        ),
        "/v1/vocabulary": _read(
            "knowledge",
            "get_vocabulary",
            "Vocabulary",
            "Every key that a request or an answer may use",
            "Labs with their units and ranges, vital signs, symptoms, conditions with their codes, goals, medication "
            "classes, and the bibliography.",
        ),
        "/v1/medications": _read(
            "knowledge",
            "search_medications",
            "MedicationList",
            "Names of medications that begin with a text",
            "For a field that is being typed in: ingredients, brands and combinations one of whose words begins with "
            "the text, with the classes and interactions that the rules know. Several words: each begins one.",
            parameters=[_QUERY],
            examples={
                "none": {
                    "summary": "Nothing begins so",
                    "value": {"knowledge": knowledge, "medications": []},
                },
                "one": {"summary": "To `cipro hc`", "value": {"knowledge": knowledge, "medications": [medication]}},
            },
        ),
    }


def _service() -> dict[str, dict[str, Any]]:
    slug = {
        "in": "path",
        "name": "slug",
        "required": True,
        "schema": {"type": "string", "enum": list(problems.KINDS)},
        "description": "The last part of a problem's `type`.",
    }
    return {
        "/problems/{slug}": _read(
            "service",
            "get_problem",
            "ProblemKind",
            "What a sort of refusal means",
            "The address that a problem's `type` gives.",
            parameters=[slug],
            refusals=(404,),
        ),
        "/openapi.json": _read(
            "service",
            "get_contract",
            "OpenApi",
            "This contract",
            "The committed contract, as JSON.",
            refusals=(),
        ),
        "/docs": {"get": _page()},
        "/livez": _probe("livez", "The process answers", "For a liveness probe."),
        "/readyz": _probe(
            "readyz",
            "The service evaluates",
            "For a readiness probe. The self-test, all rules on known patients, has passed or the service would not "
            "have started; at each call one more patient is evaluated.",
            503,
        ),
    }


def _page() -> dict[str, Any]:
    return {
        "operationId": "docs",
        "tags": ["service"],
        "summary": "A page to read and try this contract",
        "description": "Needs nothing from anywhere else; its assets are below `/docs/`.",
        "parameters": [_IF_NONE_MATCH],
        "responses": {
            "200": {
                "description": "The page.",
                "headers": _ETAG,
                "content": {"text/html": {"schema": {"type": "string"}}},
            },
            "304": _NOT_CHANGED,
            **_refusals(405, 406, 500),
        },
    }
