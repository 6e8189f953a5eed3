"""MedicationRequest and MedicationStatement become medications; draft orders among them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from service.fhir.bundle import Entry, Index
from service.fhir.chart import Ledger
from service.fhir.product import Product, ProductReader
from service.fhir.subject import Subject
from service.fhir.times import moment
from service.fhir.wire import Json, codings, kind, not_understood, obj, objects, text
from service.knowledge.fhir_map import FhirMap
from service.knowledge.vocabulary import Vocabulary
from service.terminology import Recogniser
from service.terminology.routes import Routes
from service.terminology.text import words

_DOSES = {"MedicationRequest": "dosageInstruction", "MedicationStatement": "dosage"}


class MedicationReader:
    """Reads what is taken or ordered; made once, shared by all threads."""

    def __init__(self, vocabulary: Vocabulary, recogniser: Recogniser) -> None:
        self._words: FhirMap = vocabulary.fhir
        self._products = ProductReader(self._words, recogniser)
        self._routes = Routes(vocabulary.routes)

    def read(
        self, key: str, resource: Json, subject: Subject, index: Index, as_of: date, ledger: Ledger
    ) -> tuple[dict[str, Any] | None, Product | None]:
        """One entry of the body's ``medications``; None, and a note, where it is not used."""
        reason = self._not_used(resource, subject, draft=False)
        if reason:
            ledger.leave_out(key, reason, kind(resource))
            return None, None
        product = self._products.read(resource, index)
        if not product.said:
            ledger.leave_out(key, product.reason, kind(resource))
            return None, product
        if not text(resource.get("status")):
            ledger.remark(key, "no_status", kind(resource))
        end = moment(obj(resource.get("effectivePeriod")).get("end"))
        if end is not None and end.last < as_of:
            ledger.leave_out(key, "ended", kind(resource))
            return None, product
        said = self._said(key, resource, product, ledger)
        since = self._since(resource, as_of)
        return said | ({"since": since.isoformat()} if since is not None else {}), product

    def draft(
        self, key: str, resource: Json, subject: Subject, index: Index, ledger: Ledger
    ) -> tuple[dict[str, Any] | None, Product | None]:
        """The same of a draft order; nobody has begun to take it."""
        reason = self._not_used(resource, subject, draft=True)
        product = None if reason else self._products.read(resource, index)
        if product is None or not product.said:
            ledger.leave_out(key, reason or (product.reason if product is not None else ""), kind(resource))
            return None, product
        return self._said(key, resource, product, ledger), product

    def _not_used(self, resource: Json, subject: Subject, *, draft: bool) -> str:
        verdict = subject.verdict(resource)
        # A draft comes with the call, and the call says whose it is.
        if verdict == "wrong_patient" or (verdict == "no_patient" and not draft):
            return verdict
        if not_understood(resource):
            return "modifier_extension"
        if resource.get("doNotPerform") is True:
            return "do_not_perform"
        name = kind(resource)
        status, intent = text(resource.get("status")), text(resource.get("intent"))
        reason = self._words.statuses["draft" if draft else name].reason(status) if status else None
        if reason is None and name == "MedicationRequest" and intent and not draft:
            reason = self._words.statuses["intent"].reason(intent)
        return reason or ""

    def _said(self, key: str, resource: Json, product: Product, ledger: Ledger) -> dict[str, Any]:
        for remark in product.remarks:
            ledger.remark(key, remark, kind(resource))
        route, remark = self._route(resource)
        if remark:
            ledger.remark(key, remark, kind(resource))
        return product.said | ({"route": route} if route else {})

    def _route(self, resource: Json) -> tuple[str, str]:
        """The one route of all doses; none, and why, where it is not known or there are several."""
        stated = [one["route"] for one in objects(resource.get(_DOSES[kind(resource)])) if one.get("route")]
        found = {self._one_route(one) for one in stated}
        if not found:
            return "", ""
        if "" in found:
            return "", "route_unknown"
        return (found.pop(), "") if len(found) == 1 else ("", "routes_differ")

    def _one_route(self, concept: Any) -> str:
        listed = list(codings(concept))
        for system, code, _ in listed:
            if self._words.systems.get(system) == "snomed" and code in self._words.routes:
                return self._words.routes[code]
        for written in (text(obj(concept).get("text")), *(display for *_, display in listed)):
            if (said := self._routes.of(words(written))) is not None:
                return said
        return ""

    def _since(self, resource: Json, as_of: date) -> date | None:
        """The day it was begun, where one is stated. An order may renew an older one: its own date is no beginning."""
        stated: list[Any] = [obj(resource.get("effectivePeriod")).get("start")]
        for dose in objects(resource.get(_DOSES[kind(resource)])):
            repeat: Mapping[str, Any] = obj(obj(dose.get("timing")).get("repeat"))
            stated.append(obj(repeat.get("boundsPeriod")).get("start"))
        found = [one for one in map(moment, stated) if one is not None]
        days = [one.first for one in found if not one.partial and one.first <= as_of]
        return min(days, default=None)


def of_type(entries: list[Entry], types: frozenset[str]) -> tuple[list[Entry], list[Entry]]:
    """Those of these types, and the others."""
    wanted = [one for one in entries if kind(one.resource) in types]
    return wanted, [one for one in entries if kind(one.resource) not in types]
