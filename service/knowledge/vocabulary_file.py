"""Read ``vocabulary/``: the shape of each file, and that its words know each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from service.clinical.words import words
from service.knowledge import vocabulary_schema
from service.knowledge.derived_file import read_derived
from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.fhir_file import read_fhir
from service.knowledge.fields import Strict, load
from service.knowledge.inputs import AGENTS, ROUTES
from service.knowledge.vocabulary import (
    Combination,
    Condition,
    Drug,
    DrugClass,
    Entry,
    Form,
    Lab,
    LabUnit,
    Route,
    Source,
    SwapHint,
    Vital,
    Vocabulary,
)
from service.knowledge.yaml_file import Document, read_document

FILES = (
    "labs", "derived", "vitals", "symptoms", "conditions", "goals", "forms", "drugs", "drug-classes",
    "routes", "checks", "monitoring", "caveats", "statements", "foods", "sources",
)  # fmt: skip


Built = TypeVar("Built")


class _Reader:
    """Reads the vocabulary files of a folder and gathers every fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[Fault] = []

    def document(self, name: str) -> Document | None:
        path = self.folder / "vocabulary" / name
        shown = f"vocabulary/{name}"
        if not path.exists():
            self.faults.append(Fault(shown, 1, "the file is missing"))
            return None
        try:
            return read_document(path, shown)
        except KnowledgeError as error:
            self.faults.extend(error.faults)
            return None

    def entries(
        self,
        document: Document | None,
        top: str,
        schema: Strict,
        build: Callable[[str, dict[str, Any]], Built],
    ) -> Mapping[str, Built]:
        if document is None:
            return MappingProxyType({})
        section = document.data.get(top) if isinstance(document.data, dict) else None
        if not isinstance(section, dict):
            self.faults.append(document.fault((), f"must have the key {top!r} with a mapping"))
            return MappingProxyType({})
        result: dict[str, Built] = {}
        for key, value in section.items():
            loaded = load(schema, document, (top, key), value, self.faults)
            if loaded is not None:
                result[key] = build(key, loaded)
        return MappingProxyType(result)

    def optional_entries(
        self,
        document: Document | None,
        top: str,
        schema: Strict,
        build: Callable[[str, dict[str, Any]], Built],
    ) -> Mapping[str, Built]:
        if document is not None and isinstance(document.data, dict) and top not in document.data:
            return MappingProxyType({})
        return self.entries(document, top, schema, build)

    def known(self, document: Document | None, path: tuple[str | int, ...], used: Iterable[str], known: Any) -> None:
        if document is None:
            return
        for word in used:
            if word not in known:
                self.faults.append(document.fault(path, f"{'.'.join(map(str, path))}: {word!r} is not known"))


def _pair(values: list[Decimal]) -> tuple[Decimal, Decimal]:
    return values[0], values[1]


def _lab(key: str, data: dict[str, Any]) -> Lab:
    units = {
        unit: LabUnit(unit, one["factor"], _pair(one["possible"]), _pair(one["plausible"]), one.get("printed_as", unit))
        for unit, one in data["units"].items()
    }
    return Lab(
        key,
        data["display"],
        data["loinc"],
        tuple(data["also_loinc"]),
        data["input"],
        data.get("unit", ""),
        MappingProxyType(units),
        tuple(SwapHint(one["unit"], one["low"], one["high"], one["ask"]) for one in data["swap_hint"]),
        tuple(data["answered_by"]),
        data,
    )


def _vital(key: str, data: dict[str, Any]) -> Vital:
    return Vital(key, data["display"], data["unit"], _pair(data["possible"]), _pair(data["plausible"]), data)


def _condition(key: str, data: dict[str, Any]) -> Condition:
    implied = data["implies"]["pregnancy"] if data["implies"] is not None else None
    return Condition(key, data["display"], tuple(data["snomed"]), tuple(data["icd10cm"]), implied, data)


def _entry(key: str, data: dict[str, Any]) -> Entry:
    return Entry(key, data.get("display") or data["text"], data)


def _source(key: str, data: dict[str, Any]) -> Source:
    url = None
    if "doi" in data:
        url = f"https://doi.org/{data['doi']}"
    elif "pmid" in data:
        url = f"https://pubmed.ncbi.nlm.nih.gov/{data['pmid']}/"
    return Source(key, data["citation"], url, data["kind"], data["checked"], data)


