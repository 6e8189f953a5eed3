"""Read a band table: what a value of a lab means. Each band becomes a rule of its own."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.clinical.quantity import Quantity
from service.knowledge.criterion_file import Band, status_criterion
from service.knowledge.errors import Fault
from service.knowledge.fields import Amount, Amounts, Key, Strict, Text, Words, load
from service.knowledge.inputs import Input
from service.knowledge.rule import Case, Evidence, Rule
from service.knowledge.rule_schema import Header
from service.knowledge.tables import CertaintyBlock, table_header
from service.knowledge.vocabulary import Lab, Vocabulary
from service.knowledge.yaml_file import Document


class _Band(Strict):
    status = Text(required=True)
    label = Text(required=True)
    to = Amounts()
    meaning = Text(required=True)
    authority = Text(required=True)
    sources = Words(empty=False, required=True)


class _OtherBand(Strict):
    label = Text(required=True)
    to = Amounts()


class _OtherAuthority(Strict):
    authority = Text(required=True)
    scope = Text(required=True)
    source = Text(required=True)
    statement = Text()
    bands = fields.List(fields.Nested(_OtherBand), load_default=list)


class _BandCase(Strict):
    value = Amount(required=True)
    status = Text(required=True)


class BandTable(Header):
    """A band table."""

    kind = Key("bands", required=True)
    lab = Text(required=True)
    bands = fields.List(fields.Nested(_Band), required=True)
    other_authorities = fields.List(fields.Nested(_OtherAuthority), load_default=list)
    evidence = fields.Nested(CertaintyBlock, required=True)
    cases = fields.List(fields.Nested(_BandCase), required=True)


def read_band_table(document: Document, vocabulary: Vocabulary, faults: list[Fault]) -> Mapping[str, Any] | None:
    """The table's content, checked; None where it cannot be used."""
    before = len(faults)
    data = load(BandTable(), document, (), document.data, faults)
    if data is None:
        return None
    lab = vocabulary.labs.get(data["lab"])
    if lab is None or not lab.input:
        faults.append(document.fault(("lab",), f"the lab {data['lab']!r} is not known as an input"))
        return None
    units = set(lab.printed_units)
    for index, band in enumerate(data["bands"]):
        last = index == len(data["bands"]) - 1
        if last == ("to" in band):
            faults.append(document.fault(("bands", index), "every band but the last one has `to`"))
        elif not last and {one.unit for one in band["to"]} != units:
            faults.append(document.fault(("bands", index, "to"), f"must give the edge in {', '.join(sorted(units))}"))
        for source in band["sources"]:
            if source not in vocabulary.sources:
                faults.append(document.fault(("bands", index, "sources"), f"the source {source!r} is not known"))
    for index, other in enumerate(data["other_authorities"]):
        _check_other(document, index, other["bands"], units, faults)
        if other["source"] not in vocabulary.sources:
            faults.append(document.fault(("other_authorities", index), f"the source {other['source']!r} is not known"))
    if len(faults) > before:
        return None
    # Beyond this the table can be used, so that its faults stay its own.
    _check_edges(document, data, faults)
    return data


def _check_other(
    document: Document, index: int, bands: list[Mapping[str, Any]], units: set[str], faults: list[Fault]
) -> None:
    """The bands of another authority rise, and their edges are given in every printed unit."""
    previous: dict[str, Decimal] = {}
    for number, band in enumerate(bands):
        where = ("other_authorities", index, "bands", number)
        last = number == len(bands) - 1
        if last == ("to" in band):
            faults.append(document.fault(where, "every band but the last one has `to`"))
        if "to" not in band:
            continue
        if {edge.unit for edge in band["to"]} != units:
            faults.append(document.fault(where, f"must give the edge in {', '.join(sorted(units))}"))
        if any(edge.unit in previous and edge.value <= previous[edge.unit] for edge in band["to"]):
            faults.append(document.fault(where, "the edges must rise"))
        previous = {edge.unit: edge.value for edge in band["to"]}


