"""Read a table of drug interactions. Each row becomes a rule, and each escalation of a row another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

from service.clinical.outcome import SEVERITIES
from service.knowledge.criteria import All, Atom, Criterion, NotRuledOut
from service.knowledge.criterion_file import CriterionReader
from service.knowledge.errors import Fault
from service.knowledge.fields import Key, Strict, Text, Words, load
from service.knowledge.inputs import AGENTS, ROUTES, Input
from service.knowledge.rule import Case, Evidence, Rule
from service.knowledge.rule_file import check_then
from service.knowledge.rule_schema import CODE, SUMMARY_LENGTH, Header, LabBlock, Spacing
from service.knowledge.tables import ExamplesBlock, check_sources, row_cases, table_header
from service.knowledge.vocabulary import Drug, Vocabulary
from service.knowledge.yaml_file import Document

EFFECTS = (
    "drug_effect_down", "drug_effect_up", "mg_down", "mg_up", "ca_up", "ca_down", "vit_d_down", "phosphate_up",
    "additive_toxicity", "none",
)  # fmt: skip
ACTIONS = ("avoid", "separate", "adjust", "monitor", "none")
"""What a row asks for, the most first."""

SALTS = ("all", "acid_neutralising")


class _Escalation(Strict):
    when = fields.Raw(required=True)
    severity = Key(*SEVERITIES, required=True)
    add = Text(required=True)
    do = Text()
    spacing = fields.Nested(Spacing)


class _Salts(fields.Field[str | list[str]]):
    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str | list[str]:
        if value in SALTS:
            return str(value)
        if not isinstance(value, list):
            raise ValidationError(f"must be one of: {', '.join(SALTS)}, or a list of forms")
        forms: list[str] = Words(single=False, empty=False).deserialize(value)
        return forms


class _InteractionRow(Strict):
    id = fields.String(required=True, validate=CODE)
    members = Words(single=False, empty=False, required=True)
    routes = Words(load_default=list)
    salts = _Salts(load_default="all")
    when = fields.Raw()
    code = fields.String(required=True, validate=CODE)
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
    examples = fields.Nested(ExamplesBlock, required=True)
    cases = fields.List(fields.Raw(), required=True)


def interaction_rules(document: Document, new_reader: Any, vocabulary: Vocabulary, faults: list[Fault]) -> list[Rule]:
    """One rule for each row, and one for each of its escalations."""
    data = load(InteractionTable(), document, (), document.data, faults)
    if data is None:
        return []
    cases = row_cases(document, data, faults)
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
            source={**table_header(document), "row": document.data["rows"][index]},
            cases=cases.get(row["id"], ()),
            cases_line=document.line(("cases",)),
        )
        rules.append(rule)
        rules.extend(_escalations(document, index, row, rule, new_reader, faults))
    return rules


def drug_group(row_id: str) -> str:
    """What the drugs of a row are called together, beside the drug classes."""
    return row_id.replace("-", "_")


def _row_criterion(
    document: Document, index: int, agent: str, row: Mapping[str, Any], reader: CriterionReader, vocabulary: Vocabulary
) -> tuple[tuple[str, Criterion], ...]:
    """The drug is taken, and neither the agent nor the salt that the row speaks of is ruled out."""
    taken = reader.register(Input("drug", drug_group(row["id"])))
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
    if "when" in row:
        named.extend(reader.block(row["when"], ("rows", index, "when")))
    return tuple(named)


def salts_in_scope(salts: str | list[str], vocabulary: Vocabulary) -> list[str]:
    """The forms that a row speaks of; empty when it speaks of every form."""
    if salts == "acid_neutralising":
        return [form.key for form in vocabulary.forms.values() if form.acid_neutralising]
    return [] if isinstance(salts, str) else salts


def _row_then(agent: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if row["action"] == "none":
        return {}
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
                then={"add": escalation["add"], "spacing": escalation.get("spacing"), "do": escalation.get("do")},
                evidence=base.evidence,
                certainty=base.certainty,
                limits=base.limits,
                file=document.file,
                source=base.source,
                cases_line=base.cases_line,
                parent=base.id,
            )
        )
    return rules


_UNSAID = ("labs", "escalate", "spacing", "conservative_spacing", "monitoring")
_SAID_TIME = re.compile(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))? (h|min)\b")


def _hours_faults(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is read and what is sent may not differ: the hours of the texts and those of ``spacing``."""
    cautious = row.get("conservative_spacing")
    if _shorter(cautious, row["spacing"]):
        yield "conservative_spacing", "the hours are shorter than the row's own"
    if row["spacing"] is None:
        return
    own = {*row["spacing"].values()}
    more = [cautious, *(one.get("spacing") for one in row["escalate"])]
    all_hours = own.union(*(one.values() for one in more if one is not None))
    for hours in sorted(_said_hours(row["summary"]) - all_hours):
        yield "summary", f"speaks of {hours} h, and spacing does not"
    for hours in sorted(own - {0} - _said_hours(f"{row['summary']} {row['do']}")):
        yield "spacing", f"{hours} h stands neither in the summary nor in `do`"


