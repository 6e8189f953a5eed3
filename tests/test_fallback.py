"""The fallback fetch: a real https server on loopback that would answer, and each guard that keeps a request from it.

Wherever something is refused, the same server would have given the data: a guard that is taken out is seen here.
"""

import gzip
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from service.api.decode import decode
from service.assessment import Assessor
from service.fhir import Chart, ChartReader
from service.hooks.fallback import USUAL, Budget, Fetched, complete
from service.hooks.net import Origin
from service.knowledge import Rulebook
from service.knowledge.hooks_file import Hooks, load_hooks
from service.settings import Settings
from tests.tls import NAME, certificate, serving

Json = dict[str, Any]

TODAY = date(2026, 11, 21)
TOKEN = "c2VjcmV0-of_this.call~1+/="
PATIENT = "p1-of-this-call"
LOOPBACK = frozenset({ip_address("127.0.0.1")})
PATIENTLY = replace(USUAL, milliseconds=60_000)
"""For what is not about time."""
HURRIED = replace(USUAL, milliseconds=3000)
"""For what is, and needs some of it to be in time on a busy machine."""
RESULTS = ("vitd25oh", "magnesium", "creatinine", "egfr", "calcium", "albumin", "phosphate", "pth")
KEYS = ("patient", *RESULTS, "medications", "otc", "conditions")
UCUM = "http://unitsofmeasure.org"
TESTS = {
    "62292-8": (31, "ng/mL"), "19123-9": (2, "mg/dL"), "2160-0": (1, "mg/dL"), "98979-8": (80, "mL/min/{1.73_m2}"),
    "17861-6": (9, "mg/dL"), "1751-7": (4, "g/dL"), "2777-1": (3, "mg/dL"), "2731-8": (40, "pg/mL"),
}  # fmt: skip


def about(**more: Any) -> Json:
    return {"subject": {"reference": f"Patient/{PATIENT}"}} | more


def result(code: str, day: int = 10, value: Any = None) -> Json:
    usual, unit = TESTS[code]
    quantity = {"value": value or usual, "unit": unit, "system": UCUM, "code": unit}
    coded = {"coding": [{"system": "http://loinc.org", "code": code}]}
    return about(
        resourceType="Observation",
        status="final",
        code=coded,
        effectiveDateTime=f"2026-11-{day:02}T08:00:00Z",
        valueQuantity=quantity,
    )


def medicine(kind: str, name: str) -> Json:
    return about(resourceType=kind, status="active", intent="order", medicationCodeableConcept={"text": name})


def bundle(*resources: Json, next_page: str | None = None, **more: Any) -> Json:
    link = {} if next_page is None else {"link": [{"relation": "next", "url": next_page}]}
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]} | (
        link | more
    )


PERSON = {"resourceType": "Patient", "id": PATIENT, "gender": "female", "birthDate": "1961-04-01"}
OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}
CONDITION = about(
    resourceType="Condition",
    clinicalStatus={"coding": [{"code": "active"}]},
    code={"coding": [{"system": "http://snomed.info/sct", "code": "31541009"}]},
)
RECORD: Json = {
    "patient": PERSON,
    **{key: bundle(result(code)) for key, code in zip(RESULTS, TESTS, strict=True)},
    "medications": bundle(medicine("MedicationRequest", "Furosemide 40 mg tablet")),
    "otc": bundle(medicine("MedicationStatement", "Magnesium oxide 400 mg tablet")),
    "conditions": bundle(CONDITION),
}
"""What the server has, one resource under each key."""


@dataclass
class Answer:
    """How the server answers one request."""

    body: bytes
    status: int = 200
    headers: Json = field(default_factory=dict)
    gate: threading.Event | None = None
    """No answer before it is set; a test that sets it only in the end never gets one."""
    drips: bool = False
    """A byte at a time, until the gate is set."""


def spelt(value: Any, **more: Any) -> Answer:
    return Answer(json.dumps(value).encode(), **more)


@dataclass
class Ehr:
    """A FHIR server on loopback; a test says how it answers."""

    hooks: Hooks
    certified: tuple[Path, Path] | None
    port: int = 0
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    """By prefetch key, or by path and query."""
    answered: Callable[[str], None] = lambda _: None
    gates: list[threading.Event] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Whether a client went away while it was answered."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/fhir"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def key(self, path: str) -> str | None:
        """The prefetch key whose template was asked for."""
        asked = unquote(path.partition("/fhir/")[2])
        for key, one in self.hooks.prefetch.items():
            if one.query.replace("{{context.patientId}}", PATIENT) == asked:
                return key
        return None

    def origin(self, **changes: Any) -> Origin:
        ca_file = self.certified[0] if self.certified else None
        return replace(Origin(self.url, LOOPBACK, ca_file), **changes)

    def gate(self) -> threading.Event:
        self.gates.append(threading.Event())
        return self.gates[-1]

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, dict(handler.headers)))
        key = self.key(handler.path)
        answer = self.answers.get(handler.path) or self.answers.get(key or "")
        if answer is None:
            answer = spelt(RECORD[key]) if key in RECORD else Answer(b"", 404)
        if answer.gate is not None and not answer.drips:
            answer.gate.wait(20)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        while answer.drips and answer.gate is not None and not answer.gate.wait(0.02):
            try:
                handler.wfile.write(b" ")
            except OSError:
                self.hung_up.set()
                return
        handler.wfile.write(answer.body)
        self.answered(key or "")


