"""CDS Hooks over HTTP: the same engine and the same answer as POST /v1/evaluations, and the draft order counts."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from service.app import create_app
from service.fhir import ChartReader
from service.hooks.cards import Call, CardWriter
from service.hooks.ids import Ids
from service.knowledge import Rulebook
from service.knowledge.hooks_file import Hooks, load_hooks
from service.settings import HookSettings, Settings
from service.terminology import Recogniser
from tests.conftest import TODAY

Json = dict[str, Any]

SCHEMA = json.loads(Path(__file__).with_name("cds_hooks.schema.json").read_text(encoding="utf-8"))
RESPONSE = Draft202012Validator({**SCHEMA, "$ref": "#/$defs/response"})
ASSESSMENT = "org.cofactor.assessment"
URL = "https://advice.example"
KEY = b"a key that is written in a test"
PATIENT = "p-1"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
UNITS = {"egfr": "mL/min/{1.73_m2}", "magnesium": "mg/dL", "vitd25oh": "ng/mL", "calcium": "mg/dL"}
CODES = {"egfr": "98979-8", "magnesium": "19123-9", "vitd25oh": "62292-8", "calcium": "17861-6"}


@pytest.fixture(scope="module")
def hooks_app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """With all three hooks, a key and an address of its own."""
    key = tmp_path_factory.mktemp("key") / "key"
    key.write_bytes(KEY + b"\n")
    here = HookSettings(hooks=("patient-view", "order-select", "order-sign"), key_file=key, public_url=URL)
    return create_app(Settings(hooks=here), clock=lambda: TODAY)


@pytest.fixture
def hooks_client(hooks_app: Flask) -> FlaskClient:
    return hooks_app.test_client()


@pytest.fixture(scope="module")
def hooks() -> Hooks:
    return load_hooks(Settings().rules)


def resource(kind: str, key: str, **members: Any) -> Json:
    return {"resourceType": kind, "id": key, "subject": {"reference": f"Patient/{PATIENT}"}, **members}


def order(key: str, text: str, status: str = "active", rxnorm: str | None = None) -> Json:
    coding = {"coding": [{"system": RXNORM, "code": rxnorm}]} if rxnorm is not None else {}
    return resource(
        "MedicationRequest", key, status=status, intent="order", medicationCodeableConcept={**coding, "text": text}
    )


def result(key: str, value: float, day: str = "2026-11-01", **more: Any) -> Json:
    quantity = {"value": value, "system": "http://unitsofmeasure.org", "code": UNITS[key], "unit": UNITS[key]}
    code = {"coding": [{"system": "http://loinc.org", "code": CODES[key]}]}
    said = {"status": "final", "code": code, "effectiveDateTime": day, "valueQuantity": quantity, **more}
    return resource("Observation", f"{key}-{day}", **said)


def condition(key: str, snomed: str) -> Json:
    return resource(
        "Condition",
        key,
        clinicalStatus={"coding": [{"code": "active"}]},
        code={"coding": [{"system": SNOMED, "code": snomed}]},
    )


def bundle(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


def person(born: str = "1964-03-02", gender: str = "male") -> Json:
    return {"resourceType": "Patient", "id": PATIENT, "birthDate": born, "gender": gender}


def call(hook: str, prefetch: Json | None = None, drafts: list[Json] | None = None, **context: Any) -> Json:
    said: Json = {"userId": "Practitioner/u", "patientId": PATIENT, **context}
    if hook != "patient-view":
        said["draftOrders"] = bundle(*(drafts or []))
    if hook == "order-select":
        said.setdefault("selections", [f"{one['resourceType']}/{one['id']}" for one in drafts or []])
    body: Json = {"hook": hook, "hookInstance": "0f3c1f8e-64a4-4a6a-9a10-3b1f3f0a6f11", "context": said}
    return body if prefetch is None else {**body, "prefetch": prefetch}


KIDNEY = {"patient": person(), "egfr": bundle(result("egfr", 22))}
ON_MAGNESIUM = {
    "patient": person(),
    "egfr": bundle(result("egfr", 88)),
    "medications": bundle(),
    "otc": bundle(resource("MedicationStatement", "s", status="active",
                           medicationCodeableConcept={"text": "Magnesium citrate 100 mg tablet"})),
    "conditions": bundle(),
}  # fmt: skip
OXIDE = order("d1", "Magnesium oxide 400 mg tablet", "draft", "198741")
CIPROFLOXACIN = order("d2", "Ciprofloxacin 500 mg tablet", "draft", "309309")
LOW = {
    "patient": person("1950-06-01", "female"),
    "magnesium": bundle(result("magnesium", 1.1), result("magnesium", 1.7, "2026-03-01")),
    "vitd25oh": bundle(result("vitd25oh", 8)),
    "calcium": bundle(),
    "medications": bundle(order("m", "Furosemide 40 mg tablet", rxnorm="313988")),
    "conditions": bundle(condition("c", "56265001")),
}
CALLS = {
    "order-sign, magnesium oxide in CKD 4": call("order-sign", KIDNEY, [OXIDE]),
    "order-sign, ciprofloxacin on magnesium": call("order-sign", ON_MAGNESIUM, [CIPROFLOXACIN]),
    "order-sign, nothing but the draft": call("order-sign", None, [CIPROFLOXACIN]),
    "order-sign, two drafts": call("order-sign", {"patient": person()}, [OXIDE, CIPROFLOXACIN]),
    "order-select, one of two": call("order-select", ON_MAGNESIUM, [OXIDE, CIPROFLOXACIN],
                                     selections=["MedicationRequest/d1"]),
    "patient-view, abnormal results": call("patient-view", LOW),
    "patient-view, healthy": call("patient-view", {"patient": person(), "conditions": bundle(), "medications": bundle(),
                                                   "magnesium": bundle(result("magnesium", 2.1)),
                                                   "egfr": bundle(result("egfr", 95))}),
    "patient-view, a minor": call("patient-view", {"patient": person("2015-01-01")}),
}  # fmt: skip


def service_of(body: Json) -> str:
    return f"mgvd-{body['hook']}"


def ask(client: FlaskClient, body: Json) -> Json:
    """The answer to a call that is in order."""
    response = client.post(f"/cds-services/{service_of(body)}", json=body)
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    answer: Json = response.get_json()
    assert list(RESPONSE.iter_errors(answer)) == []
    return answer


@pytest.mark.parametrize("name", CALLS)
def test_a_hook_says_what_an_evaluation_says(
    hooks_client: FlaskClient, client: FlaskClient, rulebook: Rulebook, hooks: Hooks, name: str
) -> None:
    """What is read from FHIR, sent to POST /v1/evaluations, and its answer turned into cards, is the hook's answer."""
    body = CALLS[name]
    context = body["context"]
    recogniser = Recogniser.of(rulebook)
    chart = ChartReader(rulebook.vocabulary, recogniser).read(
        PATIENT,
        body.get("prefetch"),
        TODAY,
        draft_orders=context.get("draftOrders"),
        selections=context.get("selections"),
    )
    sent = json.loads(json.dumps(chart.body, default=float))
    evaluation = client.post("/v1/evaluations", json=sent)
    assert evaluation.status_code == 200, evaluation.get_data(as_text=True)
    ids = Ids(KEY, {key: rule.version for key, rule in rulebook.rules.items()})
    writer = CardWriter(rulebook, hooks, recogniser, ids, URL)
    service = hooks.services[service_of(body)]
    assert ask(hooks_client, body) == writer.response(Call(service, context), evaluation.get_json(), chart)


