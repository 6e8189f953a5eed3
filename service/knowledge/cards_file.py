"""What ``fhir/cards.yaml`` may say: its fields, its texts with their placeholders, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marshmallow import fields

from service.clinical.outcome import SEVERITIES
from service.knowledge.errors import Fault
from service.knowledge.fields import Flag, Key, Strict, Text, Whole, Words
from service.knowledge.interactions import EFFECTS
from service.knowledge.rule_schema import CATEGORIES
from service.knowledge.vocabulary import CERTAINTIES
from service.knowledge.yaml_file import Document, KeyPath

HOOKS = ("patient-view", "order-select", "order-sign")
INDICATORS = ("info", "warning", "critical")
"""The mildest first."""
PROFILES = ("generic", "epic")
STATES = ("absent", "null", "none_found", "used", "used_in_part", "none_usable", "failed", "incomplete")
SELECTIONS = ("at-most-one", "any")
LONGEST_SUMMARY = 139
"""CDS Hooks asks for fewer than 140 characters."""
LONGEST_TOPIC = 100
REASONS_A_CARD = (4, 6)

_EXTENSION = re.compile(r"[a-z]+(?:\.[A-Za-z]+)+")
_PATH = re.compile(r"/[a-z0-9/]*")
_URI = re.compile(r"[a-z][a-z0-9+.\-]*:[^\s]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

SUMMARIES: Mapping[str, frozenset[str]] = {
    "with_more": frozenset({"summary", "count"}),
    "long": frozenset({"agent"}),
    "forms": frozenset(),
    "labs": frozenset({"list"}),
    "labs_counted": frozenset({"count"}),
    "missing": frozenset({"list"}),
    "missing_counted": frozenset({"count"}),
    "out_of_scope": frozenset(),
}
LABELS: Mapping[str, frozenset[str]] = {
    "remove": frozenset({"drug", "summary"}),
    "replace": frozenset({"drug", "form"}),
    "alternative": frozenset({"form"}),
    "form": frozenset({"form"}),
    "lab": frozenset({"lab"}),
    "lab_note": frozenset({"timing"}),
    "rule_link": frozenset({"rule", "version"}),
    "source_link": frozenset({"citation"}),
}
DETAILS: Mapping[str, frozenset[str]] = {
    "heading": frozenset({"summary"}),
    "facts": frozenset({"facts"}),
    "drafted": frozenset({"what"}),
    "also": frozenset(),
    "tests": frozenset(),
    "not_listed": frozenset({"agent"}),
    "not_known": frozenset({"agent"}),
    "deceased": frozenset(),
    "why": frozenset({"text"}),
    "action": frozenset({"text"}),
    "spacing": frozenset({"before", "after", "agent"}),
    "limits": frozenset({"text"}),
    "question": frozenset({"text"}),
    "form": frozenset({"form", "standing", "text"}),
    "dose": frozenset({"low", "high", "schedule"}),
    "no_dose": frozenset(),
    "lab": frozenset({"lab", "question", "reason", "timing"}),
    "lab_short": frozenset({"lab", "timing"}),
    "form_refused": frozenset({"form", "text"}),
    "not_assessed": frozenset(),
    "not_supplied": frozenset({"list"}),
    "failed": frozenset({"list"}),
    "incomplete": frozenset({"list"}),
    "none_found": frozenset({"list"}),
    "held": frozenset({"text"}),
    "note": frozenset({"what", "reasons"}),
    "none_usable": frozenset({"list"}),
    "shown_only": frozenset({"lab", "value", "unit", "date", "reason"}),
    "unchecked": frozenset({"count", "list"}),
    "not_recognised": frozenset({"list"}),
    "more": frozenset({"count"}),
    "unknown_codes": frozenset({"count"}),
    "assessed_on": frozenset({"version", "date"}),
    "unsigned": frozenset(),
}
STATE_TEXTS: Mapping[str, frozenset[str]] = dict.fromkeys(STATES, frozenset({"what", "used", "left_out"}))
STATEMENTS: Mapping[str, frozenset[str]] = dict.fromkeys(
    ("assessed", "with_cards", "out_of_scope", "no_orders", "none_selected", "deceased"), frozenset()
)
ORDERS: Mapping[str, frozenset[str]] = dict.fromkeys(
    ("assessed", "in_part", "not_recognised", "not_selected", "not_read", "draftOrders", "other"), frozenset()
)
"""The texts that there must be, with the placeholders that each may use."""


def _map(inner: fields.Field[Any]) -> fields.Dict:
    return fields.Dict(keys=fields.String(), values=inner, required=True)


class _ByHook(Strict):
    patient_view = Key(*INDICATORS, required=True, data_key="patient-view")
    order_select = Key(*INDICATORS, required=True, data_key="order-select")
    order_sign = Key(*INDICATORS, required=True, data_key="order-sign")


class _Indicators(Strict):
    contraindicated = fields.Nested(_ByHook, required=True)
    major = fields.Nested(_ByHook, required=True)
    moderate = fields.Nested(_ByHook, required=True)
    minor = fields.Nested(_ByHook, required=True)
    none = fields.Nested(_ByHook, required=True)


class _PatientView(Strict):
    severities = Words(single=False, required=True)
    categories = Words(single=False, required=True)
    always = Words(single=False, required=True)
    results_within_days = Whole(required=True)


class _Profile(Strict):
    actions_together = Flag(required=True)
    recommended = Flag(required=True)
    selection = Key(*SELECTIONS, required=True)


class _Profiles(Strict):
    generic = fields.Nested(_Profile, required=True)
    epic = fields.Nested(_Profile, required=True)


class _Coding(Strict):
    system = Text(required=True)
    code = Text(required=True)
    display = Text(required=True)


class _Priorities(Strict):
    urgent = Key("routine", "urgent", "asap", "stat", required=True)
    before_starting = Key("routine", "urgent", "asap", "stat", required=True)
    at_follow_up = Key("routine", "urgent", "asap", "stat", required=True)


class _LaboratoryOrder(Strict):
    category = fields.Nested(_Coding, required=True)
    not_laboratory = Words(single=False, required=True)
    code_system = Text(required=True)
    priorities = fields.Nested(_Priorities, required=True)
    reported_with = _map(Text())


class _MedicationOrder(Strict):
    code_system = Text(required=True)


class _Override(Strict):
    system = Text(required=True)
    reasons = _map(Text())
    caution = Words(single=False, required=True)
    labs = Words(single=False, required=True)
    forms = Words(single=False, required=True)


class _NoIntake(Strict):
    effects = Words(single=False, required=True)
    codes = Words(single=False, required=True)


class _OfInterest(Strict):
    first = Words(single=False, required=True)
    beside = Words(single=False, required=True)


class _Agents(Strict):
    magnesium = Words(single=False, empty=False, required=True)
    vitamin_d = Words(single=False, empty=False, required=True)


class Cards(Strict):
    """The fields of the file."""

    extension = Text(required=True)
    rules_extension = Text(required=True)
    feedback_extension = Text(required=True)
    source_label = Text(required=True)
    source_path = Text(required=True)
    rule_path = Text(required=True)
    topic_system = Text(required=True)
    indicators = fields.Nested(_Indicators, required=True)
    unsigned_at_most = Key(*INDICATORS, required=True)
    quiet_at_most = Key(*INDICATORS, required=True)
    no_intake_needed = fields.Nested(_NoIntake, required=True)
    results_of_interest = _map(fields.Nested(_OfInterest))
    mild = Words(single=False, required=True)
    longest_detail = Whole(required=True)
    most_limits = Whole(required=True)
    most_reasons = Whole(required=True)
    most_names = Whole(required=True)
    longest_name = Whole(required=True)
    patient_view = fields.Nested(_PatientView, required=True)
    most_alternatives = Whole(required=True)
    most_links = Whole(required=True)
    most_rule_links = Whole(required=True)
    recommend_when_certainty = Words(single=False, required=True)
    profiles = fields.Nested(_Profiles, required=True)
    laboratory_order = fields.Nested(_LaboratoryOrder, required=True)
    medication_order = fields.Nested(_MedicationOrder, required=True)
    override = fields.Nested(_Override, required=True)
    units = _map(Text())
    summaries = _map(Text())
    labels = _map(Text())
    details = _map(Text())
    states = _map(Text())
    notes = _map(Text())
    quiet_notes = Words(single=False, required=True)
    of_no_use = Words(single=False, required=True)
    places = _map(Text())
    lab_names = _map(Text())
    held_back = _map(Text())
    agents = fields.Nested(_Agents, required=True)
    statements = _map(Text())
    orders = _map(Text())


def indicators(loaded: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """With the hooks called as CDS Hooks calls them."""
    return {severity: {hook: by_hook[hook.replace("-", "_")] for hook in HOOKS} for severity, by_hook in loaded.items()}


def faults_of_cards(document: Document, data: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong beyond the fields."""

    def fault(path: KeyPath, message: str) -> Fault:
        return document.fault(path, f"{'.'.join(map(str, path))}: {message}")

    for key in ("extension", "rules_extension", "feedback_extension"):
        if _EXTENSION.fullmatch(data[key]) is None:
            yield fault((key,), "must be a name in reverse-domain order")
    for key in ("source_path", "rule_path"):
        if _PATH.fullmatch(data[key]) is None:
            yield fault((key,), "must be a path that begins with a slash")
    uris: Sequence[KeyPath] = (
        ("topic_system",),
        ("override", "system"),
        ("laboratory_order", "code_system"),
        ("laboratory_order", "category", "system"),
        ("medication_order", "code_system"),
    )
    for path in uris:
        value: Any = data
        for part in path:
            value = value[part]
        if _URI.fullmatch(value) is None:
            yield fault(path, "must be an absolute URI")
    closed: Sequence[tuple[KeyPath, Sequence[str], Sequence[str]]] = (
        (("patient_view", "severities"), data["patient_view"]["severities"], SEVERITIES),
        (("patient_view", "always"), data["patient_view"]["always"], SEVERITIES),
        (("mild",), data["mild"], SEVERITIES),
        (("no_intake_needed", "effects"), data["no_intake_needed"]["effects"], EFFECTS),
        (("patient_view", "categories"), data["patient_view"]["categories"], CATEGORIES),
        (("recommend_when_certainty",), data["recommend_when_certainty"], CERTAINTIES),
    )
    noted: Sequence[tuple[KeyPath, Sequence[str], Any]] = [
        ((key,), data[key], data["notes"]) for key in ("quiet_notes", "of_no_use")
    ]
    for path, used, known in (*closed, *noted):
        for word in used:
            if word not in known:
                yield fault(path, f"{word!r} is not known")
    for key in ("caution", "labs", "forms"):
        reasons = data["override"][key]
        if not REASONS_A_CARD[0] <= len(reasons) <= REASONS_A_CARD[1]:
            yield fault(("override", key), f"must have {REASONS_A_CARD[0]} to {REASONS_A_CARD[1]} reasons")
        for word in reasons:
            if word not in data["override"]["reasons"]:
                yield fault(("override", key), f"{word!r} is not among the reasons")
    sections = {
        "summaries": SUMMARIES,
        "labels": LABELS,
        "details": DETAILS,
        "states": STATE_TEXTS,
        "statements": STATEMENTS,
        "orders": ORDERS,
    }
    for section, texts in sections.items():
        for key in sorted(set(texts) - set(data[section])):
            yield fault((section,), f"the text {key!r} is missing")
        for key, text in data[section].items():
            if key not in texts:
                yield fault((section, key), "nothing says this")
                continue
            for name in _PLACEHOLDER.findall(text):
                if name not in texts[key]:
                    yield fault((section, key), f"the placeholder {{{name}}} is not filled here")
            if "<" in text or ">" in text:
                yield fault((section, key), "must have no HTML")
    for unit in data["units"]:
        # A unit that is a plain word would be found inside other words.
        if not set(unit) & set("[]{}"):
            yield fault(("units", unit), "needs no other words")
    for key, text in data["summaries"].items():
        if len(text) > LONGEST_SUMMARY:
            yield fault(("summaries", key), f"has {len(text)} characters, at most {LONGEST_SUMMARY}")
    if set(data["states"]) >= set(STATES):
        for key, text in data["states"].items():
            if key != "none_found" and "none found" in text.lower():
                yield fault(("states", key), "only an empty search may say that there is none")
