"""CDS Hooks called from a page in a real browser, as the clients that run in one do."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

from service.app import create_app
from service.settings import HookSettings, Settings
from tests.browser import needs_browser, page_at
from tests.conftest import TODAY

Json = dict[str, Any]

HOSTILE = "Magnesium oxide <iframe src='https://evil.example'></iframe><img src=x onerror=alert(1)> 400 mg"
PAGE = """<!doctype html><title>EHR</title><pre id="said"></pre><div id="shown"></div><script type="module">
const say = text => { document.getElementById("said").textContent += text + "\\n"; };
const base = %(service)s;
try {
  const found = await (await fetch(base + "/cds-services")).json();
  say("found " + found.services.map(one => one.id).join(" "));
  const answer = await fetch(base + "/cds-services/mgvd-order-sign", {
    method: "POST",
    headers: {"Content-Type": "application/json", "Authorization": "Bearer a.b.c"},
    body: JSON.stringify(%(call)s),
  });
  const said = await answer.json();
  say("cards " + said.cards.map(card => card.indicator).join(" "));
  document.getElementById("shown").innerHTML = said.cards.map(card => card.detail).join("");
  const refused = await fetch(base + "/cds-services/mgvd-order-sign", {method: "POST", body: "{}"});
  say("refused " + refused.status + " " + (await refused.json()).resourceType);
} catch (error) {
  say("kept out");
}
</script>"""


def call() -> Json:
    """Signing a magnesium product whose name tries to be a page, in severe kidney disease."""
    patient = {"reference": "Patient/p"}
    code = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "198741"}], "text": HOSTILE}
    draft = {"resourceType": "MedicationRequest", "id": "d", "status": "draft", "intent": "order"}
    order = {**draft, "subject": patient, "medicationCodeableConcept": code}
    condition = {
        "resourceType": "Condition",
        "subject": patient,
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "N18.4"}]},
    }
    return {
        "hook": "order-sign",
        "hookInstance": "5f2d6b43-51a4-4d3e-8b4f-5d1c2a1b0c9d",
        "context": {
            "userId": "Practitioner/u",
            "patientId": "p",
            "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": order}]},
        },
        "prefetch": {"conditions": {"resourceType": "Bundle", "entry": [{"resource": condition}]}},
    }


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Servers of a test, stopped at its end."""
    with ExitStack() as stack:
        yield stack


def serve(running: ExitStack, app: Flask) -> str:
    server: BaseWSGIServer = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    running.callback(server.server_close)
    running.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


def seen(running: ExitStack, profile: Path, hooks: HookSettings) -> str:
    """What the page of an EHR, from another origin, gets from a service with these settings."""
    service = serve(running, create_app(Settings(hooks=hooks), clock=lambda: TODAY))
    ehr = Flask("ehr")
    page = PAGE % {"service": json.dumps(service), "call": json.dumps(call()).replace("<", "\\u003c")}
    ehr.add_url_rule("/", "page", lambda: page)
    return page_at(serve(running, ehr), profile)


@needs_browser
def test_a_page_of_this_machine_may_call(running: ExitStack, tmp_path: Path) -> None:
    """With a token of its own too; and even a page that shows the detail as HTML shows no HTML of the EHR's."""
    page = seen(running, tmp_path, HookSettings())
    assert "found mgvd-order-select mgvd-order-sign" in page
    assert "cards warning" in page
    assert "refused 415 OperationOutcome" in page
    shown = page[page.index('<div id="shown">') : page.index("<script")]
    assert "Magnesium oxide" in shown
    assert "iframe" in shown
    assert "<iframe" not in shown
    assert "<img" not in shown


@needs_browser
def test_a_page_that_is_not_on_the_list_may_not(running: ExitStack, tmp_path: Path) -> None:
    """The browser keeps the answer from it."""
    page = seen(running, tmp_path, HookSettings(origins=("https://ehr.example",)))
    assert '<pre id="said">kept out\n</pre>' in page
