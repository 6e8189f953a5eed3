"""The shape of a rule file and of what a rule can say; see ``rules/README.md``."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, validate

from service.clinical.outcome import SEVERITIES
from service.knowledge.fields import Day, Days, Flag, Key, Number, Strict, Text, Whole, Words
from service.knowledge.inputs import AGENTS
from service.knowledge.rule import RULE_KINDS
from service.knowledge.vocabulary import CERTAINTIES

CATEGORIES = (
    "drug_interaction", "kidney", "condition", "lab_result", "dose", "pregnancy", "age", "supplement", "data_quality",
)  # fmt: skip
DISPOSITIONS = ("review", "urgent", "out_of_scope")
PRIORITIES = ("urgent", "before_starting", "at_follow_up")
TOPICS = (
    "food", "timing", "titration", "two_week_log", "tolerability", "quality", "vitamin_d", "stop", "lifestyle",
)  # fmt: skip
TARGETS = ("magnesium_forms", "magnesium_dose", "vitamin_d_advice", "food_advice")
SUGGESTED = ("preferred", "alternative")
NOT_SUGGESTED = ("avoid", "contraindicated")
SUMMARY_LENGTH = 140

CODE = validate.Regexp(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z", error="must be kebab-case")


class Summary(Text):
    """One line for a list of cautions; no placeholder."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > SUMMARY_LENGTH:
            raise ValidationError(f"has {len(text)} characters, at most {SUMMARY_LENGTH}")
        return text


_HOURS_OF_A_DAY = 24


def _within_a_day(number: Decimal) -> None:
    if number < 0:
        raise ValidationError("must not be below zero")
    if number > _HOURS_OF_A_DAY:
        raise ValidationError("hours that do not fit into a day")


class Spacing(Strict):
    """Hours between a drug and the agent, on each side."""

    hours_before = Number(required=True, validate=_within_a_day)
    hours_after = Number(required=True, validate=_within_a_day)


class CautionBlock(Strict):
    """``then.caution``."""

    code = fields.String(required=True, validate=CODE)
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
    standing = Key(*SUGGESTED, required=True)
    for_goal = Text(required=True)
    rank = Whole(required=True)
    dose = fields.Nested(DoseBlock, load_default=None)
    rationale = Words(single=False, empty=False, required=True)
    caveats = Words(load_default=list)


class AvoidBlock(Strict):
    """An entry of ``then.avoid``."""

    forms = Words(single=False, empty=False, required=True)
    standing = Key(*NOT_SUGGESTED, required=True)
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
    stale_after = Days(load_default=None)


class AdviceBlock(Strict):
    """An entry of ``then.advice``."""

    topic = Key(*TOPICS, required=True)
    text = Text(required=True)
    fields_ = Words(load_default=list, data_key="fields")
    needs = Key("form", "dose", load_default=None)


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

    id = fields.String(required=True, validate=CODE)
    title = Text(required=True)
    status = Key("draft", "active", "retired", required=True)
    version = Whole(required=True)
    date = Day(required=True)
    next_review = Day(required=True)
    sign_off = Key("pending", "signed", required=True)
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
