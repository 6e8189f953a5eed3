"""Clients that others have written, against the server as shipped; and what EHRs are known to send.

`make test` installs the clients (tools/clients.sh). Where they cannot be had their tests are skipped and say so.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.app import today
from service.hooks.resources import Subject, laboratory_order, medication_order
from service.knowledge import Rulebook
from service.knowledge.hooks_file import load_hooks
from service.settings import Settings
from tests.clients.fhir_server import FhirServer, serving
from tests.fhir_patients import (
    CIPROFLOXACIN,
    MAGNESIUM_OXIDE,
    RXNORM,
    SECRET,
    Json,
    Record,
    bundle,
    concept,
    kidney_disease,
    nothing_known,
    on_magnesium,
    outcome,
)
from tests.test_server import free_port, stop, wait_until_open

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((ROOT / "tests" / "cds_hooks.schema.json").read_text(encoding="utf-8"))
RESPONSE = Draft202012Validator({**SCHEMA, "$ref": "#/$defs/response"})
ASSESSMENT = "org.cofactor.assessment"
FEEDBACK = "org.cofactor.feedback"
INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
USER = {"resourceType": "Practitioner", "id": "7"}
"""Not on the FHIR server: whoever reads it gets an error."""

CLIENTS = ROOT / ".clients"
MODULES = CLIENTS / "js"
HEALTHCHAIN = CLIENTS / "py" / "bin" / "python"
DRIVERS = ROOT / "tests" / "clients"


@dataclass
class Server:
    """A running service."""

    port: int
    log: Path

    @property
    def services(self) -> str:
        """Where the services are."""
        return f"http://127.0.0.1:{self.port}/cds-services"

    def logged(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Json]:
        """Status and body of an answer; `body` is sent as JSON, bytes as they are."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/cds-services{path}", sent, {"Content-Type": "application/json"} | named)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def call(self, body: Json) -> Json:
        """The response to a call that is answered with cards."""
        status, response = self.ask("POST", f"/mgvd-{body['hook']}", body)
        assert status == 200, response
        RESPONSE.validate(response)
        return response


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service with all three hooks, served as shipped."""
    port, log = free_port(), tmp_path_factory.mktemp("clients") / "server.log"
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "1", "LOG_LEVEL": "info"}
    settings["CDS_HOOKS"] = "patient-view,order-select,order-sign"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "deploy" / "gunicorn.conf.py")],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("CDS_HOOKS")} | settings,
            stderr=output,
        )
        try:
            wait_until_open(port, process)
            yield Server(port, log)
        finally:
            stop(process)


KIDNEYS = kidney_disease(today())
HEALTHY = on_magnesium(today())
UNKNOWN = nothing_known(today())


@pytest.fixture
def fhir() -> Iterator[FhirServer]:
    """A FHIR server with all records."""
    with serving([KIDNEYS, HEALTHY, UNKNOWN]) as found:
        yield found


# The clients.

Client = Callable[..., Json]


def _run(command: list[str | Path], job: Any) -> Any:
    done = subprocess.run(
        command, input=json.dumps(job), capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _javascript(driver: str, job: Any) -> Any:
    node = shutil.which("node")
    if node is None or not any(CLIENTS.glob("js-*")):
        pytest.skip("Medplum and the FHIR validators are not installed: nothing is tested with them (tools/clients.sh)")
    return _run([node, DRIVERS / driver, MODULES], job)


@pytest.fixture
def medplum(server: Server, fhir: FhirServer) -> Client:
    """Medplum's client, with the FHIR server for its prefetch."""

    def run(task: str, **job: Any) -> Json:
        said: Json = _javascript(
            "medplum.mjs", {"task": task, "services": server.services, "fhir": fhir.url, "user": USER, **job}
        )
        return said

    return run


