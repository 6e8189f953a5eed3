"""What the contract says of the CDS Hooks operations: words, statuses, examples; services as discovery names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from marshmallow import Schema, fields

from service.api import outcomes, problems
from service.api.hooks import ROOT
from service.api.problems import Fault, Kind, Problem
from service.api.transport import FHIR_JSON, JSON
from service.hooks.call_schema import REQUESTS, FeedbackRequest
from service.hooks.card_schema import EXTENSION, FILLED, HookResponse
from service.hooks.discovery import default_hooks, discovery
from service.hooks.fields import Closed, Named, count, one, only, some, text, word
from service.knowledge.hooks_file import HOOKS, Hooks, Service

TAG = {
    "name": "cds-hooks",
    "description": f"""\
HL7 CDS Hooks 2.0.1 on FHIR R4: point an EHR at `{ROOT}`. The same engine answers as for `POST /v1/evaluations`.

* **Addresses** work with and without a slash at the end.
* **Bodies** are `{JSON}` or `{FHIR_JSON}` with any parameters, in UTF-8, not compressed, at most 2 MiB and 64 levels.
  Answers are `{JSON}; charset=utf-8`, whatever `Accept` says. Members that are not known are passed over.
* **Callers** prove who they are with a signed token, where the installation has a list of issuers. Where it has none,
  only programs on the same machine are answered, unless the installation verifies callers in another way.
* **Refusals** are a FHIR `OperationOutcome` with an issue for each fault and its place as JSON Pointer in
  `diagnostics`. No refusal repeats a value. A refusal never means that there is nothing to say.
* **Missing data** is not looked for elsewhere, unless the installation lists the FHIR server of the client. Then what
  was not prefetched is asked for there.
* **No card** is not "no risk": what was assessed, what was not supplied and what could not be read is in `extension`
  of every answer.
* **Pages in a browser** may call from the origins that the installation lists: `OPTIONS` answers preflights without a
  token, with 204; the methods are GET and POST, the headers `Authorization` and `Content-Type`. Never with cookies.
