"""Who may call: a signed token of an issuer on the list, made for this endpoint, in time, and used once.

The checks stand in the order in which they are made. Nothing of a token is believed, fetched or compared
with a secret before its signature holds, except which issuer of the list it says it is from.
"""

from __future__ import annotations

import math
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import jwt

from service.hooks.keys import KEY_TYPES, KeyFault, KeySource, pick, strict_object
from service.hooks.net import Origin
from service.hooks.replay import ReplayMemory, ReplayUnavailable, token_key

LEEWAY_SECONDS = 60
"""How far two clocks may be apart; a common client rounds `iat` up."""
LONGEST_LIFETIME = 3600
USUAL_ALGORITHMS = frozenset({"ES384", "RS384"})

LARGEST_TOKEN = 8192
_LARGEST_HEADER = 2048
_LONGEST_TEXT = 256
_MOST_BRACKETS = 64
"""Objects and arrays in a header or in claims; so many cannot be nested too deep for any reader either."""
_KEPT_LONGER = 10
"""Seconds that a used token is remembered beyond its end: clocks of two machines differ."""
_LATEST = 1 << 40

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)", re.ASCII)
_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_HARMLESS = re.compile(r"[A-Za-z0-9._~:/|@+=-]{1,200}")
_NOT_UNDERSTOOD = ("crit", "jwk", "x5u", "b64")
"""Header members that would change how a token is read, or bring a key of the caller's own."""

Profile = Literal["generic", "epic"]


class Reason(StrEnum):
    """Why a token was refused. For the log; the caller is not told."""

    NO_TOKEN = "no_token"
    NOT_BEARER = "not_bearer"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    HEADER_NOT_ALLOWED = "header_not_allowed"
    ALGORITHM = "algorithm_not_allowed"
    TYPE = "type_not_jwt"
    NO_KID = "no_kid"
    UNKNOWN_ISSUER = "unknown_issuer"
    JKU = "jku_not_allowed"
    KEYS_UNAVAILABLE = "keys_unavailable"
    UNKNOWN_KID = "unknown_kid"
    KEY_MISMATCH = "key_mismatch"
    KEY_AMBIGUOUS = "key_ambiguous"
    SIGNATURE = "bad_signature"
    CLAIM = "claim_missing_or_malformed"
    AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET = "not_yet_valid"
    ISSUED_LATER = "issued_in_future"
    LIFETIME = "lifetime_too_long"
    TENANT = "tenant_not_entitled"
    REPLAYED = "replayed"
    REPLAY_UNAVAILABLE = "replay_memory_unavailable"