@pytest.fixture
def healthchain(server: Server, tmp_path: Path) -> Client:
    """HealthChain's client, which loads its prefetch from a file."""

    def run(task: str, hook: str = "", prefetch: Json | None = None, *, whole: bool = True, **job: Any) -> Json:
        if not any(CLIENTS.glob("py-*")):
            pytest.skip("HealthChain is not installed: nothing is tested with it (tools/clients.sh says why)")
        file = tmp_path / "prefetch.json"
        file.write_text(json.dumps(prefetch))
        said: Json = _run(
            [HEALTHCHAIN, DRIVERS / "healthchain_client.py"],
            {
                "task": task,
                "url": f"{server.services}/mgvd-{hook}" if hook else server.services,
                "workflow": hook,
                "file": str(file),
                "whole": whole,
                **job,
            },
        )
        return said

    return run


def complaints(resources: list[Json]) -> list[Json]:
    """What each of the validators has against each of the resources."""
    found: list[Json] = _javascript("validate.mjs", resources)
    assert len(found) == len(resources)
    return found


# Calls.


def context(record: Record, *drafts: Json, select: bool = False, **more: Any) -> Json:
    """Of an order hook with these drafts, or of patient-view."""
    named = {"userId": "Practitioner/7", "patientId": record.id, **more}
    if drafts:
        named["draftOrders"] = bundle(*drafts, kind="collection")
    if select:
        named["selections"] = [f"MedicationRequest/{one['id']}" for one in drafts]
    return named


def prefetch_of(record: Record) -> Json:
    """What a site sends that has few queries: all results under one key."""

    def of(kind: str) -> Json:
        return bundle(*(one for one in record.resources if one["resourceType"] == kind))

    kinds = {"labs": "Observation", "medications": "MedicationRequest", "otc": "MedicationStatement"}
    lists = {key: of(kind) for key, kind in {**kinds, "conditions": "Condition"}.items()}
    return {"patient": record.patient(), **lists}


def call(record: Record, hook: str, *drafts: Json, **more: Any) -> Json:
    """A whole request body."""
    named = context(record, *drafts, select=hook == "order-select")
    return {"hook": hook, "hookInstance": INSTANCE, "context": named, "prefetch": prefetch_of(record), **more}


OXIDE = KIDNEYS.draft("draft-1", *MAGNESIUM_OXIDE)


def actions(response: Json) -> list[Json]:
    """All of all suggestions of all cards."""
    suggestions = [one for card in response["cards"] for one in card.get("suggestions", ())]
    return [action for one in suggestions for action in one["actions"]]


def said_none_found(response: Json) -> str:
    """All that is claimed to have been searched for and not found, in the order in which it stands there."""
    states = [one["text"] for one in response["extension"][ASSESSMENT]["data"].values()]
    lines = [line for card in response["cards"] for line in card["detail"].splitlines()]
    return "\n".join(one for one in [*states, *lines] if "none found" in one.lower())


# Discovery and prefetch.


def test_medplum_finds_the_services(server: Server, medplum: Client) -> None:
    """All of them, with the templates as they are served."""
    found = medplum("discover")["result"]
    assert found == server.ask("GET", "")[1]
    assert {one["id"]: one["hook"] for one in found["services"]} == {
        "mgvd-patient-view": "patient-view",
        "mgvd-order-select": "order-select",
        "mgvd-order-sign": "order-sign",
    }


def test_healthchain_reads_the_discovery(server: Server, healthchain: Client) -> None:
    """Its own model keeps all that it knows of."""
    found = healthchain("discover")["read"]["services"]
    served = server.ask("GET", "")[1]["services"]
    assert len(found) == 3
    assert found == [{name: one[name] for name in found[0]} for one in served]


def test_medplum_gets_all_it_is_asked_for(fhir: FhirServer, medplum: Client) -> None:
    """One request for each key, all about the patient, each understood by the FHIR server."""
    said = medplum("hook", hook="order-sign", context=context(KIDNEYS, OXIDE))["result"]
    prefetch = said["request"]["prefetch"]
    assert prefetch["patient"] == KIDNEYS.patient()
    assert {one["resourceType"] for key, one in prefetch.items() if key != "patient"} == {"Bundle"}
    assert len(fhir.asked) == len(prefetch) > 10
    assert all(KIDNEYS.id in target for target in fhir.asked)
    # Everything of the record has come, and nothing else.
    found = [one["resource"] for key in prefetch if key != "patient" for one in prefetch[key].get("entry", ())]
    assert sorted(found, key=lambda one: one["id"]) == KIDNEYS.resources
    data = said["response"]["extension"][ASSESSMENT]["data"]
    assert {key for key, one in data.items() if one["state"] == "used"} == {
        key for key, one in prefetch.items() if key == "patient" or "entry" in one
    }


