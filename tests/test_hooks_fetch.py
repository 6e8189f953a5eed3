"""What a call lacks is fetched over HTTP, when the list of issuers names the FHIR server, and never otherwise."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask import Flask

from service.app import create_app
from service.settings import HookSettings, Settings
from tests.conftest import TODAY
from tests.hook_calls import ME, SIGN, Json, bundle, call, egfr, listening, order
from tests.test_hooks_tokens import EHR, GOOD, P384, PUBLIC, jwk
from tests.tls import certificate, serving

STATEMENT = {
    "resourceType": "MedicationStatement",
    "id": "s-1",
    "status": "active",
    "subject": ME,
    "medicationCodeableConcept": {"text": "Magnesium citrate 100 mg tablet"},
}


@dataclass
class FhirServer:
    """The server of the EHR; knows one eGFR and one supplement, and finds nothing else."""

    folder: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/fhir"

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(handler.path)
        self.asked.append(f"{path} {handler.headers['Authorization']}")
        found = bundle(egfr(22)) if "98979-8" in path else bundle(STATEMENT) if "Statement" in path else bundle()
        body = json.dumps({**found, "type": "searchset"} if "?" in path else {"resourceType": "Patient"}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/fhir+json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture(scope="module")
def fhir_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    folder = tmp_path_factory.mktemp("ehr")
    server = FhirServer(folder)
    with serving(certificate(folder), server.respond) as server.port:
        yield server


def site(server: FhirServer, *, listed: bool) -> Flask:
    """A service whose one issuer has this FHIR server, or none."""
    folder = server.folder
    (folder / "ehr.json").write_text(json.dumps({"keys": [jwk(P384, "ec")]}))
    lines = [f'public_url = "{PUBLIC}"', "[[issuer]]", f'iss = "{EHR}"', 'jwks_file = "ehr.json"']
    if listed:
        lines += ["[[issuer.fhir_server]]", f'url = "{server.url}"', 'private_addresses = ["127.0.0.1"]']
        lines += ['ca_file = "server.pem"']
    trust = folder / f"trust-{listed}.toml"
    trust.write_text("\n".join(lines))
    hooks = HookSettings(trust=trust, replay=str(folder / "replay.sqlite"))
    return create_app(Settings(hooks=hooks), clock=lambda: TODAY)


def bare(server: FhirServer, **authorization: str) -> Json:
    """Signing ciprofloxacin, and nothing else is sent but where to ask."""
    body = call("order-sign", order("d-1", "Ciprofloxacin 500 mg tablet"))
    del body["prefetch"]
    granted = {"access_token": "an-access-token", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read"}
    return {**body, "fhirServer": server.url, "fhirAuthorization": {**granted, "subject": "cofactor", **authorization}}


def answered(app: Flask, body: Json) -> tuple[Json, Json]:
    """The answer to a call with a token, and the line of the log."""
    with listening() as lines:
        response = app.test_client().post(SIGN, json=body, headers=GOOD.bearer())
    assert response.status_code == 200, response.get_data(as_text=True)
    assert "an-access-token" not in response.get_data(as_text=True) + repr(lines)
    (line,) = [one for one in lines if one["event"] == "request"]
    said: Json = response.get_json()
    return said, line


def states(answer: Json) -> dict[str, str]:
    return {key: one["state"] for key, one in answer["extension"]["org.cofactor.assessment"]["data"].items()}


def test_a_server_that_is_listed_is_asked_for_what_was_not_sent(fhir_server: FhirServer) -> None:
    """And what it knows counts as if it had been sent: the supplement brings the hours."""
    fhir_server.asked.clear()
    answer, line = answered(site(fhir_server, listed=True), bare(fhir_server))
    assert len(fhir_server.asked) == 12
    assert all("patient=p-1" in one or "/Patient/p-1" in one for one in fhir_server.asked)
    assert all(one.endswith(" Bearer an-access-token") for one in fhir_server.asked)
    found = states(answer)
    assert (found["egfr"], found["otc"], found["calcium"]) == ("used", "used", "none_found")
    rules = {rule["id"] for card in answer["cards"] for rule in card["extension"]["org.cofactor.rules"]}
    assert "mg-fq-ciprofloxacin" in rules
    assert line["fetched"]["egfr"] == "fetched"


def test_a_server_that_is_not_listed_is_never_asked(fhir_server: FhirServer) -> None:
    """Whatever a call says."""
    fhir_server.asked.clear()
    answer, line = answered(site(fhir_server, listed=False), bare(fhir_server))
    assert fhir_server.asked == []
    assert set(states(answer).values()) == {"absent"}
    assert "fetched" not in line


def test_a_token_for_another_patient_is_not_used(fhir_server: FhirServer) -> None:
    """The call is answered from what was sent."""
    fhir_server.asked.clear()
    _, line = answered(site(fhir_server, listed=True), bare(fhir_server, patient="p-2"))
    assert fhir_server.asked == []
    assert line["fetched"] == "token_of_another_patient"
