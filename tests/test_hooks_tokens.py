"""Who is let in to CDS Hooks, through HTTP: tokens with one fault each, one memory for several processes, a silent log.

The last part asks the server as it is shipped, with two workers, for what no test client would send.
"""

import base64
import http.client
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask
from flask.testing import FlaskClient
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from werkzeug.test import TestResponse

from service.api.outcomes import LARGEST_CALL
from service.app import create_app
from service.settings import HookSettings, Settings, from_environment
from tests.conftest import TODAY
from tests.hook_calls import (
    INSTANCE,
    ROOT,
    SECRET,
    SIGN,
    UNAUTHORISED,
    Json,
    call,
    changed,
    held,
    issues,
    listening,
    order,
)
from tests.test_replay import free_port, real_redis

PUBLIC = "https://cds.example.com"
EHR = "https://ehr.example.org/"
HOSPITAL = "https://hospital.example.net"
JKU = "https://ehr.example.org/jwks.json"
OPINION = f"{SIGN}/feedback"

P384, OTHER_P384 = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
PEM = P384.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

TRUST = f"""
public_url = "{PUBLIC}/"

[[issuer]]
iss = "{EHR}"
jwks_file = "ehr.json"
jku = "{JKU}"

[[issuer]]
iss = "{HOSPITAL}"
jwks_file = "hospital.json"
tenants = ["north"]
profile = "epic"
max_lifetime = 300
algorithms = ["ES384", "ES256"]
"""

_numbers = count()


def jwk(key: Any, kid: str) -> Json:
    """The public half as an entry of a key set."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of issuers, and their keys."""
    place = tmp_path_factory.mktemp("trust")
    ehr = [jwk(P384, "ec"), jwk(RSA, "rsa"), jwk(P256, "small")]
    (place / "ehr.json").write_text(json.dumps({"keys": ehr}))
    (place / "hospital.json").write_text(json.dumps({"keys": [jwk(OTHER_P384, "ec"), jwk(P256, "small")]}))
    (place / "trust.toml").write_text(TRUST)
    return place


def site(folder: Path, replay: str) -> Flask:
    """A service that verifies its callers; every hook is on."""
    hooks = HookSettings(
        hooks=("patient-view", "order-select", "order-sign"), trust=folder / "trust.toml", replay=replay
    )
    return create_app(replace(Settings(), hooks=hooks), clock=lambda: TODAY)


@pytest.fixture(scope="module")
def sites(folder: Path) -> tuple[Flask, Flask]:
    """Two processes of one machine, as far as the memory of tokens goes."""
    return site(folder, str(folder / "replay.sqlite")), site(folder, str(folder / "replay.sqlite"))


@pytest.fixture
def client(sites: tuple[Flask, Flask]) -> FlaskClient:
    """From anywhere: a token is what counts."""
    client = sites[0].test_client()
    client.environ_base |= {"REMOTE_ADDR": "203.0.113.9", "HTTP_X_FORWARDED_FOR": "198.51.100.7"}
    return client


@pytest.fixture
def lines() -> Iterator[list[Json]]:
    """What the service writes to its log meanwhile."""
    with listening() as written:
        yield written


@dataclass(frozen=True)
class Token:
    """A good token for order-sign, until something of it is changed."""

    claims: tuple[tuple[str, Any], ...] = ()
    header: tuple[tuple[str, Any], ...] = ()
    without: frozenset[str] = frozenset()
    key: Any = P384
    alg: str = "ES384"
    kid: str = "ec"

    def but(self, header: Json | None = None, without: str = "", **claims: Any) -> "Token":
        """With other claims or header members; None of them stands for itself."""
        return replace(
            self,
            claims=(*self.claims, *claims.items()),
            header=(*self.header, *(header or {}).items()),
            without=self.without | ({without} if without else set()),
        )

    def signed(self, key: Any, alg: str, kid: str) -> "Token":
        """By another key."""
        return replace(self, key=key, alg=alg, kid=kid)

    def spelt(self) -> str:
        """New each time. A claim that is a function is asked what it is at this time."""
        now = time.time()
        claims: Json = {
            "iss": EHR,
            "aud": PUBLIC + SIGN,
            "iat": int(now),
            "exp": int(now) + 240,
            "jti": f"{os.getpid()}-{next(_numbers)}",
        }
        claims |= {name: value(now) if callable(value) else value for name, value in self.claims}
        header = {"kid": self.kid, "typ": "JWT", **dict(self.header)}
        for name in self.without:
            claims.pop(name, None)
            # PyJWT would put it back.
            header[name] = None
        header = {name: value for name, value in header.items() if name not in self.without or name == "typ"}
        return jwt.encode(claims, self.key, algorithm=self.alg, headers=header)

    def bearer(self) -> dict[str, str]:
        """As a header of a request."""
        return {"Authorization": f"Bearer {self.spelt()}"}