@pytest.fixture(scope="module")
def hooks() -> Hooks:
    return load_hooks(Settings().rules)


@pytest.fixture(scope="module")
def reader(rulebook: Rulebook) -> ChartReader:
    return ChartReader(rulebook.vocabulary, Assessor(rulebook).recogniser)


@pytest.fixture
def start(hooks: Hooks, tmp_path: Path) -> Iterator[Callable[..., Ehr]]:
    """Starts servers; they end with the test."""
    certified = certificate(tmp_path)
    with ExitStack() as stack:

        def starting(tls: bool = True) -> Ehr:
            ehr = Ehr(hooks, certified if tls else None)
            ehr.port = stack.enter_context(serving(ehr.certified, ehr.respond))
            stack.callback(lambda: [gate.set() for gate in ehr.gates])
            return ehr

        yield starting


@pytest.fixture
def ehr(start: Callable[..., Ehr]) -> Ehr:
    return start()


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, neither the token nor the patient reaches a log."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and f"{name}.".startswith("service."):
            monkeypatch.setattr(logger, "disabled", False)
            monkeypatch.setattr(logger, "propagate", True)
            monkeypatch.setattr(logger, "level", logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        assert record.exc_info is None
        assert TOKEN not in repr(vars(record))
        assert PATIENT not in repr(vars(record))


@dataclass
class Got:
    """What came of a call."""

    fetched: Fetched
    chart: Chart

    @property
    def states(self) -> dict[str, str]:
        return {key: self.chart.states[key].status for key in KEYS}

    def used(self, key: str) -> int:
        return self.chart.states[key].used


Ask = Callable[..., Got]


@pytest.fixture
def ask(hooks: Hooks, reader: ChartReader, ehr: Ehr) -> Ask:
    """Completes a call, and reads the chart that comes of it."""

    def asking(
        sent: Json | None = None, budget: Budget = PATIENTLY, servers: tuple[Origin, ...] | None = None, **changes: Any
    ) -> Got:
        request = call(ehr, sent, **changes)
        before = deepcopy(request)
        allowed = (ehr.origin(),) if servers is None else servers
        fetched = complete(hooks, hooks.services["mgvd-order-sign"], request, allowed, decode, budget)
        assert request == before
        assert TOKEN not in repr(fetched)
        assert PATIENT not in repr((fetched.outcomes, fetched.refused))
        return Got(fetched, reader.read(PATIENT, fetched.prefetch, TODAY, fhir_server=request.get("fhirServer")))

    return asking


def call(ehr: Ehr, sent: Json | None = None, **changes: Any) -> Json:
    authorisation = {
        "access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read", "subject": "cds",
        "patient": PATIENT,
    }  # fmt: skip
    request = {
        "hook": "order-sign",
        "context": {"userId": "Practitioner/7", "patientId": PATIENT, "draftOrders": bundle()},
        "fhirServer": ehr.url,
        "fhirAuthorization": authorisation | changes.pop("authorisation", {}),
    }
    if sent is not None:
        request["prefetch"] = sent
    request |= changes
    return {name: value for name, value in request.items() if value is not None}


def all_but(*keys: str) -> Json:
    return {key: value for key, value in RECORD.items() if key not in keys}


def nothing_asked(got: Got, ehr: Ehr, why: str) -> None:
    assert (got.fetched.refused, got.fetched.requests, ehr.asked) == (why, 0, [])
    assert set(got.states.values()) == {"absent"}


# What is asked for


def test_what_is_missing_is_asked_for_with_the_queries_of_discovery(ask: Ask, ehr: Ehr, hooks: Hooks) -> None:
    got = ask()
    assert set(got.states.values()) == {"used"}
    assert all(got.used(key) == 1 for key in KEYS)
    assert got.fetched == Fetched(got.fetched.prefetch, dict.fromkeys(KEYS, "fetched"), "", 12)
    templates = sorted(hooks.prefetch[key].query.replace("{{context.patientId}}", PATIENT) for key in KEYS)
    assert sorted(unquote(path.removeprefix("/fhir/")) for path in ehr.paths) == templates
    assert any("%7C" in path for path in ehr.paths)
    assert not any(set(path) & set("|{} ") for path in ehr.paths)
    for path in ehr.paths:
        assert dict(parse_qsl(urlsplit(path).query)).get("patient", PATIENT) == PATIENT
    for _, headers in ehr.asked:
        assert headers == {
            "Host": f"127.0.0.1:{ehr.port}",
            "Accept": "application/fhir+json",
            "Authorization": f"Bearer {TOKEN}",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }


def test_the_budget_of_a_call() -> None:
    assert (USUAL.milliseconds, USUAL.requests) == (1500, 12)


def test_only_what_was_not_supplied_is_asked_for(ask: Ask, ehr: Ehr) -> None:
    """An empty search and a failed one are answers; null is not, and a key of somebody else's is left as it is."""
    sent = all_but("otc", "pth") | {"pth": None, "magnesium": bundle(), "calcium": OUTCOME, "own": {"a": 1}}
    got = ask(sent)
    assert sorted(map(ehr.key, ehr.paths), key=str) == ["otc", "pth"]
    assert got.states == dict.fromkeys(KEYS, "used") | {"magnesium": "none_found", "calcium": "failed"}
    assert got.fetched.prefetch["own"] == {"a": 1}


def test_nothing_is_asked_where_nothing_is_missing(ask: Ask, ehr: Ehr) -> None:
    got = ask(RECORD)
    assert (ehr.asked, got.fetched.refused, got.fetched.prefetch) == ([], "", RECORD)


def test_one_key_for_all_results_stands_for_them(ask: Ask, ehr: Ehr) -> None:
    got = ask({"labs": bundle(*(result(code) for code in TESTS))})
    assert sorted(map(ehr.key, ehr.paths), key=str) == ["conditions", "medications", "otc", "patient"]
    assert got.chart.states["labs"].used == len(TESTS)


def test_one_key_for_all_results_that_is_null_stands_for_nothing(ask: Ask, ehr: Ehr) -> None:
    got = ask(all_but(*RESULTS) | {"labs": None})
    assert sorted(map(ehr.key, ehr.paths), key=str) == sorted(RESULTS)
    assert set(got.states.values()) == {"used"}


def test_numbers_stay_as_they_were_written(ask: Ask, ehr: Ehr) -> None:
    text = json.dumps(bundle(result("2160-0"))).replace('"value": 1', '"value": 1.10')
    ehr.answers["creatinine"] = Answer(text.encode())
    got = ask(all_but("creatinine"))
    value = got.fetched.prefetch["creatinine"]["entry"][0]["resource"]["valueQuantity"]["value"]
    assert (type(value), str(value)) == (Decimal, "1.10")


def test_an_empty_answer_is_a_search_that_found_nothing(ask: Ask, ehr: Ehr) -> None:
    ehr.answers["otc"] = spelt(bundle())
    assert ask(all_but("otc")).states["otc"] == "none_found"


def test_a_record_of_somebody_else_is_not_used(ask: Ask, ehr: Ehr) -> None:
    """A server may take no notice of a parameter."""
    ehr.answers["patient"] = spelt(PERSON | {"id": "p2"})
    ehr.answers["otc"] = spelt(bundle(medicine("MedicationStatement", "x") | {"subject": {"reference": "Patient/p2"}}))
    got = ask()
    assert (got.used("patient"), got.used("otc")) == (0, 0)


def test_it_does_not_matter_which_answer_comes_first(ask: Ask, ehr: Ehr) -> None:
    usual = ask()
    last, others = ehr.gate(), set(KEYS) - {"patient"}
    ehr.answers["patient"] = spelt(PERSON, gate=last)

    def answered(key: str) -> None:
        others.discard(key)
        if not others:
            last.set()

    ehr.answered = answered
    late = ask()
    assert late.fetched == usual.fetched
    assert list(late.fetched.prefetch) == list(usual.fetched.prefetch)


# Which server


def test_nothing_listed_is_nothing_asked(ask: Ask, ehr: Ehr) -> None:
    nothing_asked(ask(servers=()), ehr, "off")


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url + "/r4",
        lambda url: url.removesuffix("/fhir"),
        lambda url: url + "//",
        lambda url: url + "?",
        lambda url: url + "#",
        lambda url: url + "?x=y",
        lambda url: url.replace("https", "http"),
        lambda url: url.replace("https", "HTTPS"),
        lambda url: url.replace("//", "//a@"),
        lambda url: url.replace("/fhir", "/x/../fhir"),
        lambda url: url.replace("/fhir", "/%66hir"),
        lambda url: url.replace("127.0.0.1", "localhost"),
        lambda url: url.replace("127.0.0.1", "0x7f000001"),
        lambda url: " " + url,
    ],
)
def test_a_server_that_is_not_listed_is_not_asked(change: Callable[[str], str], ask: Ask, ehr: Ehr) -> None:
    nothing_asked(ask(fhirServer=change(ehr.url)), ehr, "server_not_listed")


