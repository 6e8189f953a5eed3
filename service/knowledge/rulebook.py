"""The whole knowledge, read once, checked and frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.knowledge.bands import band_rules, bands_of, read_band_table
from service.knowledge.criteria import Criterion
from service.knowledge.criterion_file import Band, CriterionReader
from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.fields import Day, Key, Strict, Text, load
from service.knowledge.generated import generated_rules
from service.knowledge.inputs import Input
from service.knowledge.intakes import intake_rules
from service.knowledge.interactions import drug_group, interaction_rules, no_contradiction
from service.knowledge.rule import Rule
from service.knowledge.rule_file import read_rule
from service.knowledge.vocabulary import Vocabulary
from service.knowledge.vocabulary_file import FILES, load_vocabulary
from service.knowledge.yaml_file import Document, read_document

FHIR_FILES = ("observations", "units", "resources", "services", "cards")
"""The files of ``fhir/``: how records are read, and what is offered to EHRs."""


@dataclass(frozen=True)
class DrugGroup:
    """Ingredients that one criterion speaks of, and the routes it speaks of (empty: any)."""

    key: str
    members: frozenset[str]
    routes: frozenset[str]


@dataclass(frozen=True)
class Rulebook:
    """Everything the service knows. ``rules`` holds the active ones in a fixed order."""

    version: str
    digest: str
    sign_off: str
    about: Mapping[str, Any]
    vocabulary: Vocabulary
    rules: Mapping[str, Rule]
    bands: Mapping[str, tuple[Band, ...]]
    inputs: Mapping[str, Input]
    drug_groups: Mapping[str, DrugGroup]
    inactive: tuple[str, ...]
    folder: Path
    """Where it was read."""


class _Messages(Strict):
    urgent = Text(required=True)
    out_of_scope = Text(required=True)
    route_assumed = Text(required=True)


class _About(Strict):
    """``knowledge.yaml``: what the knowledge says about itself."""

    version = Text(required=True)
    title = Text(required=True)
    sign_off = Key("pending", "signed", required=True)
    last_reviewed = Day(required=True)
    next_review = Day(required=True)
    licence = Text(required=True)
    messages = fields.Nested(_Messages, required=True)
    source_attributes = fields.List(fields.Dict(keys=fields.String(), values=Text()), required=True)


def load_rulebook(folder: Path) -> Rulebook:
    """Read the rules folder. Raises KnowledgeError with every fault, each with file and line."""
    vocabulary = load_vocabulary(folder)
    faults: list[Fault] = []
    about = _read_about(folder, faults)
    _check_files(folder, faults)
    documents = _read_documents(folder, faults)
    _check_names(documents, faults)
    library = _Library(vocabulary, documents, faults)
    rules = library.rules()
    rules.sort(key=lambda rule: rule.id)
    inactive = {document.data["id"] for document in documents if not _is_active(document)}
    active = {rule.id: rule for rule in rules if rule.source["id"] not in inactive}
    if not faults:
        _check_references(rules, active, vocabulary, faults)
        _check_codes(active.values(), faults)
        faults.extend(no_contradiction(one for one in documents if _is_active(one)))
        if about["sign_off"] == "signed":
            faults.extend(_unsigned(documents))
    if faults:
        raise KnowledgeError(faults)
    inputs = {name: one for rule in active.values() for name, one in rule.inputs.items()}
    return Rulebook(
        version=about["version"],
        digest=_digest(folder),
        sign_off=about["sign_off"],
        about=MappingProxyType(about),
        vocabulary=vocabulary,
        rules=MappingProxyType(active),
        bands=MappingProxyType(library.bands),
        inputs=MappingProxyType(dict(sorted(inputs.items()))),
        drug_groups=MappingProxyType(_drug_groups(vocabulary, documents)),
        inactive=tuple(sorted(inactive)),
        folder=folder,
    )


def _unsigned(documents: Iterable[Document]) -> Iterator[Fault]:
    for one in documents:
        if _is_active(one) and one.data["sign_off"] != "signed":
            yield one.fault(("sign_off",), "is not signed, and knowledge.yaml says that everything is")


def _read_about(folder: Path, faults: list[Fault]) -> dict[str, Any]:
    try:
        document = read_document(folder / "knowledge.yaml", "knowledge.yaml")
    except (KnowledgeError, OSError) as error:
        raise KnowledgeError([Fault("knowledge.yaml", 1, f"cannot be read: {error}")]) from error
    loaded = load(_About(), document, (), document.data, faults)
    return loaded if loaded is not None else {"version": "", "sign_off": "pending"}


def _check_files(folder: Path, faults: list[Fault]) -> None:
    """A file that nobody reads is a mistake: a rule in it would be missed without a word."""
    known = {"README.md", "knowledge.yaml", "requirements.yaml", "vocabulary/README.md"}
    known |= {f"vocabulary/{name}.yaml" for name in FILES}
    known |= {f"fhir/{name}.yaml" for name in FHIR_FILES}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name in known or name.startswith("terminology/"):
            continue
        if "/" not in name or name.startswith(("vocabulary/", "fhir/")) or path.suffix != ".yaml":
            faults.append(Fault(name, 1, "the file is not known; nothing would read it"))


def _read_documents(folder: Path, faults: list[Fault]) -> list[Document]:
    documents = []
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        if name.startswith(("vocabulary/", "terminology/", "fhir/")) or "/" not in name:
            continue
        try:
            document = read_document(path, name)
        except KnowledgeError as error:
            faults.extend(error.faults)
            continue
        if not isinstance(document.data, dict) or not isinstance(document.data.get("id"), str):
            faults.append(document.fault((), "must be a mapping with an id"))
            continue
        documents.append(document)
    return documents


def _check_names(documents: list[Document], faults: list[Fault]) -> None:
    for document in documents:
        expected = Path(document.file).stem
        if document.data["id"] != expected:
            faults.append(document.fault(("id",), f"the id must be the file's name, {expected!r}"))


class _Library:
    """Reads documents in the order in which they need each other: bands, definitions, the rest."""

    def __init__(self, vocabulary: Vocabulary, documents: list[Document], faults: list[Fault]) -> None:
        self.vocabulary = vocabulary
        self.documents = documents
        self.faults = faults
        self.bands: dict[str, tuple[Band, ...]] = {}
        self.retired_bands: dict[str, tuple[str, tuple[Band, ...]]] = {}
        # Of each lab the table that is not active: its id and bands.
        self.unread: set[str] = set()
        # Labs whose table is wrong; that was said.
        self.definitions = {
            document.data["id"]: document for document in documents if document.data.get("kind") == "definition"
        }
        self.defined: dict[str, Rule | None] = {}
        self.open: list[str] = []

    def rules(self) -> list[Rule]:
        rules = self._bands()
        for document in self.documents:
            kind = document.data.get("kind")
            if kind == "definition":
                found = self._definition(document.data["id"])
                rules.extend([found] if found is not None else [])
            elif kind in ("intakes", "interactions"):
                read = intake_rules if kind == "intakes" else interaction_rules
                rules.extend(read(document, partial(self._reader, document), self.vocabulary, self.faults))
            elif kind != "bands":
                rule = read_rule(document, self._reader(document), self.faults)
                rules.extend([rule] if rule is not None else [])
        rules.extend(generated_rules(self.vocabulary))
        self._check_unique(rules)
        return rules

    def _bands(self) -> list[Rule]:
        rules = []
        for document in self.documents:
            if document.data.get("kind") != "bands":
                continue
            data = read_band_table(document, self.vocabulary, self.faults)
            if data is None:
                self.unread.add(str(document.data.get("lab")))
                continue
            if not _is_active(document):
                self.retired_bands[data["lab"]] = (data["id"], bands_of(data))
            elif data["lab"] in self.bands:
                self.faults.append(document.fault(("lab",), f"the lab {data['lab']!r} has two band tables"))
            else:
                self.bands[data["lab"]] = bands_of(data)
            rules.extend(band_rules(document, data, self.vocabulary.labs[data["lab"]]))
        return rules

    def _reader(self, document: Document) -> CriterionReader:
        table = partial(self._table, _is_active(document))
        return CriterionReader(
            self.vocabulary, table, partial(self._lookup, _is_active(document)), document, self.faults
        )

    # What is active rests on what is active; a retired rule may go on using what was retired with it.

    def _table(self, active: bool, lab: str) -> tuple[Band, ...] | str:
        if lab in self.bands:
            return self.bands[lab]
        if lab not in self.retired_bands:
            return "" if lab in self.unread else f"the lab {lab!r} has no band table"
        name, table = self.retired_bands[lab]
        return f"the band table {name!r} is not active" if active else table

    def _lookup(self, active: bool, name: str) -> tuple[Criterion, Mapping[str, Input]] | str:
        if name not in self.definitions:
            return f"no definition {name!r}"
        if active and not _is_active(self.definitions[name]):
            return f"the definition {name!r} is not active"
        rule = self._definition(name)
        return (rule.criterion, rule.inputs) if rule is not None else ""

    def _definition(self, name: str) -> Rule | None:
        if name not in self.defined:
            document = self.definitions[name]
            if name in self.open:
                self.faults.append(document.fault(("when",), f"defined by itself: {' -> '.join([*self.open, name])}"))
                return None
            self.open.append(name)
            reader = self._reader(document)
            rule = read_rule(document, reader, self.faults)
            self.defined[name] = rule if reader.complete else None
            self.open.pop()
        return self.defined[name]

    def _check_unique(self, rules: list[Rule]) -> None:
        seen: dict[str, str] = {}
        for rule in rules:
            if rule.id in seen:
                self.faults.append(Fault(rule.file, 1, f"the id {rule.id!r} is also used in {seen[rule.id]}"))
            seen[rule.id] = rule.file


def _is_active(document: Document) -> bool:
    return bool(document.data.get("status") == "active")


def _codes(rules: Iterable[Rule]) -> set[str]:
    return {rule.then["caution"]["code"] for rule in rules if "caution" in rule.then}


def _check_codes(rules: Iterable[Rule], faults: list[Fault]) -> None:
    """Cautions of one code are shown as one, so they must be about one thing."""
    first: dict[str, Rule] = {}
    for rule in rules:
        if "caution" not in rule.then:
            continue
        caution = rule.then["caution"]
        other = first.setdefault(caution["code"], rule)
        for key in ("agent", "category"):
            if caution[key] != other.then["caution"][key]:
                message = f"{rule.id}: the {key} of the code {caution['code']!r} differs from that in {other.id}"
                faults.append(Fault(rule.file, 1, message))


def _check_references(
    rules: list[Rule], active: Mapping[str, Rule], vocabulary: Vocabulary, faults: list[Fault]
) -> None:
    for rule in rules:
        # Only what is active can still be said; a draft may speak of other drafts.
        codes = _codes(active.values() if rule.id in active else rules)
        known = codes | set(vocabulary.forms) | set(vocabulary.goals)
        asked = [
            *rule.then.get("labs", ()),
            *rule.then.get("questions", ()),
            *([rule.then["when_not_evaluated"]["question"]] if _asks_when_held(rule) else ()),
        ]
        for one in asked:
            for code in one["would_change"]:
                if code not in known:
                    faults.append(Fault(rule.file, 1, f"{rule.id}: would_change names {code!r}, which nothing says"))


def _asks_when_held(rule: Rule) -> bool:
    return "question" in rule.then.get("when_not_evaluated", {})


def _drug_groups(vocabulary: Vocabulary, documents: list[Document]) -> dict[str, DrugGroup]:
    groups = {
        key: DrugGroup(key, frozenset(one.members), frozenset(one.routes))
        for key, one in vocabulary.drug_classes.items()
    }
    for document in documents:
        if document.data.get("kind") == "interactions":
            for row in document.data["rows"]:
                key = drug_group(row["id"])
                groups[key] = DrugGroup(key, frozenset(row["members"]), frozenset(row.get("routes", ())))
    return groups


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(one for kind in ("*.yaml", "*.tsv") for one in folder.rglob(kind)):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{total.hexdigest()}"