def _check_edges(document: Document, data: Mapping[str, Any], faults: list[Fault]) -> None:
    previous: dict[str, Decimal] = {}
    covered = {(case["value"].value, case["value"].unit) for case in data["cases"]}
    for index, band in enumerate(data["bands"][:-1]):
        for edge in band["to"]:
            if edge.unit in previous and edge.value <= previous[edge.unit]:
                faults.append(document.fault(("bands", index, "to"), "the edges must rise"))
            before = previous.get(edge.unit)
            previous[edge.unit] = edge.value
            if (edge.value, edge.unit) not in covered:
                faults.append(document.fault(("cases",), f"no case exactly on the edge {edge}"))
            if not any(
                value.unit == edge.unit and (before is None or before < value.value) and value.value < edge.value
                for value in (case["value"] for case in data["cases"])
            ):
                faults.append(document.fault(("cases",), f"no case in the band below the edge {edge}"))
    statuses = [band["status"] for band in data["bands"]]
    if len(set(statuses)) != len(statuses):
        faults.append(document.fault(("bands",), "a status stands twice"))
    for index, case in enumerate(data["cases"]):
        if case["status"] not in statuses:
            faults.append(document.fault(("cases", index), f"the status {case['status']!r} is not in the table"))


def bands_of(data: Mapping[str, Any]) -> tuple[Band, ...]:
    """The ranges of a table, each with both edges."""
    result = []
    low: Mapping[str, Decimal] = MappingProxyType({})
    for band in data["bands"]:
        high = {edge.unit: edge.value for edge in band.get("to", ())}
        result.append(Band(band["status"], low, high))
        low = high
    return tuple(result)


def band_rules(document: Document, data: Mapping[str, Any], lab: Lab) -> list[Rule]:
    """One rule for each band."""
    table = bands_of(data)
    rules = []
    for index, band in enumerate(data["bands"]):
        inputs: dict[str, Input] = {}

        def register(wanted: Input, into: dict[str, Input] = inputs) -> str:
            return into.setdefault(wanted.name, wanted).name

        criterion = status_criterion(lab, table, [band["status"]], register)
        rule_id = f"{data['id']}-{band['status'].lower().replace('_', '-')}"
        cases = tuple(
            Case(
                rule=rule_id,
                name=f"{case['value']} is {case['status']}",
                expect="fires" if case["status"] == band["status"] else "silent",
                request=_value_request(lab, case["value"]),
                line=document.line(("cases", number)),
            )
            for number, case in enumerate(data["cases"])
        )
        rules.append(
            Rule(
                id=rule_id,
                title=f"{data['title']}: {band['label']}",
                kind="band",
                version=data["version"],
                criterion=criterion,
                named=((data["lab"], criterion),),
                inputs=inputs,
                own_inputs=tuple(inputs.values()),
                severity=None,
                then={
                    "interpretation": {
                        "lab": lab.key,
                        "status": band["status"],
                        "label": band["label"],
                        "meaning": band["meaning"],
                        "authority": band["authority"],
                        "other_authorities": data["other_authorities"],
                    }
                },
                evidence=tuple(
                    Evidence(source, band["label"], data["evidence"]["certainty"]) for source in band["sources"]
                ),
                certainty=data["evidence"]["certainty"],
                limits=tuple(data["limits"]),
                file=document.file,
                source={**table_header(document), "band": document.data["bands"][index]},
                cases=cases,
                cases_line=document.line(("cases",)),
            )
        )
    return rules


def _value_request(lab: Lab, value: Quantity) -> dict[str, Any]:
    return {
        "as_of": "2026-11-20",
        "patient": {"age_years": 52, "sex": "female", "pregnancy": "none"},
        "labs": {lab.key: {"value": value.value, "unit": value.unit}},
    }
