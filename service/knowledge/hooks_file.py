"""Read ``fhir/services.yaml`` and ``fhir/cards.yaml``: what is offered to EHRs, and the words of the cards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.knowledge import hooks_check
from service.knowledge.cards_file import (
    HOOKS,
    INDICATORS,
    LONGEST_SUMMARY,
    LONGEST_TOPIC,
    PROFILES,
    SELECTIONS,
    Cards,
    faults_of_cards,
    indicators,
)
from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.fhir_file import read_part
from service.knowledge.fields import Flag, Key, Strict, Text, Whole, Words
from service.knowledge.prefetch_query import faults_of
from service.knowledge.vocabulary import Vocabulary
from service.knowledge.yaml_file import Document, KeyPath

__all__ = [
    "HOOKS",
    "INDICATORS",
    "LONGEST_SUMMARY",
    "LONGEST_TOPIC",
    "PROFILES",
    "SELECTIONS",
    "Hooks",
    "Prefetch",
    "Service",
    "load_hooks",
]

_SERVICE_ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


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


def load_hooks(folder: Path, vocabulary: Vocabulary | None = None) -> Hooks:
    """Read both files below ``folder``. Raises KnowledgeError with every fault found.

    With ``vocabulary`` they are also held against what the rest of the rules reads and knows.
    """
    faults: list[Fault] = []
    services = read_part(folder, "services", _Services(), faults)
    cards = read_part(folder, "cards", Cards(), faults)
    if services is not None:
        faults.extend(_service_faults(*services))
        if vocabulary is not None:
            faults.extend(hooks_check.service_faults(*services, vocabulary.fhir))
    if cards is not None:
        faults.extend(faults_of_cards(*cards))
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
        cards=MappingProxyType({**words, "indicators": indicators(words["indicators"])}),
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