def test_signing_magnesium_oxide_in_ckd_4_warns_on_that_order(hooks_client: FlaskClient) -> None:
    """With the result it rests on and its date, and with the order taken away on a click."""
    card = ask(hooks_client, CALLS["order-sign, magnesium oxide in CKD 4"])["cards"][0]
    assert card["indicator"] == "warning"
    assert card["extension"]["org.cofactor.rules"][0]["id"] == "gate-mg-severe-kidney-disease"
    assert "22 mL/min/1.73 m2 on 2026-11-01" in card["detail"]
    actions = [action for one in card["suggestions"] for action in one["actions"]]
    assert {"delete": "MedicationRequest/d1"} in [{one["type"]: one.get("resourceId")} for one in actions]
    assert card["links"][0]["url"] == f"{URL}/v1/rules/gate-mg-severe-kidney-disease"


@pytest.mark.parametrize(("egfr", "warned"), [(29, True), (30, False), (31, False)])
def test_the_same_threshold_holds_for_hooks(hooks_client: FlaskClient, egfr: float, warned: bool) -> None:
    """Just below, at and just above."""
    prefetch = {**KIDNEY, "egfr": bundle(result("egfr", egfr))}
    cards = ask(hooks_client, call("order-sign", prefetch, [OXIDE]))["cards"]
    rules = {rule["id"] for card in cards for rule in card["extension"]["org.cofactor.rules"]}
    assert ("gate-mg-severe-kidney-disease" in rules) == warned


