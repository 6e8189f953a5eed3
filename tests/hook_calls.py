"""Calls of CDS Hooks that are good until a test spoils them, and what must hold of every answer there is."""

import copy
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

Json = dict[str, Any]

SCHEMA = json.loads(Path(__file__).with_name("cds_hooks.schema.json").read_text(encoding="utf-8"))
IDS = {hook: f"mgvd-{hook}" for hook in ("patient-view", "order-select", "order-sign")}
ROOT = "/cds-services"
SIGN = f"{ROOT}/mgvd-order-sign"
ASSESSMENT = "org.cofactor.assessment"
FEEDBACK = "org.cofactor.feedback"
MEDIA_TYPE = "application/json; charset=utf-8"
SECRET = "Jane-Roe-1952"
"""Stands for whatever a caller might send about a patient or a clinician; no refusal and no log line may repeat it."""
INSTANCE = "8c2b1d0e-4c1e-4a57-9a60-0f6f4e1d7a11"
MISSING: Any = object()
"""In the place of a value: the member is not there."""
UNAUTHORISED = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "login", "details": {"text": "Not authorised"}}],
}
"""All that a caller who is not let in is told."""

ME = {"reference": "Patient/p-1"}
PATIENT = {"resourceType": "Patient", "id": "p-1", "gender": "male", "birthDate": "1960-02-03"}
UCUM = "http://unitsofmeasure.org"


def egfr(value: int) -> Json:
    """A result of ten days ago."""
    unit = "mL/min/{1.73_m2}"
    return {
        "resourceType": "Observation",
        "id": "egfr-1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "98979-8"}]},
        "subject": ME,
        "effectiveDateTime": "2026-11-11T08:00:00Z",
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }


def order(key: str | None = "d-1", name: str = "Magnesium oxide 400 mg tablet", **more: Any) -> Json:
    """A draft for the patient of the call."""
    return {
        "resourceType": "MedicationRequest",
        **({"id": key} if key is not None else {}),
        "status": "draft",
        "intent": "order",
        "subject": ME,
        "medicationCodeableConcept": {"text": name},
    } | more


def bundle(*resources: Json, **more: Any) -> Json:
    """Resources, or whole entries."""
    entries = [one if "resource" in one else {"resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries} | more


def call(hook: str = "order-sign", *drafts: Json, **context: Any) -> Json:
    """A whole call for a man with an eGFR of 22; without drafts, magnesium oxide is being ordered."""
    said: Json = {"userId": f"Practitioner/{SECRET}", "patientId": "p-1"}
    if hook != "patient-view":
        said["draftOrders"] = bundle(*(drafts or (order(),)))
    if hook == "order-select":
        said["selections"] = ["MedicationRequest/d-1"]
    prefetch = {"patient": PATIENT, "egfr": bundle(egfr(22), type="searchset")}
    body = {"hook": hook, "hookInstance": INSTANCE, "context": said | context, "prefetch": prefetch}
    return copy.deepcopy(body)


def changed(body: Json, path: str, value: Any) -> Json:
    """The body with another value at a path such as ``context.userId``, or without what stands there."""
    new = copy.deepcopy(body)
    *way, last = path.split(".")
    node = new
    for step in way:
        node = node.setdefault(step, {})
    if value is MISSING:
        del node[last]
    else:
        node[last] = value
    return new


def nothing_empty(value: Any, at: str = "") -> None:
    """Nothing is null or empty, but a list of cards or services, and what is counted."""
    if isinstance(value, dict | list | str):
        assert value or at in ("/cards", "/services"), f"{at} is empty"
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, below in pairs:
            nothing_empty(below, f"{at}/{key}")
    assert value is not None, f"{at} is null"


def check_cards(body: Json, asked: Json) -> None:
    """What the specification says of cards and JSON Schema cannot."""
    assert len(body["cards"]) <= (1 if asked["hook"] == "patient-view" else 3)
    drafts = {
        f"{one['resource'].get('resourceType')}/{one['resource'].get('id')}"
        for one in asked["context"].get("draftOrders", {}).get("entry", ())
        if isinstance(one, dict) and isinstance(one.get("resource"), dict)
    }
    ids = [one["uuid"] for card in body["cards"] for one in (card, *card.get("suggestions", ()))]
    assert len(set(ids)) == len(ids)
    for card in body["cards"]:
        assert len(card["summary"]) < 140
        assert card["summary"].isprintable()
        # HTML would be shown as such by some clients.
        assert not re.search(r"<[A-Za-z/!]", card["detail"])
        for suggestion in card.get("suggestions", ()):
            for action in suggestion["actions"]:
                assert action["type"] != "delete" or action["resourceId"] in drafts
                assert "resource" not in action or action["resource"]["status"] == "draft"


def held(response: TestResponse, asked: Any = None) -> Any:
    """The body of an answer, after holding it against everything that must hold of all of them."""
    path, method, status = response.request.path, response.request.method, response.status_code
    headers = response.headers
    discovered = path.rstrip("/") == ROOT and method in ("GET", "HEAD") and status in (200, 304)
    assert headers["Cache-Control"] == ("max-age=3600" if discovered else "no-store")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Origin" in headers.get_all("Vary")
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Credentials" not in headers
    assert ("Allow" in headers) == (status == 405 or method == "OPTIONS")
    assert ("WWW-Authenticate" in headers) == (status == 401)
    if status in (204, 304) or method == "HEAD":
        assert response.data == b""
        return None
    assert headers["Content-Type"] == MEDIA_TYPE
    assert int(headers["Content-Length"]) == len(response.data)
    body = json.loads(response.data)
    nothing_empty(body)
    shape = "operationOutcome"
    if status == 200:
        shape = "discovery" if discovered else "feedbackTaken" if path.rstrip("/").endswith("/feedback") else "response"
    else:
        assert SECRET not in response.text
    Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{shape}"}).validate(body)
    if shape == "response" and asked is not None:
        check_cards(body, asked)
    if status == 401:
        assert body == UNAUTHORISED
    return body


def issues(outcome: Json) -> set[tuple[str, str | None]]:
    """Code and place of each issue."""
    return {(one["code"], next(iter(one.get("expression", ())), None)) for one in outcome["issue"]}


def removed(response: Json) -> list[str]:
    """Which orders the cards offer to remove, in their order."""
    return [
        action["resourceId"]
        for card in response["cards"]
        for suggestion in card.get("suggestions", ())
        for action in suggestion["actions"]
        if action["type"] == "delete"
    ]


@contextmanager
def listening() -> Iterator[list[Json]]:
    """What the service writes to its log meanwhile, as it is written."""
    logger = logging.getLogger("service")
    form = logger.handlers[0].format
    written: list[Json] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(form(record)))

    handler, level = Keep(), logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        yield written
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
