"""Read a rule file: its shape, its words and its proof."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from service.knowledge.case_file import read_cases
from service.knowledge.criteria import All, Criterion, Not
from service.knowledge.criterion_file import CriterionReader
from service.knowledge.errors import Fault
from service.knowledge.fields import load
from service.knowledge.rule import Evidence, Rule
from service.knowledge.rule_schema import TARGETS, RuleSchema
from service.knowledge.yaml_file import Document, KeyPath

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def read_rule(document: Document, reader: CriterionReader, faults: list[Fault]) -> Rule | None:
    """One rule file as a Rule; faults are added, and None is returned where it cannot be used."""
    before = len(faults)
    data = load(RuleSchema(), document, (), document.data, faults)
    if data is None:
        return None
    when = reader.block(data["when"], ("when",))
    unless = tuple(
        (name, Not(child)) for name, child in (reader.block(data["unless"], ("unless",)) if "unless" in data else ())
    )
    named: tuple[tuple[str, Criterion], ...] = (*when, *unless)
    then = data.get("then", {})
    check_then(document, ("then",), then, reader, faults)
    _check_kind(document, data, then, faults)
    _check_evidence(document, data, reader, faults)
    cases = read_cases(document, data["id"], data["examples"], faults)
    if len(faults) > before:
        return None
    return Rule(
        id=data["id"],
        title=data["title"],
        kind=data["kind"],
        version=data["version"],
        criterion=All(named),
        named=named,
        inputs=reader.all_inputs(),
        own_inputs=tuple(reader.inputs.values()),
        severity=data.get("severity"),
        then=then,
        evidence=evidence_of(data["evidence"]),
        certainty=data["evidence"]["certainty"],
        limits=tuple(data["limits"]),
        file=document.file,
        source=document.data,
        cases=cases,
        cases_line=document.line(("examples",)),
    )


def evidence_of(block: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """Every source of an evidence block once, with all it says."""
    said: dict[str, list[str]] = {}
    graded: dict[str, str] = {}
    for support in block["supports"].values():
        for source in support["sources"]:
            said.setdefault(source, [])
            if support["says"] not in said[source]:
                said[source].append(support["says"])
            graded.setdefault(source, support.get("certainty", block["certainty"]))
    return tuple(Evidence(source, " ".join(says), graded[source]) for source, says in said.items())


def check_then(
    document: Document, path: KeyPath, then: Mapping[str, Any], reader: CriterionReader, faults: list[Fault]
) -> None:
    """Every word and placeholder in a then-block is known."""
    vocabulary = reader.vocabulary

    def known(where: KeyPath, words: Any, table: Any, what: str) -> None:
        for word in words:
            if word not in table:
                faults.append(document.fault((*path, *where), f"{what} {word!r} is not known"))

    forms = vocabulary.forms
    monitored = {**vocabulary.monitoring, **vocabulary.labs, **vocabulary.vitals}
    known(("caution", "monitoring"), then.get("caution", {}).get("monitoring", ()), monitored, "monitoring")
    known(("caveats",), then.get("caveats", ()), vocabulary.caveats, "the caveat")
    for block, where in ((then, "holds_back"), (then.get("when_not_evaluated", {}), "when_not_evaluated")):
        known((where,), block.get("holds_back", ()), {*TARGETS, *forms}, "the target")
    for index, one in enumerate(then.get("suggest", ())):
        known(("suggest", index), [one["form"]], forms, "the form")
        known(("suggest", index), [one["for_goal"]], vocabulary.goals, "the goal")
        known(("suggest", index), one["caveats"], vocabulary.caveats, "the caveat")
        if one["dose"] is not None and not Decimal(0) < one["dose"]["low"] <= one["dose"]["high"]:
            faults.append(document.fault((*path, "suggest", index), "a dose runs from low to high"))
    for index, one in enumerate(then.get("avoid", ())):
        known(("avoid", index), one["forms"], forms, "the form")
    for index, one in enumerate(then.get("labs", ())):
        known(("labs", index), [one["lab"]], vocabulary.labs, "the lab")
    _check_placeholders(document, path, then, reader, faults)


def _check_placeholders(
    document: Document, path: KeyPath, value: Any, reader: CriterionReader, faults: list[Fault]
) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_placeholders(document, (*path, key), inner, reader, faults)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_placeholders(document, (*path, index), inner, reader, faults)
    elif isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            if path[-1] == "summary" and not (reader.document.data.get("kind") == "interactions" and name == "drugs"):
                faults.append(document.fault(path, "a summary has no placeholder"))
            elif reader.complete and name not in reader.placeholders():
                faults.append(document.fault(path, f"the placeholder {{{name}}} is not something the criteria use"))


def _check_kind(document: Document, data: Mapping[str, Any], then: Mapping[str, Any], faults: list[Fault]) -> None:
    kind = data["kind"]
    if (kind == "definition") != (not then):
        faults.append(document.fault(("kind",), "a definition says nothing, every other rule says something in then"))
    if ("caution" in then) != ("severity" in data):
        faults.append(document.fault(("severity",), "severity goes with a caution, and a caution with a severity"))
    if (kind == "gate") != ("holds_back" in then):
        faults.append(document.fault(("then",), "a gate holds something back, and nothing else does"))
    if kind == "urgent" and "caution" not in then:
        faults.append(document.fault(("then",), "an urgent rule has a caution"))
    if "when_not_evaluated" in then and kind != "gate":
        faults.append(document.fault(("then",), "when_not_evaluated belongs to a gate"))
    if data["next_review"] <= data["date"]:
        faults.append(document.fault(("next_review",), "must be later than date"))


def _check_evidence(document: Document, data: Mapping[str, Any], reader: CriterionReader, faults: list[Fault]) -> None:
    supports = data["evidence"]["supports"]
    for name in sorted(reader.numbered - set(supports)):
        faults.append(document.fault(("evidence", "supports"), f"the number in {name!r} has no evidence"))
    for name in sorted(set(supports) - {"then", *reader.names}):
        faults.append(document.fault(("evidence", "supports", name), f"there is no criterion {name!r}"))
    if "then" in data and "then" not in supports and _says_number(data["then"]):
        faults.append(document.fault(("evidence", "supports"), "the numbers in then have no evidence (supports.then)"))
    for name, support in supports.items():
        for source in support["sources"]:
            if source not in reader.vocabulary.sources:
                faults.append(document.fault(("evidence", "supports", name), f"the source {source!r} is not known"))


def _says_number(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_says_number(inner) for key, inner in value.items() if key not in ("rank", "version"))
    if isinstance(value, list):
        return any(_says_number(inner) for inner in value)
    if isinstance(value, str):
        return re.search(r"(?<![A-Za-z0-9-])\d", value) is not None
    return isinstance(value, Decimal | int) and not isinstance(value, bool)