def test_without_a_server_nothing_is_asked(ask: Ask, ehr: Ehr) -> None:
    nothing_asked(ask(fhirServer=None), ehr, "no_server")


def test_the_server_of_another_issuer_is_not_asked(ask: Ask, ehr: Ehr, start: Callable[..., Ehr]) -> None:
    own = start()
    nothing_asked(ask(servers=(own.origin(),)), ehr, "server_not_listed")
    assert own.asked == []


@pytest.mark.parametrize(("listed", "stated"), [("", "/"), ("/", ""), ("/", "/")])
def test_a_slash_at_the_end_makes_no_difference(listed: str, stated: str, ask: Ask, ehr: Ehr) -> None:
    got = ask(servers=(ehr.origin(url=ehr.url + listed),), fhirServer=ehr.url + stated)
    assert set(got.states.values()) == {"used"}
    assert all(path.startswith("/fhir/") and "//" not in path.partition("?")[0] for path in ehr.paths)


@pytest.mark.parametrize("addresses", [[], ["127.0.0.2"], ["::1"]])
def test_an_address_inside_that_is_not_listed_is_not_connected_to(addresses: list[str], ask: Ask, ehr: Ehr) -> None:
    got = ask(servers=(ehr.origin(private_addresses=frozenset(map(ip_address, addresses))),))
    assert ehr.asked == []
    assert got.fetched.outcomes == dict.fromkeys(KEYS, "address not allowed")
    assert set(got.states.values()) == {"failed"}


