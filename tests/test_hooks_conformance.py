"""CDS Hooks as its clients meet it: every case through HTTP, every answer held against the specification.

Numbers in brackets are rows of the requirements of CDS Hooks 2.0.1 as a public test kit counts them.
"""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api.outcomes import LARGEST_CALL
from service.api.problems import SHOWN_AT_MOST
from service.app import create_app
from service.assessment import Assessor, IncompleteEvaluation
from service.settings import HOME, HookSettings, Settings, from_environment
from tests.conftest import TODAY
from tests.hook_calls import (
    ASSESSMENT,
    FEEDBACK,
    IDS,
    INSTANCE,
    ME,
    MISSING,
    PATIENT,
    ROOT,
    SECRET,
    SIGN,
    Json,
    bundle,
    call,
    changed,
    egfr,
    held,
    issues,
    listening,
    order,
    removed,
)

HOOKS = tuple(IDS)
ORDER_HOOKS = ("order-select", "order-sign")


@pytest.fixture(scope="module")
def site() -> Flask:
    """Every hook is on, and callers are not verified."""
    return create_app(replace(Settings(), hooks=HookSettings(hooks=HOOKS)), clock=lambda: TODAY)


@pytest.fixture(scope="module")
def open_site() -> Flask:
    """A network that verifies callers otherwise, pages of one origin, and cards as one vendor wants them."""
    settings = HookSettings(
        anyone=True, origins=("https://ehr.example",), profile="epic", public_url="https://cds.example"
    )
    return create_app(replace(Settings(), hooks=settings), clock=lambda: TODAY)


@pytest.fixture
def client(site: Flask) -> FlaskClient:
    """Of this machine."""
    return site.test_client()


def post(client: FlaskClient, body: Any, path: str | None = None, status: int = 200, **options: Any) -> Any:
    """The answer to a call, or to feedback, checked."""
    path = path or f"{ROOT}/{IDS[body['hook']]}"
    response = client.post(path, json=body, **options)
    assert response.status_code == status, response.text
    return held(response, body)


def raw(client: FlaskClient, data: bytes, path: str = SIGN, **options: Any) -> TestResponse:
    """Bytes as they are."""
    return client.post(path, data=data, **{"content_type": "application/json", **options})


BODY = json.dumps(call()).encode()


# Discovery (4-13, 29, 36, 55-59).


def test_discovery_lists_what_is_switched_on(client: FlaskClient, app: Flask) -> None:
    """With or without a slash, a query, a body or a token; by itself two services, and no JWT is looked at."""
    everything = held(client.get(ROOT))
    assert [one["hook"] for one in everything["services"]] == list(HOOKS)
    assert [one["id"] for one in everything["services"]] == list(IDS.values())
    for options in (
        {"path": f"{ROOT}/"},
        {"query_string": {"patient": SECRET}},
        {"data": BODY, "content_type": "text/plain"},
        {"headers": {"Authorization": "Bearer what.ever.this"}},
        {"headers": {"Accept": "application/fhir+json"}},
        {"headers": {"Accept": "text/html"}},
        {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}},
    ):
        assert held(client.get(**{"path": ROOT, **options})) == everything
    assert [one["hook"] for one in held(app.test_client().get(ROOT))["services"]] == list(ORDER_HOOKS)


def test_no_service_at_all_is_an_empty_list() -> None:
    """Row 6: an array, empty if there are none; and nothing answers at the addresses of services."""
    settings = HookSettings(hooks=(), anyone=True)
    client = create_app(replace(Settings(), hooks=settings), clock=lambda: TODAY).test_client()
    assert held(client.get(ROOT)) == {"services": []}
    # Where other machines may call, pages of this one are nobody's in particular.
    assert "Access-Control-Allow-Origin" not in preflight(client, ROOT, HERE[0]).headers
    for hook in HOOKS:
        post(client, call(hook), status=404)
        post(client, {"feedback": []}, f"{ROOT}/{IDS[hook]}/feedback", status=404)


def test_queries_ask_for_what_2_0_1_lets_them(client: FlaskClient) -> None:
    """Tokens are between braces, of the context, primitive, and those that the hook lets be used (55-59)."""
    for service in held(client.get(ROOT))["services"]:
        assert service["prefetch"]
        for query in service["prefetch"].values():
            tokens = re.findall(r"\{\{(.*?)\}\}", query)
            assert set(tokens) <= {"context.userId", "context.patientId", "context.encounterId"}
            assert "context.patientId" in tokens
            assert not re.search(r"[{}\s]", re.sub(r"\{\{.*?\}\}", "", query))
            assert re.match(r"[A-Z][A-Za-z]+[/?]", query)


def test_discovery_is_kept_by_those_who_have_it(client: FlaskClient) -> None:
    """The same bytes and the same tag each time; HEAD says what GET would."""
    first, again = client.get(ROOT), client.get(f"{ROOT}/")
    assert first.data == again.data
    tag = first.headers["ETag"]
    assert again.headers["ETag"] == tag
    for known in (tag, f"W/{tag}", "*", f'"other", {tag}'):
        response = client.get(ROOT, headers={"If-None-Match": known})
        assert response.status_code == 304
        assert response.headers["ETag"] == tag
        held(response)
    assert held(client.get(ROOT, headers={"If-None-Match": '"other"'}))
    # Preconditions that make no sense here change nothing.
    for name in ("If-Match", "If-Unmodified-Since", "If-Modified-Since", "Range"):
        assert client.get(ROOT, headers={name: '"other"'}).data == first.data
    head = client.head(ROOT)
    held(head)
    assert head.headers["ETag"] == tag
    assert head.headers["Content-Length"] == str(len(first.data))


# Addresses and methods (15, 16).


@pytest.mark.parametrize(
    "path",
    [
        f"{ROOT}/no-such-service",
        f"{ROOT}/{SECRET}",
        f"{ROOT}/MGVD-ORDER-SIGN",
        f"{ROOT}/mgvd-order-sign ",
        f"{ROOT}/order-sign",
        f"{ROOT}/../v1/knowledge",
        f"{ROOT}/%00",
        f"{ROOT}/%ff%fe",
        f"{ROOT}/%3Cscript%3E",
        f"{ROOT}/{'x' * 1500}",
        f"{ROOT}//mgvd-order-sign",
        f"{SIGN}//",
        f"{SIGN}/analytics/feedback",
        f"{SIGN}/feedback/{INSTANCE}",
        f"{ROOT}/no-such-service/feedback",
        f"{SIGN}//feedback",
    ],
)
def test_what_is_no_service_is_not_found(client: FlaskClient, path: str) -> None:
    """As an OperationOutcome, whatever was sent there."""
    for data in (BODY, b"", b"{"):
        response = raw(client, data, path)
        assert response.status_code == 404
        assert issues(held(response)) == {("not-found", None)}