def load_vocabulary(folder: Path) -> Vocabulary:
    """Read ``vocabulary/`` below ``folder``. Raises KnowledgeError with every fault found."""
    reader = _Reader(folder)
    files = {name: reader.document(f"{name}.yaml") for name in FILES}
    derived: dict[str, Any] = {}
    labs = reader.entries(files["labs"], "labs", vocabulary_schema.Lab(), _lab)
    vocabulary = Vocabulary(
        labs=labs,
        derived=MappingProxyType(derived),
        vitals=reader.entries(files["vitals"], "vitals", vocabulary_schema.Vital(), _vital),
        symptoms=reader.entries(files["symptoms"], "symptoms", vocabulary_schema.Display(), _entry),
        conditions=reader.entries(files["conditions"], "conditions", vocabulary_schema.Condition(), _condition),
        condition_groups=reader.entries(files["conditions"], "groups", vocabulary_schema.Group(), _entry),
        goals=reader.entries(files["goals"], "goals", vocabulary_schema.Goal(), _entry),
        forms=reader.entries(
            files["forms"],
            "forms",
            vocabulary_schema.Form(),
            lambda key, data: Form(
                key,
                data["display"],
                data["cost_tier"],
                data["laxative"],
                data["acid_neutralising"],
                tuple(data["limitations"]),
                data,
            ),
        ),
        drugs=reader.entries(
            files["drugs"],
            "drugs",
            vocabulary_schema.Drug(),
            lambda key, data: Drug(key, data["display"], data["rxnorm"], tuple(data["names"]), data),
        ),
        combinations=reader.optional_entries(
            files["drugs"],
            "combinations",
            vocabulary_schema.Combination(),
            lambda key, data: Combination(key, data["display"], tuple(data["ingredients"]), tuple(data["names"]), data),
        ),
        drug_classes=reader.entries(
            files["drug-classes"],
            "drug_classes",
            vocabulary_schema.DrugClass(),
            lambda key, data: DrugClass(key, data["display"], tuple(data["members"]), tuple(data["routes"]), data),
        ),
        routes=reader.entries(
            files["routes"],
            "routes",
            vocabulary_schema.Route(),
            lambda key, data: Route(key, data["display"], tuple(data["says"]), tuple(data["forms"])),
        ),
        checks=reader.entries(
            files["checks"], "checks", vocabulary_schema.Check(), lambda key, data: Entry(key, data["title"], data)
        ),
        monitoring=reader.entries(files["monitoring"], "monitoring", vocabulary_schema.Monitoring(), _entry),
        caveats=reader.entries(files["caveats"], "caveats", vocabulary_schema.Caveat(), _entry),
        statements=reader.entries(files["statements"], "statements", vocabulary_schema.Statement(), _entry),
        foods=reader.entries(files["foods"], "foods", vocabulary_schema.Food(), _entry),
        sources=reader.entries(files["sources"], "sources", vocabulary_schema.Source(), _source),
        fhir=read_fhir(folder, labs, reader.faults),
    )
    equations = files["derived"]
    if equations is not None:
        derived.update(
            read_derived(equations, vocabulary.labs, vocabulary.conditions, vocabulary.sources, reader.faults)
        )
    _check_references(reader, files, vocabulary)
    if reader.faults:
        raise KnowledgeError(reader.faults)
    return vocabulary