class Refused(Exception):
    """A caller who is not let in. The answer says its status and nothing else; the rest is for the log."""

    def __init__(self, reason: Reason, issuer: str | None = None, jti: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.issuer = loggable(issuer)
        self.jti = loggable(jti)

    @property
    def status(self) -> int:
        """403 for a tenant that is known but not entitled, 503 when the fault is ours, else 401."""
        return {Reason.TENANT: 403, Reason.REPLAY_UNAVAILABLE: 503}.get(self.reason, 401)


def loggable(text: str | None) -> str | None:
    """The text if it looks like an address or an id, else None: what a stranger sent may be anything."""
    return text if text is not None and _HARMLESS.fullmatch(text) is not None else None


@dataclass(frozen=True)
class Issuer:
    """An EHR that may call."""

    iss: str
    source: KeySource
    jku: str | None = None
    """The one address of keys that its tokens may name; they need not name any."""
    tenants: frozenset[str] | None = None
    """Which of its tenants may call; None: it is not divided into tenants, or all may."""
    profile: Profile = "generic"
    algorithms: frozenset[str] = USUAL_ALGORITHMS
    longest_lifetime: int = LONGEST_LIFETIME
    fhir_servers: tuple[Origin, ...] = ()
    """Its FHIR servers that may be asked for what a call lacks; none: nothing is ever asked for."""


@dataclass(frozen=True)
class Caller:
    """Who has called, as far as the token proves it."""

    issuer: str
    tenant: str | None
    profile: Profile
    jti: str
    fhir_servers: tuple[Origin, ...] = ()
    """Which FHIR servers may be asked for this caller."""


@dataclass(frozen=True)
class _Unverified:
    """What a token says of itself."""

    token: str
    alg: str
    kid: str
    jku: str | None
    claims: dict[str, Any]


class Trust:
    """The list of issuers, and the memory of the tokens that were used."""

    def __init__(
        self,
        public_url: str,
        issuers: Mapping[str, Issuer],
        replay: ReplayMemory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._public_url = public_url.rstrip("/")
        self._issuers = dict(issuers)
        self._algorithms = frozenset[str]().union(*(issuer.algorithms for issuer in issuers.values()))
        self._replay = replay
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=sorted(KEY_TYPES), options={"enforce_minimum_key_length": True})

    @property
    def public_url(self) -> str:
        """Where clients reach this service, without a slash at its end."""
        return self._public_url

    def verify(self, authorization: str | None, path: str) -> Caller:
        """The caller whom this Authorization header proves, at the endpoint with this path of ours.

        `path` is the route that was matched, never what the caller says of itself. Raises Refused.
        """
        said = self._read(authorization)
        iss = said.claims.get("iss")
        issuer = self._issuers.get(iss) if isinstance(iss, str) else None
        if issuer is None:
            raise Refused(Reason.UNKNOWN_ISSUER, iss if isinstance(iss, str) else None)
        if said.alg not in issuer.algorithms:
            raise Refused(Reason.ALGORITHM, issuer.iss)
        self._check_signature(said, issuer)
        jti = _text(said.claims, "jti", issuer)
        self._check_audience(said.claims, path, issuer, jti)
        end = self._check_times(said.claims, issuer, jti)
        tenant = _check_tenant(said.claims, issuer, jti)
        self._check_unused(issuer, jti, end)
        return Caller(issuer.iss, tenant, issuer.profile, jti, issuer.fhir_servers)

    def _read(self, authorization: str | None) -> _Unverified:
        if not authorization:
            raise Refused(Reason.NO_TOKEN)
        if len(authorization) > LARGEST_TOKEN:
            raise Refused(Reason.TOO_LARGE)
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise Refused(Reason.NOT_BEARER)
        segments = _TOKEN.fullmatch(bearer[1])
        if segments is None:
            raise Refused(Reason.MALFORMED)
        if len(segments[1]) > _LARGEST_HEADER:
            raise Refused(Reason.TOO_LARGE)
        header = _segment(segments[1])
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(alg, str) or alg not in self._algorithms:
            raise Refused(Reason.ALGORITHM)
        if header.get("typ") != "JWT":
            raise Refused(Reason.TYPE)
        if not isinstance(kid, str) or not is_text(kid):
            raise Refused(Reason.NO_KID)
        if any(member in header for member in _NOT_UNDERSTOOD):
            raise Refused(Reason.HEADER_NOT_ALLOWED)
        jku = header.get("jku")
        if "jku" in header and not isinstance(jku, str):
            raise Refused(Reason.JKU)
        # The claims that the signature will cover are these same bytes; they are not read twice.
        return _Unverified(bearer[1], alg, kid, jku, _segment(segments[2]))

    def _check_signature(self, said: _Unverified, issuer: Issuer) -> None:
        if said.jku is not None and said.jku != issuer.jku:
            raise Refused(Reason.JKU, issuer.iss)
        try:
            key = pick(issuer.source.keys(said.kid), said.kid, said.alg)
        except KeyFault as fault:
            raise Refused(Reason(fault.code), issuer.iss) from None
        try:
            self._jws.decode_complete(said.token, key, algorithms=[said.alg])
        except jwt.PyJWTError:
            raise Refused(Reason.SIGNATURE, issuer.iss) from None

    def _check_audience(self, claims: Mapping[str, Any], path: str, issuer: Issuer, jti: str) -> None:
        said = claims.get("aud")
        audiences = said if isinstance(said, list) else [said]
        if not audiences or not all(isinstance(audience, str) for audience in audiences):
            raise Refused(Reason.CLAIM, issuer.iss, jti)
        endpoint = self._public_url + path.rstrip("/")
        # With a slash at its end it is the same endpoint, and some clients call it so.
        if endpoint not in audiences and f"{endpoint}/" not in audiences:
            raise Refused(Reason.AUDIENCE, issuer.iss, jti)

    def _check_times(self, claims: Mapping[str, Any], issuer: Issuer, jti: str) -> float:
        """The end of the token."""
        end, start = _time(claims, "exp", issuer, jti), _time(claims, "iat", issuer, jti)
        now = self._clock()
        if now >= end + LEEWAY_SECONDS:
            raise Refused(Reason.EXPIRED, issuer.iss, jti)
        if "nbf" in claims and _time(claims, "nbf", issuer, jti) > now + LEEWAY_SECONDS:
            raise Refused(Reason.NOT_YET, issuer.iss, jti)
        if start > now + LEEWAY_SECONDS:
            raise Refused(Reason.ISSUED_LATER, issuer.iss, jti)
        if end <= start:
            raise Refused(Reason.CLAIM, issuer.iss, jti)
        if end - start > issuer.longest_lifetime:
            raise Refused(Reason.LIFETIME, issuer.iss, jti)
        return end

    def _check_unused(self, issuer: Issuer, jti: str, end: float) -> None:
        until = math.ceil(end) + LEEWAY_SECONDS + _KEPT_LONGER
        try:
            is_new = self._replay.first_use(token_key(issuer.iss, jti), math.floor(self._clock()), until)
        except ReplayUnavailable:
            raise Refused(Reason.REPLAY_UNAVAILABLE, issuer.iss, jti) from None
        if not is_new:
            raise Refused(Reason.REPLAYED, issuer.iss, jti)


def _segment(text: str) -> dict[str, Any]:
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if data.count(b"[") + data.count(b"{") <= _MOST_BRACKETS:
            return strict_object(data)
    except ValueError:
        pass
    raise Refused(Reason.MALFORMED)


def is_text(value: str) -> bool:
    """Whether it has characters, not too many, and none that cannot be seen."""
    return 1 <= len(value) <= _LONGEST_TEXT and value.isprintable()


def _text(claims: Mapping[str, Any], name: str, issuer: Issuer) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not is_text(value):
        raise Refused(Reason.CLAIM, issuer.iss)
    return value


def _time(claims: Mapping[str, Any], name: str, issuer: Issuer, jti: str) -> float:
    value = claims.get(name)
    # A fraction is allowed (RFC 7519, section 2); true and false are numbers to Python only.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST:
        raise Refused(Reason.CLAIM, issuer.iss, jti)
    return float(value)


def _check_tenant(claims: Mapping[str, Any], issuer: Issuer, jti: str) -> str | None:
    if "tenant" not in claims and issuer.tenants is None:
        return None
    tenant = claims.get("tenant")
    if not isinstance(tenant, str) or not is_text(tenant):
        raise Refused(Reason.TENANT, issuer.iss, jti)
    if issuer.tenants is not None and tenant not in issuer.tenants:
        raise Refused(Reason.TENANT, issuer.iss, jti)
    return tenant