# The cases that matter most, through Medplum.


def test_magnesium_oxide_in_kidney_disease(medplum: Client) -> None:
    """A warning on that order, which a click removes, with the eGFR and its date."""
    response = medplum("hook", hook="order-sign", context=context(KIDNEYS, OXIDE))["result"]["response"]
    RESPONSE.validate(response)
    card = response["cards"][0]
    assert card["indicator"] == "warning"
    assert "kidney" in card["summary"]
    assert f"22 mL/min/1.73 m2 on {KIDNEYS.day(30)}" in card["detail"]
    assert [one["resourceId"] for one in actions({"cards": [card]})] == ["MedicationRequest/draft-1"]
    assert [one["type"] for one in actions(response) if "resourceId" in one] == ["delete"]


def test_ciprofloxacin_for_a_patient_on_magnesium(medplum: Client) -> None:
    """The hours to keep apart, and that there is magnesium, though it was never prescribed."""

    def ordered_for(record: Record) -> Json:
        named = context(record, record.draft("draft-1", *CIPROFLOXACIN))
        response: Json = medplum("hook", hook="order-sign", context=named)["result"]["response"]
        RESPONSE.validate(response)
        return response

    card = ordered_for(HEALTHY)["cards"][0]
    assert card["indicator"] == "warning"
    assert "ciprofloxacin" in card["summary"]
    assert re.search(r"at least \d+ h before or \d+ h after magnesium", card["detail"])
    assert actions({"cards": [card]}) == []
    assert "magnesium citrate" in card["detail"]
    assert "magnesium citrate" not in json.dumps(ordered_for(UNKNOWN))


def test_only_the_selected_order_speaks(medplum: Client) -> None:
    """Of two drafts, on order-select."""
    other = KIDNEYS.draft("draft-2", "308182", "amoxicillin 250 MG Oral Capsule")
    for selected, removed in ((OXIDE, ["MedicationRequest/draft-1"]), (other, [])):
        named = context(KIDNEYS, OXIDE, other, selections=[f"MedicationRequest/{selected['id']}"])
        response = medplum("hook", hook="order-select", context=named)["result"]["response"]
        assert [one["resourceId"] for one in actions(response) if one["type"] == "delete"] == removed


# What was not to be had is not what was not there.

TODAY_TOKEN = "Observation?patient={{context.patientId}}&date=ge{{today() - 365 days}}"
DRAFTS_TOKEN = "Condition?_id={{context.draftOrders.entry.resource.ofType(MedicationRequest).reasonReference}}"


def test_what_medplum_cannot_evaluate_is_not_supplied(medplum: Client) -> None:
    """It sends null for the tokens of later versions; HAPI would mean by it that there is nothing."""
    templates = {"egfr": TODAY_TOKEN, "creatinine": TODAY_TOKEN, "conditions": DRAFTS_TOKEN}
    said = medplum("hook", hook="order-sign", context=context(KIDNEYS, OXIDE), templates=templates)["result"]
    assert all(said["request"]["prefetch"][key] is None for key in templates)
    response = said["response"]
    data = response["extension"][ASSESSMENT]["data"]
    for key in templates:
        assert data[key]["state"] == "null"
        assert data[key]["text"].endswith(": not supplied")
    assert re.search("^- Not supplied: .*Creatinine, eGFR, .*Conditions", response["cards"][0]["detail"], re.MULTILINE)
    claimed = said_none_found(response)
    assert "PTH" in claimed
    assert not re.search("eGFR|Creatinine|Conditions", claimed)