def _check_references(reader: _Reader, files: Mapping[str, Document | None], vocabulary: Vocabulary) -> None:
    for file, top, entries in (
        ("forms", "forms", vocabulary.forms),
        ("caveats", "caveats", vocabulary.caveats),
        ("statements", "statements", vocabulary.statements),
        ("foods", "foods", vocabulary.foods),
        ("vitals", "vitals", vocabulary.vitals),
        ("checks", "checks", vocabulary.checks),
    ):
        for key, entry in entries.items():
            reader.known(files[file], (top, key, "sources"), entry.data["sources"], vocabulary.sources)
    for key, group in vocabulary.condition_groups.items():
        reader.known(files["conditions"], ("groups", key), group.data["any_of"], vocabulary.conditions)
        if key in vocabulary.conditions:
            reader.known(files["conditions"], ("groups", key), [key], ())
    for key, drug_class in vocabulary.drug_classes.items():
        reader.known(files["drug-classes"], ("drug_classes", key), drug_class.members, vocabulary.drugs)
        reader.known(files["drug-classes"], ("drug_classes", key, "routes"), drug_class.routes, ROUTES)
    for key in vocabulary.routes:
        reader.known(files["routes"], ("routes", key), [key], ROUTES)
    for key, goal in vocabulary.goals.items():
        reader.known(files["goals"], ("goals", key, "agents"), goal.data["agents"], AGENTS)
    for lab_key, lab in vocabulary.labs.items():
        reader.known(files["labs"], ("labs", lab_key, "answered_by"), lab.answered_by, vocabulary.labs)
        for kind in ("factors", "ranges"):
            reader.known(
                files["labs"], ("labs", lab_key, "sources"), lab.data["sources"].get(kind, ()), vocabulary.sources
            )
        if lab.input:
            reader.known(files["labs"], ("labs", lab_key, "unit"), [lab.unit], lab.units)
            reader.known(files["labs"], ("labs", lab_key, "units"), lab.printed_units, lab.units)
            reader.known(
                files["labs"], ("labs", lab_key, "swap_hint"), [hint.unit for hint in lab.swap_hints], lab.units
            )
            _check_units(reader, files["labs"], lab)
    _check_drug_names(reader, files["drugs"], vocabulary)
    conditions = vocabulary.conditions.values()
    _check_codes(
        reader, files["conditions"], "conditions", [(one.key, (*one.snomed, *one.icd10cm)) for one in conditions]
    )
    labs = [(one.key, (one.loinc, *one.also_loinc)) for one in vocabulary.labs.values()]
    _check_codes(reader, files["labs"], "labs", labs)


def _check_codes(
    reader: _Reader, document: Document | None, top: str, codes: Iterable[tuple[str, Iterable[str | None]]]
) -> None:
    """A code means one thing."""
    owners: dict[str, str] = {}
    for key, own in codes:
        for code in own:
            owner = key if code is None else owners.setdefault(code, key)
            if owner != key and document is not None:
                reader.faults.append(document.fault((top, key), f"the code {code} also belongs to {owner!r}"))


def _check_units(reader: _Reader, document: Document | None, lab: Lab) -> None:
    if document is None:
        return

    def fault(path: tuple[str | int, ...], message: str) -> None:
        where = ("labs", lab.key, *path)
        reader.faults.append(document.fault(where, f"{'.'.join(map(str, where))}: {message}"))

    if lab.unit in lab.units and lab.units[lab.unit].factor != 1:
        fault(("units", lab.unit, "factor"), "must be 1 for the lab's own unit")
    for name, unit in lab.units.items():
        printed = lab.units.get(unit.printed_as)
        if printed is not None and printed.printed_as != printed.unit:
            fault(("units", name, "printed_as"), f"{printed.unit} is itself printed as {printed.printed_as}")
    for index, hint in enumerate(lab.swap_hints):
        if hint.low >= hint.high:
            fault(("swap_hint", index), "must run from the lower number to the higher one")


def _check_drug_names(reader: _Reader, document: Document | None, vocabulary: Vocabulary) -> None:
    if document is None:
        return
    owners: dict[tuple[str, ...], tuple[str, str]] = {}
    codes: dict[str, str] = {}
    for section, entries in (("drugs", vocabulary.drugs), ("combinations", vocabulary.combinations)):
        for key, entry in entries.items():
            for name in (entry.display, *entry.names):
                if not words(name):
                    reader.faults.append(
                        document.fault((section, key), f"the name {name!r} has no letter and no digit")
                    )
                owner = owners.setdefault(words(name), (section, key))
                if owner != (section, key):
                    fault = document.fault((section, key), f"the name {name!r} is also a name of {owner[1]!r}")
                    reader.faults.append(fault)
    for key, combination in vocabulary.combinations.items():
        reader.known(document, ("combinations", key, "ingredients"), combination.ingredients, vocabulary.drugs)
    for key, drug in vocabulary.drugs.items():
        if drug.rxnorm is not None and codes.setdefault(drug.rxnorm, key) != key:
            reader.faults.append(
                document.fault(("drugs", key), f"the code {drug.rxnorm} also belongs to {codes[drug.rxnorm]!r}")
            )
