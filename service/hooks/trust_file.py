"""The list of issuers that may call: a TOML file, refused as a whole when any of it is not understood."""

from __future__ import annotations

import logging
import re
import time
import tomllib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from service.hooks.keys import KEY_TYPES, FetchedKeys, FileKeys, KeyFault, KeySource
from service.hooks.net import Address, Origin, is_plain
from service.hooks.replay import ReplayMemory
from service.hooks.trust import LONGEST_LIFETIME, USUAL_ALGORITHMS, Issuer, Profile, Trust, is_text

log = logging.getLogger("service.hooks.trust")

TEST_HOST = "sandbox.cds-hooks.org"
"""Its private key stands in a public repository."""

T = TypeVar("T")


class TrustError(ValueError):
    """The list of issuers cannot be used; says every fault that was found."""


def load_trust(path: Path, replay: ReplayMemory, clock: Callable[[], float] = time.time) -> Trust:
    """The trust that a TOML file describes; names of files in it are beside it. Raises TrustError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrustError(f"{path.name}: {error}") from error
    top = _Table(path.name, table)
    public_url = top.take("public_url", str, "")
    if not _is_endpoint(public_url):
        top.fault("public_url must be the https address under which clients call, without query or fragment")
    issuers: dict[str, Issuer] = {}
    entries = top.take("issuer", list, [])
    if not entries:
        top.fault("at least one [[issuer]] must be listed")
    for number, entry in enumerate(entries, 1):
        part = top.below(f"issuer {number}", entry)
        issuer = _issuer(part, path.parent)
        if issuer.iss in issuers:
            part.fault("iss is listed twice")
        issuers[issuer.iss] = issuer
    top.end()
    if top.faults:
        raise TrustError("\n".join(top.faults))
    return Trust(public_url, issuers, replay, clock)


def _issuer(part: _Table, folder: Path) -> Issuer:
    iss, jku, file = part.take("iss", str, ""), part.take("jku", str, ""), part.take("jwks_file", str, "")
    if not is_text(iss):
        part.fault("iss must be what its tokens say")
    if jku and not _is_https(jku):
        part.fault("jku must be a plain https address")
    if not jku and not file:
        part.fault("jwks_file or jku must say where its keys are")
    allowed = part.take("test_issuer", bool, False)
    if TEST_HOST in (_host(iss), _host(jku)):
        if allowed:
            log.warning("a test issuer is allowed to call, and anyone can be it", extra={"where": TEST_HOST})
        else:
            part.fault("is a test issuer whose private key is public: test_issuer = true would let anyone in")
    algorithms = part.texts("algorithms")
    if algorithms is not None and not algorithms <= KEY_TYPES.keys():
        part.fault(f"algorithms must be among {', '.join(KEY_TYPES)}")
    lifetime = part.take("max_lifetime", int, LONGEST_LIFETIME)
    if not 1 <= lifetime <= LONGEST_LIFETIME:
        part.fault(f"max_lifetime must be 1 to {LONGEST_LIFETIME} seconds")
    profile = part.take("profile", str, "generic")
    if profile not in ("generic", "epic"):
        part.fault("profile must be generic or epic")
    origin = _origin(part, jku, folder)
    source: KeySource = FileKeys(folder / file) if file else FetchedKeys(origin)
    if file:
        try:
            source.keys("")
        except KeyFault:
            part.fault("jwks_file cannot be read as a key set")
    tenants = part.texts("tenants")
    servers = _fhir_servers(part, folder)
    part.end()
    chosen: Profile = "epic" if profile == "epic" else "generic"
    return Issuer(iss, source, jku or None, tenants, chosen, algorithms or USUAL_ALGORITHMS, lifetime, servers)


def _origin(part: _Table, url: str, folder: Path) -> Origin:
    ca_file = part.take("ca_file", str, "")
    if ca_file and not (folder / ca_file).is_file():
        part.fault("ca_file cannot be found")
    return Origin(url, part.addresses("private_addresses"), folder / ca_file if ca_file else None)


def _fhir_servers(issuer: _Table, folder: Path) -> tuple[Origin, ...]:
    found: list[Origin] = []
    for number, entry in enumerate(issuer.take("fhir_server", list, []), 1):
        part = issuer.below(f"fhir_server {number}", entry)
        url = part.take("url", str, "").removesuffix("/")
        if not _is_https(url) or not is_plain(urlsplit(url).path) or "?" in url:
            part.fault("url must be the plain https address of a FHIR server, without query or fragment")
        if url in (one.url for one in found):
            part.fault("url is listed twice")
        found.append(_origin(part, url, folder))
        part.end()
    return tuple(found)


class _Table:
    """A table of the file; what is not taken by the end is not understood."""

    def __init__(self, where: str, members: dict[str, Any], faults: list[str] | None = None) -> None:
        self._where = where
        self._members = dict(members)
        self.faults: list[str] = [] if faults is None else faults

    def below(self, where: str, entry: Any) -> _Table:
        """A table in this one; what else stands there has no members."""
        return _Table(f"{self._where}: {where}", entry if isinstance(entry, dict) else {}, self.faults)

    def fault(self, message: str) -> None:
        self.faults.append(f"{self._where}: {message}")

    def take(self, name: str, kind: type[T], otherwise: T) -> T:
        value = self._members.pop(name, otherwise)
        if type(value) is not kind:
            self.fault(f"{name} must be a {kind.__name__}")
            return otherwise
        return value

    def texts(self, name: str) -> frozenset[str] | None:
        """Some strings; none at all would let nobody in, and is more likely a slip."""
        if name not in self._members:
            return None
        values = self.take(name, list, [])
        if not values or not all(isinstance(value, str) and is_text(value) for value in values):
            self.fault(f"{name} must be strings, and at least one")
            return None
        return frozenset(values)

    def addresses(self, name: str) -> frozenset[Address]:
        """Some addresses of machines."""
        found = set()
        for value in self.texts(name) or ():
            try:
                address = ip_address(value)
            except ValueError:
                self.fault(f"{name}: {value} is no address")
                continue
            if address.is_link_local or address.is_unspecified or address.is_multicast:
                self.fault(f"{name}: {value} is never allowed")
            found.add(address)
        return frozenset(found)

    def end(self) -> None:
        for name in sorted(self._members):
            self.fault(f"{name} is not known")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not re.search(r"[\s#\\@]", url)
    return plain and parts.scheme == "https" and bool(parts.hostname) and port != 0


def _is_endpoint(url: str) -> bool:
    if "?" in url:
        return False
    # Without TLS only where nothing leaves the machine.
    own = url.startswith("http://") and _host(url) in ("localhost", "127.0.0.1", "::1")
    return _is_https("https" + url.removeprefix("http") if own else url)