def test_signing_ciprofloxacin_on_magnesium_gives_the_hours(hooks_client: FlaskClient) -> None:
    """And the lists that were searched and are empty are said to be so."""
    answer = ask(hooks_client, CALLS["order-sign, ciprofloxacin on magnesium"])
    rules = [rule["id"] for rule in answer["cards"][0]["extension"]["org.cofactor.rules"]]
    assert "mg-fq-ciprofloxacin" in rules
    assert "at least 2 h before or 6 h after magnesium" in answer["cards"][0]["detail"]
    data = answer["extension"][ASSESSMENT]["data"]
    assert data["medications"]["text"] == "Medication orders: none found by the query of the EHR"
    assert data["vitd25oh"]["text"] == "25-OH vitamin D: not supplied"


def test_only_what_is_selected_speaks_while_choosing(hooks_client: FlaskClient) -> None:
    """The other drafts are known and bring no card of their own; a selection that is no draft is mentioned."""
    body = call("order-select", {"patient": person()}, [CIPROFLOXACIN, OXIDE], selections=["MedicationRequest/none"])
    answer = ask(hooks_client, body)
    assert answer["cards"] == []
    said = answer["extension"][ASSESSMENT]
    assert said["statement"] == "No draft order is selected, so none was assessed by itself."
    assert {one["state"] for one in said["orders"]} == {"not_selected"}
    assert "selection_without_draft" in {one["reason"] for one in said["notes"]}
    known = ask(hooks_client, CALLS["order-select, one of two"])["extension"][ASSESSMENT]
    assert "selection_without_draft" not in {one["reason"] for one in known.get("notes", ())}


@pytest.mark.parametrize(
    ("place", "many"),
    [
        ("/context/selections", {"selections": ["MedicationRequest/d1"] * 1001}),
        ("/context/draftOrders/entry", {"draftOrders": bundle(*[OXIDE] * 1001)}),
    ],
)
def test_more_than_is_read_is_refused(hooks_client: FlaskClient, place: str, many: Json) -> None:
    """And is not looked at one by one; a thousand are read."""
    body = call("order-select", None, [OXIDE])
    body["context"] |= many
    response = hooks_client.post("/cds-services/mgvd-order-select", json=body)
    assert response.status_code == 400
    assert [one["diagnostics"] for one in response.get_json()["issue"]] == [f"{place}: Must have at most 1000 items."]
    (name,) = many
    short = many[name][1:] if name == "selections" else bundle(*[OXIDE] * 1000)
    ask(hooks_client, {**body, "context": {**body["context"], name: short}})


def test_more_prefetch_keys_than_are_read_are_refused(hooks_client: FlaskClient) -> None:
    """A hundred are read."""
    body = call("order-sign", {f"k{number}": None for number in range(101)}, [OXIDE])
    response = hooks_client.post("/cds-services/mgvd-order-sign", json=body)
    assert [one["diagnostics"] for one in response.get_json()["issue"]] == ["/prefetch: Must have at most 100 members."]
    del body["prefetch"]["k0"]
    ask(hooks_client, body)


@pytest.mark.parametrize(
    ("drafted", "offered"),
    [
        ("Magnesium oxide 400 mg tablet", ["glycinate", "lactate", "citrate"]),
        ("Magnesium citrate 100 mg tablet", ["glycinate", "lactate"]),
        ("Ciprofloxacin 500 mg tablet", []),
    ],
)
def test_forms_are_offered_where_magnesium_is_being_ordered(
    hooks_client: FlaskClient, drafted: str, offered: list[str]
) -> None:
    """While it is chosen, with a low level; not the one that is drafted already, nor when it is signed."""
    low = {**ON_MAGNESIUM, "otc": bundle(), "magnesium": bundle(result("magnesium", 1.6))}
    draft = order("d1", drafted, "draft")

    def labels(hook: str) -> list[str]:
        cards = ask(hooks_client, call(hook, low, [draft]))["cards"]
        return [one["label"] for card in cards for one in card.get("suggestions", ()) if "order for" in one["label"]]

    assert labels("order-select") == [f"Draft an order for Magnesium {form}" for form in offered]
    assert labels("order-sign") == []


