"""Prefetch and context of a hook call become a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from service.fhir.bundle import Entry, Index, Read, read_key
from service.fhir.chart import DRAFTS, OTHER, Chart, Draft, Ledger, State
from service.fhir.conditions import ConditionReader
from service.fhir.limits import MOST_MEDICATIONS
from service.fhir.medications import MedicationReader, of_type
from service.fhir.newest import choose
from service.fhir.patient import read_patient
from service.fhir.product import Product
from service.fhir.results import ResultReader
from service.fhir.subject import Subject
from service.fhir.wire import kind, text
from service.knowledge.vocabulary import Vocabulary
from service.terminology import Recogniser

_ABSENT_OR_NONE = {"not_active", "not_ordered", "refuted", "entered_in_error", "do_not_perform", "ended", "duplicate"}
"""Reasons that leave nothing unknown: what was left out for them is known not to be there."""


class ChartReader:
    """Reads the FHIR resources of a call; made once, shared by all threads."""

    def __init__(self, vocabulary: Vocabulary, recogniser: Recogniser) -> None:
        self.vocabulary = vocabulary
        self._words = vocabulary.fhir
        self._medications = MedicationReader(vocabulary, recogniser)
        self._conditions = ConditionReader(vocabulary)

    def read(
        self,
        patient_id: str,
        prefetch: Mapping[str, Any] | None,
        as_of: date,
        *,
        draft_orders: Any = None,
        selections: Sequence[Any] | None = None,
        fhir_server: str | None = None,
    ) -> Chart:
        """The chart of one call. ``selections`` None: every draft is selected.

        With ``fhir_server`` a reference to a patient of another server is one to another patient.
        """
        return _Reading(self, patient_id, prefetch or {}, as_of, draft_orders, selections, fhir_server).chart()

    @property
    def keys(self) -> tuple[str, ...]:
        """The prefetch keys that are read, in a fixed order."""
        return (*self._words.resources_of_key, *self._words.labs_of_key)


class _Reading:
    """One call."""

    def __init__(
        self,
        reader: ChartReader,
        patient_id: str,
        prefetch: Mapping[str, Any],
        as_of: date,
        draft_orders: Any,
        selections: Sequence[Any] | None,
        fhir_server: str | None,
    ) -> None:
        self._reader = reader
        self._words = reader.vocabulary.fhir
        self._as_of = as_of
        self._ledger = Ledger()
        self._read = {key: read_key(prefetch[key]) for key in reader.keys if key in prefetch}
        self._drafts = read_key(draft_orders) if draft_orders is not None else Read("absent")
        self._selections = None if selections is None else {text(one) for one in selections}
        everything = [one for read in (*self._read.values(), self._drafts) for one in read.entries]
        self._index = Index(everything)
        self._subject = Subject(patient_id, everything, fhir_server)
        self._supports: set[int] = set()
        for key in prefetch:
            if key not in reader.keys:
                # The key itself may say anything.
                self._ledger.remark(OTHER, "unknown_key")

    def chart(self) -> Chart:
        for key, read in self._read.items():
            for remark in dict.fromkeys(read.remarks):
                self._ledger.remark(key, remark)
            if read.status == "failed":
                for _ in read.entries:
                    self._ledger.leave_out(key, "search_failed")
                read.entries.clear()
        body: dict[str, Any] = {"as_of": self._as_of.isoformat()}
        patient, deceased = read_patient(
            "patient", self._entries("patient"), self._subject, self._words, self._as_of, self._ledger
        )
        if patient is not None:
            body["patient"] = patient
        labs, shown = self._results()
        if labs:
            body["labs"] = labs
        conditions = self._reader._conditions.read(
            "conditions", self._entries("conditions"), self._subject, self._ledger
        )
        if conditions or self._nothing_there("conditions"):
            body["conditions"] = conditions
            if self._read["conditions"].status == "incomplete":
                self._ledger.remark("conditions", "list_not_whole")
        drafts = self._medication_lists(body)
        states = {key: self._state(key) for key in self._reader.keys}
        return Chart(body, states, self._ledger.notes(), drafts, shown, deceased)

    def _entries(self, key: str) -> list[Entry]:
        return self._read[key].entries if key in self._read else []

    def _state(self, key: str) -> State:
        return self._ledger.state(key, self._read[key].status if key in self._read else "absent")

    def _nothing_there(self, key: str) -> bool:
        """Whether it is known that a list has nothing in it."""
        status = self._read[key].status if key in self._read else "absent"
        return status == "none_found" or (
            status == "used" and bool(self._read[key].entries) and self._ledger.reasons(key) <= _ABSENT_OR_NONE
        )

    def _results(self) -> tuple[dict[str, Any], Any]:
        reader = ResultReader(self._words, self._reader.vocabulary.labs, self._subject, self._as_of, self._ledger)
        for key in self._words.labs_of_key:
            reader.read(key, self._entries(key))
        return choose(reader, self._ledger)

    def _medication_lists(self, body: dict[str, Any]) -> tuple[Draft, ...]:
        """Put ``medications`` into the body: what is taken, then the drafts."""
        drafts, ordered = self._draft_orders()
        taken: list[dict[str, Any]] = []
        ids = {one.resource_id for one in drafts if one.medication_index is not None}
        most = MOST_MEDICATIONS - len(ordered)
        keys = [key for key in ("medications", "otc") if key in self._words.resources_of_key]
        for key in keys:
            wanted, others = of_type(self._entries(key), self._words.resources_of_key[key])
            for entry in wanted:
                self._medication(key, entry, ids, taken, most)
            for entry in others:
                # A Medication that something refers to was of use with it.
                if id(entry.resource) in self._supports:
                    self._ledger.use(key)
                else:
                    self._ledger.leave_out(key, "not_referred_to" if _is_support(entry) else "unexpected_type")
        known = bool(taken) or any(self._nothing_there(key) for key in keys)
        if known or ordered:
            body["medications"] = [*taken, *ordered]
        for key in keys if body.get("medications") is not None else ():
            if key not in self._read or self._read[key].status in ("null", "failed", "incomplete"):
                self._ledger.remark(key, "list_not_whole")
        return tuple(
            Draft(
                one.resource_id,
                None if one.medication_index is None else one.medication_index + len(taken),
                one.selected,
                one.resource,
            )
            for one in drafts
        )

    def _medication(
        self, key: str, entry: Entry, drafted: set[str | None], taken: list[dict[str, Any]], most: int
    ) -> None:
        resource = entry.resource
        if text(resource.get("id")) and f"{kind(resource)}/{text(resource.get('id'))}" in drafted:
            self._ledger.leave_out(key, "duplicate", kind(resource))
            return
        said, product = self._reader._medications.read(
            key, resource, self._subject, self._index, self._as_of, self._ledger
        )
        self._support(product)
        if said is None:
            return
        if said not in taken:
            if len(taken) >= most:
                self._ledger.leave_out(key, "too_many", kind(resource))
                return
            taken.append(said)
        self._ledger.use(key)

    def _support(self, product: Product | None) -> None:
        if product is not None and product.support is not None:
            self._supports.add(id(product.support))

    def _draft_orders(self) -> tuple[list[Draft], list[dict[str, Any]]]:
        """The drafts, and those that are medications; their index counts from the first of them."""
        for remark in dict.fromkeys(self._drafts.remarks):
            self._ledger.remark(DRAFTS, remark)
        self._missing_selections()
        drafts: list[Draft] = []
        ordered: list[dict[str, Any]] = []
        others: list[Entry] = []
        for entry in self._drafts.entries:
            resource = entry.resource
            name, own = kind(resource), text(resource.get("id"))
            if name == "Medication" or not name:
                others.append(entry)
                continue
            place = None
            if name != "MedicationRequest":
                self._ledger.leave_out(DRAFTS, "unexpected_type")
            else:
                said, product = self._reader._medications.draft(
                    DRAFTS, resource, self._subject, self._index, self._ledger
                )
                self._support(product)
                if said is not None and len(ordered) >= MOST_MEDICATIONS:
                    self._ledger.leave_out(DRAFTS, "too_many", name)
                elif said is not None:
                    place = len(ordered)
                    ordered.append(said)
                    self._ledger.use(DRAFTS)
            drafts.append(Draft(f"{name}/{own}" if own else None, place, self._selected(entry), resource))
        for entry in others:
            if id(entry.resource) in self._supports:
                self._ledger.use(DRAFTS)
            else:
                self._ledger.leave_out(DRAFTS, "not_referred_to" if _is_support(entry) else "unexpected_type")
        return drafts, ordered

    def _selected(self, entry: Entry) -> bool:
        return self._selections is None or not _names(entry).isdisjoint(self._selections)

    def _missing_selections(self) -> None:
        found = set[str]().union(*(_names(one) for one in self._drafts.entries))
        for _ in (self._selections or set()) - found:
            self._ledger.remark(DRAFTS, "selection_without_draft")


def _names(entry: Entry) -> set[str]:
    """By what a selection may name a draft."""
    own = text(entry.resource.get("id"))
    names = {own, f"{kind(entry.resource)}/{own}"} if own else set()
    return names | {entry.full_url} if entry.full_url else names


def _is_support(entry: Entry) -> bool:
    return kind(entry.resource) == "Medication"
