"""What the readers of tables share: header, examples and sources of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from service.knowledge.case_file import read_case
from service.knowledge.errors import Fault
from service.knowledge.fields import Key, Strict
from service.knowledge.rule import Case
from service.knowledge.vocabulary import CERTAINTIES, Vocabulary
from service.knowledge.yaml_file import Document


class CertaintyBlock(Strict):
    certainty = Key(*CERTAINTIES, required=True)


class ExamplesBlock(Strict):
    patient = fields.Raw(required=True)


def table_header(document: Document) -> dict[str, Any]:
    header = ("id", "title", "kind", "status", "version", "date", "next_review", "sign_off", "purpose", "limits")
    return {key: document.data[key] for key in header if key in document.data}


def check_sources(
    document: Document, index: int, sources: list[str], vocabulary: Vocabulary, faults: list[Fault]
) -> None:
    for source in sources:
        if source not in vocabulary.sources:
            faults.append(document.fault(("rows", index, "sources"), f"the source {source!r} is not known"))


def row_cases(document: Document, data: Mapping[str, Any], faults: list[Fault]) -> dict[str, tuple[Case, ...]]:
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