GOOD = Token()
AT_HOSPITAL = GOOD.signed(OTHER_P384, "ES384", "ec").but(iss=HOSPITAL, tenant="north")
HERE = PUBLIC + SIGN


def unsigned(alg: str) -> str:
    """The classic."""
    parts = GOOD.spelt().split(".")
    header = (
        base64.urlsafe_b64encode(json.dumps({"alg": alg, "typ": "JWT", "kid": "ec"}).encode()).rstrip(b"=").decode()
    )
    return f"{header}.{parts[1]}."


def tampered() -> str:
    """With the claims of another token."""
    first, other = GOOD.spelt().split("."), GOOD.but(tenant="other").spelt().split(".")
    return ".".join((first[0], other[1], first[2]))


def send(
    client: FlaskClient, authorization: str | None, path: str = SIGN, body: Any = None, **options: Any
) -> TestResponse:
    """A call with this header; its answer, checked."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    asked = body if body is not None else {"feedback": []} if path.rstrip("/").endswith("/feedback") else call()
    response = client.post(path, json=asked, headers=headers, **options)
    held(response, asked)
    return response


TAKEN: dict[str, Token] = {
    "ES384": GOOD,
    "RS384": GOOD.signed(RSA, "RS384", "rsa"),
    "the address in an array": GOOD.but(aud=["https://elsewhere.example", HERE]),
    "the address in an array of one": GOOD.but(aud=[HERE]),
    "the address with a slash": GOOD.but(aud=f"{HERE}/"),
    "the address of keys that is pinned": GOOD.but({"jku": JKU}),
    "a tenant where there are none": GOOD.but(tenant=SECRET),
    "claims of its own": GOOD.but({"cty": "x", "x5t": "abc"}, sub=SECRET, scope=["a"], fhirContext=[{}]),
    "issued in a moment": GOOD.but(iat=lambda now: now + 55),
    "valid in a moment": GOOD.but(nbf=lambda now: now + 55),
    "expired a moment ago": GOOD.but(iat=lambda now: now - 300, exp=lambda now: now - 55),
    "with fractions of seconds": GOOD.but(iat=lambda now: now - 0.25, exp=lambda now: now + 99.5),
    "as long as may be": GOOD.but(iat=lambda now: int(now), exp=lambda now: int(now) + 3600),
    "a tenant on the list": AT_HOSPITAL,
    "an algorithm that one issuer may use": AT_HOSPITAL.signed(P256, "ES256", "small"),
}


@pytest.mark.parametrize("token", TAKEN.values(), ids=list(TAKEN))
def test_a_good_token_is_taken_once(client: FlaskClient, sites: tuple[Flask, Flask], token: Token) -> None:
    """And by one process only: they share what was used."""
    bearer = f"Bearer {token.spelt()}"
    assert send(client, bearer).status_code == 200
    assert send(client, bearer).status_code == 401
    assert send(sites[1].test_client(), bearer).status_code == 401


def test_the_scheme_may_be_written_in_any_case(client: FlaskClient) -> None:
    """RFC 9110: names of schemes are not sensitive to it; blanks between may be several."""
    for scheme in ("bearer ", "BEARER ", "Bearer   "):
        assert send(client, scheme + GOOD.spelt()).status_code == 200


REFUSED: dict[str, tuple[Token | Callable[[], str], str]] = {
    "not signed": (lambda: unsigned("none") + "x", "algorithm_not_allowed"),
    "not signed, in capitals": (lambda: unsigned("NONE") + "x", "algorithm_not_allowed"),
    "without a signature": (lambda: unsigned("none"), "malformed"),
    "said to be signed, and not": (lambda: unsigned("ES384"), "malformed"),
    "claims of another token": (tampered, "bad_signature"),
    "a secret": (GOOD.signed("0123456789abcdef" * 4, "HS256", "ec"), "algorithm_not_allowed"),
    "an algorithm nobody may use": (GOOD.signed(RSA, "RS256", "rsa"), "algorithm_not_allowed"),
    "an algorithm another issuer may use": (GOOD.signed(P256, "ES256", "small"), "algorithm_not_allowed"),
    "another key of the same kind": (GOOD.signed(OTHER_P384, "ES384", "ec"), "bad_signature"),
    "the id of a key of another kind": (GOOD.signed(P384, "ES384", "rsa"), "key_mismatch"),
    "the id of a key of another curve": (GOOD.signed(P384, "ES384", "small"), "key_mismatch"),
    "the id of no key": (GOOD.signed(P384, "ES384", "newer"), "unknown_kid"),
    "no id of a key": (GOOD.but(without="kid"), "no_kid"),
    "another type": (GOOD.but({"typ": "at+jwt"}), "type_not_jwt"),
    "no type": (GOOD.but(without="typ"), "type_not_jwt"),
    "another address of keys": (GOOD.but({"jku": "https://evil.example/jwks.json"}), "jku_not_allowed"),
    "nearly the address of keys": (GOOD.but({"jku": JKU + "#"}), "jku_not_allowed"),
    "a list of addresses of keys": (GOOD.but({"jku": [JKU]}), "jku_not_allowed"),
    "a key of its own": (GOOD.but({"jwk": jwk(P384, "ec")}), "header_not_allowed"),
    "a certificate of its own": (GOOD.but({"x5u": JKU}), "header_not_allowed"),
    "an extension that must be understood": (GOOD.but({"crit": ["exp"]}), "header_not_allowed"),
    "no issuer": (GOOD.but(without="iss"), "unknown_issuer"),
    "an issuer nobody knows": (GOOD.but(iss="https://evil.example"), "unknown_issuer"),
    "nearly the issuer": (GOOD.but(iss=EHR.rstrip("/")), "unknown_issuer"),
    "another issuer's key": (AT_HOSPITAL.but(iss=EHR), "bad_signature"),
    "no audience": (GOOD.but(without="aud"), "claim_missing_or_malformed"),
    "an audience of nobody": (GOOD.but(aud=[]), "claim_missing_or_malformed"),
    "another service": (GOOD.but(aud=HERE.replace("sign", "select")), "wrong_audience"),
    "feedback": (GOOD.but(aud=f"{HERE}/feedback"), "wrong_audience"),
    "discovery": (GOOD.but(aud=PUBLIC + ROOT), "wrong_audience"),
    "the service as a whole": (GOOD.but(aud=PUBLIC), "wrong_audience"),
    "a path alone": (GOOD.but(aud=SIGN), "wrong_audience"),
    "another host": (GOOD.but(aud=f"https://localhost{SIGN}"), "wrong_audience"),
    "without TLS": (GOOD.but(aud=HERE.replace("https", "http")), "wrong_audience"),
    "a query": (GOOD.but(aud=f"{HERE}?x=1"), "wrong_audience"),
    "capitals": (GOOD.but(aud=HERE.upper()), "wrong_audience"),
    "no end": (GOOD.but(without="exp"), "claim_missing_or_malformed"),
    "an end that is a word": (GOOD.but(exp=lambda now: str(int(now) + 99)), "claim_missing_or_malformed"),
    "an end before the beginning": (
        GOOD.but(iat=lambda now: now + 20, exp=lambda now: now),
        "claim_missing_or_malformed",
    ),
    "expired": (GOOD.but(iat=lambda now: now - 300, exp=lambda now: now - 60), "expired"),
    "no beginning": (GOOD.but(without="iat"), "claim_missing_or_malformed"),
    "issued later": (GOOD.but(iat=lambda now: now + 75), "issued_in_future"),
    "valid later": (GOOD.but(nbf=lambda now: now + 75), "not_yet_valid"),
    "valid from a word on": (GOOD.but(nbf="now"), "claim_missing_or_malformed"),
    "too long": (GOOD.but(iat=lambda now: int(now), exp=lambda now: int(now) + 3601), "lifetime_too_long"),
    "too long for this issuer": (AT_HOSPITAL.but(exp=lambda now: int(now) + 302), "lifetime_too_long"),
    "no id": (GOOD.but(without="jti"), "claim_missing_or_malformed"),
    "an id that is empty": (GOOD.but(jti=""), "claim_missing_or_malformed"),
    "an id that goes on for ever": (GOOD.but(jti="x" * 300), "claim_missing_or_malformed"),
    "an id with a line break": (GOOD.but(jti="a\nb"), "claim_missing_or_malformed"),
    "too large": (GOOD.but(more="x" * 9000), "too_large"),
}


@pytest.mark.parametrize(("token", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_a_token_with_one_fault_is_refused(
    client: FlaskClient, lines: list[Json], token: Token | Callable[[], str], reason: str
) -> None:
    """Without a word to the caller; the log has the reason, and nothing of the token."""
    spelt = token.spelt() if isinstance(token, Token) else token()
    response = send(client, f"Bearer {spelt}")
    assert response.status_code == 401
    assert response.get_json() == UNAUTHORISED
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert [line["reason"] for line in lines] == [reason]
    assert not any(part in json.dumps(lines) for part in spelt.split(".") if part)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {SECRET}",
        "Bearer a.b",
        "Bearer a.b.c.d",
        "Bearer ..",
        "Bearer a.\xe4.c",
        "Basic dXNlcjpwYXNzd29yZA==",
        "{token}",
        "Bearer{token}",
        "Bearer {token} {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer {token}=",
        "Bearer {token}\t",
        'Bearer "{token}"',
        "Digest {token}",
    ],
)
def test_a_header_that_holds_no_token_is_refused(client: FlaskClient, lines: list[Json], header: str | None) -> None:
    """Nor is one looked for elsewhere."""
    token = GOOD.spelt()
    header = header.replace("{token}", token) if header is not None else None
    query = {"access_token": token, "jwt": token}
    response = send(client, header, query_string=query, body=call() | {"jwt": token})
    assert response.status_code == 401
    assert not any(part in json.dumps(lines) for part in (*token.split("."), SECRET))
    # None of it was used up.
    assert send(client, f"Bearer {token}").status_code == 200


@pytest.mark.parametrize("tenant", [None, "south", "", "NORTH", 7, ["north"]])
def test_a_tenant_that_is_not_entitled_is_forbidden(client: FlaskClient, lines: list[Json], tenant: Any) -> None:
    """Known and not entitled, where unknown would be 401; the token is not used up by it."""
    token = AT_HOSPITAL.but(tenant=tenant) if tenant is not None else AT_HOSPITAL.but(without="tenant")
    bearer = f"Bearer {token.spelt()}"
    for _ in range(2):
        response = send(client, bearer)
        assert response.status_code == 403
        assert issues(response.get_json()) == {("forbidden", None)}
    assert {line["reason"] for line in lines} == {"tenant_not_entitled"}


def test_the_token_is_for_the_endpoint_that_is_called(client: FlaskClient) -> None:
    """Feedback has an address of its own; a refusal there uses nothing up here."""
    for path, other in ((SIGN, OPINION), (OPINION, SIGN), (f"{OPINION}/", f"{ROOT}/mgvd-order-select/feedback")):
        bearer = f"Bearer {GOOD.but(aud=PUBLIC + path).spelt()}"
        assert send(client, bearer, other).status_code == 401
        # Whatever the request says of where it is.
        spoofed = {"HTTP_HOST": "cds.example.com", "wsgi.url_scheme": "https"}
        assert send(client, bearer, other, environ_overrides=spoofed).status_code == 401
        assert send(client, bearer, path).status_code == 200
    both = GOOD.but(aud=[PUBLIC + SIGN, PUBLIC + OPINION])
    bearer = f"Bearer {both.spelt()}"
    assert send(client, bearer, OPINION).status_code == 200
    assert send(client, bearer, SIGN).status_code == 401


def test_an_id_is_used_once_by_one_issuer(client: FlaskClient, sites: tuple[Flask, Flask]) -> None:
    """In whatever token it comes again, and for whatever address; another issuer has ids of its own."""
    jti = f"{os.getpid()}-{next(_numbers)}"
    assert send(client, f"Bearer {GOOD.but(jti=jti).spelt()}").status_code == 200
    again = GOOD.but(jti=jti, aud=PUBLIC + OPINION, tenant="x")
    assert send(sites[1].test_client(), f"Bearer {again.spelt()}", OPINION).status_code == 401
    assert send(client, f"Bearer {AT_HOSPITAL.but(jti=jti).spelt()}").status_code == 200


def test_a_token_is_used_up_by_a_call_that_fails(client: FlaskClient) -> None:
    """A caller who is let in is told what is wrong, once; an endless supply of tries with one token there is not."""
    bearer = GOOD.bearer()
    response = client.post(SIGN, data=b"{", content_type="application/json", headers=bearer)
    assert response.status_code == 400
    held(response)
    assert client.post(SIGN, json=call(), headers=bearer).status_code == 401


def test_nothing_is_looked_at_before_the_token(client: FlaskClient) -> None:
    """Neither the body nor its kind; but what there is at all anyone may know."""
    for data, content_type in (
        (b"{", "application/json"),
        (b"", None),
        (b"x", "text/plain"),
        (b" " * LARGEST_CALL * 2, None),
    ):
        response = client.post(SIGN, data=data, content_type=content_type, headers={"Content-Encoding": "gzip"})
        assert response.status_code == 401
        held(response)
    assert send(client, None, f"{ROOT}/no-such-service").status_code == 404
    assert client.get(SIGN).status_code == 405
    assert held(client.get(ROOT))["services"]
    preflight = client.options(
        SIGN, headers={"Origin": "http://localhost:8080", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 204
    assert "Access-Control-Allow-Origin" not in preflight.headers


def test_this_machine_needs_a_token_too(sites: tuple[Flask, Flask]) -> None:
    """Where there is a list, there is no other way in."""
    assert send(sites[1].test_client(), None).status_code == 401


def test_an_issuer_gets_cards_as_it_wants_them(client: FlaskClient, lines: list[Json]) -> None:
    """And the log has who called, from which tenant."""
    for token, behaviour in ((AT_HOSPITAL, {"any"}), (GOOD, {"any", "at-most-one"})):
        cards = send(client, f"Bearer {token.spelt()}").get_json()["cards"]
        assert {card["selectionBehavior"] for card in cards if "suggestions" in card} == behaviour
        assert {card["source"]["url"] for card in cards} == {f"{PUBLIC}/docs"}
    assert [(line["issuer"], line.get("tenant")) for line in lines] == [(HOSPITAL, "north"), (EHR, None)]


def test_without_a_memory_nobody_is_let_in(client: FlaskClient, folder: Path, lines: list[Json]) -> None:
    """And that is our fault, not the caller's."""
    with closing(sqlite3.connect(folder / "replay.sqlite")) as memory:
        memory.execute("ALTER TABLE seen RENAME TO elsewhere")
        response = send(client, f"Bearer {GOOD.spelt()}")
        memory.execute("ALTER TABLE elsewhere RENAME TO seen")
    assert response.status_code == 503
    assert issues(response.get_json()) == {("transient", None)}
    assert [line["reason"] for line in lines] == ["replay_memory_unavailable"]
    assert send(client, f"Bearer {GOOD.spelt()}").status_code == 200


