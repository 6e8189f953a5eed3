"""Read ``vocabulary/``: the shape of each file, and that its words know each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from marshmallow import fields

from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.fields import Flag, Key, Number, Strict, Text, Words, load
from service.knowledge.vocabulary import (
    CERTAINTIES,
    Combination,
    Condition,
    Drug,
    DrugClass,
    Entry,
    Form,
    Lab,
    LabUnit,
    Source,
    SwapHint,
    Vital,
    Vocabulary,
)
from service.knowledge.yaml_file import Document, read_document


class _Unit(Strict):
    factor = Number(required=True)
    possible = fields.List(Number(), required=True, validate=lambda pair: len(pair) == 2 and pair[0] < pair[1])
    plausible = fields.List(Number(), required=True, validate=lambda pair: len(pair) == 2 and pair[0] < pair[1])
    printed_as = Text()


class _SwapHint(Strict):
    unit = Text(required=True)
    low = Number(required=True, data_key="from")
    high = Number(required=True, data_key="to")
    ask = Text(required=True)


class _Sources(Strict):
    factors = Words(load_default=list)
    ranges = Words(load_default=list)


class _Lab(Strict):
    display = Text(required=True)
    loinc = Text(allow_none=True, required=True)
    also_loinc = Words(load_default=list)
    input = Flag(load_default=True)
    unit = Text()
    units = fields.Dict(keys=fields.String(), values=fields.Nested(_Unit), load_default=dict)
    swap_hint = fields.List(fields.Nested(_SwapHint), load_default=list)
    answered_by = Words(load_default=list)
    agent = Key("magnesium", "vitamin_d", load_default="magnesium")
    sources = fields.Nested(_Sources, load_default=dict)
    note = Text()


class _Vital(Strict):
    display = Text(required=True)
    unit = Text(required=True)
    possible = fields.List(Number(), required=True)
    plausible = fields.List(Number(), required=True)
    loinc = Text(allow_none=True)
    sources = Words(load_default=list)
    note = Text()


class _Display(Strict):
    display = Text(required=True)
    note = Text()


class _Goal(_Display):
    agents = Words(required=True)


class _Monitoring(_Display):
    loinc = Text(allow_none=True)


class _Implies(Strict):
    pregnancy = Key("pregnant", "lactating", required=True)


class _Condition(_Display):
    snomed = Words(single=False, required=True)
    icd10cm = Words(single=False, required=True)
    code_status = fields.Dict(keys=fields.String(), values=Text(), load_default=dict)
    implies = fields.Nested(_Implies, load_default=None)


class _Group(_Display):
    any_of = Words(single=False, empty=False, required=True)


class _Form(Strict):
    display = Text(required=True)
    aliases = Words(load_default=list)
    formula = Text(required=True)
    elemental_percent = Number(required=True)
    variants = fields.Dict(keys=fields.String(), values=fields.Raw(), load_default=dict)
    tolerability = Text(required=True)
    absorption = Text(required=True)
    certainty = Key(*CERTAINTIES, required=True)
    use = Text(required=True)
    cost_tier = Key("low", "medium", "high", required=True)
    laxative = Flag(required=True)
    acid_neutralising = Flag(required=True)
    trial_doses = Words(load_default=list)
    limitations = Words(load_default=list)
    rxnorm = Text(allow_none=True, required=True)
    sources = Words(empty=False, required=True)
    note = Text()


class _Drug(Strict):
    display = Text(required=True)
    rxnorm = Text(allow_none=True, required=True)
    names = Words(load_default=list)
    note = Text()


class _Combination(Strict):
    display = Text(required=True)
    ingredients = Words(single=False, empty=False, required=True)
    names = Words(load_default=list)
    note = Text()


class _DrugClass(Strict):
    display = Text(required=True)
    members = Words(single=False, empty=False, required=True)
    routes = Words(load_default=list)
    note = Text()


class _Caveat(Strict):
    text = Text(required=True)
    sources = Words(empty=False, required=True)


class _Statement(_Caveat):
    certainty = Key(*CERTAINTIES, required=True)


class _Food(Strict):
    display = Text(required=True)
    portion = Text(required=True)
    magnesium_mg = fields.Raw(required=True)
    oxalate = Key("low", "moderate", "high", "very_high")
    note = Text()
    sources = Words(empty=False, required=True)


class _Source(Strict):
    citation = Text(required=True)
    doi = Text()
    pmid = Text()
    pmcid = Text()
    kind = Key("study", "guidance", "policy", "label", "compendium", required=True)
    checked = Key("abstract_read", "excerpt_read", "text_not_re_read", "not_applicable", required=True)
    design = Text()
    funding = Text()
    risk_of_bias = Text()
    grade = fields.Dict(keys=fields.String(), values=Text())
    statement = Text()


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
    files = {
        name: reader.document(f"{name}.yaml")
        for name in (
            "labs", "derived", "vitals", "symptoms", "conditions", "goals", "forms", "drugs", "drug-classes",
            "monitoring", "caveats", "statements", "foods", "sources",
        )
    }  # fmt: skip
    derived = files["derived"]
    vocabulary = Vocabulary(
        labs=reader.entries(files["labs"], "labs", _Lab(), _lab),
        derived=MappingProxyType(derived.data.get("derived", {}) if derived is not None else {}),
        vitals=reader.entries(files["vitals"], "vitals", _Vital(), _vital),
        symptoms=reader.entries(files["symptoms"], "symptoms", _Display(), _entry),
        conditions=reader.entries(
            files["conditions"],
            "conditions",
            _Condition(),
            lambda key, data: Condition(
                key,
                data["display"],
                tuple(data["snomed"]),
                tuple(data["icd10cm"]),
                data["implies"]["pregnancy"] if data["implies"] is not None else None,
                data,
            ),
        ),
        condition_groups=reader.entries(files["conditions"], "groups", _Group(), _entry),
        goals=reader.entries(files["goals"], "goals", _Goal(), _entry),
        forms=reader.entries(
            files["forms"],
            "forms",
            _Form(),
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
            _Drug(),
            lambda key, data: Drug(key, data["display"], data["rxnorm"], tuple(data["names"]), data),
        ),
        combinations=reader.optional_entries(
            files["drugs"],
            "combinations",
            _Combination(),
            lambda key, data: Combination(key, data["display"], tuple(data["ingredients"]), tuple(data["names"]), data),
        ),
        drug_classes=reader.entries(
            files["drug-classes"],
            "drug_classes",
            _DrugClass(),
            lambda key, data: DrugClass(key, data["display"], tuple(data["members"]), tuple(data["routes"]), data),
        ),
        monitoring=reader.entries(files["monitoring"], "monitoring", _Monitoring(), _entry),
        caveats=reader.entries(files["caveats"], "caveats", _Caveat(), _entry),
        statements=reader.entries(files["statements"], "statements", _Statement(), _entry),
        foods=reader.entries(files["foods"], "foods", _Food(), _entry),
        sources=reader.entries(files["sources"], "sources", _Source(), _source),
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
    ):
        for key, entry in entries.items():
            reader.known(files[file], (top, key, "sources"), entry.data["sources"], vocabulary.sources)
    for key, group in vocabulary.condition_groups.items():
        reader.known(files["conditions"], ("groups", key), group.data["any_of"], vocabulary.conditions)
        if key in vocabulary.conditions:
            reader.known(files["conditions"], ("groups", key), [key], ())
    for key, drug_class in vocabulary.drug_classes.items():
        reader.known(files["drug-classes"], ("drug_classes", key), drug_class.members, vocabulary.drugs)
    for lab_key, lab in vocabulary.labs.items():
        for kind in ("factors", "ranges"):
            reader.known(
                files["labs"], ("labs", lab_key, "sources"), lab.data["sources"].get(kind, ()), vocabulary.sources
            )
        if lab.input:
            reader.known(files["labs"], ("labs", lab_key, "unit"), [lab.unit], lab.units)
            reader.known(files["labs"], ("labs", lab_key, "units"), lab.printed_units, lab.units)
    _check_drug_names(reader, files["drugs"], vocabulary)


def _check_drug_names(reader: _Reader, document: Document | None, vocabulary: Vocabulary) -> None:
    if document is None:
        return
    owners: dict[str, str] = {}
    codes: dict[str, str] = {}
    for section, entries in (("drugs", vocabulary.drugs), ("combinations", vocabulary.combinations)):
        for key, entry in entries.items():
            for name in (entry.display, *entry.names):
                owner = owners.setdefault(name.lower(), key)
                if owner != key:
                    fault = document.fault((section, key), f"the name {name!r} is also a name of {owner!r}")
                    reader.faults.append(fault)
    for key, combination in vocabulary.combinations.items():
        reader.known(document, ("combinations", key, "ingredients"), combination.ingredients, vocabulary.drugs)
    for key, drug in vocabulary.drugs.items():
        if drug.rxnorm is not None and codes.setdefault(drug.rxnorm, key) != key:
            reader.faults.append(
                document.fault(("drugs", key), f"the code {drug.rxnorm} also belongs to {codes[drug.rxnorm]!r}")
            )