@pytest.mark.parametrize("body", [outcome(), bundle(outcome())], ids=["in place of the Bundle", "within the Bundle"])
def test_a_search_that_failed_is_said_to_have_failed(fhir: FhirServer, medplum: Client, body: Json) -> None:
    """Both shapes come with status 200, so the client passes them on."""
    fhir.answers = {"98979-8": (200, body), "Condition?": (200, body)}
    response = medplum("hook", hook="order-sign", context=context(KIDNEYS, OXIDE))["result"]["response"]
    data = response["extension"][ASSESSMENT]["data"]
    for key in ("egfr", "conditions"):
        assert data[key]["state"] == "failed"
        assert "failed, so not known" in data[key]["text"]
    assert "- The query failed, so not known: eGFR, Conditions." in response["cards"][0]["detail"]
    claimed = said_none_found(response)
    assert "PTH" in claimed
    assert not re.search("eGFR|Conditions", claimed)


def test_a_list_with_further_pages_is_said_to_be_a_part(fhir: FhirServer, medplum: Client) -> None:
    """The client sends the first page only."""
    rest = [{"relation": "next", "url": f"{fhir.url}/MedicationStatement?page=2"}]
    fhir.answers = {"MedicationStatement": (200, bundle(link=rest))}
    response = medplum("hook", hook="order-sign", context=context(KIDNEYS, OXIDE))["result"]["response"]
    assert response["extension"][ASSESSMENT]["data"]["otc"]["state"] == "incomplete"
    assert "statements" not in said_none_found(response)


# Errors are errors, and no empty list of cards.


def test_medplum_sees_an_error_as_one(medplum: Client) -> None:
    """With our OperationOutcome, which names the places."""
    said = medplum("call", id="mgvd-order-sign", body={"hook": "order-sign", "context": {"patientId": KIDNEYS.id}})
    assert "result" not in said
    assert said["error"]["name"] == "OperationOutcomeError"
    places = [one["expression"] for one in said["error"]["outcome"]["issue"]]
    assert places == [["context.draftOrders"], ["context.userId"], ["hookInstance"]]
    unknown = medplum("call", id="mgvd-order-dispatch", body={})
    assert unknown["error"]["outcome"]["issue"][0]["code"] == "not-found"


def test_healthchain_sees_an_error_as_one(healthchain: Client) -> None:
    """It raises nothing: it logs, and gives back an object that has no cards, not even none.

    Its own request is such an error. It drops what a hook adds to the context, and the drafts are required.
    """
    named = context(KIDNEYS, OXIDE)
    said = healthchain("send", "order-sign", prefetch_of(KIDNEYS), whole=False, context=named)
    assert "draftOrders" not in said["request"]["context"]
    assert said["response"] == {}
    (error,) = said["errors"]
    assert "Error response 400" in error
    assert "/context/draftOrders: Missing" in error


# HealthChain.

WANTED_BY_HEALTHCHAIN = {"autoLaunchable", "isRecommended"}
"""Required by its models: the first in links, where CDS Hooks 2.0.1 has none; the second, where it is optional."""


@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
def test_healthchain_reads_the_cards_of_an_order(healthchain: Client, hook: str) -> None:
    """With its own models, which have nothing else against them."""
    named = context(KIDNEYS, OXIDE, select=hook == "order-select")
    said = healthchain("send", hook, prefetch_of(KIDNEYS), context=named)
    assert said["errors"] == []
    assert said["request"]["context"]["draftOrders"] == named["draftOrders"]
    _check_reading(said)
    removal = next(one for one in actions(said["patched"]["read"]) if one["type"] == "delete")
    assert removal["resourceId"] == "MedicationRequest/draft-1"


def test_healthchain_reads_the_card_of_a_chart(healthchain: Client) -> None:
    """Loaded from a file, with the patient of that file in place of the random one."""
    said = healthchain("send", "patient-view", prefetch_of(KIDNEYS), patient=KIDNEYS.id)
    assert said["errors"] == []
    _check_reading(said)
    assert len(said["response"]["cards"]) == 1


def test_healthchain_mixes_patients_and_is_told_so(healthchain: Client) -> None:
    """Left alone it makes up a patient's id, and the record in the file is another one's: nothing of it is used."""
    said = healthchain("send", "patient-view", prefetch_of(KIDNEYS))
    assert said["request"]["context"]["patientId"] != KIDNEYS.id
    assert said["response"] == {}
    (error,) = said["errors"]
    assert "Error response 412" in error
    assert "/prefetch/patient" in error


