"""Read a rule file: its shape, its words and its proof."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, validate

from service.clinical.outcome import SEVERITIES
from service.knowledge.criteria import All, Criterion, Not
from service.knowledge.criterion_file import CriterionReader
from service.knowledge.errors import Fault
from service.knowledge.fields import Day, Flag, Key, Number, Strict, Text, Whole, Words, load
from service.knowledge.inputs import AGENTS
from service.knowledge.rule import RULE_KINDS, Case, Evidence, Rule
from service.knowledge.vocabulary import CERTAINTIES
from service.knowledge.yaml_file import Document, KeyPath

CATEGORIES = (
    "drug_interaction", "kidney", "condition", "lab_result", "dose", "pregnancy", "age", "supplement", "data_quality",
)  # fmt: skip
DISPOSITIONS = ("review", "urgent", "out_of_scope")
PRIORITIES = ("urgent", "before_starting", "at_follow_up")
TOPICS = (
    "food", "timing", "titration", "two_week_log", "tolerability", "quality", "vitamin_d", "stop", "lifestyle",
)  # fmt: skip
TARGETS = ("magnesium_forms", "magnesium_dose", "vitamin_d_advice", "food_advice")
SUMMARY_LENGTH = 140

_CODE = validate.Regexp(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z", error="must be kebab-case")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Summary(Text):
    """One line for a list of cautions; no placeholder."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > SUMMARY_LENGTH:
            raise ValidationError(f"has {len(text)} characters, at most {SUMMARY_LENGTH}")
        return text


class Spacing(Strict):
    """Hours between a drug and the agent, on each side."""

    hours_before = Number(required=True)
    hours_after = Number(required=True)


class CautionBlock(Strict):
    """``then.caution``."""

    code = fields.String(required=True, validate=_CODE)
    category = Key(*CATEGORIES, required=True)
    agent = Key(*AGENTS, required=True)
    summary = Summary(required=True)
    detail = Text(required=True)
    action = Text(required=True)
    monitoring = Words(load_default=list)
    spacing = fields.Nested(Spacing, load_default=None)