* **Caching.** The discovery document has an `ETag` and a `max-age`; everything else is `no-store`.
""",
}

TOKEN = "cdsHooksToken"
SECURITY_SCHEMES: Mapping[str, Any] = {
    TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "A JSON Web Token that the client signs for the call, as CDS Hooks describes it: ES384 or RS384; header "
            "`alg`, `kid`, `typ: JWT`; claims `iss`, `aud`, `exp`, `iat`, `jti`, and `tenant` where it was agreed. "
            "`aud` is the public address of the operation that is called, and feedback has its own. A token is taken "
            "once. Needed where the installation has a list of issuers."
        ),
    }
}


class CdsService(Closed):
    """One service that can be called."""

    hook = word(*HOOKS)
    title = text()
    description = text()
    id = text(r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$", about="The last part of its address.")
    prefetch = Named(r"^[a-z][a-z0-9]*$", text(), about="Templates of FHIR reads and searches, by prefetch key.")
    usageRequirements = text()
    version = text(about="Of CDS Hooks.")
    hookVersion = text()


class Discovery(Closed):
    """The services of this installation."""

    services = fields.List(fields.Nested(CdsService), required=True)


class FeedbackCount(Closed):
    """What was understood of a feedback."""

    received = count(about="Opinions; what stands twice in a call counts once.")
    ofUnknownCards = count(about="How many of them are on cards that were not made here.")


class FeedbackAnswer(Closed):
    """That a feedback has arrived."""

    extension = Named(EXTENSION, FeedbackCount)


class IssueText(Closed):
    """What sort of fault it is, in words."""

    text = text()


class Issue(Closed):
    """One fault."""

    severity = only("error", "")
    code = word(*sorted({*outcomes.ISSUES.values(), *outcomes.OF_FAULT.values(), outcomes.OTHERWISE}))
    details = one(IssueText)
    diagnostics = text(required=False, about="For people, with the place as a JSON Pointer. Never repeats a value.")
    expression = some(text(), about="The place in FHIRPath, where it can be named so.")


class OperationOutcome(Closed):
    """A refusal, as FHIR R4 has it."""

    resourceType = only("OperationOutcome", "")
    issue = some(Issue, required=True)


SCHEMAS: Mapping[str, type[Schema]] = {
    "Discovery": Discovery,
    **{schema.__name__: schema for schema in REQUESTS.values()},
    "HookResponse": HookResponse,
    "FeedbackRequest": FeedbackRequest,
    "FeedbackAnswer": FeedbackAnswer,
    "OperationOutcome": OperationOutcome,
}
_FILLED: Mapping[str, Any] = {"$ref": f"#/components/schemas/{FILLED}"}
PLAIN_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    FILLED: {
        "description": "Any JSON value in which nothing is null or empty, in any depth.",
        "type": ["object", "array", "string", "number", "boolean"],
        "minProperties": 1,
        "additionalProperties": _FILLED,
        "minItems": 1,
        "items": _FILLED,
        "minLength": 1,
    }
}
"""What no marshmallow schema says."""

_KINDS: Sequence[Kind] = (
    *(
        problems.KINDS[slug]
        for slug in (
            "malformed-json",
            "bad-request",
            "not-found",
            "method-not-allowed",
            "content-too-large",
            "unsupported-media-type",
            "no-safe-answer",
            "internal-error",
        )
    ),
    *outcomes.KINDS.values(),
)
_FAULTS: Mapping[str, Sequence[Fault]] = {
    "malformed-json": [Fault("/context/patientId", "repeated_key", "This key stands more than once.")],
    "invalid-call": [
        Fault("/context/patientId", "required", "Missing data for required field."),
        Fault("/fhirServer", "invariant", "Is needed where fhirAuthorization is given."),
    ],
    "data-missing": [
        Fault("/prefetch/patient", "required", "The prefetch key patient is needed, with a resource that can be used.")
    ],
}
_HEADERS: Mapping[HTTPStatus, Mapping[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`."}},
    HTTPStatus.METHOD_NOT_ALLOWED: {
        "Allow": {"schema": {"type": "string"}, "description": "The methods that can be used."}
    },
}


def responses() -> dict[str, dict[str, Any]]:
    """One response for each status that a refusal can have, with what is really sent."""
    found: dict[str, dict[str, Any]] = {}
    for kind in _KINDS:
        made = _ok("OperationOutcome", "", examples={}, **_headers(kind.status))
        response = found.setdefault(_response_name(kind.status), made)
        meaning = outcomes.MEANINGS.get(kind.slug, kind.meaning)
        response["description"] = " ".join(filter(None, [response["description"], meaning]))
        sent = orjson.loads(outcomes.outcome(Problem(kind, faults=_FAULTS.get(kind.slug, ()))).data)
        shown = {"summary": sent["issue"][0]["details"]["text"], "value": sent}
        response["content"][JSON]["examples"][kind.slug] = shown
    return found


def _headers(status: HTTPStatus) -> dict[str, Any]:
    return {"headers": dict(_HEADERS[status])} if status in _HEADERS else {}


def _response_name(status: int) -> str:
    return f"Outcome{int(status)}"


def _refusals(statuses: Iterable[int]) -> dict[str, str]:
    return {str(status): _response_name(status) for status in statuses}


def _ok(
    schema: str, description: str, *, examples: Mapping[str, Any], limits: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    shape = {"$ref": f"#/components/schemas/{schema}", **(limits or {})}
    return {"description": description, "content": {JSON: {"schema": shape, "examples": examples}}, **more}


def paths(hooks: Hooks, examples: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every path with its operations; a path for each service, because each takes a body of its own."""
    return {
        ROOT: {"get": _discover(hooks)},
        **{f"{ROOT}/{service.id}": {"post": _call(hooks, service, examples)} for service in hooks.services.values()},
        f"{ROOT}/{{id}}/feedback": {"post": _feedback(hooks, examples["feedback"])},
    }