def _check_reading(said: Json) -> None:
    """Nothing but those two is missing, and with them its models read what was sent. When it was mended this fails."""
    faults = said["unaltered"]["faults"]
    assert faults
    assert {one["type"] for one in faults} == {"missing"}
    assert {one["at"][-1] for one in faults} <= WANTED_BY_HEALTHCHAIN
    sent, read = said["response"]["cards"], said["patched"]["read"]["cards"]
    assert sent
    assert read == [{name: value for name, value in card.items() if name != "extension"} for card in sent]


# Feedback.


def test_feedback_finds_its_way_back(server: Server, medplum: Client) -> None:
    """From the ids that a client was given to the rules that the cards came from."""
    cards = medplum("hook", hook="order-sign", context=context(KIDNEYS, OXIDE))["result"]["response"]["cards"]
    assert len(cards) > 1
    when = {"outcomeTimestamp": "2026-11-20T10:05:31Z"}
    taken = [{"id": cards[0]["suggestions"][0]["uuid"]}]
    reason = cards[1]["overrideReasons"][0]
    opinions = [
        {"card": cards[0]["uuid"], "outcome": "accepted", "acceptedSuggestions": taken, **when},
        {"card": cards[1]["uuid"], "outcome": "overridden", "overrideReason": {"reason": reason}, **when},
        # As the official sandbox sends it, and with a comment, which is nobody's business.
        {
            "card": cards[-1]["uuid"],
            "outcome": "overridden",
            "overrideReason": {"reason": {name: reason[name] for name in ("code", "system")}, "userComment": SECRET},
            **when,
        },
    ]
    answer = medplum("feedback", id="mgvd-order-sign", body={"feedback": opinions})["result"]
    assert answer["extension"][FEEDBACK] == {"received": len(opinions), "ofUnknownCards": 0}
    heard = [line for line in map(json.loads, _json_lines(server)) if line["event"] == "feedback"]
    rules = [f"{one['id']}@{one['version']}" for one in cards[0]["extension"]["org.cofactor.rules"]]
    accepted = next(line for line in heard if line["outcome"] == "accepted")
    # An id has room for three rules; the leading one is always among them.
    for told in (accepted["rules"], accepted["taken"]):
        assert rules[0] in told
        assert set(told) <= set(rules)
    overridden = [line for line in heard if line["outcome"] == "overridden"]
    assert [line["reasons"] for line in overridden] == [[reason["code"]]] * 2
    made_up = [{**opinions[1], "card": INSTANCE}]
    answer = medplum("feedback", id="mgvd-order-sign", body={"feedback": made_up})["result"]
    assert answer["extension"][FEEDBACK] == {"received": 1, "ofUnknownCards": 1}
    assert SECRET not in server.logged()


def _json_lines(server: Server) -> list[str]:
    return [line for line in server.logged().splitlines() if line.startswith("{")]


# The FHIR resources that leave, by validators of others.


def _refusals(server: Server) -> dict[int, Json]:
    """An OperationOutcome of every status that can be had without tokens."""
    good = call(KIDNEYS, "order-sign", OXIDE)
    asked: list[tuple[int, str, str, Any, dict[str, str]]] = [
        (400, "POST", "/mgvd-order-sign", b"{", {}),
        (400, "POST", "/mgvd-order-sign", {"hook": "order-select", "prefetch": {"patient": []}}, {}),
        (401, "POST", "/mgvd-order-sign", good, {"X_Forwarded_For": "192.0.2.1"}),
        (404, "POST", "/mgvd-order-dispatch", good, {}),
        (405, "PUT", "/mgvd-order-sign", good, {}),
        (412, "POST", "/mgvd-patient-view", {**call(KIDNEYS, "patient-view"), "prefetch": {}}, {}),
        (413, "POST", "/mgvd-order-sign", b" " * (2 * 1024 * 1024 + 1), {}),
        (415, "POST", "/mgvd-order-sign", b"hook=order-sign", {"Content_Type": "application/x-www-form-urlencoded"}),
    ]
    found = {}
    for number, (wanted, method, path, body, headers) in enumerate(asked):
        status, answer = server.ask(method, path, body, **headers)
        assert status == wanted, answer
        found[status * 10 + number] = answer
    return found


