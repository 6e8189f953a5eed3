"""Read a table of reference intakes. Each row becomes a rule of its own."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from service.knowledge.criteria import All
from service.knowledge.criterion_file import CriterionReader
from service.knowledge.errors import Fault
from service.knowledge.fields import Key, Number, Strict, Text, Words, load
from service.knowledge.inputs import AGENTS, DOSE_UNITS
from service.knowledge.rule import Evidence, Rule
from service.knowledge.rule_schema import CODE, Header
from service.knowledge.tables import CertaintyBlock, ExamplesBlock, check_sources, row_cases, table_header
from service.knowledge.vocabulary import Vocabulary
from service.knowledge.yaml_file import Document

MEASURES = ("rda", "ai", "upper_limit", "guidance_level")


class _IntakeRow(Strict):
    id = fields.String(required=True, validate=CODE)
    nutrient = Key(*AGENTS, required=True)
    measure = Key(*MEASURES, required=True)
    value = Number(required=True)
    unit = Text(required=True)
    who = fields.Raw(required=True)
    authority = Text(required=True)
    scope = Text(required=True)
    sources = Words(empty=False, required=True)


class IntakeTable(Header):
    """A table of reference intakes."""

    kind = Key("intakes", required=True)
    evidence = fields.Nested(CertaintyBlock, required=True)
    rows = fields.List(fields.Nested(_IntakeRow), required=True)
    examples = fields.Nested(ExamplesBlock, required=True)
    cases = fields.List(fields.Raw(), required=True)


def intake_rules(document: Document, new_reader: Any, vocabulary: Vocabulary, faults: list[Fault]) -> list[Rule]:
    """One rule for each row."""
    data = load(IntakeTable(), document, (), document.data, faults)
    if data is None:
        return []
    cases = row_cases(document, data, faults)
    rules = []
    for index, row in enumerate(data["rows"]):
        reader: CriterionReader = new_reader()
        named = reader.block(row["who"], ("rows", index, "who"))
        if row["unit"] != DOSE_UNITS[row["nutrient"]]:
            faults.append(document.fault(("rows", index, "unit"), f"must be {DOSE_UNITS[row['nutrient']]}"))
        check_sources(document, index, row["sources"], vocabulary, faults)
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
                source={**table_header(document), "row": document.data["rows"][index]},
                cases=cases.get(row["id"], ()),
                cases_line=document.line(("cases",)),
            )
        )
    return rules
