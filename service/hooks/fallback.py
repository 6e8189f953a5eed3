"""What a call lacks, asked of the FHIR server that it names; only where the configuration lists that server.

Off unless an issuer has `fhir_server` entries. The server is one of them or none, the queries are those of discovery,
and what a call or an answer says can choose neither. What cannot be had is a failed query to whoever reads it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from service.fhir.bundle import read_key
from service.fhir.wire import Json, kind, obj, objects, text
from service.hooks.net import FAULTS, Origin, Session, Unfit, is_plain, said
from service.knowledge.hooks_file import Hooks, Service

log = logging.getLogger("service.hooks.fallback")

Decode = Callable[[bytes], Any]
"""Reads JSON strictly, numbers as Decimals; raises whatever it likes when it cannot."""

_LONGEST = 8192
"""Characters of an access token, and of a link to a further page."""
_ID = re.compile(r"(?!\.+$)[A-Za-z0-9\-.]{1,64}")
"""An id of FHIR; one of dots alone would lead to another path."""
_ACCESS_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""Nothing else can stand in a header (RFC 6750, section 2.1)."""
_TOKEN = re.compile(r"\{\{([^{}]*)\}\}")
_QUERY = re.compile(r"[!-\"$-~]*")
_OWN_TYPE = {"patientId": "Patient/", "encounterId": "Encounter/"}


@dataclass(frozen=True)
class Budget:
    """How much one call may cost, all its requests together."""

    milliseconds: int = 1500
    requests: int = 12
    body_bytes: int = 1 << 20
    all_bytes: int = 4 << 20
    at_once: int = 6


USUAL = Budget()


@dataclass(frozen=True)
class Fetched:
    """The prefetch of a call, completed as far as could be."""

    prefetch: Mapping[str, Any]
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """By prefetch key, what became of asking: `fetched`, or why not. Harmless words, for the log."""
    refused: str = ""
    """Why nothing at all was asked for; empty where it was, or where nothing was missing."""
    requests: int = 0


class _NotAsked(Exception):
    """Why the server is not asked for anything."""


def complete(
    hooks: Hooks,
    service: Service,
    request: Mapping[str, Any],
    servers: Sequence[Origin],
    decode: Decode,
    budget: Budget = USUAL,
) -> Fetched:
    """The prefetch of this call with the missing keys of the service filled, and further pages of what was sent.

    `request` is a call that was read and found well-formed, `servers` those that are allowed for its caller.
    """
    sent: Mapping[str, Any] = request.get("prefetch") or {}
    if not servers:
        return Fetched(sent, refused="off")
    keys = _missing(hooks, service, sent)
    more = [key for key in (*service.prefetch, *hooks.combined) if key in sent and _has_more(sent[key])]
    if not keys and not more:
        return Fetched(sent)
    try:
        origin = _server(request.get("fhirServer"), servers)
        values = _values(request["context"])
        headers, seconds = _authorised(request, values["context.patientId"], budget)
    except _NotAsked as reason:
        log.warning("fhir server not asked", extra={"error": str(reason)})
        return Fetched(sent, refused=str(reason))
    base = origin.url.removesuffix("/")
    chains = [_Chain(key, base, target=_target(base, hooks.prefetch[key].query, values)) for key in keys]
    chains += [_Chain(key, base).begun(sent[key]) for key in more]
    requests = _follow(chains, Session(origin, seconds, headers, budget.at_once), decode, budget)
    outcomes = {one.key: one.outcome() for one in chains}
    for outcome in sorted(set(outcomes.values()) - {"fetched"}):
        where = ", ".join(key for key, one in outcomes.items() if one == outcome)
        log.warning("prefetch not fetched", extra={"error": outcome, "where": where})
    filled = {one.key: one.value() for one in chains if one.asked}
    return Fetched({**sent, **filled}, outcomes, requests=requests)


def _missing(hooks: Hooks, service: Service, sent: Mapping[str, Any]) -> list[str]:
    # null is asked for like a key that is not there. By the specification it says that the client has no such data,
    # but clients send it for a template that they cannot evaluate as well, so that here it never means more than
    # "not supplied"; the server can only make that surer.
    combined = [one for key, one in hooks.combined.items() if sent.get(key) is not None]
    there = {key for one in combined for key in one.stands_for}
    return [key for key in service.prefetch if sent.get(key) is None and key not in there]


def _server(stated: Any, servers: Sequence[Origin]) -> Origin:
    if stated is None:
        raise _NotAsked("no_server")
    for one in servers:
        if isinstance(stated, str) and stated.removesuffix("/") == one.url.removesuffix("/"):
            return one
    raise _NotAsked("server_not_listed")


def _values(context: Json) -> dict[str, str]:
    """What the tokens of the templates stand for, where it is an id."""
    stated = {f"context.{name}": _id(context.get(name), own) for name, own in _OWN_TYPE.items()}
    values = {name: value for name, value in stated.items() if value is not None}
    if "context.patientId" not in values:
        raise _NotAsked("patient_id_unfit")
    return values


def _id(stated: Any, own_type: str) -> str | None:
    """The id, which may come with its type; None where it is none."""
    value = stated.removeprefix(own_type) if isinstance(stated, str) else ""
    return value if _ID.fullmatch(value) else None