def test_the_same_call_gives_the_same_bytes(hooks_client: FlaskClient) -> None:
    """Ids too, whoever the patient is: they name rules."""
    body = CALLS["order-sign, magnesium oxide in CKD 4"]
    path = f"/cds-services/{service_of(body)}"
    first, again = (hooks_client.post(path, json=body).get_data() for _ in range(2))
    assert first == again
    other = json.loads(json.dumps(body).replace(PATIENT, "somebody-else"))
    mine, theirs = (json.loads(one)["cards"] for one in (first, hooks_client.post(path, json=other).get_data()))
    assert mine != []
    assert [card["uuid"] for card in mine] == [card["uuid"] for card in theirs]


def test_nothing_to_say_is_said(hooks_client: FlaskClient) -> None:
    """No card without a word on what was assessed."""
    answer = ask(hooks_client, CALLS["patient-view, healthy"])
    assert answer["cards"] == []
    said = answer["extension"][ASSESSMENT]
    assert said["statement"].startswith("No card for what was assessed")
    assert said["data"]["magnesium"]["state"] == "used"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param({}, id="absent"),
        pytest.param({"patient": None}, id="null"),
        pytest.param({"patient": {**person(), "id": "another"}}, id="of somebody else"),
        pytest.param(
            {"patient": {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}},
            id="failed",
        ),
    ],
)
def test_patient_view_needs_a_patient(hooks_client: FlaskClient, found: Json) -> None:
    """Without one it says what is missing, and gives no empty list."""
    response = hooks_client.post("/cds-services/mgvd-patient-view", json=call("patient-view", found))
    assert response.status_code == 412
    (issue,) = response.get_json()["issue"]
    assert issue["code"] == "required"
    assert issue["expression"] == ["prefetch.patient"]


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """What is written down of feedback."""
    logger = logging.getLogger("service.feedback")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    handler = Kept()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_what_a_clinician_did_is_written_down_by_rule(hooks_client: FlaskClient, kept: Kept) -> None:
    """Once, without a patient, a user or a word of theirs."""
    card = ask(hooks_client, CALLS["order-sign, magnesium oxide in CKD 4"])["cards"][0]
    opinion = {
        "card": card["uuid"],
        "outcome": "overridden",
        "overrideReason": {"reason": card["overrideReasons"][0], "userComment": "Ms Stone insists"},
        "outcomeTimestamp": "2026-11-21T10:00:00Z",
    }
    stranger = {**opinion, "card": "4e0a3a1e-3283-4575-ab82-028d55fe2719"}
    for _ in range(2):
        response = hooks_client.post("/cds-services/mgvd-order-sign/feedback", json={"feedback": [opinion, stranger]})
        assert response.status_code == 200
        assert response.get_json() == {"extension": {"org.cofactor.feedback": {"received": 2, "ofUnknownCards": 1}}}
    lines = [vars(one) for one in kept.records]
    assert [one["rules"][:1] for one in lines] == [["gate-mg-severe-kidney-disease@1"], []]
    assert lines[0]["outcome"] == "overridden"
    assert lines[0]["reasons"] == ["risk-benefit-ratio"]
    assert "Stone" not in repr(lines)


def test_a_fault_of_ours_is_seen() -> None:
    """An answer that may not leave is an error with an OperationOutcome, never a list without cards."""
    nowhere = create_app(Settings(hooks=HookSettings(public_url="nowhere")), clock=lambda: TODAY).test_client()
    body = CALLS["order-sign, magnesium oxide in CKD 4"]
    response = nowhere.post("/cds-services/mgvd-order-sign", json=body)
    assert response.status_code == 500
    outcome = response.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert [one["code"] for one in outcome["issue"]] == ["exception"]
