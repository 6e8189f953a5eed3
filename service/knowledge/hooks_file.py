"""Read ``fhir/services.yaml`` and ``fhir/cards.yaml``: what is offered to EHRs, and the words of the cards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.clinical.outcome import SEVERITIES
from service.knowledge import hooks_check
from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.fhir_file import read_part
from service.knowledge.fields import Flag, Key, Strict, Text, Whole, Words
from service.knowledge.prefetch_query import faults_of
from service.knowledge.rule_schema import CATEGORIES
from service.knowledge.vocabulary import CERTAINTIES, Vocabulary
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

_SERVICE_ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_EXTENSION = re.compile(r"[a-z]+(?:\.[A-Za-z]+)+")
_PATH = re.compile(r"/[a-z0-9/]*")
_URI = re.compile(r"[a-z][a-z0-9+.\-]*:[^\s]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

SUMMARIES: Mapping[str, frozenset[str]] = {
    "with_more": frozenset({"summary", "count"}),
    "order_cautions": frozenset({"count"}),
    "chart_cautions": frozenset({"count"}),
    "long": frozenset({"agent"}),
    "forms": frozenset(),
    "labs": frozenset({"count"}),
    "one_lab": frozenset({"lab"}),
    "missing": frozenset(),
    "out_of_scope": frozenset(),
}
LABELS: Mapping[str, frozenset[str]] = {
    "remove": frozenset({"summary"}),
    "replace": frozenset({"form"}),
    "alternative": frozenset({"form"}),
    "form": frozenset({"form"}),
    "lab": frozenset({"lab"}),
    "rule_link": frozenset({"rule", "version"}),
    "source_link": frozenset({"citation"}),
}
DETAILS: Mapping[str, frozenset[str]] = {
    "heading": frozenset({"summary"}),
    "facts": frozenset({"facts"}),
    "why": frozenset({"text"}),
    "action": frozenset({"text"}),
    "spacing": frozenset({"before", "after", "agent"}),
    "limits": frozenset({"text"}),
    "question": frozenset({"text"}),
    "form": frozenset({"form", "standing", "text"}),
    "dose": frozenset({"low", "high", "schedule"}),
    "no_dose": frozenset(),
    "lab": frozenset({"lab", "question", "reason", "timing"}),
    "form_refused": frozenset({"form", "text"}),
    "not_assessed": frozenset(),
    "not_supplied": frozenset({"list"}),
    "failed": frozenset({"list"}),
    "incomplete": frozenset({"list"}),
    "none_found": frozenset({"list"}),
    "held": frozenset({"text"}),
    "not_recognised": frozenset({"count"}),
    "assessed_on": frozenset({"version", "date"}),
    "unsigned": frozenset(),
}
STATE_TEXTS: Mapping[str, frozenset[str]] = dict.fromkeys(STATES, frozenset({"what", "used", "left_out"}))
STATEMENTS: Mapping[str, frozenset[str]] = dict.fromkeys(
    ("assessed", "with_cards", "out_of_scope", "no_orders"), frozenset()
)
ORDERS: Mapping[str, frozenset[str]] = dict.fromkeys(
    ("assessed", "in_part", "not_recognised", "not_selected", "not_read", "draftOrders", "other"), frozenset()
)
"""The texts that there must be, with the placeholders that each may use."""


@dataclass(frozen=True)
class Prefetch:
    """One thing that an EHR is asked for."""

    key: str
    what: str
    """How people call it."""
    why: str
    query: str
    stands_for: tuple[str, ...] = ()
    """The keys in whose place it may come."""


@dataclass(frozen=True)
class Service:
    """One service of the discovery document."""

    id: str
    hook: str
    hook_version: str
    title: str
    description: str
    usage_requirements: str
    on_by_default: bool
    prefetch: tuple[str, ...]
    required: tuple[str, ...]
    most_cards: int


@dataclass(frozen=True)
class Hooks:
    """What ``fhir/services.yaml`` and ``fhir/cards.yaml`` say."""

    specification: str
    prefetch: Mapping[str, Prefetch]
    combined: Mapping[str, Prefetch]
    services: Mapping[str, Service]
    """By id, in the order of the file."""
    cards: Mapping[str, Any]
    """``cards.yaml``, checked."""

    def what(self, key: str) -> str:
        """How people call what a prefetch key brings."""
        found = self.prefetch.get(key) or self.combined.get(key)
        return found.what if found is not None else key


class _Hook(Strict):
    version = Text(required=True)
    tokens = Words(single=False, empty=False, required=True)
    most_cards = Whole(required=True)


class _Prefetch(Strict):
    what = Text(required=True)
    why = Text(required=True)
    query = Text(required=True)


class _Combined(_Prefetch):
    stands_for = Words(single=False, empty=False, required=True)


class _Service(Strict):
    id = Text(required=True)
    hook = Key(*HOOKS, required=True)
    title = Text(required=True)
    description = Text(required=True)
    on_by_default = Flag(required=True)
    prefetch = Words(single=False, empty=False, required=True)
    required = Words(single=False, required=True)
    usage_requirements = Text(required=True)


def _map(inner: fields.Field[Any]) -> fields.Dict:
    return fields.Dict(keys=fields.String(), values=inner, required=True)


class _Services(Strict):
    specification = Text(required=True)
    hooks = _map(fields.Nested(_Hook))
    prefetch = _map(fields.Nested(_Prefetch))
    combined = _map(fields.Nested(_Combined))
    services = fields.List(fields.Nested(_Service), required=True)


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


class _MedicationOrder(Strict):
    code_system = Text(required=True)


class _Override(Strict):
    system = Text(required=True)
    reasons = _map(Text())
    caution = Words(single=False, required=True)
    labs = Words(single=False, required=True)
    forms = Words(single=False, required=True)


class _Agents(Strict):
    magnesium = Words(single=False, empty=False, required=True)
    vitamin_d = Words(single=False, empty=False, required=True)


class _Cards(Strict):
    extension = Text(required=True)
    rules_extension = Text(required=True)
    feedback_extension = Text(required=True)
    source_label = Text(required=True)
    source_path = Text(required=True)
    rule_path = Text(required=True)
    topic_system = Text(required=True)
    indicators = fields.Nested(_Indicators, required=True)
    unsigned_at_most = Key(*INDICATORS, required=True)
    patient_view = fields.Nested(_PatientView, required=True)
    most_alternatives = Whole(required=True)
    most_links = Whole(required=True)
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
    agents = fields.Nested(_Agents, required=True)
    statements = _map(Text())
    orders = _map(Text())


def load_hooks(folder: Path, vocabulary: Vocabulary | None = None) -> Hooks:
    """Read both files below ``folder``. Raises KnowledgeError with every fault found.

    With ``vocabulary`` they are also held against what the rest of the rules reads and knows.
    """
    faults: list[Fault] = []
    services = read_part(folder, "services", _Services(), faults)
    cards = read_part(folder, "cards", _Cards(), faults)
    if services is not None:
        faults.extend(_service_faults(*services))
        if vocabulary is not None:
            faults.extend(hooks_check.service_faults(*services, vocabulary.fhir))
    if cards is not None:
        faults.extend(_card_faults(*cards))
        if vocabulary is not None:
            faults.extend(hooks_check.card_faults(*cards, vocabulary))
    if faults or services is None or cards is None:
        raise KnowledgeError(faults)
    offered, words = services[1], cards[1]
    return Hooks(
        specification=offered["specification"],
        prefetch=MappingProxyType({key: Prefetch(key, **one) for key, one in offered["prefetch"].items()}),
        combined=MappingProxyType(
            {
                key: Prefetch(key, **one | {"stands_for": tuple(one["stands_for"])})
                for key, one in offered["combined"].items()
            }
        ),
        services=MappingProxyType({one["id"]: _service(one, offered["hooks"]) for one in offered["services"]}),
        cards=MappingProxyType({**words, "indicators": _indicators(words["indicators"])}),
    )


def _service(one: Mapping[str, Any], hooks: Mapping[str, Any]) -> Service:
    hook = hooks[one["hook"]]
    return Service(
        one["id"],
        one["hook"],
        hook["version"],
        one["title"],
        one["description"],
        one["usage_requirements"],
        one["on_by_default"],
        tuple(one["prefetch"]),
        tuple(one["required"]),
        hook["most_cards"],
    )


def _indicators(loaded: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """With the hooks called as CDS Hooks calls them."""
    return {severity: {hook: by_hook[hook.replace("-", "_")] for hook in HOOKS} for severity, by_hook in loaded.items()}


def _service_faults(document: Document, data: Mapping[str, Any]) -> Iterator[Fault]:
    def fault(path: KeyPath, message: str) -> Fault:
        return document.fault(path, f"{'.'.join(map(str, path))}: {message}")

    for hook in data["hooks"]:
        if hook not in HOOKS:
            yield fault(("hooks", hook), f"must be one of: {', '.join(HOOKS)}")
    for section in ("prefetch", "combined"):
        for key, one in data[section].items():
            if re.fullmatch(r"[a-z][a-z0-9]*", key) is None:
                yield fault((section, key), "must be of small letters and digits")
            if section == "combined" and key in data["prefetch"]:
                yield fault((section, key), "is a key of prefetch too")
            for word in one.get("stands_for", ()):
                if word not in data["prefetch"]:
                    yield fault((section, key, "stands_for"), f"{word!r} is not known")
    seen: dict[str, set[str]] = {"id": set(), "hook": set()}
    for index, one in enumerate(data["services"]):
        at: KeyPath = ("services", index)
        if _SERVICE_ID.fullmatch(one["id"]) is None:
            yield fault((*at, "id"), "must be of small letters, digits and hyphens")
        for what, known in seen.items():
            # Clients keep services by address, and one that has another's id would never be called.
            if one[what] in known:
                yield fault((*at, what), f"{one[what]!r} stands twice")
            known.add(one[what])
        if one["hook"] not in data["hooks"]:
            yield fault((*at, "hook"), f"{one['hook']!r} is not among the hooks")
            continue
        for word in one["required"]:
            if word not in one["prefetch"]:
                yield fault((*at, "required"), f"{word!r} is not prefetched")
        for word in one["prefetch"]:
            if word not in data["prefetch"]:
                yield fault((*at, "prefetch"), f"{word!r} is not known")
                continue
            for message in faults_of(data["prefetch"][word]["query"], data["hooks"][one["hook"]]["tokens"]):
                yield fault(("prefetch", word, "query"), message)
    for key, one in data["combined"].items():
        tokens = [token for hook in data["hooks"].values() for token in hook["tokens"]]
        for message in faults_of(one["query"], tokens):
            yield fault(("combined", key, "query"), message)


def _card_faults(document: Document, data: Mapping[str, Any]) -> Iterator[Fault]:
    def fault(path: KeyPath, message: str) -> Fault:
        return document.fault(path, f"{'.'.join(map(str, path))}: {message}")

    for key in ("extension", "rules_extension", "feedback_extension"):
        if _EXTENSION.fullmatch(data[key]) is None:
            yield fault((key,), "must be a name in reverse-domain order")
    for key in ("source_path", "rule_path"):
        if _PATH.fullmatch(data[key]) is None:
            yield fault((key,), "must be a path that begins with a slash")
    uris = (("topic_system",), ("override", "system"), ("laboratory_order", "code_system"))
    for path in (*uris, ("laboratory_order", "category", "system"), ("medication_order", "code_system")):
        value: Any = data
        for part in path:
            value = value[part]
        if _URI.fullmatch(value) is None:
            yield fault(path, "must be an absolute URI")
    closed = (
        (("patient_view", "severities"), data["patient_view"]["severities"], SEVERITIES),
        (("patient_view", "categories"), data["patient_view"]["categories"], CATEGORIES),
        (("recommend_when_certainty",), data["recommend_when_certainty"], CERTAINTIES),
    )
    for path, used, known in (*closed, (("quiet_notes",), data["quiet_notes"], data["notes"])):
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
