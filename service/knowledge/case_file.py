"""Read worked cases: whole request bodies, written as changes to one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from marshmallow import fields

from service.clinical.outcome import SEVERITIES
from service.knowledge.errors import Fault
from service.knowledge.fields import Key, Strict, Text, Words, load
from service.knowledge.rule import Case
from service.knowledge.yaml_file import Document, KeyPath

_SHORTHAND = re.compile(r"(-?\d+(?:\.\d+)?) (\S+?)(?:, (\d+) days? ago)?")
EXAMPLE_DAY = "2026-11-20"


def read_cases(
    document: Document, rule: str, examples: Any, faults: list[Fault], path: KeyPath = ("examples",)
) -> tuple[Case, ...]:
    """The worked cases of a rule, each as a whole request body."""
    whole = isinstance(examples, dict) and set(examples) == {"patient", "cases"}
    if not whole or not isinstance(examples["patient"], dict) or not isinstance(examples["cases"], list):
        faults.append(document.fault(path, "examples: must have a patient and a list of cases"))
        return ()
    if not examples["cases"]:
        faults.append(document.fault((*path, "cases"), "examples: needs cases"))
    cases = []
    for index, data in enumerate(examples["cases"]):
        case = read_case(document, rule, examples["patient"], data, (*path, "cases", index), faults)
        if case is not None:
            cases.append(case)
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        faults.append(document.fault((*path, "cases"), "two cases have the same name"))
    return tuple(cases)


class CaseSchema(Strict):
    """One worked case."""

    name = Text(required=True)
    expect = Key("fires", "silent", "not_evaluated", required=True)
    with_ = fields.Raw(data_key="with")
    missing = Words(load_default=list)
    row = Text()
    severity = Key(*SEVERITIES)


def read_case(
    document: Document, rule: str, patient: Any, data: Any, path: KeyPath, faults: list[Fault]
) -> Case | None:
    """One case: the patient with the changes of ``with`` merged in."""
    loaded = load(CaseSchema(), document, path, data, faults)
    if loaded is None or not isinstance(patient, dict):
        return None
    try:
        request = expand_shorthand(merge_patch(patient, loaded.get("with_") or {}))
    except ValueError as error:
        faults.append(document.fault(path, str(error)))
        return None
    return Case(
        rule=rule,
        name=loaded["name"],
        expect=loaded["expect"],
        request=request,
        missing=tuple(loaded["missing"]),
        severity=loaded.get("severity"),
        line=document.line(path),
    )


def merge_patch(target: Any, patch: Any) -> Any:
    """JSON Merge Patch, RFC 7396: null removes a key."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def expand_shorthand(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``"0.58 mmol/L, 10 days ago"`` out as a lab or vital of the request; dates become text.

    Raises ValueError for a text that is no such value.
    """
    result = {"as_of": EXAMPLE_DAY, **request}
    for group in ("labs", "vitals"):
        if isinstance(result.get(group), dict):
            result[group] = {key: _expand(key, value) for key, value in result[group].items()}
    plain: dict[str, Any] = _plain(result)
    return plain


def _expand(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _SHORTHAND.fullmatch(value)
    if match is None:
        raise ValueError(f"{key}: must be 'number unit', or 'number unit, 10 days ago': {value!r}")
    expanded: dict[str, Any] = {"value": Decimal(match[1]), "unit": match[2]}
    if match[3] is not None:
        expanded["collected_on"] = (date.fromisoformat(EXAMPLE_DAY) - timedelta(days=int(match[3]))).isoformat()
    return expanded


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
