"""Rules that the vocabulary implies: implausible values, values that look like another unit, eGFR values that disagree,
and checks of how medications are written.

Their numbers and words stand in ``vocabulary/labs.yaml``, ``vitals.yaml``, ``derived.yaml`` and ``checks.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from service.clinical.quantity import slug
from service.knowledge.case_file import EXAMPLE_DAY
from service.knowledge.criteria import All, Any_, Atom, Choice, Criterion
from service.knowledge.derived_file import DISAGREEMENT
from service.knowledge.inputs import Input
from service.knowledge.rule import Case, Evidence, Rule
from service.knowledge.vocabulary import Entry, Lab, Vital, Vocabulary


def generated_rules(vocabulary: Vocabulary) -> Iterator[Rule]:
    """One rule for each lab and vital with a plausible range, each unit hint, the eGFR comparison and each check."""
    for lab in vocabulary.labs.values():
        if lab.input:
            yield _lab_range(lab)
            for unit in dict.fromkeys(hint.unit for hint in lab.swap_hints):
                yield _unit_hint(lab, unit)
    for vital in vocabulary.vitals.values():
        yield _vital_range(vital)
    if "egfr" in vocabulary.derived:
        yield _disagreement(vocabulary.derived["egfr"]["disagreement"])
    for check in vocabulary.checks.values():
        yield _medication_check(check)


def _rule(
    rule_id: str,
    title: str,
    name: str,
    criterion: Criterion,
    inputs: Mapping[str, Input],
    caution: Mapping[str, Any],
    sources: list[str],
    limits: tuple[str, ...],
    file: str,
    cases: tuple[Case, ...],
    severity: str = "minor",
) -> Rule:
    then = {"caution": {"category": "data_quality", "agent": "magnesium", "monitoring": [], "spacing": None, **caution}}
    return Rule(
        id=rule_id,
        title=title,
        kind="data_quality",
        version=1,
        criterion=criterion,
        named=((name, criterion),),
        inputs=inputs,
        own_inputs=tuple(inputs.values()),
        severity=severity,
        then=then,
        evidence=tuple(Evidence(source, title, "not_graded") for source in sources),
        certainty="not_graded",
        limits=limits,
        file=file,
        source={"id": rule_id, "title": title, "kind": "data_quality", "status": "active", "then": then},
        cases=cases,
    )


def _lab_range(lab: Lab) -> Rule:
    units = tuple(lab.units)
    inputs: dict[str, Input] = {}
    parts: list[Criterion] = []
    for unit in units:
        # The value as it was sent: a lower calculated one must not hide an implausible reported one.
        wanted = Input("lab_sent", lab.key, unit)
        inputs[wanted.name] = wanted
        low, high = lab.units[unit].plausible
        parts.append(
            Any_((("below", Atom(wanted.name, "<", low, str(low))), ("above", Atom(wanted.name, ">", high, str(high)))))
        )
    unit = lab.unit
    low, high = lab.units[unit].plausible
    return _rule(
        f"range-{lab.key.replace('_', '-')}",
        f"{lab.display}: outside the usual reporting range",
        "unusual_value",
        parts[0] if len(parts) == 1 else Choice(tuple(parts)),
        inputs,
        {
            "agent": lab.data["agent"],
            "code": f"unusual-{lab.key.replace('_', '-')}",
            "summary": f"{lab.display}: unusual value; check the result and its unit",
            "detail": f"The reported value ({{lab.{lab.key}}}) lies outside the range expected in practice.",
            "action": "Check the result, its unit and the sample before acting on it.",
        },
        lab.data["sources"].get("ranges", []) or ["SRC-POLICY"],
        ("The range is an engineering choice that finds typing and unit errors; it is not a reference interval.",),
        "vocabulary/labs.yaml",
        (
            *(
                _lab_case(f"range-{lab.key.replace('_', '-')}", lab, edge_unit, value, "silent", f"{value} {edge_unit}")
                for edge_unit in units
                for value in lab.units[edge_unit].plausible
            ),
            _lab_case(f"range-{lab.key.replace('_', '-')}", lab, unit, lab.units[unit].possible[1], "fires", "highest"),
            Case(
                f"range-{lab.key.replace('_', '-')}",
                "not measured",
                "not_evaluated",
                {"as_of": EXAMPLE_DAY},
                ("unusual_value",),
            ),
        ),
    )


def _lab_case(rule: str, lab: Lab, unit: str, value: Decimal, expect: str, name: str) -> Case:
    return Case(rule, name, expect, {"as_of": EXAMPLE_DAY, "labs": {lab.key: {"value": value, "unit": unit}}})


def _unit_hint(lab: Lab, unit: str) -> Rule:
    rule_id = f"unit-{lab.key}-{slug(unit)}".replace("_", "-")
    hints = [hint for hint in lab.swap_hints if hint.unit == unit]
    wanted = Input("lab_sent", lab.key, unit)
    # A hint's range is half-open, like a band.
    ranges: list[tuple[str, Criterion]] = [
        (
            f"from {hint.low}",
            All(
                (
                    ("from", Atom(wanted.name, ">=", hint.low, str(hint.low))),
                    ("to", Atom(wanted.name, "<", hint.high, str(hint.high))),
                )
            ),
        )
        for hint in hints
    ]
    inputs = {wanted.name: wanted}
    parts: list[Criterion] = [Any_(tuple(ranges))]
    for other in lab.units:
        if other != unit:
            # Sent in another unit it cannot look like this one, but a choice must name every unit.
            elsewhere = Input("lab_sent", lab.key, other)
            inputs[elsewhere.name] = elsewhere
            parts.append(Atom(elsewhere.name, "<", lab.units[other].possible[0]))
    cases = [
        _lab_case(rule_id, lab, unit, edge, expect, f"{edge} {unit}")
        for hint in hints
        for edge, expect in ((hint.low, "fires"), (hint.high, "silent"))
    ]
    cases.append(Case(rule_id, "not measured", "not_evaluated", {"as_of": EXAMPLE_DAY}, ("looks_like_another_unit",)))
    asks = " ".join(dict.fromkeys(hint.ask for hint in hints))
    return _rule(
        rule_id,
        f"{lab.display}: the value looks like another unit's",
        "looks_like_another_unit",
        Choice(tuple(parts)) if len(parts) > 1 else parts[0],
        inputs,
        {
            "agent": lab.data["agent"],
            "code": f"unit-check-{lab.key.replace('_', '-')}",
            "summary": f"{lab.display}: is the unit right?",
            "detail": f"The reported value ({{lab.{lab.key}}}) would be ordinary in another unit. {asks}",
            "action": "Confirm the unit with the laboratory report; the value was used as sent.",
        },
        ["SRC-POLICY"],
        ("A question about the data, not about the patient.",),
        "vocabulary/labs.yaml",
        tuple(cases),
    )


def _vital_range(vital: Vital) -> Rule:
    wanted = Input("vital", vital.key, vital.unit)
    low, high = vital.plausible
    rule_id = f"range-{vital.key.replace('_', '-')}"

    def case(value: Decimal, expect: str) -> Case:
        request = {"as_of": EXAMPLE_DAY, "vitals": {vital.key: {"value": value, "unit": vital.unit}}}
        return Case(rule_id, f"{value} {vital.unit}", expect, request)

    return _rule(
        rule_id,
        f"{vital.display}: outside the usual range",
        "unusual_value",
        Any_((("below", Atom(wanted.name, "<", low, str(low))), ("above", Atom(wanted.name, ">", high, str(high))))),
        {wanted.name: wanted},
        {
            "code": f"unusual-{vital.key.replace('_', '-')}",
            "summary": f"{vital.display}: unusual value; check the measurement",
            "detail": f"The reported value ({{vital.{vital.key}}}) lies outside the range expected in practice.",
            "action": "Check the measurement and the patient.",
        },
        vital.data["sources"] or ["SRC-POLICY"],
        ("The range is an engineering choice that finds errors; it is not a treatment threshold.",),
        "vocabulary/vitals.yaml",
        (
            case(low, "silent"),
            case(high, "silent"),
            case(vital.possible[1], "fires"),
            Case(rule_id, "not measured", "not_evaluated", {"as_of": EXAMPLE_DAY}, ("unusual_value",)),
        ),
    )


def _disagreement(data: Mapping[str, Any]) -> Rule:
    wanted = Input("derived", "egfr_disagreement_percent")
    percent = data["percent"]
    return _rule(
        DISAGREEMENT,
        "Reported eGFR and eGFR calculated from creatinine disagree",
        "values_disagree",
        Atom(wanted.name, ">", percent, str(percent)),
        {wanted.name: wanted},
        {
            "code": DISAGREEMENT,
            "summary": "Reported eGFR and the eGFR calculated from the creatinine sent disagree",
            "detail": (
                f"The two values differ by more than {percent} % of the larger one. Both are shown; "
                "the lower one decides what is suggested."
            ),
            "action": "Check dates, units and equation of both; repeat the measurement if it stays unexplained.",
            "category": "data_quality",
        },
        list(data["sources"]),
        ("A difference can be real when kidney function is changing.",),
        "vocabulary/derived.yaml",
        data["cases"],
        severity=data["severity"],
    )


def _medication_check(check: Entry) -> Rule:
    wanted = Input("medication_check", check.key)
    rule_id = check.key.replace("_", "-")
    name = check.key.removeprefix("medication_")
    said = check.data
    return _rule(
        rule_id,
        said["title"],
        name,
        Atom(wanted.name, ">=", Decimal(1)),
        {wanted.name: wanted},
        {"code": rule_id, "summary": said["summary"], "detail": said["detail"], "action": said["action"]},
        list(said["sources"]),
        tuple(said["limits"]),
        "vocabulary/checks.yaml",
        tuple(
            Case(
                rule_id,
                one["name"],
                one["expect"],
                {"as_of": EXAMPLE_DAY, **one["request"]},
                (name,) if one["expect"] == "not_evaluated" else (),
            )
            for one in said["cases"]
        ),
        severity=said["severity"],
    )