def _discover(hooks: Hooks) -> dict[str, Any]:
    etag = {"ETag": {"schema": {"type": "string"}, "description": "Changes when the body does."}}
    known = {
        "in": "header",
        "name": "If-None-Match",
        "schema": {"type": "string"},
        "description": "The `ETag` of what is there already.",
    }
    shown = discovery(hooks, default_hooks(hooks))["services"][-1]
    few = {**shown, "prefetch": dict(list(shown["prefetch"].items())[:2])}
    return {
        "operationId": "discover_cds_services",
        "tags": [TAG["name"]],
        "summary": "The CDS Hooks services of this installation",
        "description": (
            "Which services there are, and what each asks the EHR for. There is nothing about anyone in it, so no "
            "token is needed. `services` is empty where none is switched on."
        ),
        "parameters": [known],
        "responses": {
            "200": _ok(
                "Discovery",
                "The services that are switched on.",
                examples={"excerpt": {"summary": "One service, cut down to two keys", "value": {"services": [few]}}},
                headers=etag,
            ),
            "304": {"description": "Not changed.", "headers": etag},
            **_refusals((405, 500)),
        },
    }


def _call(hooks: Hooks, service: Service, examples: Mapping[str, Any]) -> dict[str, Any]:
    most = f"at most {service.most_cards} card{'s' if service.most_cards > 1 else ''}"
    switched = "On unless" if service.on_by_default else "Off, and then 404, unless"
    described = (
        f"{service.description}\n\n"
        f"The hook is `{service.hook}` {service.hook_version}, answered with {most}. {switched} the setting "
        f"`CDS_HOOKS` of the installation says otherwise.\n\n{service.usage_requirements}\n\n"
        f"Prefetch keys: {', '.join(f'`{key}`' for key in service.prefetch)}. The discovery document has their "
        f"templates. What was assessed and what was not is under `{hooks.cards['extension']}` of `extension`, also "
        "where there is no card; the rules that a card rests on are under "
        f"`{hooks.cards['rules_extension']}` of its own."
    )
    own = examples[service.hook]
    missing = (412,) if service.required else ()
    return {
        "operationId": f"call_{service.hook.replace('-', '_')}",
        "tags": [TAG["name"]],
        "summary": service.title,
        "description": described,
        "security": [{}, {TOKEN: []}],
        "requestBody": _body(REQUESTS[service.hook], own["requests"]),
        "responses": {
            "200": _ok(
                "HookResponse",
                f"What there is to say, in {most}, and what was assessed.",
                examples=own["answers"],
                limits={"properties": {"cards": {"maxItems": service.most_cards}}},
            ),
            **_refusals((400, 401, 403, 404, 405, *missing, 413, 415, 500, 503)),
        },
    }


def _feedback(hooks: Hooks, examples: Mapping[str, Any]) -> dict[str, Any]:
    service = {
        "in": "path",
        "name": "id",
        "required": True,
        "schema": {"type": "string", "enum": list(hooks.services)},
        "description": "The service that the cards came from.",
    }
    return {
        "operationId": "send_feedback",
        "tags": [TAG["name"]],
        "summary": "What clinicians did with cards",
        "description": (
            "Opinions on cards of one or of several calls. What is sent again is taken and counts once. Counted is by "
            "rule and reason; comments, users and patients are neither kept nor logged. How many were understood is "
            f"under `{hooks.cards['feedback_extension']}` of `extension`."
        ),
        "security": [{}, {TOKEN: []}],
        "parameters": [service],
        "requestBody": _body(FeedbackRequest, examples["requests"]),
        "responses": {
            "200": _ok("FeedbackAnswer", "That it has arrived.", examples=examples["answers"]),
            **_refusals((400, 401, 403, 404, 405, 413, 415, 500, 503)),
        },
    }


def _body(schema: type[Schema], examples: Mapping[str, Any]) -> dict[str, Any]:
    media = {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}
    return {"required": True, "content": {JSON: {**media, "examples": examples}, FHIR_JSON: media}}