def test_a_service_that_is_off_is_not_there(app: Flask) -> None:
    """patient-view is off unless configured; neither calls nor feedback are taken."""
    client = app.test_client()
    post(client, call("patient-view"), status=404)
    post(client, {"feedback": []}, f"{ROOT}/mgvd-patient-view/feedback", status=404)
    post(client, call("order-sign"))


@pytest.mark.parametrize("path", [SIGN, f"{SIGN}/", f"{ROOT}/mgvd%2Dorder%2Dsign", f"{SIGN}?patient={SECRET}&a=%00"])
def test_a_service_may_be_spelt_in_other_ways(client: FlaskClient, path: str) -> None:
    """A slash more, an encoding that changes nothing, a query that is passed over."""
    assert raw(client, BODY, path).data == raw(client, BODY).data
    assert held(raw(client, b'{"feedback": []}', f"{SIGN}/feedback/"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "JANE"])
def test_only_the_right_method_is_taken(client: FlaskClient, method: str) -> None:
    """The Allow header says which it is; also for a service that there is not."""
    for path in (SIGN, f"{SIGN}/", f"{SIGN}/feedback", f"{ROOT}/no-such-service"):
        response = client.open(path, method=method, data=BODY, content_type="application/json")
        assert response.status_code == 405
        assert response.headers["Allow"] == "OPTIONS, POST"
        held(response)
    if method not in ("GET", "HEAD"):
        response = client.open(ROOT, method=method)
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        held(response)


def test_discovery_is_not_posted_to(client: FlaskClient) -> None:
    """A common slip of clients that forget the id."""
    response = raw(client, BODY, ROOT)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert issues(held(response)) == {("not-supported", None)}


# Bodies (1, 3).


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=us-ascii",
        "APPLICATION/JSON",
        "application/json;",
        "application/fhir+json",
        "application/fhir+json; fhirVersion=4.0; charset=utf-8",
    ],
)
@pytest.mark.parametrize("accept", [None, "application/json", "application/fhir+json", "text/html", "*/*;q=0"])
def test_media_types_of_json_are_taken(client: FlaskClient, content_type: str, accept: str | None) -> None:
    """With any parameters; what comes back is JSON whatever is wished for."""
    headers = {"Accept": accept} if accept is not None else {}
    assert held(raw(client, BODY, content_type=content_type, headers=headers), call())["cards"]
    assert held(raw(client, b'{"feedback": []}', f"{SIGN}/feedback", content_type=content_type, headers=headers))


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "*/*",
        "text/plain",
        "text/json",
        "application/xml",
        "application/fhir+xml",
        "application/hal+json",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json, application/fhir+json",
        SECRET,
    ],
)
def test_other_media_types_are_refused(client: FlaskClient, content_type: str | None) -> None:
    """Before the body is looked at; the answer says which there are."""
    for path in (SIGN, f"{SIGN}/feedback"):
        response = raw(client, BODY, path, content_type=content_type)
        assert response.status_code == 415
        assert response.headers["Accept"] == "application/json, application/fhir+json"
        assert issues(held(response)) == {("not-supported", None)}


def test_compressed_bodies_are_refused(client: FlaskClient) -> None:
    """None is unpacked; one that says it is not coded is taken."""
    for coding in ("gzip", "deflate", "br", "gzip, identity"):
        response = raw(client, gzip.compress(BODY), headers={"Content-Encoding": coding})
        assert (response.status_code, response.headers["Accept-Encoding"]) == (415, "identity")
        held(response)
    for coding in ("identity", "Identity", ""):
        assert held(raw(client, BODY, headers={"Content-Encoding": coding}))
    assert raw(client, gzip.compress(BODY)).status_code == 400


DEEP = b'{"extension": ' + b"[" * 63 + b"]" * 63 + b"}"
MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n\t",
    "half": BODY[:-1],
    "twice": BODY + BODY,
    "a rest": BODY + b"x",
    "a comma too many": BODY[:-1] + b",}",
    "single quotes": BODY.replace(b'"', b"'"),
    "a comment": b"/* " + SECRET.encode() + b" */" + BODY,
    "not a number": BODY.replace(b'"value": 22', b'"value": NaN'),
    "infinite": BODY.replace(b'"value": 22', b'"value": -Infinity'),
    "a number without an end": BODY.replace(b'"value": 22', b'"value": ' + b"9" * 5000),
    "a number with zeros before": BODY.replace(b'"value": 22', b'"value": 022'),
    "a key twice": BODY[:-1] + b', "hook": "order-sign"}',
    "a key twice, deep within": BODY.replace(b'"id": "d-1"', b'"id": "d-1", "id": "d-2"'),
    "a key twice, in what is passed over": BODY[:-1] + b', "extension": {"a": 1, "a": 2}}',
    "too deep": DEEP.replace(b"[]", b"[[]]"),
    "far too deep": b"[" * 100_000,
    "a mark before it": b"\xef\xbb\xbf" + BODY,
    "UTF-16": BODY.decode().encode("utf-16"),
    "Latin 1": BODY.replace(b"Jane", b"J\xe4ne"),
    "an overlong form": BODY.replace(b"Jane", b"\xc0\xaf"),
    "half a pair": BODY.replace(b"Jane", b"\\ud83d"),
    "a control character": BODY.replace(b"Jane", b"Ja\x00ne"),
    "not at all": SECRET.encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=list(MALFORMED))
def test_what_is_not_json_is_refused(client: FlaskClient, body: bytes) -> None:
    """Strictly, and without repeating any of it."""
    for path in (SIGN, f"{SIGN}/feedback"):
        response = raw(client, body, path)
        assert response.status_code == 400
        assert {code for code, _ in issues(held(response))} == {"structure"}


