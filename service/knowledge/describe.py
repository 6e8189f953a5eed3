"""The knowledge as JSON, for those who read it over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from service.knowledge.rule import Rule
from service.knowledge.rulebook import Rulebook
from service.knowledge.vocabulary import Vocabulary


def plain(value: Any) -> Any:
    """Knowledge as JSON types: exact numbers become JSON numbers, dates text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Sequence | set | frozenset):
        return [plain(inner) for inner in value]
    return str(value)


def describe_rules(rulebook: Rulebook) -> list[dict[str, Any]]:
    """A line for each active rule."""
    return [_summary(rule) for rule in rulebook.rules.values()]


def _summary(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "version": rule.version,
        "kind": rule.kind,
        "title": rule.title,
        "severity": rule.severity,
        "certainty": rule.certainty,
        "file": f"rules/{rule.file}",
    }


def describe_rule(rulebook: Rulebook, rule_id: str) -> dict[str, Any]:
    """One rule with its condition, what it says, its evidence and its worked cases. Raises KeyError."""
    rule = rulebook.rules[rule_id]
    return {
        **_summary(rule),
        "source": plain(rule.source),
        "inputs": sorted(rule.inputs),
        "evidence": [
            {
                "id": one.source,
                "citation": rulebook.vocabulary.sources[one.source].citation,
                "certainty": one.certainty,
                "says": one.says,
                "url": rulebook.vocabulary.sources[one.source].url,
            }
            for one in rule.evidence
        ],
        "limitations": list(rule.limits),
        "cases": [
            {"name": case.name, "expect": case.expect, "request": plain(case.request), "missing": list(case.missing)}
            for case in rule.cases
        ],
    }


def describe_knowledge(rulebook: Rulebook) -> dict[str, Any]:
    """Version, digest, counts, review dates and source attributes."""
    about = rulebook.about
    vocabulary = rulebook.vocabulary
    return {
        "title": about["title"],
        "version": rulebook.version,
        "digest": rulebook.digest,
        "sign_off": rulebook.sign_off,
        "last_reviewed": about["last_reviewed"].isoformat(),
        "next_review": about["next_review"].isoformat(),
        "licence": about["licence"],
        "counts": {
            "rules": len(rulebook.rules),
            "rules_by_kind": dict(sorted(Counter(rule.kind for rule in rulebook.rules.values()).items())),
            "worked_cases": sum(len(rule.cases) for rule in rulebook.rules.values()),
            "labs": len(vocabulary.labs),
            "conditions": len(vocabulary.conditions),
            "forms": len(vocabulary.forms),
            "drugs": len(vocabulary.drugs),
            "sources": len(vocabulary.sources),
            "fhir_codes": len(vocabulary.fhir.results),
        },
        "inactive_rules": list(rulebook.inactive),
        "source_attributes": [dict(one) for one in about["source_attributes"]],
    }


def describe_forms(rulebook: Rulebook) -> list[dict[str, Any]]:
    """Every form with its properties."""
    return [{"key": form.key, **plain(form.data)} for form in rulebook.vocabulary.forms.values()]


def describe_vocabulary(rulebook: Rulebook) -> dict[str, Any]:
    """Every word that a request or a rule may use."""
    vocabulary = rulebook.vocabulary
    return {
        "goals": _entries(vocabulary.goals),
        "labs": [{**one, "fhir": _from_fhir(vocabulary, one["key"])} for one in _entries(vocabulary.labs)],
        "vitals": _entries(vocabulary.vitals),
        "symptoms": _entries(vocabulary.symptoms),
        "conditions": _entries(vocabulary.conditions),
        "condition_groups": _entries(vocabulary.condition_groups),
        "drug_classes": _entries(vocabulary.drug_classes),
        "drugs": _entries(vocabulary.drugs),
        "monitoring": _entries(vocabulary.monitoring),
        "foods": _entries(vocabulary.foods),
        "caveats": _entries(vocabulary.caveats),
        "statements": _entries(vocabulary.statements),
        "sources": [{"key": one.key, "url": one.url, **plain(one.data)} for one in vocabulary.sources.values()],
    }


def _from_fhir(vocabulary: Vocabulary, lab: str) -> dict[str, Any]:
    """How results of a lab are read from FHIR: codes in order of preference, units, and prefetch keys."""
    fhir = vocabulary.fhir
    codes = sorted((one for one in fhir.results.values() if one.lab == lab), key=lambda one: (one.only_shown, one.rank))
    units = ((unit, fhir.unit(unit)) for unit in vocabulary.labs[lab].units)
    return {
        "codes": [{"loinc": one.loinc, "property": one.property, "used": not one.only_shown} for one in codes],
        "units": [{"unit": unit, "property": meant.property if meant is not None else None} for unit, meant in units],
        "prefetch": [key for key, labs in fhir.labs_of_key.items() if lab in labs],
    }


def _entries(entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, **plain(one.data)} for key, one in entries.items()]
