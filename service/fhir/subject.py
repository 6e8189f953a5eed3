"""Whether a resource is about the patient of the call. What is displayed beside a reference is never trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from service.fhir.bundle import Entry, reference_target
from service.fhir.wire import Json, kind, obj, text

Verdict = Literal["same", "wrong_patient", "no_patient"]

_URN = "urn:uuid:"


class Subject:
    """The patient of the call; by id, and by the addresses under which the record of that id came."""

    def __init__(self, patient_id: str, entries: Iterable[Entry], fhir_server: str | None = None) -> None:
        self.id = patient_id.removeprefix("Patient/")
        self._server = fhir_server.rstrip("/") if fhir_server else None
        self._urls = {
            one.full_url
            for one in entries
            if one.full_url and kind(one.resource) == "Patient" and text(one.resource.get("id")) == self.id
        }

    def is_same(self, reference: str) -> bool:
        """Whether a reference names the patient of the call."""
        if not self.id:
            return False
        if reference in self._urls or reference in (self.id, _URN + self.id):
            return True
        if reference_target(reference) != ("Patient", self.id):
            return False
        # The same number on another server is another patient.
        base = reference[: reference.index("Patient/" + self.id)].rstrip("/")
        return self._server is None or base in ("", self._server)

    def verdict(self, resource: Json) -> Verdict:
        """Of a resource, by its subject."""
        stated: Any = resource.get("subject", resource.get("patient"))
        if stated is None:
            return "no_patient"
        reference = stated if isinstance(stated, str) else text(obj(stated).get("reference"))
        return "same" if self.is_same(reference) else "wrong_patient"