def test_the_place_of_what_json_does_not_have_is_said(client: FlaskClient) -> None:
    """As FHIRPath writes it, where it can be written so."""
    value = "prefetch.egfr.entry[0].resource.valueQuantity.value"
    assert issues(held(raw(client, MALFORMED["not a number"]))) == {("structure", value)}
    key = "context.draftOrders.entry[0].resource.id"
    assert issues(held(raw(client, MALFORMED["a key twice, deep within"]))) == {("structure", key)}


@pytest.mark.parametrize("body", [b"null", b"[]", b"{}", b"7", b'"order-sign"', b"true", b"[" + BODY + b"]"])
def test_what_is_no_call_is_refused(client: FlaskClient, body: bytes) -> None:
    """JSON, but not an object, or one with nothing in it."""
    for path in (SIGN, f"{SIGN}/feedback"):
        response = raw(client, body, path)
        assert response.status_code == 400
        assert {code for code, _ in issues(held(response))} <= {"value", "required"}


def test_bodies_are_taken_up_to_a_size_and_a_depth(client: FlaskClient) -> None:
    """2 MiB and 64 levels."""
    assert held(raw(client, BODY.ljust(LARGEST_CALL)))["cards"]
    response = raw(client, BODY.ljust(LARGEST_CALL + 1))
    assert response.status_code == 413
    assert issues(held(response)) == {("too-long", None)}
    deep = BODY[:-1] + b", " + DEEP[1:]
    assert held(raw(client, deep))["cards"]


# What a call must have (15-26, cds-r-1).


def wrong(hook: str) -> Iterator[tuple[str, Any, str]]:
    """A path in a call, what stands there, and which kind of issue that is (any, where none is said)."""
    for member in ("hook", "hookInstance", "context", *(f"context.{one}" for one in call(hook)["context"])):
        yield member, MISSING, "required"
        yield member, None, "value"
        yield member, 7, "value"
        yield member, True, "value"
    for value in ("", " ", [], {}, ["x"]):
        # A blank is none of the words, or no word.
        yield "hook", value, "" if isinstance(value, str) else "value"
    for member in ("hookInstance", "context.userId", "context.patientId", "context.encounterId", "fhirServer"):
        for value in ("", " ", [], {}, ["x"]):
            yield member, value, "value"
    for value in (hook.upper(), f" {hook}", "encounter-start", SECRET, next(one for one in HOOKS if one != hook)):
        yield "hook", value, "invariant"
    for value in (
        "1",
        INSTANCE[:-1],
        INSTANCE.replace("-", ""),
        f"urn:uuid:{INSTANCE}",
        f"{{{INSTANCE}}}",
        INSTANCE + "\n",
    ):
        yield "hookInstance", value, "value"
    for value in ("x", [], [call(hook)["context"]]):
        yield "context", value, "value"
    for value in (
        "fhir.example",
        "/fhir",
        "ftp://fhir.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http:// x",
    ):
        yield "fhirServer", value, "value"
    for value in ("x", 7, [], [{}]):
        yield "prefetch", value, "value"
        yield "prefetch.patient", value, "value"
    yield "prefetch.patient", {}, ""
    yield "prefetch.patient", {"resourceType": ""}, "value"
    yield "fhirAuthorization", "token", "value"
    yield "fhirAuthorization", {}, "required"
    if hook == "patient-view":
        for value in ("u-1", "Practitioner", "Practitioner/", "Observation/1"):
            yield "context.userId", value, "value"
    else:
        for value in ("x", [], [order()], PATIENT, {"resourceType": "bundle"}, {}):
            yield "context.draftOrders", value, "value" if value else ""
    if hook == "order-select":
        for value in ("MedicationRequest/d-1", {}, [7], [""], [None], [{"reference": "MedicationRequest/d-1"}]):
            yield "context.selections", value, "value"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_fault_of_a_call_is_refused_with_its_place(client: FlaskClient, hook: str) -> None:
    """One thing wrong with an otherwise good call, for each thing that can be."""
    for path, value, code in wrong(hook):
        outcome = post(client, changed(call(hook), path, value), f"{ROOT}/{IDS[hook]}", status=400)
        found = issues(outcome)
        assert not code or code in {one for one, _ in found}, (path, value, found)
        assert any(place is not None and place.startswith(path) for _, place in found) or value in ({}, []), (
            path,
            value,
        )


def test_all_faults_are_said_at_once(client: FlaskClient) -> None:
    """An integrator mends them in one go."""
    body = {"hook": "patient-view", "hookInstance": SECRET, "context": {"patientId": 7}, "fhirAuthorization": {}}
    assert issues(post(client, body, SIGN, status=400)) >= {
        ("invariant", "hook"),
        ("value", "hookInstance"),
        ("required", "context.userId"),
        ("value", "context.patientId"),
        ("required", "context.draftOrders"),
        ("required", "fhirAuthorization.access_token"),
    }


def test_keys_of_the_caller_are_not_repeated(client: FlaskClient) -> None:
    """A key can be anything, as a value can."""
    for key in (f"{SECRET} {SECRET}", f"{SECRET}/", "<b>", "a" * 300):
        body = changed(call(), "prefetch", {key: 7})
        outcome = post(client, body, status=400)
        assert [issue.get("expression") for issue in outcome["issue"]] == [None]
        assert "/prefetch/?" in outcome["issue"][0]["diagnostics"]


AUTHORISATION = {
    "access_token": SECRET,
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "user/Patient.read patient/*.read",
    "subject": "cofactor",
}


def test_a_token_for_the_server_names_its_server(client: FlaskClient) -> None:
    """cds-r-1; and every member of it is there (rows 66-70)."""
    good = call() | {"fhirServer": "https://ehr.example/fhir", "fhirAuthorization": AUTHORISATION}
    assert post(client, good)["cards"]
    assert issues(post(client, changed(good, "fhirServer", MISSING), status=400)) == {("invariant", "fhirServer")}
    for member in AUTHORISATION:
        for value, code in ((MISSING, "required"), (None, "value"), ([], "value")):
            outcome = post(client, changed(good, f"fhirAuthorization.{member}", value), status=400)
            assert issues(outcome) == {(code, f"fhirAuthorization.{member}")}
    for member, value in (("token_type", "Basic"), ("expires_in", "300"), ("expires_in", True), ("scope", "")):
        post(client, changed(good, f"fhirAuthorization.{member}", value), status=400)
    # What is not known is passed over, and so is the server's own kind of scope.
    for member, value in (("patient", "p-1"), ("id_token", SECRET), ("need_patient_banner", False), ("extension", {})):
        assert post(client, changed(good, f"fhirAuthorization.{member}", value))["cards"]