def test_machines_that_share_a_redis_share_what_was_used(folder: Path) -> None:
    """Each token once; and when Redis is gone, nobody."""
    with real_redis() as server:
        machines = [site(folder, server.url).test_client() for _ in range(2)]
        for first, second in (machines, machines[::-1]):
            bearer = f"Bearer {GOOD.spelt()}"
            assert [send(one, bearer).status_code for one in (first, second, first)] == [200, 401, 401]
    assert send(machines[0], f"Bearer {GOOD.spelt()}").status_code == 503


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"PUBLIC_URL": "https://another.example"}, "PUBLIC_URL is not the public_url of trust.toml"),
        ({"CDS_HOOKS_REPLAY": "/nonexistent/replay.sqlite"}, "CDS_HOOKS_REPLAY: the memory of used tokens"),
        ({"CDS_HOOKS_REPLAY": "http://127.0.0.1/replay"}, "the replay memory must be a file or a redis://"),
        ({"CDS_HOOKS_TRUST": "/nonexistent/trust.toml"}, "trust.toml: "),
        ({"CDS_HOOKS_KEY_FILE": "/nonexistent/key"}, "CDS_HOOKS_KEY_FILE cannot be read"),
        ({"CDS_HOOKS_KEY_FILE": "/dev/null"}, "CDS_HOOKS_KEY_FILE must hold at least 16 bytes"),
    ],
)
def test_a_start_that_could_verify_nobody_is_refused(
    folder: Path, tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    """Before the rules are read."""
    usual = {
        "LOG_LEVEL": "critical",
        "CDS_HOOKS_TRUST": str(folder / "trust.toml"),
        "CDS_HOOKS_REPLAY": str(tmp_path / "replay.sqlite"),
    }
    with pytest.raises(ValueError, match=re.escape(says)):
        create_app(from_environment(usual | environment))


# The server as it is shipped.


@dataclass
class Server:
    """gunicorn with two workers."""

    port: int
    log: Path

    def ask(self, data: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send these bytes on a connection of their own; status, headers and body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            response = http.client.HTTPResponse(connection)
            response.begin()
            body = response.read()
            return response.status, response.getheaders(), body

    def post(self, body: bytes, *headers: str, path: str = SIGN, token: Token | str | None = GOOD) -> Any:
        """A call as bytes; its status and what its outcome says."""
        spelt = token.spelt() if isinstance(token, Token) else token
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json", *headers]
        lines += [f"Authorization: Bearer {spelt}"] if spelt is not None else []
        if not any(line.lower().startswith("transfer-encoding") for line in lines):
            lines.append(f"Content-Length: {len(body)}")
        status, _, answer = self.ask("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        outcome = json.loads(answer)
        # What the server itself cannot read never comes as far as an outcome.
        return status, outcome["issue"][0]["code"] if "issue" in outcome else None


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Started once; its log is kept."""
    port, log = free_port(), folder / "server.log"
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
        "LOG_LEVEL": "debug",
        "CDS_HOOKS": "patient-view,order-select,order-sign",
        "CDS_HOOKS_TRUST": str(folder / "trust.toml"),
        "CDS_HOOKS_REPLAY": str(folder / "server.sqlite"),
        "CDS_HOOKS_ORIGINS": "https://ehr.example.org",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"],
            cwd=Path(__file__).parent.parent,
            env={name: value for name, value in os.environ.items() if not name.startswith("CDS_HOOKS")} | environment,
            stderr=output,
            stdout=output,
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield Server(port, log)
        finally:
            process.terminate()
            process.wait(timeout=30)


BODY = json.dumps(call()).encode()


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def test_workers_let_a_token_in_once(server: Server) -> None:
    """However many of them are asked at the same moment."""
    for _ in range(3):
        token = GOOD.spelt()
        with ThreadPoolExecutor(8) as callers:
            statuses = [
                status for status, _ in callers.map(lambda _, said=token: server.post(BODY, token=said), range(8))
            ]
        assert sorted(statuses) == [200] + [401] * 7


def test_bodies_in_chunks_are_measured_too(server: Server) -> None:
    """Up to 2 MiB, and not a byte more; what is compressed is not unpacked."""
    coding = "Transfer-Encoding: chunked"
    assert server.post(chunked(BODY[:9], BODY[9:]), coding) == (200, None)
    assert server.post(chunked(BODY, b" " * (LARGEST_CALL - len(BODY))), coding) == (200, None)
    assert server.post(chunked(BODY, b" " * (LARGEST_CALL - len(BODY) + 1)), coding) == (413, "too-long")
    assert server.post(BODY.ljust(LARGEST_CALL + 1)) == (413, "too-long")
    assert server.post(BODY, "Content-Encoding: gzip") == (415, "not-supported")
    assert server.post(chunked(), coding) == (400, "structure")
    assert server.post(BODY, "Expect: 100-continue")[0] == 200


def test_headers_that_come_twice_let_nobody_in(server: Server) -> None:
    """Two tokens are none; two kinds of body are none."""
    token = GOOD.spelt()
    assert server.post(BODY, f"Authorization: Bearer {GOOD.spelt()}", token=token) == (401, "login")
    assert server.post(BODY, "Content-Type: text/plain") == (400, None)
    assert server.post(BODY, "X_Forwarded_For: x", "Authorization_: x", token=token) == (200, None)


def test_where_a_request_says_it_is_counts_for_nothing(server: Server) -> None:
    """Its Host, or a whole address in its first line; a path has one spelling."""
    spoofed = GOOD.but(aud=f"https://evil.example{SIGN}")
    assert server.post(BODY, "Host: evil.example") == (400, None)
    assert server.post(BODY, "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", token=spoofed)[0] == 401
    assert server.post(BODY, path=f"http://evil.example{SIGN}", token=spoofed)[0] == 401
    assert server.post(BODY, path=f"http://evil.example{SIGN}")[0] == 200
    assert server.post(BODY, path=f"{ROOT}/mgvd%2Dorder%2Dsign/")[0] == 200
    assert server.post(BODY, path=f"{ROOT}/%2e%2e/cds-services/mgvd-order-sign")[0] == 404
    assert server.post(BODY, path=f"{ROOT}/mgvd-order-sign%00")[0] == 404
    # A base address with a slash at its end, and then the path.
    assert server.post(BODY, path=f"/{SIGN}")[0] == 200
    assert server.post(BODY, path=f"/{SIGN.replace('/m', '//m')}")[0] == 404


def test_one_connection_serves_many_requests(server: Server) -> None:
    """A body where none belongs, HEAD, a preflight, a refusal whose body nobody read, and a call."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with closing(connection):

        def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            content = response.read()
            names = [name.lower() for name, _ in response.getheaders()]
            assert len(set(names)) == len(names), names
            return response.status, content

        status, discovered = ask("GET", ROOT, BODY, Content_Type="application/json")
        assert status == 200
        assert len(json.loads(discovered)["services"]) == 3
        assert ask("HEAD", f"{ROOT}/") == (200, b"")
        assert ask("HEAD", SIGN) == (405, b"")
        assert ask("OPTIONS", SIGN, Origin="https://ehr.example.org", Access_Control_Request_Method="POST") == (
            204,
            b"",
        )
        for length in (len(BODY), 90_000, LARGEST_CALL):
            assert ask("POST", SIGN, BODY.ljust(length), Content_Type="application/json")[0] == 401
        assert (
            ask("POST", SIGN, BODY.ljust(LARGEST_CALL * 3 // 2), Content_Type="application/json", **GOOD.bearer())[0]
            == 413
        )
        assert ask("POST", f"{ROOT}/none", BODY.ljust(90_000), Content_Type="text/plain")[0] == 404
        assert ask("POST", SIGN, BODY, Content_Type="application/json", **GOOD.bearer())[0] == 200


def noisy_call() -> Json:
    """A call in which every word that is somebody's is marked."""
    drafts = [
        order("Mark-draft-id", "Magnesium oxide Mark-draft-name", note=[{"text": "Mark-note"}]),
        order(None, "Mark-unknown-drug"),
        {"resourceType": "ServiceRequest", "id": "Mark-service", "status": "draft"},
    ]
    body = call("order-select", *drafts, patientId="Mark-patient", encounterId="Mark-encounter")
    body["context"]["selections"] = ["MedicationRequest/Mark-draft-id", "MedicationRequest/Mark-selected"]
    for draft in drafts:
        draft["subject"] = {"reference": "Patient/Mark-patient", "display": "Mark-display"}
    body["context"]["draftOrders"]["entry"] = [{"fullUrl": "urn:uuid:Mark-url", "resource": one} for one in drafts]
    body["fhirServer"] = "https://mark-server.example/Mark-base"
    body["fhirAuthorization"] = {
        "access_token": "Mark-access-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "Mark-scope",
        "subject": "Mark-subject",
        "patient": "Mark-patient",
    }
    body["extension"] = {"Mark-extension": "Mark-value"}
    body["prefetch"] |= {
        "Mark-key": None,
        "conditions": {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Mark-diagnostics"}]},
    }
    body["prefetch"]["patient"] |= {"id": "Mark-patient", "name": [{"family": "Mark-family"}]}
    return body


def noisy_feedback(card: str) -> Json:
    """The same for feedback."""
    opinion = {
        "card": card,
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-21T10:05:31Z",
        "overrideReason": {
            "reason": {"code": "Mark-code", "system": "https://mark-system.example", "display": "Mark-reason"},
            "userComment": "Mark-comment",
        },
        "extension": {"Mark-feedback": "Mark-opinion"},
    }
    return {"feedback": [opinion, opinion | {"card": "Mark-card"}]}


def test_nothing_of_anyone_is_in_the_log(server: Server, tmp_path: Path) -> None:
    """A session with everything that can go well or wrong, at the loudest level: the log has none of its words."""
    good = noisy_call()
    select = f"{ROOT}/mgvd-order-select"
    used = []

    def say(body: bytes, *headers: str, path: str = select, token: Token = GOOD) -> int:
        spelt = token.but(aud=PUBLIC + path.partition("?")[0], sub="Mark-sub", name="Mark-claim").spelt()
        used.append(spelt)
        status: int = server.post(body, *headers, path=path, token=spelt)[0]
        return status

    text = json.dumps(good).encode()
    assert say(text) == 200
    assert say(text, path=f"{select}?patient=Mark-query") == 200
    assert (
        say(text, "User-Agent: Mark-agent", "Referer: https://mark-referer.example", "Cookie: Mark=Mark-cookie") == 200
    )
    assert say(text, token=AT_HOSPITAL.but(jti="Mark-tenant-jti" * 20)) == 401
    assert say(text, token=GOOD.but(iss="Mark issuer")) == 401
    assert say(text, token=GOOD.but(kid="x").signed(P384, "ES384", "Mark-kid")) == 401
    assert say(text[:-9]) == 400
    assert say(text.replace(b"Mark-note", b"Mark-\xff")) == 400
    assert say(json.dumps(changed(good, "hook", "Mark-hook")).encode()) == 400
    assert say(json.dumps(changed(good, "context.selections", ["Mark-selection Mark"])).encode()) == 400
    assert say(json.dumps(changed(good, "prefetch", {"Mark-prefetch": "Mark-string"})).encode()) == 400
    assert say(text, "Content-Encoding: Mark-coding") == 415
    assert say(text, path=f"{ROOT}/Mark-service") == 404
    assert say(text, path=f"{select}/feedback") == 400
    chart = json.dumps(changed(call("patient-view", patientId="Mark-patient"), "prefetch", {"Mark-key": None})).encode()
    assert say(chart, path=f"{ROOT}/mgvd-patient-view") == 412
    assert say(json.dumps(noisy_feedback(INSTANCE)).encode(), path=f"{select}/feedback") == 200
    assert server.ask(b"GET /cds-services/Mark-get?Mark=1 HTTP/1.1\r\nHost: mark.example\r\n\r\n")[0] == 405
    assert (
        server.ask(b"MARK /cds-services HTTP/1.1\r\nHost: mark.example\r\nAuthorization: Mark-header\r\n\r\n")[0] == 405
    )
    logged = server.log.read_text()
    assert logged.count('"route":"/cds-services/<service_id>"') >= 14
    assert "mark" not in logged.lower()
    for token in used:
        assert not any(part in logged for part in token.split("."))
    assert INSTANCE not in logged
    for line in logged.splitlines():
        # gunicorn's own lines are of another form, and few.
        if line.startswith("{"):
            assert json.loads(line)["logger"].startswith("service.")
    assert "Traceback" not in logged