def _authorised(request: Mapping[str, Any], patient: str, budget: Budget) -> tuple[dict[str, str], float]:
    """The headers of every request, and for how many seconds they are good."""
    headers, seconds = {"Accept": "application/fhir+json"}, budget.milliseconds / 1000
    if request.get("fhirAuthorization") is None:
        # A server that is open to its own network needs none.
        return headers, seconds
    stated = obj(request["fhirAuthorization"])
    token, lasts = stated.get("access_token"), stated.get("expires_in")
    if stated.get("token_type") != "Bearer" or not isinstance(token, str):
        raise _NotAsked("token_unfit")
    if len(token) > _LONGEST or not _ACCESS_TOKEN.fullmatch(token):
        raise _NotAsked("token_unfit")
    if type(lasts) is not int or lasts <= 0:
        raise _NotAsked("token_expired")
    if "patient" in stated and _id(stated["patient"], _OWN_TYPE["patientId"]) != patient:
        raise _NotAsked("token_of_another_patient")
    return {**headers, "Authorization": f"Bearer {token}"}, min(seconds, lasts)


def _target(base: str, query: str, values: Mapping[str, str]) -> str | None:
    """Path and query of a template below the base; None where a token has no value."""
    filled = ""
    for place, part in enumerate(_TOKEN.split(query)):
        # Every second part is a token.
        if place % 2 == 0:
            filled += quote(part, safe="/?&=,:%")
        elif (value := values.get(part)) is not None:
            filled += quote(value, safe="")
        else:
            return None
    return f"{urlsplit(base).path}/{filled}"


def _follow(chains: Sequence[_Chain], session: Session, decode: Decode, budget: Budget) -> int:
    """Ask in rounds, each in the order of the chains, so that no race decides which of them the budget is for."""

    def read(body: bytes) -> tuple[int, Any]:
        try:
            return len(body), decode(body)
        except Exception:
            # What a reader says of a body may repeat it.
            raise Unfit("unreadable") from None

    requests, left = 0, budget.all_bytes
    while due := [one for one in chains if one.target is not None][: budget.requests - requests]:
        if not left:
            break
        requests += len(due)
        targets = [one.target for one in due if one.target is not None]
        for one, got in zip(due, session.get(targets, min(budget.body_bytes, left), read), strict=True):
            if isinstance(got, FAULTS):
                one.fail(said(got))
            elif isinstance(got, Exception):
                raise got
            elif got[0] > left:
                one.fail("too large in all")
            else:
                left -= got[0]
                one.take(got[1])
    return requests


class _Chain:
    """One key: its first page, and those that follow it."""

    def __init__(self, key: str, base: str, target: str | None = None) -> None:
        self.key = key
        self.target = target
        """What to ask for next; None: nothing."""
        self.asked = False
        self._base = base
        self._first: Any = None
        self._entries: list[Any] = []
        self._seen: set[str] = set()
        self._fault = "" if target is not None else "token_without_value"
        self._next: Any = None
        """The link to the page that is not there yet."""

    def begun(self, value: Json) -> _Chain:
        """Of a first page that was sent."""
        self._fault = ""
        self._add(value)
        return self

    def take(self, value: Any) -> None:
        """The answer to what was asked."""
        found = read_key(value)
        if value is None or found.status == "failed" or (self._first is not None and kind(value) != "Bundle"):
            self.fail("search failed" if "search_failed" in found.remarks else "not usable")
            return
        self._mark_asked()
        self._add(value)

    def fail(self, why: str) -> None:
        """What was asked for is not to be had."""
        self._mark_asked()
        self._fault, self.target = why, None

    def _mark_asked(self) -> None:
        self.asked = True
        if self.target is not None:
            self._seen.add(self.target)

    def _add(self, page: Json) -> None:
        if self._first is None:
            self._first = page
        self.target = self._next = None
        if kind(page) != "Bundle":
            return
        self._entries += page.get("entry", [])
        links = _next_links(page)
        if not links:
            return
        self._next = links[-1]
        target = _next_target(text(links[0].get("url")), self._base) if len(links) == 1 else None
        if target is None or target in self._seen:
            self._fault = "next page refused"
        else:
            self.target = target

    def value(self) -> Any:
        """All pages as one; with a link to the next one where it is lacking, or a failure where nothing was had."""
        if self._first is None:
            return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}
        if kind(self._first) != "Bundle":
            return self._first
        kept = [one for one in objects(self._first.get("link")) if not _is_next(one)]
        links = [*kept, self._next] if self._next is not None else kept
        return {**self._first, "entry": self._entries, "link": links}

    def outcome(self) -> str:
        """In a word or two."""
        if self._fault:
            return self._fault
        # Whoever waits still when all is over has come to the end of the budget.
        return "fetched" if self.target is None else "budget spent"


def _is_next(link: Json) -> bool:
    return text(link.get("relation")) == "next"


def _next_links(page: Json) -> list[Json]:
    return [one for one in objects(page.get("link")) if _is_next(one)]


def _has_more(value: Any) -> bool:
    return kind(obj(value)) == "Bundle" and bool(_next_links(value)) and read_key(value).status == "incomplete"


def _next_target(url: str, base: str) -> str | None:
    """Path and query of a further page; None unless it is at the same origin and below the same base."""
    if not url or len(url) > _LONGEST or not url.isprintable():
        return None
    try:
        home, there = urlsplit(base), urlsplit(urljoin(f"{base}/", url))
        same = (there.scheme, there.hostname, there.port or 443) == ("https", home.hostname, home.port or 443)
    except ValueError:
        return None
    if not same or there.username is not None or there.password is not None or "#" in url:
        return None
    below = there.path == home.path or there.path.startswith(f"{home.path}/")
    if not below or not is_plain(there.path) or not _QUERY.fullmatch(there.query):
        return None
    # Some servers write characters into their own links that a request cannot have.
    query = quote(there.query, safe="%/?&=,:;$!'()*+@")
    return f"{there.path or '/'}?{query}" if query else there.path or "/"