TOLERATED: dict[str, tuple[str, Any]] = {
    "an extension": ("extension", {"org.example.a": {"user": SECRET}}),
    "an extension of any type": ("extension", SECRET),
    "an extension that is null": ("extension", None),
    "a member that is not known": ("hookVersion", "1.1"),
    "a member that is not known and deep": ("later", [[{"a": [SECRET]}]]),
    "an extension of the context": ("context.extension", [7]),
    "a member of another hook": ("context.medications", bundle(order())),
    "an encounter": ("context.encounterId", "e-1"),
    "an encounter that is no FHIR id": ("context.encounterId", "e 1 <b>"),
    "an instance in capitals": ("hookInstance", INSTANCE.upper()),
    "an instance of all zeros": ("hookInstance", "00000000-0000-0000-0000-000000000000"),
    "a server with a slash": ("fhirServer", "https://ehr.example/fhir/"),
    "a server without TLS": ("fhirServer", "http://ehr.example:9080/fhir?x=1"),
    "a patient with a type": ("context.patientId", "Patient/p-1"),
    "no prefetch": ("prefetch", MISSING),
    "an empty prefetch": ("prefetch", {}),
    "a prefetch of nulls": ("prefetch", {"patient": None, "egfr": None, "otc": None, "labs": None}),
    "keys that nobody asked for": ("prefetch", {SECRET: None, "": PATIENT, "a/b~c": bundle(egfr(22))}),
    "a search that failed": ("prefetch.egfr", {"resourceType": "OperationOutcome", "issue": []}),
    "another kind of resource": ("prefetch.egfr", PATIENT),
    "a resource that nobody knows": ("prefetch.egfr", {"resourceType": "Unheard"}),
    "a Bundle with nonsense in it": ("prefetch.egfr", {"resourceType": "Bundle", "entry": [7, None, {}, []]}),
    "a Bundle whose entries are none": ("prefetch.egfr", {"resourceType": "Bundle", "entry": "x"}),
    "another patient": ("prefetch.patient", PATIENT | {"id": "p-2"}),
    "a birth date that is none": ("prefetch.patient", PATIENT | {"birthDate": "soon"}),
    "a practitioner in a role": ("context.userId", "PractitionerRole/r-1"),
    "the patient": ("context.userId", "Patient/p-1"),
    "a relative": ("context.userId", "RelatedPerson/r-1"),
}


@pytest.mark.parametrize(("path", "value"), TOLERATED.values(), ids=list(TOLERATED))
def test_what_clients_send_besides_is_passed_over(client: FlaskClient, path: str, value: Any) -> None:
    """An answer with what was assessed, on every order hook."""
    for hook in ORDER_HOOKS:
        response = post(client, changed(call(hook), path, value))
        assert response["extension"][ASSESSMENT]["hook"] == hook
        if path.split(".")[0] not in ("prefetch",):
            assert removed(response) == ["MedicationRequest/d-1"]


@pytest.mark.parametrize("user", ["u-1", "https://ehr.example/fhir/Practitioner/u-1", "Device/d-1"])
def test_order_hooks_do_not_mind_who_the_user_is(client: FlaskClient, user: str) -> None:
    """Only patient-view says of which types the user is."""
    for hook in ORDER_HOOKS:
        assert post(client, call(hook, userId=user))["cards"]


# Prefetch (28, 45, 52, 54).


@pytest.mark.parametrize(
    "prefetch",
    [
        MISSING,
        {},
        {"patient": None},
        {"patient": {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}},
        {"patient": bundle()},
        {"patient": bundle({"resourceType": "OperationOutcome", "issue": []})},
        {"patient": egfr(22)},
        {"patient": PATIENT | {"id": "p-2"}},
        {"Patient": PATIENT},
    ],
    ids=[
        "absent",
        "empty",
        "null",
        "failed",
        "nobody",
        "failed within",
        "not a patient",
        "somebody else",
        "another key",
    ],
)
def test_what_cannot_be_done_without_is_412(client: FlaskClient, prefetch: Any) -> None:
    """On patient-view, with the key in the outcome; the order hooks say what was not assessed instead."""
    outcome = post(client, changed(call("patient-view"), "prefetch", prefetch), status=412)
    assert issues(outcome) == {("required", "prefetch.patient")}
    for hook in ORDER_HOOKS:
        data = post(client, changed(call(hook), "prefetch", prefetch))["extension"][ASSESSMENT]["data"]
        assert "used" not in {data["patient"]["state"]} or data["patient"]["used"] == 0


def test_a_chart_is_read(client: FlaskClient) -> None:
    """As a resource or as a Bundle of it."""
    for patient in (PATIENT, bundle(PATIENT)):
        response = post(client, changed(call("patient-view"), "prefetch.patient", patient))
        assert [card["indicator"] for card in response["cards"]] == ["warning"]
        assert removed(response) == []


def test_four_states_of_a_key_stay_apart(client: FlaskClient) -> None:
    """Row 52 and the prefetch section: absent and null, an empty search, a failed one, and a part of one."""
    more = {"link": [{"relation": "next", "url": f"https://ehr.example/{SECRET}"}]}
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    states = {
        "absent": MISSING,
        "null": None,
        "none_found": bundle(),
        "failed": failed,
        "used": bundle(egfr(92)),
        "incomplete": bundle(egfr(92), **more),
    }
    seen = {}
    for state, value in states.items():
        response = post(client, changed(call(), "prefetch.egfr", value))
        told = response["extension"][ASSESSMENT]["data"]["egfr"]
        assert told["state"] == state
        seen[state] = told["text"]
        assert SECRET not in json.dumps(response)
    assert seen["absent"] == seen["null"]
    assert len(set(seen.values())) == len(seen) - 1
    assert [state for state, said in seen.items() if "none found" in said] == ["none_found"]


# Drafts and selections.


