"""Who may call: tokens with real keys, each good but for one fault; keys that change; issuers that are not there.

Tokens are signed here with `cryptography` alone, so that the library that verifies them is not its own witness.
"""

import json
import logging
import os
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from service.hooks.keys import FetchedKeys, KeyFault
from service.hooks.net import Origin, is_public
from service.hooks.replay import FileReplay
from service.hooks.trust import Caller, Reason, Refused, Trust
from service.hooks.trust_file import TrustError, load_trust
from tests.tls import certificate, serving

NOW = 1_790_000_000
ISSUER = "https://ehr.example.org/"
OTHER = "https://other-ehr.example.net"
PUBLIC = "https://cds.example.com"
PATH = "/cds-services/order-sign"
HERE = PUBLIC + PATH
JKU = "https://ehr.example.org/jwks.json"

Json = dict[str, Any]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int) -> str:
    return b64(value.to_bytes(size, "big"))


def public_half(key: PrivateKey, kid: str, **more: Any) -> Json:
    """The key as an entry of a JWK set."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": kid, "n": number(numbers.n, key.key_size // 8), "e": number(numbers.e, 3)} | more
    point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.key_size]
    return {"kty": "EC", "crv": curve, "kid": kid, "x": number(point.x, size), "y": number(point.y, size)} | more


def signed(signing_input: bytes, key: PrivateKey, digest: hashes.HashAlgorithm) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signing_input, padding.PKCS1v15(), digest)
    r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(digest)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


EC_KEY = ec.generate_private_key(ec.SECP384R1())
EC_NEXT = ec.generate_private_key(ec.SECP384R1())
EC_SMALL = ec.generate_private_key(ec.SECP256R1())
EC_LARGE = ec.generate_private_key(ec.SECP521R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_SHORT = rsa.generate_private_key(65537, 1024)

KEYS = {
    "keys": [
        public_half(EC_KEY, "ec", alg="ES384", use="sig"),
        public_half(RSA_KEY, "rsa"),
        public_half(EC_KEY, "for-encryption", use="enc"),
        public_half(EC_KEY, "for-signing-only", key_ops=["sign"]),
        public_half(RSA_KEY, "other-alg", alg="RS256"),
        public_half(EC_KEY, "leaked") | {"d": number(EC_KEY.private_numbers().private_value, 48)},
        public_half(EC_KEY, "off-curve") | {"x": number(1, 48)},
        public_half(EC_SMALL, "p256"),
        public_half(EC_LARGE, "p521"),
        public_half(RSA_SHORT, "short"),
        public_half(EC_KEY, "twice"),
        public_half(EC_NEXT, "twice"),
        {"kty": "oct", "kid": "secret", "k": b64(b"0123456789abcdef" * 4)},
        {"kid": "shapeless", "kty": ["EC"], "crv": {}},
        {"kty": "EC", "crv": "P-384", "x": 1, "y": None, "kid": "typeless"},
        {"kty": "RSA", "no": "id"},
        "no key",
    ]
}


@dataclass
class Token:
    """A good token, for a test to spoil."""

    header: Json = field(default_factory=lambda: {"alg": "ES384", "typ": "JWT", "kid": "ec"})
    claims: Json = field(
        default_factory=lambda: {
            "iss": ISSUER,
            "aud": HERE,
            "iat": NOW - 10,
            "exp": NOW + 290,
            "jti": "6f1f5a6e",
        }
    )
    key: PrivateKey = EC_KEY
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA384)
    header_text: str | None = None
    claims_text: str | None = None
    signature: Callable[[bytes], bytes] | None = None

    def with_header(self, **members: Any) -> "Token":
        self.header |= members
        return self

    def with_claims(self, **members: Any) -> "Token":
        self.claims |= members
        return self

    def without(self, *names: str) -> "Token":
        for name in names:
            (self.header if name in self.header else self.claims).pop(name)
        return self

    def by(self, key: PrivateKey, kid: str, alg: str | None = None) -> "Token":
        self.key = key
        return self.with_header(kid=kid, alg=alg or ("RS384" if isinstance(key, rsa.RSAPrivateKey) else "ES384"))

    def spelt(self) -> str:
        header = self.header_text if self.header_text is not None else json.dumps(self.header)
        claims = self.claims_text if self.claims_text is not None else json.dumps(self.claims)
        signing_input = f"{b64(header.encode())}.{b64(claims.encode())}".encode()
        make = self.signature or (lambda data: signed(data, self.key, self.digest))
        return f"{signing_input.decode()}.{b64(make(signing_input))}"

    def bearer(self) -> str:
        return f"Bearer {self.spelt()}"


CONFIGURATION = f"""
public_url = "{PUBLIC}"

[[issuer]]
iss = "{ISSUER}"
jwks_file = "ehr.json"
jku = "{JKU}"