def test_what_is_refused_is_refused_with_a_valid_outcome(server: Server) -> None:
    """For two independent validators."""
    outcomes = list(_refusals(server).values())
    assert {one["resourceType"] for one in outcomes} == {"OperationOutcome"}
    assert complaints(outcomes) == [{"medplum": [], "fhir": []}] * len(outcomes)


def test_what_is_suggested_is_valid(server: Server) -> None:
    """Whatever the hooks suggest for these patients; an encounter makes its own reference."""
    responses = [
        server.call(call(record, hook, *drafts))
        for record in (KIDNEYS, HEALTHY, UNKNOWN)
        for hook in ("order-select", "order-sign", "patient-view")
        for drafts in ([()] if hook == "patient-view" else [(record.draft("draft-1", *MAGNESIUM_OXIDE),)])
    ]
    body = call(KIDNEYS, "order-sign", OXIDE)
    body["context"]["encounterId"] = "encounter-1"
    responses.append(server.call(body))
    created = [one["resource"] for response in responses for one in actions(response) if "resource" in one]
    assert len(created) > 5
    assert any("encounter" in one for one in created)
    assert complaints(created) == [{"medplum": [], "fhir": []}] * len(created)


def every_draft(rulebook: Rulebook) -> list[Json]:
    """A draft for each form of magnesium and for each lab, as a suggestion would create it."""
    words = load_hooks(Settings().rules).cards
    subject = Subject("Patient/p-1", "Encounter/e-1")
    forms = [
        medication_order(words["medication_order"], form, dose, subject)
        for form in rulebook.vocabulary.forms.values()
        for dose in (None, "Elemental magnesium 100 to 250 mg per day; in the evening")
    ]
    labs = [
        laboratory_order(
            words["laboratory_order"],
            {"lab": key, "loinc": lab.loinc, "display": lab.display, "reason": "Why.", "priority": priority},
            "When: today",
            subject,
        )
        for key, lab in rulebook.vocabulary.labs.items()
        if lab.loinc is not None
        for priority in words["laboratory_order"]["priorities"]
    ]
    assert forms
    assert labs
    return [*forms, *labs]


def test_whatever_can_be_suggested_is_valid(rulebook: Rulebook) -> None:
    """Not only what a few patients bring about."""
    drafts = every_draft(rulebook)
    found = complaints(drafts)
    assert [(one, said) for one, said in zip(drafts, found, strict=True) if any(said.values())] == []


def test_the_validators_find_what_is_wrong(rulebook: Rulebook) -> None:
    """Each mistake by the one or the other, most by both; else the tests above would prove nothing."""
    drafts = every_draft(rulebook)
    medicine = next(one for one in drafts if "dosageInstruction" in one)
    lab = next(one for one in drafts if "category" in one)
    refusal = outcome()
    mistakes: list[tuple[Json, set[str]]] = [
        (_without(lab, "subject"), {"medplum", "fhir"}),
        (lab | {"category": lab["category"][0]}, {"medplum", "fhir"}),
        (lab | {"site": "arm"}, {"medplum", "fhir"}),
        (lab | {"priority": None}, {"medplum", "fhir"}),
        (lab | {"subject": {"reference": "Observation/1"}}, {"medplum", "fhir"}),
        (lab | {"status": "drafted"}, {"fhir"}),
        (lab | {"priority": "soon"}, {"fhir"}),
        (_without(medicine, "medicationCodeableConcept"), {"medplum", "fhir"}),
        (medicine | {"medicationReference": {"reference": "Medication/1"}}, {"medplum"}),
        (medicine | {"dosageInstruction": [{"doseAndRate": {"type": {"text": "x"}}}]}, {"medplum", "fhir"}),
        (refusal | {"issue": []}, {"medplum", "fhir"}),
        (refusal | {"issue": [{"severity": "error"}]}, {"medplum", "fhir"}),
        (refusal | {"issue": [{"severity": "error", "code": "wrong"}]}, {"fhir"}),
    ]
    found = complaints([resource for resource, _ in mistakes])
    assert [{name for name, said in one.items() if said} for one in found] == [by for _, by in mistakes]


