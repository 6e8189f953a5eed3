"""The CDS Hooks operations: let the caller in, read the call, assess as /v1/evaluations does, answer with cards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import orjson
from flask import Flask, Response, request

from service.api import cors, logs, outcomes, problems
from service.api.decode import decode
from service.api.gate import Gate
from service.api.outcomes import DEEPEST_CALL, LARGEST_CALL, MEDIA_TYPE
from service.api.problems import Fault, Problem
from service.api.schemas import RequestReader
from service.api.transport import Resource, fhir_body
from service.api.turn import TURN
from service.api.views import evaluated
from service.assessment import Assessor
from service.fhir import Chart, ChartReader
from service.hooks.cards import Call, CardWriter
from service.hooks.discovery import discovery, enabled_services
from service.hooks.fallback import complete
from service.hooks.feedback import FeedbackReader, Heard, Opinion
from service.hooks.fields import InvalidResponse, Refused
from service.hooks.ids import Ids
from service.hooks.schema import read_request
from service.knowledge import Rulebook
from service.knowledge.hooks_file import PROFILES, Hooks, Service

ROOT = "/cds-services"
_FRESH_SECONDS = 3600

log = logging.getLogger("service.feedback")

T = TypeVar("T")


@dataclass(frozen=True)
class Installation:
    """What of the machine the hooks depend on."""

    enabled: Collection[str]
    """The hooks that are served."""
    public_url: str
    profile: str
    """Of callers who are not verified."""
    key: bytes
    gate: Gate


class HookViews:
    """One method for each operation; what never changes is made ready once."""

    def __init__(
        self, rulebook: Rulebook, hooks: Hooks, assessor: Assessor, here: Installation, clock: Callable[[], date]
    ) -> None:
        self._hooks = hooks
        self._services = enabled_services(hooks, here.enabled)
        self._here = here
        self._assessor = assessor
        self._clock = clock
        self._reader = RequestReader(rulebook.vocabulary)
        self._charts = ChartReader(rulebook.vocabulary, assessor.recogniser)
        self._ids = Ids(here.key, {key: rule.version for key, rule in rulebook.rules.items()})
        self._writers = {
            profile: CardWriter(rulebook, hooks, assessor.recogniser, self._ids, here.public_url, profile)
            for profile in PROFILES
        }
        if here.profile not in self._writers:
            raise ValueError(f"no such profile: {here.profile}; there are: {', '.join(PROFILES)}")
        self._opinions = FeedbackReader(hooks, self._ids)
        self._heard = Heard()
        self._page = Resource(
            orjson.dumps(discovery(hooks, here.enabled)), MEDIA_TYPE, {"Cache-Control": f"max-age={_FRESH_SECONDS}"}
        )

    def discover(self) -> Response:
        """GET /cds-services. There is nothing about anyone in it, so anyone may have it."""
        return self._page.response()

    def call(self, service_id: str) -> Response:
        """POST /cds-services/{id}."""
        service = self._service(service_id)
        caller = self._here.gate.enter(f"{ROOT}/{service.id}")
        said = _accepted(lambda body: read_request(service.hook, body))
        instance = self._ids.seal_of(("instance", said["hookInstance"].lower())).hex()
        logs.note(hook=service.hook, tenant=caller.tenant if caller is not None else None, instance=instance)
        today = self._clock()
        servers = caller.fhir_servers if caller is not None else ()
        fetched = complete(self._hooks, service, said, servers, lambda body: decode(body, DEEPEST_CALL))
        logs.note(fetched=fetched.refused or dict(fetched.outcomes) if servers else None)
        with TURN:
            chart = self._chart(said["context"], fetched.prefetch, said.get("fhirServer"), today)
            _hold_to_what_is_required(service, chart)
            answer = evaluated(self._assessor, self._body(chart, today))
            writer = self._writers[caller.profile if caller is not None else self._here.profile]
            try:
                response = writer.response(Call(service, said["context"]), answer, chart)
            except InvalidResponse as error:
                raise problems.unexpected(error) from None
        logs.note(rules=self._rules_of(response))
        return _json(response)

    def feedback(self, service_id: str) -> Response:
        """POST /cds-services/{id}/feedback."""
        service = self._service(service_id)
        caller = self._here.gate.enter(f"{ROOT}/{service.id}/feedback")
        opinions = _accepted(lambda body: self._opinions.read(service.id, body))
        for opinion in self._heard.new(opinions):
            _write_down(service, caller.issuer if caller is not None else None, opinion)
        unknown = sum(not _rules(opinion, "accepted", "overridden") for opinion in opinions)
        name = self._hooks.cards["feedback_extension"]
        return _json({"extension": {name: {"received": len(opinions), "ofUnknownCards": unknown}}})

    def _service(self, service_id: str) -> Service:
        service = self._services.get(service_id)
        if service is None:
            raise Problem("not-found")
        logs.note(service=service.id)
        return service

    def _chart(
        self, context: Mapping[str, Any], prefetch: Mapping[str, Any], fhir_server: str | None, today: date
    ) -> Chart:
        chart = self._charts.read(
            context["patientId"],
            prefetch,
            today,
            draft_orders=context.get("draftOrders"),
            selections=context.get("selections"),
            fhir_server=fhir_server,
        )
        logs.note(data={key: state.status for key, state in chart.states.items() if state.status != "absent"})
        return chart

    def _body(self, chart: Chart, today: date) -> dict[str, Any]:
        try:
            return self._reader.read(chart.body, today)
        except Problem as error:
            # What was made of a chart here is not for the caller to mend.
            raise problems.unexpected(error) from None

    def _rules_of(self, response: Mapping[str, Any]) -> list[str]:
        name = self._hooks.cards["rules_extension"]
        return [f"{one['id']}@{one['version']}" for card in response["cards"] for one in card["extension"][name]]


def install(app: Flask, views: HookViews, may_share: Callable[[str], bool]) -> None:
    """Add the operations to `app`, with and without a slash at their end, and shared with the pages that may call."""
    for path, name, method in (
        (ROOT, "discover", "GET"),
        (f"{ROOT}/<service_id>", "call", "POST"),
        (f"{ROOT}/<service_id>/feedback", "feedback", "POST"),
    ):
        view = getattr(views, name)
        app.add_url_rule(path, f"cds_hooks_{name}", view, methods=[method], strict_slashes=False)

    @app.after_request
    def share(response: Response) -> Response:
        if request.path == ROOT or request.path.startswith(f"{ROOT}/"):
            response.headers.setdefault("Cache-Control", "no-store")
            cors.share(response, may_share)
        return response


def _accepted(read: Callable[[Any], T]) -> T:
    """What `read` makes of the body. Raises Problem with all faults of it."""
    body = decode(fhir_body(LARGEST_CALL), DEEPEST_CALL)
    try:
        return read(body)
    except Refused as refused:
        faults = [Fault(one.pointer, one.code, one.detail) for one in refused.faults]
        logs.note(faults=sorted({one.code for one in faults}))
        raise Problem(outcomes.KINDS["invalid-call"], faults=faults) from None


def _hold_to_what_is_required(service: Service, chart: Chart) -> None:
    faults = [
        Fault(f"/prefetch/{key}", "required", f"The prefetch key {key} is needed, with a resource that can be used.")
        for key in service.required
        if chart.states[key].used == 0
    ]
    if faults:
        raise Problem(outcomes.KINDS["data-missing"], faults=faults)


def _write_down(service: Service, issuer: str | None, opinion: Opinion) -> None:
    """One line for each opinion: whoever counts has it from the logs of all workers."""
    outcome = next(one.outcome for one in opinion.tallies if one.outcome != "taken")
    log.info(
        "feedback",
        extra={
            "service": service.id,
            **({"issuer": issuer} if issuer is not None else {}),
            # The same for the same opinion, also where another worker heard it again.
            "opinion": opinion.key.hex(),
            "outcome": outcome,
            "rules": _rules(opinion, outcome),
            "reasons": sorted({one.reason for one in opinion.tallies if one.reason is not None}),
            "taken": _rules(opinion, "taken"),
        },
    )


def _rules(opinion: Opinion, *outcomes: str) -> list[str]:
    """The rules of ours that an opinion is about."""
    marks = {one.rule for one in opinion.tallies if one.outcome in outcomes and one.rule is not None}
    return [f"{one.id}@{one.version}" for one in sorted(marks)]


def _json(body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(body), content_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})