def test_orders_of_other_kinds_are_named_and_bring_nothing(client: FlaskClient) -> None:
    """ServiceRequest, NutritionOrder, DeviceRequest, VisionPrescription, and what is not FHIR at all."""
    kinds = ("ServiceRequest", "NutritionOrder", "DeviceRequest", "VisionPrescription", "Unheard")
    others = [{"resourceType": kind, "id": "o-1", "status": "draft", "subject": ME} for kind in kinds]
    response = post(client, call("order-sign", *others))
    assert response["cards"] == []
    told = response["extension"][ASSESSMENT]["orders"]
    assert [(one["order"], one["state"]) for one in told] == [(f"{kind}/o-1", "not_read") for kind in kinds]
    both = post(client, call("order-sign", others[0], order(), others[1]))
    assert removed(both) == ["MedicationRequest/d-1"]


def test_no_drafts_bring_no_card_and_that_is_said(client: FlaskClient) -> None:
    """An empty Bundle, with entries or without."""
    for hook in ORDER_HOOKS:
        for drafts in (
            bundle(),
            {"resourceType": "Bundle"},
            {"resourceType": "Bundle", "type": "searchset", "total": 0},
        ):
            response = post(client, call(hook, draftOrders=drafts))
            assert response["cards"] == []
            assert "No draft order" in response["extension"][ASSESSMENT]["statement"]


@pytest.mark.parametrize("key", [None, "a b", "<b>", "x" * 65, "d_1", "../1", "1?_format=xml", "urn:uuid:1"])
def test_a_draft_that_cannot_be_named_is_assessed_and_not_removed(client: FlaskClient, key: str | None) -> None:
    """What is no FHIR id is put into no action; the caution stands there all the same."""
    response = post(client, call("order-sign", order(key)))
    assert response["cards"][0]["indicator"] == "warning"
    assert removed(response) == []
    assert key is None or key not in json.dumps(response)
    assert [one["state"] for one in response["extension"][ASSESSMENT]["orders"]] == ["assessed"]


OTHER_SERVER = {"reference": "https://other.example/fhir/Patient/p-1"}
UNUSUAL: dict[str, tuple[Json, str]] = {
    "nothing ordered yet": ({"medicationCodeableConcept": MISSING, "intent": MISSING}, "not_read"),
    "an empty medicine": ({"medicationCodeableConcept": {}}, "not_read"),
    "no subject": ({"subject": MISSING}, "assessed"),
    "no status": ({"status": MISSING}, "assessed"),
    "a whole address": ({"subject": {"reference": "https://ehr.example/fhir/Patient/p-1"}}, "assessed"),
    "a version": ({"subject": {"reference": "Patient/p-1/_history/3"}}, "assessed"),
    "somebody else's name": ({"subject": ME | {"display": SECRET}}, "assessed"),
    "another patient": ({"subject": {"reference": "Patient/p-2"}}, "not_read"),
    "a patient of another server": ({"subject": OTHER_SERVER}, "not_read"),
    "an object for an array": ({"category": {"text": "Outpatient"}, "dosageInstruction": {"text": SECRET}}, "assessed"),
    "a dose as an object": ({"dosageInstruction": [{"doseAndRate": {"doseQuantity": {"value": 1}}}]}, "assessed"),
    "cancelled": ({"status": "cancelled"}, "not_read"),
    "members of any type": ({"note": 7, "extension": "x", "contained": "x", "meta": []}, "assessed"),
}


@pytest.mark.parametrize(("members", "state"), UNUSUAL.values(), ids=list(UNUSUAL))
def test_drafts_as_clients_write_them(client: FlaskClient, members: Json, state: str) -> None:
    """Read where that can be done, else named as not read; nothing that is displayed beside it comes back."""
    draft = {name: value for name, value in order(**members).items() if value is not MISSING}
    entry = {"fullUrl": "urn:uuid:1", "resource": draft, "request": {"method": "POST", "url": "MedicationRequest"}}
    for hook in ORDER_HOOKS:
        response = post(client, call(hook, entry) | {"fhirServer": "https://ehr.example/fhir"})
        (told,) = response["extension"][ASSESSMENT]["orders"]
        assert told["state"] == state
        assert removed(response) == (["MedicationRequest/d-1"] if state == "assessed" else [])
        assert SECRET not in json.dumps(response)


def test_several_drafts_are_each_assessed(client: FlaskClient) -> None:
    """Two cards for two, and every order can be removed, also where cards are put together."""
    names = ["Magnesium oxide 400 mg", "Milk of Magnesia", "Magnesium citrate 200 mg", "Magnesium chloride 64 mg"]
    drafts = [order(f"d-{at}", name) for at, name in enumerate(names)]
    for count in (2, 4):
        response = post(client, call("order-sign", *drafts[:count]))
        assert removed(response) == [f"MedicationRequest/d-{at}" for at in range(count)]
    twice = post(client, call("order-sign", order(), order()))
    assert set(removed(twice)) == {"MedicationRequest/d-1"}


def test_the_draft_counts_with_what_is_taken(client: FlaskClient) -> None:
    """Ciprofloxacin for someone on magnesium, and the other way round."""
    cipro, magnesium = "Ciprofloxacin 500 mg tablet", "Magnesium citrate 200 mg tablet"
    for drafted, taken in ((cipro, magnesium), (magnesium, cipro)):
        body = changed(call("order-sign", order("d-1", drafted)), "prefetch.egfr", bundle(egfr(92)))
        active = order("m-1", taken, status="active")
        response = post(client, changed(body, "prefetch.medications", bundle(active)))
        assert any("h before or" in card["detail"] for card in response["cards"]), (drafted, taken)


SELECTIONS: dict[str, tuple[list[str], bool]] = {
    "the one": (["MedicationRequest/d-1"], True),
    "the other": (["MedicationRequest/d-2"], False),
    "both": (["MedicationRequest/d-2", "MedicationRequest/d-1"], True),
    "the one twice": (["MedicationRequest/d-1", "MedicationRequest/d-1"], True),
    "none": ([], False),
    "one that is not there": (["MedicationRequest/d-9"], False),
    "one of another type": (["ServiceRequest/d-1"], False),
    "one that is there and one that is not": (["MedicationRequest/d-9", "MedicationRequest/d-1"], True),
}


