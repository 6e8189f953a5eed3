"""The only way out: GET requests to one host of an allow-list, each guarded alike.

The name of the host is looked up once, every address is examined, and the one examined is the one connected to. TLS
always, no redirect, nothing encoded, so many bytes and no more, and an end to it all after so many seconds.
No fault repeats a header or an address that was asked for.
"""

from __future__ import annotations

import contextlib
import http.client
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
T = TypeVar("T")

_NAT64 = IPv6Network("64:ff9b::/96")
_OF_A_CLOUD = frozenset({IPv4Address("168.63.129.16")})
"""Looks public, and is a service that a cloud has for its own machines."""


_PLAIN_PATH = re.compile(r"(?:/(?!\.+(?:/|$))[A-Za-z0-9._~:-]+)*/?")


class Unfit(Exception):
    """Why something was not fetched, in words of our own."""


FAULTS = (Unfit, OSError, http.client.HTTPException, ValueError)
"""What can be wrong with a host, a connection or an answer; anything else is a fault of ours."""


def said(fault: Exception) -> str:
    """A fault in words that may be logged: what a library says of it may repeat what was sent."""
    return str(fault) if isinstance(fault, Unfit) else type(fault).__name__


def is_plain(path: str) -> bool:
    """Whether every server reads the path alike: no dots that lead elsewhere, nothing encoded, no operation."""
    return _PLAIN_PATH.fullmatch(path) is not None


@dataclass(frozen=True)
class Origin:
    """An address, and with it the one host, that may be asked."""

    url: str
    private_addresses: frozenset[Address] = frozenset()
    """Addresses inside the own network that the host may have."""
    ca_file: Path | None = None
    """Who vouches for the host; None: those whom this machine trusts."""

    @property
    def target(self) -> str:
        """Path and query of the address."""
        url = urlsplit(self.url)
        return (url.path or "/") + (f"?{url.query}" if url.query else "")


class Session:
    """Requests to the host of one address, within `seconds` all in all, from now on."""

    def __init__(self, origin: Origin, seconds: float, headers: Mapping[str, str], at_once: int = 1) -> None:
        url = urlsplit(origin.url)
        self._origin = origin
        self._host = url.hostname or ""
        self._port = url.port or 443
        self._headers = {**headers, "Accept-Encoding": "identity", "Connection": "close"}
        self._at_once = at_once
        self._end = time.monotonic() + seconds
        self._addresses: list[Address] = []
        self._tls: ssl.SSLContext | None = None

    @property
    def left(self) -> float:
        """Seconds until its end."""
        return max(0.0, self._end - time.monotonic())

    def get(self, targets: Sequence[str], largest: int, read: Callable[[bytes], T]) -> list[T | Exception]:
        """What `read` makes of the body at each target, a path and query on this host; or why there is none.

        In the order of the targets, whichever came first. `largest`: bytes of one body.
        """
        # Threads, because neither the look-up of a name nor a server that sends a byte at a time ends by itself.
        todo: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        answers: queue.SimpleQueue[tuple[int, T | Exception]] = queue.SimpleQueue()
        watch = _Watch()
        for numbered in enumerate(targets):
            todo.put(numbered)

        def lane() -> None:
            while True:
                try:
                    place, target = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    answers.put((place, read(self._get(target, largest, watch))))
                except Exception as error:  # handed to the caller, who knows what to do with it
                    answers.put((place, error))

        def lanes() -> None:
            try:
                self._open()
            except Exception as error:
                for place in range(len(targets)):
                    answers.put((place, error))
                return
            for _ in range(min(self._at_once, len(targets)) - 1):
                threading.Thread(target=lane, daemon=True).start()
            lane()

        found: list[T | Exception] = [Unfit("took too long")] * len(targets)
        threading.Thread(target=lanes, daemon=True).start()
        try:
            for _ in targets:
                place, answer = answers.get(timeout=self.left)
                found[place] = answer
        except queue.Empty:
            pass
        finally:
            watch.end()
        return found

    def _open(self) -> None:
        """Look up the host, once for all requests."""
        if self._tls is None:
            self._addresses = resolve(self._origin, self._host, self._port)
            context = ssl.create_default_context(cafile=self._origin.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls = context

    def _get(self, target: str, largest: int, watch: _Watch) -> bytes:
        assert self._tls is not None
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
        with contextlib.closing(connection), self._connected() as raw, watch.over(raw):
            connection.sock = self._tls.wrap_socket(raw, server_hostname=self._host)
            connection.request("GET", target, headers=self._headers)
            with contextlib.closing(connection.getresponse()) as response:
                if response.status != HTTPStatus.OK:
                    # A redirect too: where it leads was never on a list.
                    raise Unfit(f"status {response.status}")
                if response.getheader("Content-Encoding", "identity") != "identity":
                    raise Unfit("encoded")
                body = response.read(largest + 1)
        if len(body) > largest:
            raise Unfit("too large")
        return body

    def _connected(self) -> socket.socket:
        # The addresses that were examined are the ones connected to; the name is not looked up a second time.
        *others, last = self._addresses
        for address in others:
            with contextlib.suppress(OSError):
                return self._connect(address)
        return self._connect(last)

    def _connect(self, address: Address) -> socket.socket:
        seconds = self.left
        if not seconds:
            # To a socket it would mean not to wait at all, and say something else.
            raise Unfit("took too long")
        return socket.create_connection((str(address), self._port), timeout=seconds)


class _Watch:
    """Ends the connections of threads that nobody waits for any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._is_over = False

    @contextlib.contextmanager
    def over(self, raw: socket.socket) -> Iterator[None]:
        # A second handle, because TLS takes the first one for itself.
        with raw.dup() as handle:
            with self._lock:
                if self._is_over:
                    raise Unfit("took too long")
                self._handles.add(handle)
            try:
                yield
            finally:
                with self._lock:
                    self._handles.discard(handle)

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            for handle in self._handles:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)


def resolve(origin: Origin, host: str, port: int) -> list[Address]:
    """The addresses of the host. One that is not public, and not allowed by name, refuses the host altogether."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    addresses = [ip_address(str(entry[4][0])) for entry in found]
    if not addresses or not all(address in origin.private_addresses or is_public(address) for address in addresses):
        raise Unfit("address not allowed")
    return addresses


def is_public(address: Address) -> bool:
    """Whether it is a machine of the open internet: not this one, its network, or one dressed up as another."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (
        address in _OF_A_CLOUD
        or address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