def _without(resource: Json, name: str) -> Json:
    return {key: value for key, value in resource.items() if key != name}


def test_the_patients_of_these_tests_are_valid() -> None:
    """What is true of no FHIR server would prove nothing either."""
    resources = [resource for record in (KIDNEYS, HEALTHY, UNKNOWN) for resource in record]
    resources += [OXIDE, bundle(*resources), bundle(OXIDE, kind="collection")]
    assert complaints(resources) == [{"medplum": [], "fhir": []}] * len(resources)


# What the official sandbox does.


def test_the_first_call_of_the_sandbox_has_an_order_of_nothing(server: Server, fhir: FhirServer) -> None:
    """Before a medicine is chosen: neither medication nor intent, in a Bundle without a type. Then one is chosen."""
    order = {key: OXIDE[key] for key in ("resourceType", "id", "status", "subject")}
    body = call(KIDNEYS, "order-select", order, fhirServer=fhir.url)
    del body["context"]["draftOrders"]["type"]
    response = server.call(body)
    assert response["cards"] == []
    (said,) = response["extension"][ASSESSMENT]["orders"]
    assert said["order"] == "MedicationRequest/draft-1"
    assert said["state"] == "not_read"
    assert "not assessed" in said["text"]
    order["medicationCodeableConcept"] = OXIDE["medicationCodeableConcept"]
    body["context"]["draftOrders"]["entry"] = [{"resource": order}]
    assert [one["resourceId"] for one in actions(server.call(body)) if one["type"] == "delete"]


def test_a_key_that_the_sandbox_drops_is_not_supplied(server: Server) -> None:
    """It leaves out what it could not get."""
    body = call(KIDNEYS, "order-sign", OXIDE)
    del body["prefetch"]["conditions"]
    response = server.call(body)
    assert response["extension"][ASSESSMENT]["data"]["conditions"]["text"] == "Conditions: not supplied"
    assert "Conditions" not in said_none_found(response)


def _searched_literally(fhir: FhirServer) -> Json:
    """What a FHIR server has for a search with a token in it that nobody has replaced."""
    with urllib.request.urlopen(f"{fhir.url}/Condition?_id=%7B%7Bcontext.draftOrders.entry.resource.id%7D%7D") as found:
        body: Json = json.load(found)
    assert body["total"] == 0
    return body


def test_a_key_of_somebody_else_says_nothing(server: Server, fhir: FhirServer) -> None:
    """The sandbox sends tokens of later versions as they are, and gets an empty Bundle for them."""
    body = call(KIDNEYS, "order-sign", OXIDE)
    cards = server.call(body)["cards"]
    body["prefetch"]["related"] = _searched_literally(fhir)
    response = server.call(body)
    assert response["cards"] == cards
    assert "related" not in json.dumps(response["extension"][ASSESSMENT]["data"])


def test_a_search_for_a_token_has_found_nothing_out(server: Server, fhir: FhirServer) -> None:
    """The same under a key of ours, as where a site has written its own template."""
    body = call(KIDNEYS, "order-sign", OXIDE)
    body["prefetch"]["conditions"] = _searched_literally(fhir)
    response = server.call(body)
    assert response["extension"][ASSESSMENT]["data"]["conditions"]["state"] == "failed"
    assert "Conditions" not in said_none_found(response)


# What Epic documents.

EHR = "https://ehr.example/api/FHIR/R4"


def absolute(kind: str, name: str) -> Json:
    """A reference as Epic writes it. Who is shown beside it need not be who it is."""
    return {"reference": f"{EHR}/{kind}/{name}", "display": SECRET}