@pytest.mark.parametrize(("selections", "speaks"), SELECTIONS.values(), ids=list(SELECTIONS))
def test_only_what_is_selected_speaks(client: FlaskClient, selections: list[str], speaks: bool) -> None:
    """On order-select; the rest is named as not selected."""
    response = post(client, call("order-select", order(), order("d-2", "Amoxicillin 500 mg"), selections=selections))
    assert removed(response) == (["MedicationRequest/d-1"] if speaks else [])
    told = {one["order"]: one["state"] for one in response["extension"][ASSESSMENT]["orders"]}
    for name, state in told.items():
        assert (state == "not_selected") == (name not in selections)


def test_what_is_suggested_is_for_the_patient_of_the_call(client: FlaskClient) -> None:
    """And goes with its encounter; a proposal, not an order (127-135)."""
    response = post(client, call("order-sign", encounterId="e-1"))
    created = [
        action["resource"]
        for card in response["cards"]
        for one in card.get("suggestions", ())
        for action in one["actions"]
        if action["type"] == "create"
    ]
    assert created
    for resource in created:
        assert resource["subject"] == ME
        assert resource["encounter"] == {"reference": "Encounter/e-1"}
        assert resource["intent"] == "proposal"


def test_cards_for_the_vendor_that_allows_one_action(open_site: Flask) -> None:
    """One action for each suggestion, any of them, none recommended; links lead to the public address."""
    client = open_site.test_client()
    for hook in ORDER_HOOKS:
        for card in post(client, call(hook))["cards"]:
            assert card["source"]["url"].startswith("https://cds.example/")
            assert card.get("selectionBehavior", "any") == "any"
            for suggestion in card.get("suggestions", ()):
                assert len(suggestion["actions"]) == 1
                assert "isRecommended" not in suggestion


def test_the_same_call_gives_the_same_bytes(client: FlaskClient) -> None:
    """Whatever its instance, and whoever asks."""
    first = client.post(SIGN, json=call())
    other = changed(call(), "hookInstance", INSTANCE.replace("8c", "9d"))
    assert client.post(SIGN, json=changed(other, "context.userId", "Practitioner/u-2")).data == first.data


@pytest.mark.parametrize("error", [KeyError(SECRET), IncompleteEvaluation(SECRET), RecursionError(SECRET)])
def test_a_fault_of_ours_is_an_outcome_and_never_no_cards(
    client: FlaskClient, lines: list[Json], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A visible error, logged by its place; what was sent is in neither."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Assessor, "evaluate", fail)
    for hook in HOOKS:
        assert issues(post(client, call(hook), status=500)) == {("exception", None)}
    assert [line["level"] for line in lines] == ["error", "info"] * len(HOOKS)
    assert SECRET not in json.dumps(lines)


# Feedback (148-164, cds-fb-1 to 3).


def opinion(card: str = INSTANCE, outcome: str = "overridden", **more: Any) -> Json:
    """What became of a card."""
    return {"card": card, "outcome": outcome, "outcomeTimestamp": "2026-11-21T10:05:31Z", **more}


@pytest.fixture
def lines() -> Iterator[list[Json]]:
    """What the service writes to its log meanwhile."""
    with listening() as written:
        yield written


def heard(client: FlaskClient, *opinions: Json, service: str = "mgvd-order-sign", **more: Any) -> Json:
    """What the service says of feedback."""
    answer = post(client, {"feedback": list(opinions), **more}, f"{ROOT}/{service}/feedback")
    told: Json = answer["extension"][FEEDBACK]
    return told


def test_feedback_on_a_card_is_counted_for_its_rules_once(client: FlaskClient, lines: list[Json]) -> None:
    """From the card as it was sent to the line that is counted; a repeat in the same call or later adds none."""
    card = post(client, call())["cards"][0]
    rules = [f"{one['id']}@{one['version']}" for one in card["extension"]["org.cofactor.rules"]]
    reason = card["overrideReasons"][0]
    chosen = {"reason": {"code": reason["code"], "system": reason["system"]}, "userComment": SECRET}
    taken = [{"id": card["suggestions"][0]["uuid"]}]
    said = [
        opinion(card["uuid"], overrideReason=chosen),
        opinion(card["uuid"], "accepted", acceptedSuggestions=taken, outcomeTimestamp="2026-11-21T10:06:00.5+01:00"),
        opinion(card["uuid"], overrideReason=chosen),
    ]
    for _ in range(2):
        assert heard(client, *said) == {"received": 2, "ofUnknownCards": 0}
    counted = [line for line in lines if line["event"] == "feedback"]
    assert [(line["outcome"], line["reasons"]) for line in counted] == [
        ("overridden", [reason["code"]]),
        ("accepted", []),
    ]
    assert all(set(rules[:3]) == set(line["rules"]) for line in counted)
    assert counted[1]["taken"]
    assert SECRET not in json.dumps(lines)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"overrideReason": {"userComment": SECRET}},
        {"overrideReason": {"reason": {"code": SECRET, "system": "https://ehr.example/reasons"}}},
        {"overrideReason": {"reason": {"code": "x", "system": "y", "display": SECRET}, "userComment": SECRET}},
        {"overrideReasons": [{"extension": {"com.vendor.reason": SECRET}}]},
        {"overrideReasons": {"reason": {"code": "x", "system": "y"}}},
        {"overrideReasons": [{"reason": {"code": "x", "system": "y"}}, {"userComment": SECRET}]},
        {"extension": {"com.vendor.user": SECRET}},
        {"acceptedSuggestions": [{"id": INSTANCE, "label": SECRET}]},
        {"hookInstance": INSTANCE, "later": [SECRET]},
        {"card": SECRET},
        {"card": "1234"},
        {"outcomeTimestamp": "1985-04-12T23:20:50.52Z"},
        {"outcomeTimestamp": "2026-11-21t10:05:31.123456789z"},
        {"outcomeTimestamp": "2026-11-21T10:05:31-08:00"},
        {"outcomeTimestamp": "2016-12-31T23:59:60Z"},
    ],
)
def test_feedback_of_real_clients_is_taken(client: FlaskClient, lines: list[Json], more: Json) -> None:
    """No display, a vendor's plural, ids and codes of others; none of it is written down."""
    for service in IDS.values():
        assert heard(client, opinion() | more, service=service, extension={"a.b": SECRET}) == {
            "received": 1,
            "ofUnknownCards": 1,
        }
    assert SECRET not in json.dumps(lines)