class HoldsBack(fields.Field[list[str]]):
    """Targets of a gate; single forms are written ``{forms: [...]}``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[str]:
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list) or not value:
            raise ValidationError("must be a list of targets")
        result: list[str] = []
        for one in value:
            if isinstance(one, str) and one in TARGETS:
                result.append(one)
            elif isinstance(one, dict) and set(one) == {"forms"} and isinstance(one["forms"], list):
                result.extend(str(form) for form in one["forms"])
            else:
                raise ValidationError(f"must be one of {', '.join(TARGETS)}, or {{forms: [...]}}")
        return result


class QuestionBlock(Strict):
    """An entry of ``then.questions``."""

    about = fields.String(required=True, validate=validate.Regexp(r"(/[a-z0-9_]+)+\Z", error="must be a JSON Pointer"))
    question = Text(required=True)
    would_change = Words(load_default=list)


class NotEvaluatedBlock(Strict):
    """``then.when_not_evaluated``."""

    holds_back = HoldsBack()
    question = fields.Nested(QuestionBlock)


class LimitDose(Strict):
    """``then.limit_dose``."""

    elemental_mg_per_day = Number(required=True)


class DoseBlock(Strict):
    """A dose range in elemental magnesium, mg/day."""

    low = Number(required=True)
    high = Number(required=True)
    schedule = Text(required=True)
    titration = Text(required=True)
    review_after_weeks = Whole(required=True)


class SuggestBlock(Strict):
    """An entry of ``then.suggest``."""

    form = Text(required=True)
    standing = Key("preferred", "alternative", required=True)
    for_goal = Text(required=True)
    rank = Whole(required=True)
    dose = fields.Nested(DoseBlock, load_default=None)
    rationale = Words(single=False, empty=False, required=True)
    caveats = Words(load_default=list)


class AvoidBlock(Strict):
    """An entry of ``then.avoid``."""

    forms = Words(single=False, empty=False, required=True)
    standing = Key("avoid", "contraindicated", required=True)
    reason = Text(required=True)


class LabBlock(Strict):
    """An entry of ``then.labs``."""

    lab = Text(required=True)
    priority = Key(*PRIORITIES, required=True)
    question = Text(required=True)
    reason = Text(required=True)
    timing = Text(required=True)
    would_change = Words(load_default=list)
    repeat = Flag(load_default=False)


class AdviceBlock(Strict):
    """An entry of ``then.advice``."""

    topic = Key(*TOPICS, required=True)
    text = Text(required=True)
    fields_ = Words(load_default=list, data_key="fields")


class ThenBlock(Strict):
    """What a rule says."""

    disposition = Key(*DISPOSITIONS)
    caution = fields.Nested(CautionBlock)
    holds_back = HoldsBack()
    when_not_evaluated = fields.Nested(NotEvaluatedBlock)
    limit_dose = fields.Nested(LimitDose)
    suggest = fields.List(fields.Nested(SuggestBlock))
    avoid = fields.List(fields.Nested(AvoidBlock))
    labs = fields.List(fields.Nested(LabBlock))
    questions = fields.List(fields.Nested(QuestionBlock))
    advice = fields.List(fields.Nested(AdviceBlock))
    caveats = Words()


class SupportBlock(Strict):
    """Why a number stands where it stands."""

    sources = Words(empty=False, required=True)
    says = Text(required=True)
    certainty = Key(*CERTAINTIES)


class EvidenceBlock(Strict):
    """The evidence of a rule, by criterion."""

    certainty = Key(*CERTAINTIES, required=True)
    supports = fields.Dict(keys=fields.String(), values=fields.Nested(SupportBlock), required=True)


class Header(Strict):
    """What every knowledge file says about itself."""

    id = fields.String(required=True, validate=_CODE)
    title = Text(required=True)
    status = Key("draft", "active", "retired", required=True)
    version = Whole(required=True)
    date = Day(required=True)
    next_review = Day(required=True)
    sign_off = Key("pending", "signed", required=True)
    replaces = Words(load_default=list)
    purpose = Text(required=True)
    not_for = Text()
    limits = Words(single=False, empty=False, required=True)


class RuleSchema(Header):
    """A rule file."""

    kind = Key(*RULE_KINDS, required=True)
    when = fields.Raw(required=True)
    unless = fields.Raw()
    severity = Key(*SEVERITIES)
    then = fields.Nested(ThenBlock)
    evidence = fields.Nested(EvidenceBlock, required=True)
    examples = fields.Raw(required=True)


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
            elif name not in reader.placeholders():
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


# Worked cases.

_SHORTHAND = re.compile(r"(-?\d+(?:\.\d+)?) (\S+?)(?:, (\d+) days ago)?")
EXAMPLE_DAY = "2026-11-20"


def read_cases(document: Document, rule: str, examples: Any, faults: list[Fault]) -> tuple[Case, ...]:
    """The worked cases of a rule, each as a whole request body."""
    if not isinstance(examples, dict) or set(examples) != {"patient", "cases"} or not examples["cases"]:
        faults.append(document.fault(("examples",), "examples: must have patient and cases"))
        return ()
    cases = []
    for index, data in enumerate(examples["cases"]):
        case = read_case(document, rule, examples["patient"], data, ("examples", "cases", index), faults)
        if case is not None:
            cases.append(case)
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        faults.append(document.fault(("examples", "cases"), "two cases have the same name"))
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
    request = expand_shorthand(merge_patch(patient, loaded.get("with_") or {}))
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
    """Write ``"0.58 mmol/L, 10 days ago"`` out as a lab or vital of the request; dates become text."""
    result = {"as_of": EXAMPLE_DAY, **request}
    for group in ("labs", "vitals"):
        if isinstance(result.get(group), dict):
            result[group] = {key: _expand(value) for key, value in result[group].items()}
    plain: dict[str, Any] = _plain(result)
    return plain


def _expand(value: Any) -> Any:
    match = _SHORTHAND.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
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
