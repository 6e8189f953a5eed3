"""A FHIR server on loopback: a few records, read and searched in the ways that the prefetch templates ask for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fhir_patients import Json, bundle, outcome

Match = Callable[[Json, str], bool]


def _codes(concepts: Any) -> set[str]:
    """Of one CodeableConcept or several, as a search may write them: with their system and without."""
    listed = concepts if isinstance(concepts, list) else [concepts]
    codings = [coding for one in listed for coding in one.get("coding", ())]
    return {f"{one['system']}|{one['code']}" for one in codings} | {one["code"] for one in codings}


def _coded(member: str) -> Match:
    return lambda resource, wanted: not _codes(resource.get(member, ())).isdisjoint(wanted.split(","))


def _plain(member: str) -> Match:
    return lambda resource, wanted: resource.get(member) in wanted.split(",")


PARAMETERS: dict[str, Match] = {
    "_id": _plain("id"),
    "patient": lambda resource, wanted: resource["subject"]["reference"] in (wanted, f"Patient/{wanted}"),
    "code": _coded("code"),
    "category": _coded("category"),
    "clinical-status": _coded("clinicalStatus"),
    "status": _plain("status"),
    "intent": _plain("intent"),
}


@dataclass
class FhirServer:
    """What it holds, how it fails, and what it was asked; everything may be changed while it runs."""

    resources: list[Json]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """Each request line's target, as it was sent."""
    answers: dict[str, tuple[int, Json]] = field(default_factory=dict)
    """Status and body for targets that contain the key, in the place of what would be found."""

    def answer(self, target: str) -> tuple[int, Json]:
        """Status and body for a target."""
        self.asked.append(target)
        for part, instead in self.answers.items():
            if part in unquote(target):
                return instead
        url = urlsplit(target)
        kind, _, name = url.path.strip("/").partition("/")
        of_kind = [one for one in self.resources if one["resourceType"] == kind]
        if name:
            found = [one for one in of_kind if one["id"] == name]
            return (200, found[0]) if found else (404, outcome("not-found"))
        return self._search(of_kind, parse_qsl(url.query), f"{self.url}/{target.lstrip('/')}")

    def _search(self, found: list[Json], query: list[tuple[str, str]], address: str) -> tuple[int, Json]:
        most = None
        for name, wanted in query:
            if name == "_count":
                most = int(wanted)
            elif name == "_sort" and wanted == "-date":
                found = sorted(found, key=lambda one: one["effectiveDateTime"], reverse=True)
            elif name in PARAMETERS:
                found = [one for one in found if PARAMETERS[name](one, wanted)]
            else:
                # A search that was not understood must not look like one that found something.
                return 400, outcome("not-supported")
        page = found[:most]
        links = [{"relation": "self", "url": address}]
        if len(page) < len(found):
            links.append({"relation": "next", "url": f"{address}&_page=2"})
        return 200, bundle(*page, link=links) | {"total": len(found)}


@contextmanager
def serving(records: Iterable[Iterable[Json]]) -> Iterator[FhirServer]:
    """A server that holds these records, on a free port, until the block ends."""
    held = FhirServer([resource for record in records for resource in record])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = held.answer(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing is written to the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()