def test_feedback_comes_in_batches(client: FlaskClient) -> None:
    """Of many cards and calls; of none is a batch as well; there is an end to it."""
    assert heard(client) == {"received": 0, "ofUnknownCards": 0}
    many = [opinion(f"card-{number}") for number in range(1000)]
    assert heard(client, *many) == {"received": 1000, "ofUnknownCards": 1000}
    outcome = post(client, {"feedback": [*many, opinion()]}, f"{SIGN}/feedback", status=400)
    assert issues(outcome) == {("value", "feedback")}
    outcome = post(client, {"feedback": [opinion(outcome="x")] * 300}, f"{SIGN}/feedback", status=400)
    assert len(outcome["issue"]) == SHOWN_AT_MOST + 1
    assert outcome["issue"][-1]["diagnostics"] == "And 100 more."


FEEDBACK_FAULTS: dict[str, tuple[str, Any, str]] = {
    "no card": ("card", MISSING, "required"),
    "a card that is empty": ("card", "", "value"),
    "a card that is a number": ("card", 7, "value"),
    "a card that is null": ("card", None, "value"),
    "no outcome": ("outcome", MISSING, "required"),
    "another outcome": ("outcome", "ignored", "value"),
    "an outcome in capitals": ("outcome", "Accepted", "value"),
    "no time": ("outcomeTimestamp", MISSING, "required"),
    "a time without a zone": ("outcomeTimestamp", "2026-11-21T10:05:31", "value"),
    "a day": ("outcomeTimestamp", "2026-11-21", "value"),
    "a time that is a number": ("outcomeTimestamp", 1795255531, "value"),
    "an hour that there is not": ("outcomeTimestamp", "2026-11-21T25:05:31Z", ""),
    "a day that there is not": ("outcomeTimestamp", "2026-02-30T10:05:31Z", ""),
    "a reason that says nothing": ("overrideReason", {}, "invariant"),
    "a reason without a code": ("overrideReason", {"reason": {"system": "x"}}, "required"),
    "a reason without a system": ("overrideReason", {"reason": {"code": "x"}}, "required"),
    "a reason that is a word": ("overrideReason", SECRET, "value"),
    "suggestions that are none": ("acceptedSuggestions", [], "value"),
    "suggestions that are words": ("acceptedSuggestions", [INSTANCE], "value"),
    "a suggestion without an id": ("acceptedSuggestions", [{"uuid": INSTANCE}], "required"),
}


@pytest.mark.parametrize(("member", "value", "code"), FEEDBACK_FAULTS.values(), ids=list(FEEDBACK_FAULTS))
def test_feedback_with_a_fault_is_refused(
    client: FlaskClient, lines: list[Json], member: str, value: Any, code: str
) -> None:
    """As a whole, with the place of the fault: of a batch with one bad item nothing is counted."""
    body = {"feedback": [opinion(), changed(opinion(), member, value)]}
    outcome = post(client, body, f"{SIGN}/feedback", status=400)
    found = {one for one, place in issues(outcome) if place is not None and place.startswith(f"feedback[1].{member}")}
    assert (code in found) if code else found
    assert [line["event"] for line in lines] == ["request"]


def test_what_was_accepted_is_named(client: FlaskClient) -> None:
    """cds-fb-2."""
    outcome = post(client, {"feedback": [opinion(outcome="accepted")]}, f"{SIGN}/feedback", status=400)
    assert {place for _, place in issues(outcome)} == {"feedback[0].acceptedSuggestions"}


@pytest.mark.parametrize(
    "body", [{"feedback": {}}, {"feedback": "x"}, {"feedback": [7]}, {"feedback": [[]]}, opinion()]
)
def test_what_is_no_feedback_is_refused(client: FlaskClient, body: Json) -> None:
    """The array has to be there, and hold objects."""
    post(client, body, f"{SIGN}/feedback", status=400)


# Browsers (208).