def epic_call() -> Json:
    """The shapes of Epic's sample: absolute references, a category that is no list, a user in an extension."""
    order = {
        **_without(OXIDE, "medicationCodeableConcept"),
        "identifier": [{"use": "usual", "system": "urn:oid:1.2.3", "value": "1"}],
        "category": {"coding": [{"code": "outpatient", "display": "Outpatient"}], "text": "Outpatient"},
        "medicationReference": absolute("Medication", "medication-1"),
        "subject": absolute("Patient", KIDNEYS.id),
        "encounter": absolute("Encounter", "encounter-1"),
        "requester": absolute("Practitioner", "7"),
        "dosageInstruction": [{"text": "400 mg, Oral, DAILY", "route": {"text": "Oral"}}],
    }
    medication = {"resourceType": "Medication", "id": "medication-1", "code": concept(RXNORM, *MAGNESIUM_OXIDE)}
    body = call(KIDNEYS, "order-sign", order, fhirServer=EHR, extension={"org.example.user": {"id": SECRET}})
    body["fhirAuthorization"] = {
        "access_token": SECRET,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/Patient.read",
        "subject": "service",
    }
    body["context"]["userId"] = "PractitionerRole/7"
    resources = [order, medication]
    for key in ("labs", "conditions", "medications"):
        entries = body["prefetch"][key]["entry"] = [
            {"resource": one["resource"] | {"subject": absolute("Patient", KIDNEYS.id)}}
            for one in body["prefetch"][key]["entry"]
        ]
        resources += [one["resource"] for one in entries]
    body["context"]["draftOrders"]["entry"] = [{"resource": order}, {"resource": medication}]
    for entry in [one for part in (body["context"]["draftOrders"], body["prefetch"]["labs"]) for one in part["entry"]]:
        entry["fullUrl"] = f"{EHR}/{entry['resource']['resourceType']}/{entry['resource']['id']}"
    return body


def test_the_shapes_of_epic_are_understood(server: Server) -> None:
    """The same cards as for the plain shapes, and nobody's name in the answer or in the log."""
    response = server.call(epic_call())
    plain = server.call(call(KIDNEYS, "order-sign", OXIDE))
    assert response["cards"] == plain["cards"]
    assert response["extension"][ASSESSMENT]["data"] == plain["extension"][ASSESSMENT]["data"]
    assert actions(response)[0]["resourceId"] == "MedicationRequest/draft-1"
    assert SECRET not in json.dumps(response) + server.logged()


def test_another_server_has_other_patients(server: Server) -> None:
    """The address decides, not the number at its end."""
    body = epic_call()
    for entry in body["prefetch"]["labs"]["entry"]:
        entry["resource"]["subject"]["reference"] = f"https://other.example/R4/Patient/{KIDNEYS.id}"
    data = server.call(body)["extension"][ASSESSMENT]["data"]["labs"]
    assert data["used"] == 0
    assert data["leftOut"] == 3


# Advice that must not be given.


def test_no_other_magnesium_where_none_may_be_given(server: Server) -> None:
    """With raltegravir no interval is accepted; a low magnesium makes forms of it worth considering all the same."""
    record = Record("raltegravir", today(), born=52, gender="male")
    record.result("98979-8", "eGFR by creatinine (CKD-EPI 2021)", 96, "mL/min/{1.73_m2}")
    record.result("19123-9", "Magnesium", 1.5, "mg/dL")
    record.ordered("744842", "raltegravir 400 MG Oral Tablet")
    response = server.call(call(record, "order-sign", record.draft("draft-1", *MAGNESIUM_OXIDE)))
    assert "raltegravir" in response["cards"][0]["summary"]
    assert [one["type"] for one in actions({"cards": response["cards"][:1]})] == ["delete"]


def test_a_first_order_of_magnesium_is_not_magnesium_already_taken(server: Server) -> None:
    """Nothing else is taken, and both lists of medicines are known to be empty."""
    record = Record("first-magnesium", today(), born=52, gender="male")
    record.result("98979-8", "eGFR by creatinine (CKD-EPI 2021)", 96, "mL/min/{1.73_m2}")
    response = server.call(call(record, "order-sign", record.draft("draft-1", *MAGNESIUM_OXIDE)))
    assert "already taken" not in json.dumps(response["cards"])