[[issuer]]
iss = "{OTHER}"
jwks_file = "other.json"
tenants = ["north", "south"]
profile = "epic"
max_lifetime = 900
algorithms = ["ES384", "ES256"]
"""


class Clock:
    """Stands still until a test moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged reaches the tests, whatever logging was set up, or switched off, in this process before."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and f"{name}.".startswith("service."):
            monkeypatch.setattr(logger, "disabled", False)
            monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, logger="service")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the list of issuers and their keys are."""
    (tmp_path / "ehr.json").write_text(json.dumps(KEYS))
    other = [public_half(EC_NEXT, "ec"), public_half(EC_SMALL, "p256"), public_half(RSA_KEY, "rsa")]
    (tmp_path / "other.json").write_text(json.dumps({"keys": other}))
    (tmp_path / "trust.toml").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[FileReplay]:
    memory = FileReplay(tmp_path / "replay.db")
    yield memory
    memory.close()


@pytest.fixture
def trust(folder: Path, replay: FileReplay, clock: Clock) -> Trust:
    return load_trust(folder / "trust.toml", replay, clock)


def refused(trust: Trust, authorization: str | None, path: str = PATH) -> Refused:
    with pytest.raises(Refused) as raised:
        trust.verify(authorization, path)
    return raised.value


def hmac_with_public_key(data: bytes) -> bytes:
    """The classic: the public key taken for a shared secret."""
    public = EC_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    mac = hmac.HMAC(public, hashes.SHA384())
    mac.update(data)
    return mac.finalize()


def flipped(data: bytes) -> bytes:
    right = signed(data, EC_KEY, hashes.SHA384())
    return bytes([right[0] ^ 1]) + right[1:]


def as_other(tenant: str | None = "north") -> Token:
    token = Token().by(EC_NEXT, "ec").with_claims(iss=OTHER)
    return token if tenant is None else token.with_claims(tenant=tenant)


GOOD = {
    "es384": Token(),
    "rs384": Token().by(RSA_KEY, "rsa"),
    "audience in an array": Token().with_claims(aud=["https://elsewhere.example", HERE]),
    "audience with a slash": Token().with_claims(aud=HERE + "/"),
    "the jku that is pinned": Token().with_header(jku=JKU),
    "a tenant nobody asked for": Token().with_claims(tenant="ward 7"),
    "claims and members of its own": Token().with_claims(sub="x", extra={"a": [1, 2]}).with_header(x5t="abc", cty="x"),
    "issued by a clock that is fast": Token().with_claims(iat=NOW + 60, exp=NOW + 360),
    "valid from now, by a clock that is fast": Token().with_claims(nbf=NOW + 60),
    "just expired, within the leeway": Token().with_claims(iat=NOW - 300, exp=NOW - 59),
    "times with fractions": Token().with_claims(iat=NOW - 0.5, exp=NOW + 299.5),
    "as long as is allowed": Token().with_claims(iat=NOW, exp=NOW + 3600),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_tokens_are_taken_once(name: str, trust: Trust) -> None:
    token = GOOD[name].bearer()
    caller = trust.verify(token, PATH)
    assert caller == Caller(ISSUER, GOOD[name].claims.get("tenant"), "generic", "6f1f5a6e")
    assert refused(trust, token).reason == Reason.REPLAYED


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  "])
def test_the_scheme_may_be_written_in_any_case(scheme: str, trust: Trust) -> None:
    assert trust.verify(scheme + Token().spelt(), PATH).issuer == ISSUER


DEEP = "[" * 64 + "]" * 64
CLAIMS = json.dumps(Token().claims)

BAD: dict[str, tuple[Token, Reason]] = {
    # header
    "none": (Token(signature=lambda _: b"\0").with_header(alg="none"), Reason.ALGORITHM),
    "None": (Token().with_header(alg="None"), Reason.ALGORITHM),
    "hs384": (Token().with_header(alg="HS384"), Reason.ALGORITHM),
    "hs384 with the public key": (Token(signature=hmac_with_public_key).with_header(alg="HS384"), Reason.ALGORITHM),
    "hs256 with a key of the set": (Token().with_header(alg="HS256", kid="secret"), Reason.ALGORITHM),
    "rs256": (Token(digest=hashes.SHA256()).by(RSA_KEY, "rsa", "RS256"), Reason.ALGORITHM),
    "ps384": (Token().by(RSA_KEY, "rsa", "PS384"), Reason.ALGORITHM),
    "es512": (Token(digest=hashes.SHA512()).by(EC_LARGE, "p521", "ES512"), Reason.ALGORITHM),
    "lower case": (Token().with_header(alg="es384"), Reason.ALGORITHM),
    "alg is no string": (Token().with_header(alg=["ES384"]), Reason.ALGORITHM),
    "no alg": (Token().without("alg"), Reason.ALGORITHM),
    "no typ": (Token().without("typ"), Reason.TYPE),
    "another typ": (Token().with_header(typ="at+jwt"), Reason.TYPE),
    "no kid": (Token().without("kid"), Reason.NO_KID),
    "kid is no string": (Token().with_header(kid=7), Reason.NO_KID),
    "kid is empty": (Token().with_header(kid=""), Reason.NO_KID),
    "kid has a line break": (Token().with_header(kid="ec\n"), Reason.NO_KID),
    "crit": (Token().with_header(crit=["exp"]), Reason.HEADER_NOT_ALLOWED),
    "an empty crit": (Token().with_header(crit=[]), Reason.HEADER_NOT_ALLOWED),
    "b64": (Token().with_header(b64=True), Reason.HEADER_NOT_ALLOWED),
    "unencoded": (Token().with_header(b64=False, crit=["b64"]), Reason.HEADER_NOT_ALLOWED),
    "x5u": (Token().with_header(x5u="https://ehr.example.org/x"), Reason.HEADER_NOT_ALLOWED),
    "a key of its own": (Token().by(EC_NEXT, "ec").with_header(jwk=public_half(EC_NEXT, "ec")),
                         Reason.HEADER_NOT_ALLOWED),
    "kid twice": (Token(header_text='{"alg":"ES384","typ":"JWT","kid":"x","kid":"ec"}'), Reason.MALFORMED),
    "alg twice": (Token(header_text='{"alg":"none","typ":"JWT","kid":"ec","alg":"ES384"}'), Reason.MALFORMED),
    "header is an array": (Token(header_text="[]"), Reason.MALFORMED),
    "header is too deep": (Token().with_header(x=json.loads(DEEP)), Reason.MALFORMED),
    "header is long": (Token().with_header(x="x" * 2048), Reason.TOO_LARGE),
    # issuer and where its keys are
    "no iss": (Token().without("iss"), Reason.UNKNOWN_ISSUER),
    "iss is no string": (Token().with_claims(iss=[ISSUER]), Reason.UNKNOWN_ISSUER),
    "iss is not listed": (Token().with_claims(iss="https://stranger.example"), Reason.UNKNOWN_ISSUER),
    "iss without its slash": (Token().with_claims(iss=ISSUER.rstrip("/")), Reason.UNKNOWN_ISSUER),
    "iss in capitals": (Token().with_claims(iss=ISSUER.upper()), Reason.UNKNOWN_ISSUER),
    "iss twice": (Token(claims_text=CLAIMS.replace("{", '{"iss":"https://x.example",', 1)), Reason.MALFORMED),
    "the test issuer": (Token().with_claims(iss="https://sandbox.cds-hooks.org"), Reason.UNKNOWN_ISSUER),
    "another jku": (Token().with_header(jku="https://stranger.example/jwks.json"), Reason.JKU),
    "a jku with a port": (Token().with_header(jku=JKU.replace(".org/", ".org:443/")), Reason.JKU),
    "a jku in capitals": (Token().with_header(jku=JKU.replace("ehr", "EHR")), Reason.JKU),
    "jku is null": (Token().with_header(jku=None), Reason.JKU),
    "a jku where none is pinned": (as_other().with_header(jku="https://other-ehr.example.net/jwks"), Reason.JKU),
    # key
    "unknown kid": (Token().with_header(kid="unheard-of"), Reason.UNKNOWN_KID),
    "es384 with an rsa key": (Token().with_header(kid="rsa"), Reason.KEY_MISMATCH),
    "rs384 with an ec key": (Token().by(RSA_KEY, "ec"), Reason.KEY_MISMATCH),
    "es384 on p-256": (Token().by(EC_SMALL, "p256"), Reason.KEY_MISMATCH),
    "es384 on p-521": (Token().by(EC_LARGE, "p521"), Reason.KEY_MISMATCH),
    "es384 with a secret": (Token().with_header(kid="secret"), Reason.KEY_MISMATCH),
    "a key for encryption": (Token().by(EC_KEY, "for-encryption"), Reason.KEY_MISMATCH),
    "a key to sign with": (Token().by(EC_KEY, "for-signing-only"), Reason.KEY_MISMATCH),
    "a key for rs256": (Token().by(RSA_KEY, "other-alg"), Reason.KEY_MISMATCH),
    "a key whose private half is out": (Token().by(EC_KEY, "leaked"), Reason.KEY_MISMATCH),
    "a point off the curve": (Token().by(EC_KEY, "off-curve"), Reason.KEY_MISMATCH),
    "a short rsa key": (Token().by(RSA_SHORT, "short"), Reason.KEY_MISMATCH),
    "a key without shape": (Token().with_header(kid="shapeless"), Reason.KEY_MISMATCH),
    "a key without types": (Token().with_header(kid="typeless"), Reason.KEY_MISMATCH),
    "two keys of that name": (Token().with_header(kid="twice"), Reason.KEY_AMBIGUOUS),
    "es256 where it is not listed": (Token(digest=hashes.SHA256()).by(EC_SMALL, "p256", "ES256"), Reason.ALGORITHM),
    "rs384 where it is not listed": (as_other().by(RSA_KEY, "rsa"), Reason.ALGORITHM),
    # signature
    "a stranger's signature": (Token(key=EC_NEXT), Reason.SIGNATURE),
    "another digest": (Token(digest=hashes.SHA256()), Reason.SIGNATURE),
    "one bit off": (Token(signature=flipped), Reason.SIGNATURE),
    "zeros": (Token(signature=lambda _: bytes(96)), Reason.SIGNATURE),
    "a der signature": (Token(signature=lambda data: EC_KEY.sign(data, ec.ECDSA(hashes.SHA384()))), Reason.SIGNATURE),
    "the other issuer's key": (Token().by(EC_NEXT, "ec"), Reason.SIGNATURE),
    "one issuer in the name of another": (Token().with_claims(iss=OTHER, tenant="north"), Reason.SIGNATURE),
    # claims
    "no jti": (Token().without("jti"), Reason.CLAIM),
    "jti is empty": (Token().with_claims(jti=""), Reason.CLAIM),
    "jti is a number": (Token().with_claims(jti=7), Reason.CLAIM),
    "jti is long": (Token().with_claims(jti="x" * 257), Reason.CLAIM),
    "jti is half a character": (Token().with_claims(jti="\ud800"), Reason.CLAIM),
    "no aud": (Token().without("aud"), Reason.CLAIM),
    "aud is empty": (Token().with_claims(aud=[]), Reason.CLAIM),
    "aud has a number": (Token().with_claims(aud=[HERE, 7]), Reason.CLAIM),
    "aud of another service": (Token().with_claims(aud=f"{PUBLIC}/cds-services/order-select"), Reason.AUDIENCE),
    "aud of the feedback": (Token().with_claims(aud=f"{HERE}/feedback"), Reason.AUDIENCE),
    "aud of the server": (Token().with_claims(aud=PUBLIC), Reason.AUDIENCE),
    "aud without tls": (Token().with_claims(aud=HERE.replace("https", "http")), Reason.AUDIENCE),
    "aud with a query": (Token().with_claims(aud=HERE + "?x"), Reason.AUDIENCE),
    "no exp": (Token().without("exp"), Reason.CLAIM),
    "exp is a string": (Token().with_claims(exp=str(NOW + 290)), Reason.CLAIM),
    "exp is true": (Token().with_claims(exp=True), Reason.CLAIM),
    "exp is endless": (Token(claims_text=CLAIMS.replace(str(NOW + 290), "1e999")), Reason.CLAIM),
    "exp is in milliseconds": (Token().with_claims(exp=(NOW + 290) * 1000), Reason.CLAIM),
    "exp is not a number": (Token(claims_text=CLAIMS.replace(str(NOW + 290), "NaN")), Reason.MALFORMED),
    "expired": (Token().with_claims(iat=NOW - 360, exp=NOW - 60), Reason.EXPIRED),
    "exp twice": (Token(claims_text=CLAIMS.replace("{", '{"exp":1,', 1)), Reason.MALFORMED),
    "no iat": (Token().without("iat"), Reason.CLAIM),
    "iat is null": (Token().with_claims(iat=None), Reason.CLAIM),
    "issued later": (Token().with_claims(iat=NOW + 61, exp=NOW + 361), Reason.ISSUED_LATER),
    "valid later": (Token().with_claims(nbf=NOW + 61), Reason.NOT_YET),
    "nbf is a string": (Token().with_claims(nbf="now"), Reason.CLAIM),
    "ends before it begins": (Token().with_claims(iat=NOW + 30, exp=NOW + 20), Reason.CLAIM),
    "lasts too long": (Token().with_claims(iat=NOW, exp=NOW + 3601), Reason.LIFETIME),
    "lasts too long for this issuer": (as_other().with_claims(iat=NOW, exp=NOW + 901), Reason.LIFETIME),
    "tenant not listed": (as_other("west"), Reason.TENANT),
    "no tenant where they are listed": (as_other(None), Reason.TENANT),
    "tenant is no string": (as_other().with_claims(tenant=["north"]), Reason.TENANT),
    "tenant is no string where none is asked for": (Token().with_claims(tenant=7), Reason.TENANT),
    "claims are no object": (Token(claims_text='"x"'), Reason.MALFORMED),
    "claims are no json": (Token(claims_text="{'iss': 1}"), Reason.MALFORMED),
    "claims are too deep": (Token().with_claims(x=json.loads(DEEP)), Reason.MALFORMED),
    "a claim deep down twice": (Token(claims_text=CLAIMS.replace("{", '{"a":{"b":1,"b":2},', 1)), Reason.MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_tokens_with_one_fault_are_refused(name: str, trust: Trust) -> None:
    token, reason = BAD[name]
    fault = refused(trust, token.bearer())
    assert fault.reason == reason
    assert fault.status == (403 if reason == Reason.TENANT else 401)


def broken(spoil: Callable[[list[str]], str]) -> str:
    return spoil(Token().spelt().split("."))


HEADERS: dict[str, tuple[str | None, Reason]] = {
    "none at all": (None, Reason.NO_TOKEN),
    "empty": ("", Reason.NO_TOKEN),
    "basic": ("Basic dTpw", Reason.NOT_BEARER),
    "no scheme": (Token().spelt(), Reason.NOT_BEARER),
    "nothing after the scheme": ("Bearer ", Reason.NOT_BEARER),
    "two of them": (f"Bearer {Token().spelt()}, Bearer {Token().spelt()}", Reason.NOT_BEARER),
    "two segments": (broken(lambda parts: f"Bearer {parts[0]}.{parts[1]}"), Reason.MALFORMED),
    "no signature": (broken(lambda parts: f"Bearer {parts[0]}.{parts[1]}."), Reason.MALFORMED),
    "four segments": (broken(lambda parts: f"Bearer {'.'.join(parts)}.x"), Reason.MALFORMED),
    "padded": (broken(lambda parts: f"Bearer {parts[0]}.{parts[1]}.{parts[2]}===="), Reason.MALFORMED),
    "plain base64": (broken(lambda parts: f"Bearer {parts[0]}.{parts[1]}.+/{parts[2][2:]}"), Reason.MALFORMED),
    "a segment of an odd length": (broken(lambda parts: f"Bearer {parts[0]}A.{parts[1]}.{parts[2]}"), Reason.MALFORMED),
    "not ascii": (f"Bearer {Token().spelt()}é", Reason.MALFORMED),
    "too long": (f"Bearer {'x' * 8192}", Reason.TOO_LARGE),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_hold_no_token_are_refused(name: str, trust: Trust) -> None:
    authorization, reason = HEADERS[name]
    assert refused(trust, authorization).reason == reason


def test_no_order_of_two_faults_lets_a_token_through(trust: Trust) -> None:
    """What comes first is what is reported; here, a signature before anything that it covers."""
    assert refused(trust, Token(key=EC_NEXT).with_claims(exp=1, aud="x").bearer()).reason == Reason.SIGNATURE
    assert refused(trust, Token().with_claims(exp=1, aud="x").bearer()).reason == Reason.AUDIENCE
    assert refused(trust, as_other("west").with_claims(iat=NOW - 900, exp=NOW - 600).bearer()).reason == Reason.EXPIRED


def test_a_refused_token_is_not_used_up(trust: Trust) -> None:
    token = Token().bearer()
    assert refused(trust, token, "/cds-services/order-select").reason == Reason.AUDIENCE
    assert trust.verify(token, PATH).jti == "6f1f5a6e"


def test_several_issuers_keep_their_keys_ids_and_settings_apart(trust: Trust) -> None:
    assert trust.verify(Token().bearer(), PATH) == Caller(ISSUER, None, "generic", "6f1f5a6e")
    assert trust.verify(as_other().bearer(), PATH) == Caller(OTHER, "north", "epic", "6f1f5a6e")
    small = as_other().by(EC_SMALL, "p256", "ES256").with_claims(jti="7")
    small.digest = hashes.SHA256()
    assert trust.verify(small.bearer(), PATH).jti == "7"


def test_the_same_id_in_a_new_token_is_a_replay_until_the_first_has_expired(trust: Trust, clock: Clock) -> None:
    trust.verify(Token().bearer(), PATH)
    again = Token().with_claims(exp=NOW + 1000)
    assert refused(trust, again.bearer()).reason == Reason.REPLAYED
    clock.now = NOW + 290 + 59.9
    assert refused(trust, Token().bearer()).reason == Reason.REPLAYED
    clock.now = NOW + 290 + 60
    assert refused(trust, Token().bearer()).reason == Reason.EXPIRED
    assert refused(trust, again.bearer()).reason == Reason.REPLAYED, "another clock may be behind"
    clock.now = NOW + 290 + 71
    assert trust.verify(again.bearer(), PATH).issuer == ISSUER


def test_feedback_and_calls_share_the_memory(trust: Trust) -> None:
    token = Token().with_claims(aud=[HERE, f"{HERE}/feedback"]).bearer()
    trust.verify(token, PATH)
    assert refused(trust, token, f"{PATH}/feedback").reason == Reason.REPLAYED


def test_a_memory_that_cannot_be_asked_lets_nobody_in(trust: Trust, tmp_path: Path) -> None:
    (tmp_path / "replay.db").write_bytes(b"no database" * 1000)
    fault = refused(trust, Token().bearer())
    assert (fault.reason, fault.status) == (Reason.REPLAY_UNAVAILABLE, 503)


def test_a_refusal_says_little_and_never_the_token(trust: Trust, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for token, reason in BAD.values():
        fault = refused(trust, token.bearer())
        assert str(fault) == reason.value
        shown = f"{fault!r} {fault.issuer} {fault.jti} {fault.__cause__!r}"
        assert not any(len(part) > 8 and part in shown for part in token.spelt().split("."))
    known = refused(trust, Token().with_claims(exp=1, iat=0.5).bearer())
    assert (known.issuer, known.jti) == (ISSUER, "6f1f5a6e")
    odd = Token().with_claims(iss="Jane Roe\n1952", jti="Jane Roe")
    assert refused(trust, odd.bearer()).issuer is None
    assert refused(trust, odd.with_claims(iss=ISSUER, exp=1).bearer()).jti is None
    assert "eyJ" not in caplog.text


# Keys in a file


def test_a_changed_file_is_read_again(trust: Trust, folder: Path) -> None:
    following = Token().by(EC_NEXT, "next")
    assert refused(trust, following.bearer()).reason == Reason.UNKNOWN_KID
    both = {"keys": [public_half(EC_KEY, "ec"), public_half(EC_NEXT, "next")]}
    (folder / "new.json").write_text(json.dumps(both))
    os.replace(folder / "new.json", folder / "ehr.json")
    assert trust.verify(following.bearer(), PATH).issuer == ISSUER
    (folder / "ehr.json").write_text(json.dumps({"keys": both["keys"][1:]}))
    assert refused(trust, Token().with_claims(jti="2").bearer()).reason == Reason.UNKNOWN_KID


@pytest.mark.parametrize(
    "spoilt", ["{", "[]", '{"keys": {}}', '{"keys": [], "keys": []}', json.dumps(KEYS) + " " * 65_536, None]
)
def test_a_file_that_cannot_be_read_lets_nobody_in(spoilt: str | None, trust: Trust, folder: Path) -> None:
    trust.verify(Token().bearer(), PATH)
    if spoilt is None:
        (folder / "ehr.json").unlink()
    else:
        (folder / "ehr.json").write_text(spoilt)
    assert refused(trust, Token().with_claims(jti="2").bearer()).reason == Reason.KEYS_UNAVAILABLE
    assert trust.verify(as_other().bearer(), PATH).issuer == OTHER


# The list of issuers

ENTRY = f'[[issuer]]\niss = "{ISSUER}"\njwks_file = "ehr.json"\n'
TOP = f'public_url = "{PUBLIC}"\n'
FHIR = "https://ehr.example.org/fhir/r4"
SERVER = f'[[issuer.fhir_server]]\nurl = "{FHIR}"\n'
SANDBOX = '[[issuer]]\niss = "https://sandbox.cds-hooks.org"\njwks_file = "ehr.json"\n'

UNUSABLE = {
    "no toml": ("public_url =", "trust.toml"),
    "no issuer": (TOP, "at least one"),
    "no public address": (ENTRY, "public_url must be"),
    "public address without tls": (TOP.replace("https", "http") + ENTRY, "public_url must be"),
    "public address with a query": (TOP.replace(".com", ".com/?a=b") + ENTRY, "public_url must be"),
    "unknown at the top": ("issuers = 1\n" + TOP + ENTRY, "issuers is not known"),
    "unknown in an issuer": (TOP + ENTRY + "tenant = 'x'\n", "tenant is not known"),
    "no iss": (TOP + '[[issuer]]\njwks_file = "ehr.json"\n', "iss must be"),
    "no keys": (TOP + f'[[issuer]]\niss = "{ISSUER}"\n', "jwks_file or jku"),
    "no such file": (TOP + ENTRY.replace("ehr.json", "none.json"), "jwks_file cannot be read"),
    "jku without tls": (TOP + ENTRY + f'jku = "{JKU.replace("https", "http")}"\n', "jku must be"),
    "jku with a password": (TOP + ENTRY + 'jku = "https://a:b@ehr.example.org/"\n', "jku must be"),
    "jku is a file": (TOP + ENTRY + 'jku = "file:///etc/keys.json"\n', "jku must be"),
    "twice": (TOP + ENTRY + ENTRY, "listed twice"),
    "a symmetric algorithm": (TOP + ENTRY + 'algorithms = ["HS256"]\n', "algorithms must be among"),
    "no algorithm": (TOP + ENTRY + "algorithms = []\n", "algorithms must be"),
    "longer than is allowed": (TOP + ENTRY + "max_lifetime = 3601\n", "max_lifetime must be"),
    "lifetime is true": (TOP + ENTRY + "max_lifetime = true\n", "max_lifetime must be"),
    "another profile": (TOP + ENTRY + 'profile = "cerner"\n', "profile must be"),
    "no tenants": (TOP + ENTRY + "tenants = []\n", "tenants must be"),
    "tenants is a string": (TOP + ENTRY + 'tenants = "north"\n', "tenants must be"),
    "no such ca": (TOP + ENTRY + 'ca_file = "ca.pem"\n', "ca_file cannot be found"),
    "no address": (TOP + ENTRY + 'private_addresses = ["ehr"]\n', "is no address"),
    "the metadata address": (TOP + ENTRY + 'private_addresses = ["169.254.169.254"]\n', "is never allowed"),
    "no fhir address": (TOP + ENTRY + "[[issuer.fhir_server]]\n", "issuer 1: fhir_server 1: url must be"),
    "fhir is a string": (TOP + ENTRY + f'fhir_server = "{FHIR}"\n', "fhir_server must be"),
    "fhir is a list of strings": (TOP + ENTRY + f'fhir_server = ["{FHIR}"]\n', "fhir_server 1: url must be"),
    "fhir without tls": (TOP + ENTRY + SERVER.replace("https", "http"), "fhir_server 1: url must be"),
    "fhir without tls on the same machine": (
        TOP + ENTRY + '[[issuer.fhir_server]]\nurl = "http://127.0.0.1:1/"\n',
        "fhir_server 1: url must be",
    ),
    "fhir with a query": (TOP + ENTRY + SERVER.replace("r4", "r4?a=b"), "fhir_server 1: url must be"),
    "fhir with an empty query": (TOP + ENTRY + SERVER.replace("r4", "r4?"), "fhir_server 1: url must be"),
    "fhir with a fragment": (TOP + ENTRY + SERVER.replace("r4", "r4#a"), "fhir_server 1: url must be"),
    "fhir with a password": (TOP + ENTRY + SERVER.replace("//", "//a:b@"), "fhir_server 1: url must be"),
    "fhir that leads elsewhere": (TOP + ENTRY + SERVER.replace("r4", "../r4"), "fhir_server 1: url must be"),
    "fhir with something encoded": (TOP + ENTRY + SERVER.replace("r4", "%2e%2e/r4"), "fhir_server 1: url must be"),
    "fhir twice": (TOP + ENTRY + SERVER + SERVER.replace("r4", "r4/"), "fhir_server 2: url is listed twice"),
    "fhir, no such ca": (TOP + ENTRY + SERVER + 'ca_file = "ca.pem"\n', "fhir_server 1: ca_file cannot be found"),
    "fhir at the metadata address": (
        TOP + ENTRY + SERVER + 'private_addresses = ["169.254.169.254"]\n',
        "fhir_server 1: private_addresses: .* is never allowed",
    ),
    "unknown in a fhir server": (TOP + ENTRY + SERVER + "token = 'x'\n", "fhir_server 1: token is not known"),
    "the test issuer": (TOP + SANDBOX, "test issuer"),
    "the test issuer's keys": (TOP + ENTRY + 'jku = "https://SANDBOX.cds-hooks.org/x"\n', "test issuer"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_list_that_is_not_understood_is_refused(name: str, folder: Path, replay: FileReplay) -> None:
    text, said = UNUSABLE[name]
    (folder / "trust.toml").write_text(text)
    with pytest.raises(TrustError, match=said):
        load_trust(folder / "trust.toml", replay)


def test_every_fault_of_a_list_is_said(folder: Path, replay: FileReplay) -> None:
    (folder / "trust.toml").write_text("x = 1\n" + ENTRY + "y = 1\n" + SANDBOX)
    with pytest.raises(TrustError) as raised:
        load_trust(folder / "trust.toml", replay)
    assert len(str(raised.value).splitlines()) == 4


def test_the_test_issuer_can_be_let_in_on_purpose(
    folder: Path, replay: FileReplay, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "trust.toml").write_text(TOP + SANDBOX + "test_issuer = true\n")
    trust = load_trust(folder / "trust.toml", replay, clock)
    assert "anyone can be it" in caplog.text
    token = Token().with_claims(iss="https://sandbox.cds-hooks.org")
    assert trust.verify(token.bearer(), PATH).issuer == "https://sandbox.cds-hooks.org"


@pytest.mark.parametrize("address", ["http://localhost:8000", "http://127.0.0.1:8000", "https://x.example/base/"])
def test_the_public_address_may_have_a_path_and_on_the_same_machine_no_tls(
    address: str, folder: Path, replay: FileReplay, clock: Clock
) -> None:
    (folder / "trust.toml").write_text(f'public_url = "{address}"\n' + ENTRY)
    token = Token().with_claims(aud=address.rstrip("/") + PATH)
    trust = load_trust(folder / "trust.toml", replay, clock)
    assert trust.public_url == address.rstrip("/")
    assert trust.verify(token.bearer(), PATH).issuer == ISSUER


def test_each_issuer_has_its_own_fhir_servers(folder: Path, replay: FileReplay, clock: Clock) -> None:
    """A caller carries those of its issuer, and nobody any unless they are listed."""
    (folder / "ca.pem").write_text("")
    (folder / "trust.toml").write_text(
        CONFIGURATION + f'[[issuer.fhir_server]]\nurl = "{FHIR}/"\n[[issuer.fhir_server]]\nurl = "https://b.example"\n'
        'ca_file = "ca.pem"\nprivate_addresses = ["10.1.2.3"]\n'
    )
    trust = load_trust(folder / "trust.toml", replay, clock)
    assert trust.verify(Token().bearer(), PATH).fhir_servers == ()
    first, second = trust.verify(as_other().bearer(), PATH).fhir_servers
    assert first == Origin(FHIR)
    assert second == Origin("https://b.example", frozenset({ip_address("10.1.2.3")}), folder / "ca.pem")


# The specification's own example: https://cds-hooks.hl7.org/, version 3.0.0-ballot, "Trusting CDS Clients",
# with the key of "JSON web key set (public key)" there.

SPECIFICATION_TOKEN = (
    "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6ImV4YW1wbGUta2lkIiwiamt1IjoiaHR0cHM6Ly9maGlyLWVoci5leGFtcGxlLmNvbS9q"
    "d2tfdXJpIn0.eyJpc3MiOiJodHRwczovL2ZoaXItZWhyLmV4YW1wbGUuY29tLyIsImF1ZCI6Imh0dHBzOi8vY2RzLmV4YW1wbGUub3JnL2Nkcy1z"
    "ZXJ2aWNlcy9zb21lLXNlcnZpY2UiLCJleHAiOjE0MjI1Njg4NjAsImlhdCI6MTMxMTI4MDk3MCwianRpIjoiZWUyMmIwMjEtZTFiNy00NjExLWJh"
    "NWItOGVlYzZhMzNhYzFlIiwidGVuYW50IjoiMmRkZDZjM2EtOGU5YS00NGM2LWEzMDUtNTIxMTFhZDMwMmEyIn0.d1WfLjGRKlcWB94l9do4cM8R"
    "EXeYJLL6SGUBO8VHZhfM8mwKYP70EMxJ67War4TQblEpaQrp11wx5p7oPFm2ETYgCicS84vXWEIYTdjooZdooCSDf2L8-i4awdoUwiEb"
)
SPECIFICATION_KEY = {
    "kty": "EC",
    "use": "sig",
    "crv": "P-384",
    "kid": "example-kid",
    "x": "46SDH7Znh821wblCBglA61sNE9ZrHYKKt3qRtRTmSXyOI_FIGBLWrWa0GPUkDCEk",
    "y": "XMcRuuoGW7CXjQdy-F5i3FeBE0x9hPLdeFdSoDd3ELmx404tLX0VRRcqzAsPhXcI",
    "alg": "ES384",
}


def test_the_example_of_the_specification_holds_but_for_its_lifetime(folder: Path, replay: FileReplay) -> None:
    """It lasts three and a half years; that this is what is wrong with it shows that everything before was right."""
    (folder / "example.json").write_text(json.dumps({"keys": [SPECIFICATION_KEY]}))
    (folder / "trust.toml").write_text(
        'public_url = "https://cds.example.org"\n[[issuer]]\niss = "https://fhir-ehr.example.com/"\n'
        'jwks_file = "example.json"\njku = "https://fhir-ehr.example.com/jwk_uri"\n'
        'tenants = ["2ddd6c3a-8e9a-44c6-a305-52111ad302a2"]\n'
    )
    trust = load_trust(folder / "trust.toml", replay, Clock(1_400_000_000))
    path = "/cds-services/some-service"
    fault = refused(trust, f"Bearer {SPECIFICATION_TOKEN}", path)
    assert fault.reason == Reason.LIFETIME
    assert fault.jti == "ee22b021-e1b7-4611-ba5b-8eec6a33ac1e"
    assert refused(trust, f"Bearer {SPECIFICATION_TOKEN[:-4]}AAAA", path).reason == Reason.SIGNATURE
    later = load_trust(folder / "trust.toml", replay, Clock(NOW))
    assert refused(later, f"Bearer {SPECIFICATION_TOKEN}", path).reason == Reason.EXPIRED


# Keys that are fetched


@dataclass
class KeyServer:
    """A real https server on loopback; a test says how it answers."""

    url: str
    ca_file: Path
    asked: list[str] = field(default_factory=list)
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    """Set by the test in the end; until then no answer comes."""
    drips: bool = False

    def serve(self, *keys: Json) -> None:
        self.body = json.dumps({"keys": keys}).encode()

    def origin(self, **changes: Any) -> Origin:
        return Origin(**{
            "url": self.url, "private_addresses": frozenset({ip_address("127.0.0.1")}), "ca_file": self.ca_file
        } | changes)  # fmt: skip


@pytest.fixture
def key_server(tmp_path: Path) -> Iterator[KeyServer]:
    certified = certificate(tmp_path)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        served.asked.append(handler.path)
        if served.hold is not None and not served.drips:
            served.hold.wait(10)
        while served.drips and served.hold is not None and not served.hold.wait(0.02):
            handler.wfile.write(b"H")
        handler.send_response(served.status)
        for header, value in served.headers.items():
            handler.send_header(header, value)
        handler.end_headers()
        handler.wfile.write(served.body)

    with serving(certified, respond) as port:
        served = KeyServer(f"https://127.0.0.1:{port}/keys?of=ehr", certified[0])
        yield served
        if served.hold is not None:
            served.hold.set()


def kids(source: FetchedKeys, kid: str) -> list[str]:
    return [key.kid for key in source.keys(kid)]


def test_keys_are_fetched_once_and_kept(key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    source = FetchedKeys(key_server.origin(), clock)
    assert [kids(source, "ec") for _ in range(3)] == [["ec"]] * 3
    assert key_server.asked == ["/keys?of=ehr"]
    clock.now += 600
    assert kids(source, "ec") == ["ec"]
    assert len(key_server.asked) == 2


def test_a_new_key_is_found_and_an_old_one_is_gone(key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    source = FetchedKeys(key_server.origin(), clock)
    kids(source, "ec")
    key_server.serve(public_half(EC_NEXT, "next"))
    clock.now += 11
    assert kids(source, "next") == ["next"]
    assert kids(source, "ec") == ["next"]


def test_an_unknown_id_is_asked_for_once_a_minute(key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    source = FetchedKeys(key_server.origin(), clock)
    kids(source, "made-up")
    for seconds in range(1, 60):
        clock.now = NOW + seconds
        kids(source, "made-up")
    assert len(key_server.asked) == 1
    clock.now = NOW + 60
    kids(source, "made-up")
    assert len(key_server.asked) == 2


def test_many_unknown_ids_do_not_make_many_fetches(key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    source = FetchedKeys(key_server.origin(), clock)
    for n in range(1000):
        clock.now = NOW + n / 10
        kids(source, f"made-up-{n}")
    assert len(key_server.asked) == 10


def test_old_keys_serve_while_the_address_fails_but_not_for_ever(key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    source = FetchedKeys(key_server.origin(), clock)
    kids(source, "ec")
    key_server.status = 500
    clock.now = NOW + 700
    assert kids(source, "ec") == ["ec"]
    assert kids(source, "ec") == ["ec"]
    assert len(key_server.asked) == 2, "and it is not asked again at once"
    clock.now = NOW + 24 * 3600
    with pytest.raises(KeyFault, match="keys_unavailable"):
        source.keys("ec")
    key_server.status = 200
    clock.now += 10
    assert kids(source, "ec") == ["ec"]


def test_nobody_waits_for_a_fetch_who_has_a_key(key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    source = FetchedKeys(key_server.origin(), clock, seconds=10)
    kids(source, "ec")
    key_server.hold = threading.Event()
    clock.now += 600
    first = threading.Thread(target=source.keys, args=("ec",))
    first.start()
    while len(key_server.asked) < 2:
        first.join(0.01)
    assert kids(source, "ec") == ["ec"]
    assert first.is_alive()
    key_server.hold.set()
    first.join()


REFUSED_ANSWERS: dict[str, Json] = {
    "a redirect": {"status": 302, "headers": {"Location": "https://127.0.0.1/keys"}},
    "an error": {"status": 500},
    "nothing": {"status": 204},
    "too large": {"body": b'{"keys": []}' + b" " * 65_536},
    "no json": {"body": b"<html>"},
    "no set": {"body": b'{"kid": "ec"}'},
    "members twice": {"body": b'{"keys": [], "keys": []}'},
    "compressed": {"headers": {"Content-Encoding": "gzip"}},
}


@pytest.mark.parametrize("name", REFUSED_ANSWERS)
def test_answers_that_are_not_a_key_set_give_no_key(name: str, key_server: KeyServer, clock: Clock) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    for attribute, value in REFUSED_ANSWERS[name].items():
        setattr(key_server, attribute, value)
    source = FetchedKeys(key_server.origin(), clock)
    for _ in range(2):
        with pytest.raises(KeyFault, match="keys_unavailable"):
            source.keys("ec")
    assert len(key_server.asked) == 1


@pytest.mark.parametrize("drips", [False, True])
def test_an_answer_that_takes_too_long_is_given_up(drips: bool, key_server: KeyServer, clock: Clock) -> None:
    key_server.hold, key_server.drips = threading.Event(), drips
    source = FetchedKeys(key_server.origin(), clock, seconds=0.3)
    with pytest.raises(KeyFault, match="keys_unavailable"):
        source.keys("ec")
    assert len(key_server.asked) == 1


@pytest.mark.parametrize("change", ["private_addresses", "ca_file"])
def test_an_address_inside_or_a_host_nobody_vouches_for_is_not_spoken_to(
    change: str, key_server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    key_server.serve(public_half(EC_KEY, "ec"))
    nothing: Json = {"private_addresses": frozenset(), "ca_file": None}
    source = FetchedKeys(key_server.origin(**{change: nothing[change]}), clock)
    with pytest.raises(KeyFault, match="keys_unavailable"):
        source.keys("ec")
    assert key_server.asked == []
    said = "address not allowed" if change == "private_addresses" else "SSLCertVerificationError"
    assert [vars(record)["error"] for record in caplog.records] == [said]


def test_a_host_of_another_name_is_not_believed(key_server: KeyServer, clock: Clock) -> None:
    url = key_server.url.replace("127.0.0.1", "127.0.0.2")
    allowed = frozenset({ip_address("127.0.0.1"), ip_address("127.0.0.2")})
    with pytest.raises(KeyFault, match="keys_unavailable"):
        FetchedKeys(key_server.origin(url=url, private_addresses=allowed), clock).keys("ec")
    assert key_server.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("64:ff9b::5db8:d70e", True),
        ("::ffff:93.184.215.14", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_machines_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


def test_a_token_is_verified_with_keys_that_were_fetched(
    key_server: KeyServer, folder: Path, replay: FileReplay, clock: Clock
) -> None:
    """No address that a token names is ever asked, only the one that the configuration pins."""
    key_server.serve(public_half(EC_KEY, "ec"))
    (folder / "trust.toml").write_text(
        f'{TOP}[[issuer]]\niss = "{ISSUER}"\njku = "{key_server.url}"\nca_file = "server.pem"\n'
        'private_addresses = ["127.0.0.1"]\n'
    )
    trust = load_trust(folder / "trust.toml", replay, clock)
    assert refused(trust, Token().with_claims(iss=OTHER).bearer()).reason == Reason.UNKNOWN_ISSUER
    assert refused(trust, Token().with_header(jku=f"{key_server.url}&x").bearer()).reason == Reason.JKU
    assert key_server.asked == []
    assert trust.verify(Token().with_header(jku=key_server.url).bearer(), PATH).issuer == ISSUER
    assert trust.verify(Token().with_claims(jti="2").bearer(), PATH).issuer == ISSUER
    assert key_server.asked == ["/keys?of=ehr"]
    assert refused(trust, Token().by(EC_NEXT, "ec").bearer()).reason == Reason.SIGNATURE