def preflight(client: FlaskClient, path: str, origin: str | None, **headers: str) -> TestResponse:
    """What a browser asks before it lets a page call."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    if origin is not None:
        asked["Origin"] = origin
    response = client.options(path, headers=asked | headers)
    assert response.status_code == 204
    held(response)
    return response


HERE = ["http://localhost:8080", "https://localhost", "http://127.0.0.1:3000", "http://[::1]:4000"]
ELSEWHERE = [
    "https://ehr.example",
    "http://localhost.evil.example",
    "http://localhost:80808080",
    "http://localhost:8080/",
    "http://user@localhost",
    "http://127.0.0.1.evil.example",
    "HTTP://LOCALHOST:8080",
    "file://",
    "null",
    "*",
    "",
    SECRET,
]


@pytest.mark.parametrize("path", [ROOT, f"{ROOT}/", SIGN, f"{SIGN}/", f"{SIGN}/feedback", f"{ROOT}/no-such-service"])
def test_pages_of_this_machine_may_call_while_nobody_is_verified(client: FlaskClient, path: str) -> None:
    """Preflight and answer, refusals too; and no other page may."""
    for origin in HERE:
        allowed = preflight(client, path, origin).headers
        assert allowed["Access-Control-Allow-Origin"] == origin
        assert {one.strip() for one in allowed["Access-Control-Allow-Methods"].split(",")} == {"GET", "POST", "OPTIONS"}
        assert {one.strip().lower() for one in allowed["Access-Control-Allow-Headers"].split(",")} >= {
            "authorization",
            "content-type",
        }
        for method in ("GET", "POST", "DELETE"):
            response = client.open(path, method=method, headers={"Origin": origin})
            held(response)
            assert response.headers.get_all("Access-Control-Allow-Origin") == [origin]
    for origin in (*ELSEWHERE, None):
        response = preflight(client, path, origin)
        assert not any(name.startswith("Access-Control-") for name, _ in response.headers)
        headers = {} if origin is None else {"Origin": origin}
        for method in ("GET", "POST"):
            response = client.open(path, method=method, headers=headers)
            assert not any(name.startswith("Access-Control-") for name, _ in response.headers)


def test_a_list_of_origins_is_the_whole_list(open_site: Flask) -> None:
    """Nothing besides it, not even this machine."""
    client = open_site.test_client()
    for origin, listed in (
        ("https://ehr.example", True),
        ("https://ehr.example:8443", False),
        *((one, False) for one in HERE),
    ):
        assert ("Access-Control-Allow-Origin" in preflight(client, SIGN, origin).headers) == listed
        response = client.post(SIGN, json=call(), headers={"Origin": origin})
        assert held(response)["cards"]
        assert (response.headers.get("Access-Control-Allow-Origin") == origin) == listed


def test_the_rest_of_the_service_is_shared_with_no_page(client: FlaskClient) -> None:
    """Only these operations are for browsers of others."""
    for path in ("/v1/knowledge", "/v1/evaluations", "/cds-servicesx", "/"):
        for method in ("GET", "OPTIONS"):
            response = client.open(path, method=method, headers={"Origin": HERE[0]})
            assert not any(name.startswith("Access-Control-") for name, _ in response.headers)


# Who may call where nobody is verified (177).


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_call(client: FlaskClient, address: str) -> None:
    """However its address is written; a token is not looked at."""
    where = {"REMOTE_ADDR": address}
    assert post(client, call(), environ_overrides=where)["cards"]
    assert post(client, call(), environ_overrides=where, headers={"Authorization": f"Bearer {SECRET}"})["cards"]


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.5",
        "172.17.0.1",
        "192.168.1.7",
        "203.0.113.9",
        "fe80::1%eth0",
        "2001:db8::1",
        "::ffff:10.0.0.5",
        "::",
        "0.0.0.0",
        "",
    ],
)
def test_other_machines_may_not(client: FlaskClient, address: str) -> None:
    """Nor may they give feedback; they are told nothing, and the body is not looked at."""
    where = {"REMOTE_ADDR": address}
    for path in (SIGN, f"{SIGN}/feedback"):
        for data in (BODY, b"{", b""):
            response = raw(client, data, path, environ_overrides=where)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            held(response)
    assert raw(client, b"", f"{ROOT}/no-such-service", environ_overrides=where).status_code == 404


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "Forwarded",
        "X-Real-IP",
        "Via",
        "X-Client-IP",
    ],
)
def test_a_proxy_of_this_machine_speaks_for_others(client: FlaskClient, header: str) -> None:
    """Whatever it says, also nothing."""
    for value in ("127.0.0.1", "for=127.0.0.1", "1.1 proxy", ""):
        response = raw(client, BODY, headers={header: value})
        assert response.status_code == 401
        held(response)


def test_anyone_may_call_where_that_is_configured(open_site: Flask) -> None:
    """From anywhere, through any proxy, with or without a token."""
    client = open_site.test_client()
    where = {"REMOTE_ADDR": "203.0.113.9"}
    for headers in ({}, {"X-Forwarded-For": "203.0.113.9"}, {"Authorization": "Bearer what.ever.this"}):
        assert post(client, call(), environ_overrides=where, headers=headers)["cards"]


# The environment.


def test_nothing_said_is_the_careful_thing() -> None:
    """Two hooks, nobody verified, this machine only."""
    assert from_environment({}).hooks == HookSettings()
    assert (
        from_environment(dict.fromkeys(("CDS_HOOKS", "CDS_HOOKS_TRUST", "CDS_HOOKS_VERIFY"), "")).hooks
        == HookSettings()
    )
    assert HookSettings().replay == str(HOME / "var" / "replay.sqlite")


def test_what_the_environment_says_is_read() -> None:
    """Lists with blanks, an address with a slash."""
    said = from_environment(
        {
            "CDS_HOOKS": "patient-view, order-sign",
            "CDS_HOOKS_VERIFY": "off",
            "CDS_HOOKS_ORIGINS": "https://ehr.example, http://localhost:8080,http://[::1]:3000,",
            "CDS_HOOKS_PROFILE": "epic",
            "CDS_HOOKS_REPLAY": "redis://127.0.0.1/0",
            "PUBLIC_URL": "https://cds.example/base/",
        }
    ).hooks
    assert said.hooks == ("patient-view", "order-sign")
    assert said.anyone
    assert said.origins == ("https://ehr.example", "http://localhost:8080", "http://[::1]:3000")
    assert (said.profile, said.replay, said.public_url) == ("epic", "redis://127.0.0.1/0", "https://cds.example/base")
    assert from_environment({"CDS_HOOKS": "none", "CDS_HOOKS_ORIGINS": "none"}).hooks == HookSettings(
        hooks=(), origins=()
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"CDS_HOOKS": "order-signs"},
        {"CDS_HOOKS": "none, order-sign"},
        {"CDS_HOOKS": ","},
        {"CDS_HOOKS_VERIFY": "no"},
        {"CDS_HOOKS_VERIFY": "off", "CDS_HOOKS_TRUST": "trust.toml"},
        {"CDS_HOOKS_PROFILE": "epic", "CDS_HOOKS_TRUST": "trust.toml"},
        {"CDS_HOOKS_PROFILE": "cerner"},
        {"CDS_HOOKS_KEY_FILE": "/nonexistent/key"},
        {"CDS_HOOKS_ORIGINS": "*"},
        {"CDS_HOOKS_ORIGINS": ","},
        {"CDS_HOOKS_ORIGINS": "ehr.example"},
        {"CDS_HOOKS_ORIGINS": "https://ehr.example/"},
        {"CDS_HOOKS_ORIGINS": "https://ehr.example https://other.example"},
        {"CDS_HOOKS_ORIGINS": "https://*.example"},
        {"CDS_HOOKS_ORIGINS": "https://EHR.example"},
        {"CDS_HOOKS_ORIGINS": "https://ehr.example:443"},
        {"CDS_HOOKS_ORIGINS": "https://ehr.example, none"},
        {"CDS_HOOKS_ORIGINS": "null"},
        {"PUBLIC_URL": "cds.example"},
        {"PUBLIC_URL": "https://cds.example?x=1"},
        {"PUBLIC_URL": "ftp://cds.example"},
    ],
    ids=str,
)
def test_a_setting_that_means_nothing_is_refused(environment: dict[str, str]) -> None:
    """At the start, by name or by what was said."""
    with pytest.raises(ValueError, match=next(iter(environment))):
        create_app(from_environment({"LOG_LEVEL": "critical", **environment}))