@pytest.mark.parametrize("dressed_up", ["[::ffff:127.0.0.1]", "localhost", "0"])
def test_an_address_inside_is_seen_through_its_clothes(dressed_up: str, ask: Ask, ehr: Ehr) -> None:
    url = ehr.url.replace("127.0.0.1", dressed_up)
    got = ask(servers=(ehr.origin(url=url, private_addresses=frozenset()),), fhirServer=url)
    assert set(got.fetched.outcomes.values()) == {"address not allowed"}
    assert ehr.asked == []


@dataclass
class Names:
    """The look-up of names, with answers of the test for the one name that the certificate has."""

    answers: list[list[str]]
    asked: int = 0

    def look_up(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = [host]
        if host == NAME:
            found = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port)) for one in found]


def test_a_name_is_looked_up_once_for_all_requests(ask: Ask, ehr: Ehr, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it means the second time was never examined."""
    names = Names([["127.0.0.1"], ["127.0.0.9"]])
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    url = ehr.url.replace("127.0.0.1", NAME)
    ehr.answers["otc"] = spelt(bundle(next_page=f"{url}/MedicationStatement?page=2"))
    ehr.answers["/fhir/MedicationStatement?page=2"] = spelt(RECORD["otc"])
    got = ask({"patient": PERSON}, servers=(ehr.origin(url=url),), fhirServer=url)
    assert set(got.states.values()) == {"used"}
    assert (names.asked, len(ehr.asked)) == (1, 12)


def test_one_address_inside_among_others_refuses_the_name(ask: Ask, ehr: Ehr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names([["127.0.0.1", "10.0.0.1"]]).look_up)
    url = ehr.url.replace("127.0.0.1", NAME)
    got = ask(servers=(ehr.origin(url=url),), fhirServer=url)
    assert set(got.fetched.outcomes.values()) == {"address not allowed"}
    assert ehr.asked == []


def test_a_server_that_nobody_vouches_for_is_told_nothing(ask: Ask, ehr: Ehr) -> None:
    got = ask(servers=(ehr.origin(ca_file=None),))
    assert set(got.fetched.outcomes.values()) == {"SSLCertVerificationError"}
    assert ehr.asked == []


def test_without_tls_nothing_is_told(ask: Ask, ehr: Ehr, start: Callable[..., Ehr]) -> None:
    """Not even where the list says so, which it cannot: its loader refuses it."""
    plain = start(tls=False)
    url = plain.url.replace("https", "http")
    got = ask(servers=(ehr.origin(url=url),), fhirServer=url)
    assert set(got.states.values()) == {"failed"}
    assert plain.asked == []


# With which token, for whom


@pytest.mark.parametrize(
    ("authorisation", "why"),
    [
        ({"patient": "p2"}, "token_of_another_patient"),
        ({"patient": ""}, "token_of_another_patient"),
        ({"patient": None}, "token_of_another_patient"),
        ({"patient": [PATIENT]}, "token_of_another_patient"),
        ({"patient": PATIENT.upper()}, "token_of_another_patient"),
        ({"token_type": "MAC"}, "token_unfit"),
        ({"token_type": None}, "token_unfit"),
        ({"access_token": ""}, "token_unfit"),
        ({"access_token": None}, "token_unfit"),
        ({"access_token": f"{TOKEN}\r\nX-Other: 1"}, "token_unfit"),
        ({"access_token": f"{TOKEN}\n"}, "token_unfit"),
        ({"access_token": f"{TOKEN} {TOKEN}"}, "token_unfit"),
        ({"access_token": "sécret"}, "token_unfit"),
        ({"access_token": "x" * 8193}, "token_unfit"),
        ({"expires_in": 0}, "token_expired"),
        ({"expires_in": -1}, "token_expired"),
        ({"expires_in": "300"}, "token_expired"),
        ({"expires_in": True}, "token_expired"),
        ({"expires_in": None}, "token_expired"),
    ],
)
def test_a_token_that_is_not_for_this_is_not_used(authorisation: Json, why: str, ask: Ask, ehr: Ehr) -> None:
    nothing_asked(ask(authorisation=authorisation), ehr, why)


def test_a_token_need_not_name_its_patient(ask: Ask, ehr: Ehr) -> None:
    authorisation = call(ehr)["fhirAuthorization"]
    del authorisation["patient"]
    assert set(ask(fhirAuthorization=authorisation).states.values()) == {"used"}


def test_a_token_may_name_its_patient_with_the_type(ask: Ask) -> None:
    assert set(ask(authorisation={"patient": f"Patient/{PATIENT}"}).states.values()) == {"used"}


def test_a_server_without_tokens_is_asked_without(ask: Ask, ehr: Ehr) -> None:
    assert set(ask(fhirAuthorization=None).states.values()) == {"used"}
    assert not any("Authorization" in headers for _, headers in ehr.asked)


@pytest.mark.parametrize(
    "patient",
    ["", ".", "..", "p1/..", "../p1", "p1?x=y", "p1&patient=p2", "p1,p2", "p1%2f", "p 1", "p1\n", "é", "x" * 65,
     "Group/p1", "p1/$everything", "p1#", 7, None],
)  # fmt: skip
def test_an_id_that_is_none_is_put_into_no_address(patient: Any, ask: Ask, ehr: Ehr) -> None:
    authorisation = call(ehr)["fhirAuthorization"]
    del authorisation["patient"]
    got = ask(context={"patientId": patient}, fhirAuthorization=authorisation)
    nothing_asked(got, ehr, "patient_id_unfit")


def test_an_id_may_come_with_its_type(ask: Ask, ehr: Ehr) -> None:
    assert set(ask(context={"patientId": f"Patient/{PATIENT}"}).states.values()) == {"used"}
    assert f"/fhir/Patient/{PATIENT}" in ehr.paths


# What is answered


def padded(size: int) -> bytes:
    body = json.dumps(RECORD["otc"]).encode()
    return body + b" " * (size - len(body))


OTC = json.dumps(RECORD["otc"])
UNFIT: dict[str, tuple[Answer, str]] = {
    "not found": (spelt(RECORD["otc"], status=404), "status 404"),
    "not allowed": (spelt(OUTCOME, status=401), "status 401"),
    "broken": (spelt(RECORD["otc"], status=500), "status 500"),
    "another success": (spelt(RECORD["otc"], status=206), "status 206"),
    "an outcome": (spelt(OUTCOME), "search failed"),
    "an outcome among others": (spelt(bundle(OUTCOME, *(one["resource"] for one in RECORD["otc"]["entry"]))),
                                "search failed"),
    "html": (Answer(b"<html>", headers={"Content-Type": "text/html"}), "unreadable"),
    "nothing": (Answer(b""), "unreadable"),
    "half of it": (Answer(OTC[:-1].encode()), "unreadable"),
    "a byte order mark": (Answer(b"\xef\xbb\xbf" + OTC.encode()), "unreadable"),
    "a member twice": (Answer(OTC.replace("{", '{"type":"searchset",', 1).encode()), "unreadable"),
    "not a number": (Answer(OTC.replace("{", '{"total":NaN,', 1).encode()), "unreadable"),
    "another encoding": (Answer(OTC.replace("oxide", "óxide").encode("latin-1")), "unreadable"),
    "said to be compressed": (spelt(RECORD["otc"], headers={"Content-Encoding": "gzip"}), "encoded"),
    "compressed": (Answer(gzip.compress(OTC.encode()), headers={"Content-Encoding": "gzip"}), "encoded"),
    "compressed and not said to be": (Answer(gzip.compress(OTC.encode())), "unreadable"),
    "null": (Answer(b"null"), "not usable"),
    "an array": (spelt([RECORD["otc"]]), "not usable"),
    "no resource": (spelt({"entry": RECORD["otc"]["entry"]}), "not usable"),
    "no entries": (spelt(bundle() | {"entry": RECORD["otc"]["entry"][0]}), "not usable"),
    "too large": (Answer(padded(USUAL.body_bytes + 1)), "too large"),
    **{
        f"a redirect, {status}": (spelt(RECORD["otc"], status=status, headers={"Location": "/fhir/elsewhere"}),
                                  f"status {status}")
        for status in (300, 301, 302, 303, 307, 308)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_an_answer_that_is_none_is_a_search_that_failed(
    name: str, ask: Ask, ehr: Ehr, caplog: pytest.LogCaptureFixture
) -> None:
    ehr.answers["otc"], said = UNFIT[name]
    ehr.answers["/fhir/elsewhere"] = spelt(RECORD["otc"])
    got = ask(all_but("otc", "medications"))
    assert got.states == dict.fromkeys(KEYS, "used") | {"otc": "failed"}
    assert got.fetched.outcomes == {"medications": "fetched", "otc": said}
    assert got.fetched.prefetch["otc"]["resourceType"] == "OperationOutcome"
    assert len(ehr.asked) == 2
    noted = [(vars(one)["error"], vars(one)["where"]) for one in caplog.records if one.name == "service.hooks.fallback"]
    assert noted == [(said, "otc")]


def test_a_patient_who_is_not_found_is_not_known(ask: Ask, ehr: Ehr) -> None:
    ehr.answers["patient"] = spelt(OUTCOME, status=404)
    got = ask(all_but("patient"))
    assert (got.states["patient"], "patient" in got.chart.body) == ("failed", False)


def test_null_that_could_not_be_asked_for_is_a_failure(ask: Ask, ehr: Ehr) -> None:
    ehr.answers["otc"] = Answer(b"", 503)
    assert ask(RECORD | {"otc": None}).states["otc"] == "failed"


def test_as_much_as_is_allowed_is_read(ask: Ask, ehr: Ehr) -> None:
    ehr.answers["otc"] = Answer(padded(USUAL.body_bytes))
    assert ask(all_but("otc")).states["otc"] == "used"


def test_all_answers_together_have_a_limit_too(ask: Ask, ehr: Ehr) -> None:
    """What is over it is refused in the order of the keys, whichever came first; what still fits is not."""
    for key in ("medications", "otc", "conditions"):
        ehr.answers[key] = Answer(json.dumps(RECORD[key]).encode().ljust(30_000))
    got = ask(all_but("medications", "otc", "conditions", "pth"), replace(PATIENTLY, all_bytes=65_000))
    assert got.states == dict.fromkeys(KEYS, "used") | {"conditions": "failed"}
    assert got.fetched.outcomes["conditions"] == "too large in all"
    one = ask(all_but("otc", "conditions"), replace(PATIENTLY, all_bytes=30_000))
    assert one.states == dict.fromkeys(KEYS, "used") | {"conditions": "failed"}


def test_where_nothing_more_may_be_read_nothing_more_is_asked_for(ask: Ask, ehr: Ehr) -> None:
    page = spelt(RECORD["otc"] | {"link": [{"relation": "next", "url": f"{ehr.url}/MedicationStatement?page=2"}]})
    ehr.answers["otc"] = page
    got = ask(all_but("otc"), replace(PATIENTLY, all_bytes=len(page.body)))
    assert (got.states["otc"], len(ehr.asked)) == ("incomplete", 1)


# How long


@pytest.mark.parametrize("drips", [False, True])
def test_an_answer_that_takes_too_long_is_given_up(drips: bool, ask: Ask, ehr: Ehr) -> None:
    """Also one that is always about to come: leading blanks are good JSON."""
    ehr.answers["otc"] = spelt(RECORD["otc"], gate=ehr.gate(), drips=drips)
    got = ask(all_but("otc", "pth"), HURRIED)
    assert got.fetched.outcomes == {"pth": "fetched", "otc": "took too long"}
    assert got.states == dict.fromkeys(KEYS, "used") | {"otc": "failed"}
    assert not drips or ehr.hung_up.wait(10), "nobody goes on reading what nobody waits for"


def test_the_time_is_for_all_of_it(ask: Ask, ehr: Ehr) -> None:
    """Twelve that wait one after the other get no second each."""
    for key in KEYS:
        ehr.answers[key] = spelt(RECORD[key], gate=ehr.gate())
    got = ask(budget=replace(USUAL, at_once=1))
    assert set(got.states.values()) == {"failed"}
    assert len(ehr.asked) <= 1


def test_a_page_that_takes_too_long_leaves_what_was_there(ask: Ask, ehr: Ehr) -> None:
    url = f"{ehr.url}/MedicationStatement?page=2"
    ehr.answers["otc"] = spelt(RECORD["otc"] | {"link": [{"relation": "next", "url": url}]})
    ehr.answers[urlsplit(url).path + "?page=2"] = spelt(RECORD["otc"], gate=ehr.gate())
    got = ask(all_but("otc"), HURRIED)
    assert (got.states["otc"], got.used("otc")) == ("incomplete", 1)
    assert got.fetched.outcomes == {"otc": "took too long"}


def test_nothing_is_asked_with_a_token_that_has_ended_meanwhile(ask: Ask, ehr: Ehr) -> None:
    ehr.answers["otc"] = spelt(RECORD["otc"], gate=ehr.gate())
    got = ask(all_but("otc"), authorisation={"expires_in": 1})
    assert got.fetched.outcomes == {"otc": "took too long"}


# Further pages

PAGES = "/fhir/MedicationStatement?page="


def taken(number: int) -> Json:
    """A statement like no other."""
    return medicine("MedicationStatement", f"Magnesium oxide {100 + number} mg tablet")


def paged(ehr: Ehr, *links: str | None) -> Json:
    """The first page of statements; the others are served, each with one and the next link."""
    first, *others = [bundle(taken(n), next_page=one) for n, one in enumerate(links)]
    for number, one in enumerate(others, 2):
        ehr.answers[f"{PAGES}{number}"] = spelt(one)
    return first


@pytest.mark.parametrize("sent", [False, True])
def test_pages_are_followed_to_the_last(sent: bool, ask: Ask, ehr: Ehr) -> None:
    first = paged(ehr, f"{ehr.url}/MedicationStatement?page=2", f"{ehr.url}/MedicationStatement?page=3", None)
    ehr.answers["otc"] = spelt(first)
    got = ask(RECORD | {"otc": first} if sent else all_but("otc"))
    assert (got.states["otc"], got.used("otc")) == ("used", 3)
    assert ehr.paths[-2:] == [f"{PAGES}2", f"{PAGES}3"]
    assert (len(ehr.asked), got.fetched.requests) == ((2, 2) if sent else (3, 3))
    assert {headers["Authorization"] for _, headers in ehr.asked} == {f"Bearer {TOKEN}"}


def test_pages_of_the_key_for_all_results_are_followed(ask: Ask, ehr: Ehr) -> None:
    ehr.answers[f"{PAGES}2"] = spelt(bundle(result("19123-9")))
    got = ask(all_but(*RESULTS) | {"labs": bundle(result("2160-0"), next_page=f"{ehr.url}/MedicationStatement?page=2")})
    assert (got.chart.states["labs"].status, got.chart.states["labs"].used) == ("used", 2)


@pytest.mark.parametrize(
    "link",
    ["MedicationStatement?page=2", "/fhir/MedicationStatement?page=2", "{url}/MedicationStatement?page=2",
     "//127.0.0.1:{port}/fhir/MedicationStatement?page=2"],
)  # fmt: skip
def test_links_may_be_relative(link: str, ask: Ask, ehr: Ehr) -> None:
    first = paged(ehr, link.format(url=ehr.url, port=ehr.port), None)
    assert ask(RECORD | {"otc": first}).used("otc") == 2


@pytest.mark.parametrize(
    ("link", "asked"),
    [
        ("{url}?_getpages=a-b&_offset=5", "/fhir?_getpages=a-b&_offset=5"),
        ("{url}/?_snapshot=a", "/fhir/?_snapshot=a"),
        ("{url}/MedicationStatement/_page/2", "/fhir/MedicationStatement/_page/2"),
        ("{url}/MedicationStatement?code=a|b%7Cc&x=[1]", "/fhir/MedicationStatement?code=a%7Cb%7Cc&x=%5B1%5D"),
        ("{url}/MedicationStatement?of=https://x.example/../y", "/fhir/MedicationStatement?of=https://x.example/../y"),
    ],
)
def test_links_as_servers_write_them(link: str, asked: str, ask: Ask, ehr: Ehr) -> None:
    ehr.answers[asked] = spelt(bundle(taken(99)))
    first = bundle(taken(0), next_page=link.format(url=ehr.url))
    got = ask(RECORD | {"otc": first})
    assert (ehr.paths, got.states["otc"], got.used("otc")) == ([asked], "used", 2)


ELSEWHERE = {
    "another server": "{other}/MedicationStatement?page=2",
    "another server, relative": "//127.0.0.1:{other_port}/fhir/MedicationStatement?page=2",
    "another server behind a name": "https://127.0.0.1:{port}@127.0.0.1:{other_port}/fhir/MedicationStatement?page=2",
    "a name for the same server": "https://localhost:{port}/fhir/MedicationStatement?page=2",
    "somebody's name": "https://a:b@127.0.0.1:{port}/fhir/MedicationStatement?page=2",
    "without tls": "http://127.0.0.1:{port}/fhir/MedicationStatement?page=2",
    "another kind of address": "ftp://127.0.0.1:{port}/fhir/MedicationStatement?page=2",
    "another base": "https://127.0.0.1:{port}/other/MedicationStatement?page=2",
    "a base that begins alike": "https://127.0.0.1:{port}/fhir2/MedicationStatement?page=2",
    "above the base": "https://127.0.0.1:{port}/MedicationStatement?page=2",
    "out of the base": "{url}/../other/MedicationStatement?page=2",
    "out of the base, relative": "../other/MedicationStatement?page=2",
    "out of the base, encoded": "{url}/%2e%2e/other/MedicationStatement?page=2",
    "out of the base, encoded twice": "{url}/%252e%252e/other/MedicationStatement?page=2",
    "out of the base, with a parameter": "{url}/..;/other/MedicationStatement?page=2",
    "out of the base, backwards": "{url}/..\\other\\Observation?page=2",
    "an operation": "{url}/Patient/p2/$everything?page=2",
    "a fragment": "{url}/MedicationStatement?page=2#x",
    "a blank": "{url}/MedicationStatement?page=2 HTTP/1.1",
    "a line break that some read over": "{url}/MedicationStatement?pa\nge=2",
    "a line break": "{url}/MedicationStatement?page=2\r\nX: y",
    "a long one": "{url}/MedicationStatement?page=2&x=" + "x" * 8192,
    "not ascii": "{url}/MedicationStatement?page=2&x=é",
    "no address": "https://[/MedicationStatement?page=2",
    "empty": "",
}


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_link_that_leads_elsewhere_is_not_followed(
    name: str, sent: bool, ask: Ask, ehr: Ehr, start: Callable[..., Ehr], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both servers would answer it, whatever its path."""
    other = start()
    page = spelt(bundle(taken(99)))
    for one in (ehr, other):
        monkeypatch.setattr(one, "answers", Always(page))
    link = ELSEWHERE[name].format(url=ehr.url, port=ehr.port, other=other.url, other_port=other.port)
    first = bundle(taken(0), next_page=link)
    ehr.answers["otc"] = spelt(first)
    got = ask(RECORD | {"otc": first} if sent else all_but("otc"))
    assert (got.states["otc"], got.used("otc")) == ("incomplete", 1)
    assert got.fetched.outcomes == {"otc": "next page refused"}
    assert len(ehr.asked) == (0 if sent else 1)
    assert other.asked == []


class Always(dict[str, Answer]):
    """Any page there is: one answer for all paths that were not asked for by a template."""

    def __init__(self, page: Answer) -> None:
        super().__init__()
        self._page = page

    def get(self, path: str, default: Any = None) -> Any:
        return super().get(path) or (self._page if "page=2" in path else default)


def test_two_next_pages_are_no_order(ask: Ask, ehr: Ehr) -> None:
    first = paged(ehr, f"{ehr.url}/MedicationStatement?page=2", None)
    first["link"] *= 2
    got = ask(RECORD | {"otc": first})
    assert (got.states["otc"], ehr.asked) == ("incomplete", [])


@pytest.mark.parametrize(("back_to", "asked"), [(2, [2]), (3, [2, 3])])
def test_pages_that_go_in_circles_end(back_to: int, asked: list[int], ask: Ask, ehr: Ehr) -> None:
    links = [f"{ehr.url}/MedicationStatement?page={n}" for n in (2, 3)]
    first = paged(ehr, links[0], links[back_to - 2], links[0])
    got = ask(RECORD | {"otc": first})
    assert ehr.paths == [f"{PAGES}{n}" for n in asked]
    assert (got.states["otc"], got.used("otc")) == ("incomplete", 1 + len(asked))


def test_a_first_page_that_is_its_own_next_is_asked_for_once(ask: Ask, ehr: Ehr, hooks: Hooks) -> None:
    query = hooks.prefetch["otc"].query.replace("{{context.patientId}}", PATIENT).replace("|", "%7C")
    ehr.answers["otc"] = spelt(bundle(taken(0), next_page=f"{ehr.url}/{query}"))
    got = ask(all_but("otc"))
    assert (got.states["otc"], len(ehr.asked)) == ("incomplete", 1)


@pytest.mark.parametrize("name", UNFIT)
def test_a_page_that_fails_leaves_what_was_there(name: str, ask: Ask, ehr: Ehr) -> None:
    answer, said = UNFIT[name]
    first = paged(ehr, f"{ehr.url}/MedicationStatement?page=2")
    ehr.answers[f"{PAGES}2"] = answer
    ehr.answers["/fhir/elsewhere"] = spelt(bundle(taken(99)))
    got = ask(RECORD | {"otc": first})
    assert (got.states["otc"], got.used("otc")) == ("incomplete", 1)
    assert got.fetched.outcomes == {"otc": said}


def test_a_page_that_is_no_bundle_is_no_end(ask: Ask, ehr: Ehr) -> None:
    first = paged(ehr, f"{ehr.url}/MedicationStatement?page=2")
    ehr.answers[f"{PAGES}2"] = spelt(taken(99))
    got = ask(RECORD | {"otc": first})
    assert (got.states["otc"], got.used("otc")) == ("incomplete", 1)


def test_an_empty_last_page_is_the_end(ask: Ask, ehr: Ehr) -> None:
    first = paged(ehr, f"{ehr.url}/MedicationStatement?page=2")
    ehr.answers[f"{PAGES}2"] = spelt(bundle())
    got = ask(RECORD | {"otc": first})
    assert (got.states["otc"], got.used("otc")) == ("used", 1)


# How many


def test_no_more_than_twelve_requests(ask: Ask, ehr: Ehr) -> None:
    """Pages without end, each with a link of its own."""
    first = paged(ehr, *(f"{ehr.url}/MedicationStatement?page={n}" for n in range(2, 40)))
    got = ask(RECORD | {"otc": first})
    assert ehr.paths == [f"{PAGES}{n}" for n in range(2, 14)]
    assert (got.states["otc"], got.used("otc"), got.fetched.requests) == ("incomplete", 13, 12)
    assert got.fetched.outcomes == {"otc": "budget spent"}


def test_missing_keys_come_before_further_pages(ask: Ask, ehr: Ehr) -> None:
    """All twelve are missing, and the thirteenth request would be a page."""
    ehr.answers["otc"] = spelt(paged(ehr, f"{ehr.url}/MedicationStatement?page=2", None))
    got = ask({"labs": None})
    assert sorted(map(ehr.key, ehr.paths), key=str) == sorted(KEYS)
    assert got.states == dict.fromkeys(KEYS, "used") | {"otc": "incomplete"}


def test_what_there_were_no_requests_left_for_stays_as_it_was_sent(ask: Ask, ehr: Ehr) -> None:
    got = ask({"otc": None}, replace(PATIENTLY, requests=10))
    assert len(ehr.asked) == 10
    assert got.states == dict.fromkeys(KEYS, "used") | {"otc": "null", "conditions": "absent"}
    assert {key for key, one in got.fetched.outcomes.items() if one == "budget spent"} == {"otc", "conditions"}
