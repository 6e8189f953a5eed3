"""Read the tables of the knowledge: each row becomes a rule of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.clinical.outcome import SEVERITIES
from service.clinical.quantity import Quantity
from service.knowledge.criteria import All, Atom, Criterion, NotRuledOut
from service.knowledge.criterion_file import Band, CriterionReader, status_criterion
from service.knowledge.errors import Fault
from service.knowledge.fields import Amount, Amounts, Key, Number, Strict, Text, Words, load
from service.knowledge.inputs import AGENTS, DOSE_UNITS, Input
from service.knowledge.rule import Case, Evidence, Rule
from service.knowledge.rule_file import (
    _CODE,
    SUMMARY_LENGTH,
    Header,
    LabBlock,
    Spacing,
    check_then,
    read_case,
)
from service.knowledge.vocabulary import CERTAINTIES, Drug, Lab, Vocabulary
from service.knowledge.yaml_file import Document

EFFECTS = (
    "drug_effect_down", "drug_effect_up", "mg_down", "mg_up", "ca_up", "ca_down", "vit_d_down", "phosphate_up",
    "additive_toxicity", "none",
)  # fmt: skip
ACTIONS = ("avoid", "separate", "monitor", "adjust", "none")
SALTS = ("all", "acid_neutralising")
MEASURES = ("rda", "ai", "upper_limit", "guidance_level")


class _Certainty(Strict):
    certainty = Key(*CERTAINTIES, required=True)


# Bands.


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
    evidence = fields.Nested(_Certainty, required=True)
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
        if other["source"] not in vocabulary.sources:
            faults.append(document.fault(("other_authorities", index), f"the source {other['source']!r} is not known"))
    if len(faults) > before:
        return None
    _check_edges(document, data, faults)
    return data if len(faults) == before else None


def _check_edges(document: Document, data: Mapping[str, Any], faults: list[Fault]) -> None:
    previous: dict[str, Decimal] = {}
    covered = {(case["value"].value, case["value"].unit) for case in data["cases"]}
    for index, band in enumerate(data["bands"][:-1]):
        for edge in band["to"]:
            if edge.unit in previous and edge.value <= previous[edge.unit]:
                faults.append(document.fault(("bands", index, "to"), "the edges must rise"))
            previous[edge.unit] = edge.value
            if (edge.value, edge.unit) not in covered:
                faults.append(document.fault(("cases",), f"no case exactly on the edge {edge}"))
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
                source={**_table_header(document), "band": document.data["bands"][index]},
                cases=cases,
            )
        )
    return rules


def _value_request(lab: Lab, value: Quantity) -> dict[str, Any]:
    return {
        "as_of": "2026-11-20",
        "patient": {"age_years": 52, "sex": "female", "pregnancy": "none"},
        "labs": {lab.key: {"value": value.value, "unit": value.unit}},
    }


def _table_header(document: Document) -> dict[str, Any]:
    header = ("id", "title", "kind", "status", "version", "date", "next_review", "sign_off", "purpose", "limits")
    return {key: document.data[key] for key in header if key in document.data}


# Intakes.


class _IntakeRow(Strict):
    id = fields.String(required=True, validate=_CODE)
    nutrient = Key(*AGENTS, required=True)
    measure = Key(*MEASURES, required=True)
    value = Number(required=True)
    unit = Text(required=True)
    who = fields.Raw(required=True)
    authority = Text(required=True)
    scope = Text(required=True)
    sources = Words(empty=False, required=True)


class _Examples(Strict):
    patient = fields.Raw(required=True)


class IntakeTable(Header):
    """A table of reference intakes."""

    kind = Key("intakes", required=True)
    evidence = fields.Nested(_Certainty, required=True)
    rows = fields.List(fields.Nested(_IntakeRow), required=True)
    examples = fields.Nested(_Examples, required=True)
    cases = fields.List(fields.Raw(), required=True)


def intake_rules(document: Document, new_reader: Any, vocabulary: Vocabulary, faults: list[Fault]) -> list[Rule]:
    """One rule for each row."""
    data = load(IntakeTable(), document, (), document.data, faults)
    if data is None:
        return []
    cases = _row_cases(document, data, faults)
    rules = []
    for index, row in enumerate(data["rows"]):
        reader: CriterionReader = new_reader()
        named = reader.block(row["who"], ("rows", index, "who"))
        if row["unit"] != DOSE_UNITS[row["nutrient"]]:
            faults.append(document.fault(("rows", index, "unit"), f"must be {DOSE_UNITS[row['nutrient']]}"))
        _check_sources(document, index, row["sources"], vocabulary, faults)
        shown = {key: row[key] for key in ("nutrient", "measure", "value", "unit", "authority", "scope")}
        rules.append(
            Rule(
                id=row["id"],
                title=f"{data['title']}: {row['scope']}",
                kind="intake",
                version=data["version"],
                criterion=All(named),
                named=named,
                inputs=reader.all_inputs(),
                own_inputs=tuple(reader.inputs.values()),
                severity=None,
                then={"intake": shown},
                evidence=tuple(
                    Evidence(source, row["authority"], data["evidence"]["certainty"]) for source in row["sources"]
                ),
                certainty=data["evidence"]["certainty"],
                limits=tuple(data["limits"]),
                file=document.file,
                source={**_table_header(document), "row": document.data["rows"][index]},
                cases=cases.get(row["id"], ()),
            )
        )
    return rules


def _check_sources(
    document: Document, index: int, sources: list[str], vocabulary: Vocabulary, faults: list[Fault]
) -> None:
    for source in sources:
        if source not in vocabulary.sources:
            faults.append(document.fault(("rows", index, "sources"), f"the source {source!r} is not known"))


def _row_cases(document: Document, data: Mapping[str, Any], faults: list[Fault]) -> dict[str, tuple[Case, ...]]:
    rows = {row["id"] for row in data["rows"]}
    cases: dict[str, tuple[Case, ...]] = {}
    for index, written in enumerate(data["cases"]):
        row = str(written.get("row")) if isinstance(written, dict) else ""
        if row not in rows:
            faults.append(document.fault(("cases", index), f"the row {row!r} is not in the table"))
            continue
        case = read_case(document, row, data["examples"]["patient"], written, ("cases", index), faults)
        if case is not None:
            cases[row] = (*cases.get(row, ()), case)
    return cases


# Interactions.


class _Escalation(Strict):
    when = fields.Raw(required=True)
    severity = Key(*SEVERITIES, required=True)
    add = Text(required=True)
    spacing = fields.Nested(Spacing)


class _Salts(fields.Field[str | list[str]]):
    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str | list[str]:
        if value in SALTS:
            return str(value)
        forms: list[str] = Words(single=False, empty=False).deserialize(value)
        return forms


class _InteractionRow(Strict):
    id = fields.String(required=True, validate=_CODE)
    members = Words(single=False, empty=False, required=True)
    routes = Words(load_default=list)
    salts = _Salts(load_default="all")
    code = fields.String(required=True, validate=_CODE)
    effect = Words(single=False, empty=False, required=True)
    action = Key(*ACTIONS, required=True)
    severity = Key(*SEVERITIES, required=True)
    severity_reason = Text(required=True)
    spacing = fields.Nested(Spacing, allow_none=True, load_default=None)
    conservative_spacing = fields.Nested(Spacing)
    summary = Text(required=True)
    detail = Text(required=True)
    do = Text(required=True)
    monitoring = Words(load_default=list)
    labs = fields.List(fields.Nested(LabBlock), load_default=list)
    escalate = fields.List(fields.Nested(_Escalation), load_default=list)
    conflict = Text()
    sources = Words(empty=False, required=True)
    certainty = Key("high", "moderate", "low", required=True)


class InteractionTable(Header):
    """A table of drug interactions."""

    kind = Key("interactions", required=True)
    agent = Key(*AGENTS, required=True)
    rows = fields.List(fields.Nested(_InteractionRow), required=True)
    examples = fields.Nested(_Examples, required=True)
    cases = fields.List(fields.Raw(), required=True)


def interaction_rules(document: Document, new_reader: Any, vocabulary: Vocabulary, faults: list[Fault]) -> list[Rule]:
    """One rule for each row, and one for each of its escalations."""
    data = load(InteractionTable(), document, (), document.data, faults)
    if data is None:
        return []
    cases = _row_cases(document, data, faults)
    rules: list[Rule] = []
    for index, row in enumerate(data["rows"]):
        _check_row(document, index, row, cases.get(row["id"], ()), vocabulary, faults)
        reader: CriterionReader = new_reader()
        named = _row_criterion(document, index, data["agent"], row, reader, vocabulary)
        then = _row_then(data["agent"], row)
        check_then(document, ("rows", index), then, reader, faults)
        rule = Rule(
            id=row["id"],
            title=row["summary"],
            kind="interaction",
            version=data["version"],
            criterion=All(named),
            named=named,
            inputs=reader.all_inputs(),
            own_inputs=tuple(reader.inputs.values()),
            severity=row["severity"],
            then=then,
            evidence=tuple(Evidence(source, row["severity_reason"], row["certainty"]) for source in row["sources"]),
            certainty=row["certainty"],
            limits=(*data["limits"], *([row["conflict"]] if "conflict" in row else ())),
            file=document.file,
            source={**_table_header(document), "row": document.data["rows"][index]},
            cases=cases.get(row["id"], ()),
        )
        rules.append(rule)
        rules.extend(_escalations(document, index, row, rule, new_reader, faults))
    return rules


def _row_criterion(
    document: Document, index: int, agent: str, row: Mapping[str, Any], reader: CriterionReader, vocabulary: Vocabulary
) -> tuple[tuple[str, Criterion], ...]:
    """The drug is taken, and neither the agent nor the salt that the row speaks of is ruled out."""
    taken = reader.register(Input("drug", row["id"].replace("-", "_")))
    in_play = reader.criterion({"defined": f"{agent.replace('_', '-')}-in-play"}, ("rows", index))
    named: list[tuple[str, Criterion]] = [
        ("taken", Atom(taken, ">=", Decimal(1))),
        (f"{agent}_in_play", NotRuledOut(in_play)),
    ]
    forms = salts_in_scope(row["salts"], vocabulary)
    if forms:
        salt = Input.any_of("supplement_form", (f"{agent}/{form}" for form in forms))
        reader.borrowed[salt.name] = salt
        named.append(("salt_in_scope", NotRuledOut(Atom(salt.name, ">=", Decimal(1)))))
    return tuple(named)


def salts_in_scope(salts: str | list[str], vocabulary: Vocabulary) -> list[str]:
    """The forms that a row speaks of; empty when it speaks of every form."""
    if salts == "acid_neutralising":
        return [form.key for form in vocabulary.forms.values() if form.acid_neutralising]
    return [] if isinstance(salts, str) else salts


def _row_then(agent: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if row["action"] == "none":
        return {"documented_absence": row["detail"]}
    return {
        "caution": {
            "code": row["code"],
            "category": "drug_interaction",
            "agent": agent,
            "summary": row["summary"],
            "detail": row["detail"],
            "action": row["do"],
            "monitoring": row["monitoring"],
            "spacing": row["spacing"],
        },
        "labs": row["labs"],
        "interaction": {key: row[key] for key in ("action", "effect", "salts")},
    }


def _escalations(
    document: Document, index: int, row: Mapping[str, Any], base: Rule, new_reader: Any, faults: list[Fault]
) -> list[Rule]:
    rules = []
    for number, escalation in enumerate(row["escalate"]):
        reader: CriterionReader = new_reader()
        reader.borrowed.update(base.inputs)
        reader.inputs.update({one.name: one for one in base.own_inputs})
        named = (
            *base.named,
            *reader.block(escalation["when"], ("rows", index, "escalate", number, "when")),
        )
        rules.append(
            Rule(
                id=f"{base.id}-escalation-{number + 1}",
                title=escalation["add"],
                kind="escalation",
                version=base.version,
                criterion=All(named),
                named=named,
                inputs=reader.all_inputs(),
                own_inputs=tuple(reader.inputs.values()),
                severity=escalation["severity"],
                then={"add": escalation["add"], "spacing": escalation.get("spacing")},
                evidence=base.evidence,
                certainty=base.certainty,
                limits=base.limits,
                file=document.file,
                source=base.source,
                parent=base.id,
            )
        )
    return rules


def _check_row(
    document: Document,
    index: int,
    row: Mapping[str, Any],
    cases: tuple[Case, ...],
    vocabulary: Vocabulary,
    faults: list[Fault],
) -> None:
    def fault(key: str, message: str) -> None:
        faults.append(document.fault(("rows", index, key), f"{row['id']}: {message}"))

    members: list[Drug] = []
    for member in row["members"]:
        if member in vocabulary.drugs:
            members.append(vocabulary.drugs[member])
        else:
            fault("members", f"the drug {member!r} is not known")
    for effect in row["effect"]:
        if effect not in EFFECTS:
            fault("effect", f"the effect {effect!r} is not known")
    for form in row["salts"] if isinstance(row["salts"], list) else ():
        if form not in vocabulary.forms:
            fault("salts", f"the form {form!r} is not known")
    _check_sources(document, index, row["sources"], vocabulary, faults)
    if row["action"] == "separate" and row["spacing"] is None:
        fault("spacing", "the action 'separate' needs the hours")
    longest = max((len(drug.display) for drug in members), default=0)
    if len(re.sub(r"\{drugs\}", "x" * longest, row["summary"])) > SUMMARY_LENGTH:
        fault("summary", f"can be longer than {SUMMARY_LENGTH} characters")
    outcomes = {case.expect for case in cases}
    if not {"fires", "silent"} <= outcomes:
        fault("id", "needs a case that fires and one that is silent")