def _said_hours(text: str) -> set[Decimal]:
    return {
        Decimal(number) / (60 if unit == "min" else 1)
        for *numbers, unit in _SAID_TIME.findall(text)
        for number in numbers
        if number
    }


def _shorter(spacing: Mapping[str, Decimal] | None, than: Mapping[str, Decimal] | None) -> bool:
    return spacing is not None and than is not None and any(spacing[side] < than[side] for side in than)


def no_contradiction(documents: Iterable[Document]) -> Iterator[Fault]:
    """A medicine for which a row says that nothing is known to happen is in no row of its agent and route that does."""
    rows = [
        (document, index, row)
        for document in documents
        if document.data.get("kind") == "interactions"
        for index, row in enumerate(document.data["rows"])
    ]
    for document, index, silent in rows:
        if silent["action"] != "none":
            continue
        for other, _, row in rows:
            both = set(silent["members"]) & set(row["members"])
            routes, others = set(silent.get("routes", ())), set(row.get("routes", ()))
            together = not routes or not others or routes & others
            if row["action"] != "none" and other.data["agent"] == document.data["agent"] and both and together:
                message = f"{silent['id']}: {', '.join(sorted(both))} is also in {row['id']}, which speaks"
                yield document.fault(("rows", index, "members"), message)


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
            fault("effect", f"the effect {effect!r} is not known; one of: {', '.join(EFFECTS)}")
    for form in row["salts"] if isinstance(row["salts"], list) else ():
        if form not in vocabulary.forms:
            fault(
                "salts",
                f"the form {form!r} is not known; {', '.join(SALTS)}, or a list of: {', '.join(vocabulary.forms)}",
            )
    for route in row["routes"]:
        if route not in ROUTES:
            fault("routes", f"the route {route!r} is not known; one of: {', '.join(ROUTES)}")
    if drug_group(row["id"]) in vocabulary.drug_classes:
        fault("id", "is also a drug class; a row and a class cannot share a name")
    check_sources(document, index, row["sources"], vocabulary, faults)
    if row["action"] == "none":
        for key in [key for key in _UNSAID if row.get(key)]:
            fault(key, "a row with the action 'none' says nothing, so this would be lost")
        if row["severity"] != SEVERITIES[-1]:
            fault("severity", f"a row with the action 'none' is {SEVERITIES[-1]}")
        if row["effect"] != ["none"]:
            fault("effect", "a row with the action 'none' has the effect none")
    if row["action"] == "separate" and row["spacing"] is None:
        fault("spacing", "the action 'separate' needs the hours")
    for key, message in _hours_faults(row):
        fault(key, message)
    for one in row["escalate"]:
        if SEVERITIES.index(one["severity"]) > SEVERITIES.index(row["severity"]):
            fault("escalate", f"{one['severity']} is below the row's own {row['severity']}")
        if _shorter(one.get("spacing"), row["spacing"]):
            fault("escalate", "the hours are shorter than the row's own")
    longest = max((len(drug.display) for drug in members), default=0)
    if len(re.sub(r"\{drugs\}", "x" * longest, row["summary"])) > SUMMARY_LENGTH:
        fault("summary", f"can be longer than {SUMMARY_LENGTH} characters")
    outcomes = {case.expect for case in cases}
    if not {"fires", "silent"} <= outcomes:
        fault("id", "needs a case that fires and one that is silent")
