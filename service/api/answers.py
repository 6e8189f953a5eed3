"""What an answer of POST /v1/evaluations says. Tests hold every answer against it; nothing is dumped with it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from service.api.shapes import (
    RULE_ID,
    Members,
    boolean,
    integer,
    many,
    number,
    one,
    place,
    shape,
    string,
    strings,
    word,
)
from service.api.strict import StrictSchema
from service.clinical.outcome import SEVERITIES
from service.knowledge import Vocabulary
from service.knowledge.inputs import AGENTS
from service.knowledge.intakes import MEASURES
from service.knowledge.rule_schema import CATEGORIES, NOT_SUGGESTED, PRIORITIES, SUGGESTED, SUMMARY_LENGTH, TOPICS
from service.knowledge.vocabulary import CERTAINTIES, COST_TIERS


class Terminology(StrictSchema):
    """Which names and codes of medications were known."""

    release = string("The release of RxNorm that it was made from.")
    source = string("`built-in`: the part that comes with the rules; otherwise an imported release.")
    digest = string("Of what it was made from.", pattern="^sha256:[0-9a-f]{64}$")


class KnowledgeMark(StrictSchema):
    """Which knowledge this rests on."""

    version = string()
    digest = string("Of all files of the knowledge base.", pattern="^sha256:[0-9a-f]{64}$")
    sign_off = word(("pending", "signed"), "`pending`: no clinician has signed these rules yet.")
    terminology = one(Terminology)


class RuleMark(StrictSchema):
    """A rule, as `GET /v1/rules/{id}` shows it."""

    id = string(pattern=RULE_ID)
    version = integer()


class Trigger(StrictSchema):
    """What in the request made the rule speak."""

    pointer = place("Where it stands in the request.")
    display = string()


class Evidence(StrictSchema):
    """A source. What it says for the rule is in `GET /v1/rules/{id}`."""

    id = string()
    citation = string()
    certainty = word(CERTAINTIES, "GRADE; `not_graded` for law, labels and policy.")
    url = string(null=True)


class Grounds(StrictSchema):
    """Why this is said: the rule, its inputs and its evidence."""

    rule = one(RuleMark)
    triggered_by = many(Trigger, "Empty where the rule speaks because something is not known.")
    evidence = many(Evidence)


class DoseRange(StrictSchema):
    """Elemental magnesium, not the weight of the salt."""

    low = number()
    high = number()


class GoalDose(StrictSchema):
    """The dose for one goal."""

    goal = string()
    elemental_mg_per_day = one(DoseRange)
    schedule = string()
    titration = string()
    review_after_weeks = integer()


class Dose(StrictSchema):
    """How much, how to take it, and when to look again; over all goals, and for each."""

    elemental_mg_per_day = one(DoseRange)
    schedule = string()
    titration = string()
    upper_limit_mg_per_day = number()
    review_after_weeks = integer()
    by_goal = many(GoalDose)


class Spacing(StrictSchema):
    """Give the drug at least so long before, or after, the agent."""

    hours_before = number()
    hours_after = number()


class Caution(StrictSchema):
    """A caution."""

    code = string("What to key on; stays the same when the words change.", pattern=RULE_ID)
    codes = many(string(pattern=RULE_ID), "`code`, and the codes of further rules that this caution speaks for.")
    severity = word(SEVERITIES)
    category = word(CATEGORIES)
    agent = word(AGENTS)
    summary = string(maxLength=SUMMARY_LENGTH)
    detail = string()
    action = string("What to do.")
    spacing = one(Spacing, "null: hours apart do not help, or are not the point.", null=True)
    monitoring = strings("Keys of `labs` and `monitoring` in `GET /v1/vocabulary`.")
    triggered_by = many(Trigger)
    limitations = strings()
    grounds = many(Grounds)


class LabQuestion(StrictSchema):
    """A test that would make the advice surer or safer."""

    lab = string("A key of `labs` in `GET /v1/vocabulary`.")
    display = string()
    loinc = string(null=True)
    priority = word(PRIORITIES)
    question = string()
    reason = string()
    timing = string()
    would_change = strings("Codes of cautions, forms or goals that hang on it.")
    grounds = many(Grounds)


class FollowUpQuestion(StrictSchema):
    """Something to ask the patient or to look up."""

    about = place("The field that the reply would fill.")
    question = string()
    would_change = strings("Codes of cautions, forms or goals that hang on it.")
    grounds = many(Grounds)


class Advice(StrictSchema):
    """Food, timing, titration and the like."""

    topic = word(TOPICS)
    text = string()
    log_fields = strings("For a log: what to write down.", data_key="fields")
    limitations = strings()
    grounds = many(Grounds)


class HeldBack(StrictSchema):
    """Gates that keep something from being said, and why; those that want for the same value stand together."""

    rules = many(RuleMark)
    outcome = word(("fires", "not_evaluated"), "`not_evaluated`: it could not be checked, so it holds.")
    holds_back = strings("Forms, or `magnesium_forms`, `magnesium_dose`, `vitamin_d_advice`, `food_advice`.")
    reason = string()
    missing = many(place("A field that is not known."))


class NotEvaluated(StrictSchema):
    """Rules that could not come to an end because something is not known."""

    missing = place("The field that is not known.")
    rules = many(string(pattern=RULE_ID))


class Unrecognised(StrictSchema):
    """Something that was sent and not understood. What was understood beside it counts, and no rule saw the rest."""

    pointer = place("Where it stands in the request.")
    text = string()
    did_you_mean = strings()


class OtherAuthority(StrictSchema):
    """What another authority calls the same value."""

    authority = string()
    label = string()


class CalculatedEgfr(StrictSchema):
    """One equation's result."""

    equation = string()
    value = number()


class ReferenceIntake(StrictSchema):
    """A reference intake or limit that applies to this patient."""

    nutrient = string()
    measure = word(MEASURES)
    value = number()
    unit = string()
    authority = string()
    scope = string()
    rule = one(RuleMark)


class Interpretation(StrictSchema):
    """What a value means, with the authority whose threshold it is."""

    value = number()
    unit = string()
    collected_on = string(null=True, format="date")
    status = string()
    label = string()
    meaning = string()
    authority = string()
    other_authorities = many(OtherAuthority)
    rule = one(RuleMark)
    evidence = many(Evidence)


class EgfrInterpretation(Interpretation):
    """As for any value, and which equation it comes from."""

    stage = string()
    equation = string("null: the reported value decides.", null=True)
    reported = number("null: none was sent.", null=True)
    calculated = many(CalculatedEgfr)


class CalciumInterpretation(Interpretation):
    """As for any value, and whether albumin was taken into account."""

    from_albumin = boolean()


_MORE = {"egfr": EgfrInterpretation, "calcium_adjusted": CalciumInterpretation}


def evaluation_answer(vocabulary: Vocabulary) -> type[Schema]:
    """The schema of the answer."""
    return shape(
        "EvaluationAnswer",
        "What follows from the request.",
        {
            "as_of": string(format="date"),
            "knowledge": one(KnowledgeMark),
            "disposition": word(
                ("routine", "review", "urgent", "out_of_scope"),
                "`urgent` and `out_of_scope`: no supplement is suggested.",
            ),
            "message": string("What has to be read before anything else, if anything.", null=True),
            "interpretation": one(_interpretations(vocabulary)),
            "form_suggestions": many(_form_suggestion(vocabulary), "Preferred ones first."),
            "forms_not_suggested": many(_form_not_suggested(vocabulary), "Contraindicated ones first."),
            "held_back": many(HeldBack),
            "cautions": many(Caution, "The most severe first."),
            "lab_questions": many(LabQuestion, "The most pressing first."),
            "follow_up_questions": many(FollowUpQuestion),
            "advice": many(Advice),
            "unrecognised": many(Unrecognised),
            "not_evaluated": many(NotEvaluated, "By what is missing."),
        },
    )


def _interpretations(vocabulary: Vocabulary) -> type[Schema]:
    members: Members = {
        key: fields.Nested(_MORE.get(key, Interpretation), metadata={"description": lab.display})
        for key, lab in vocabulary.labs.items()
        if lab.input
    }
    members["reference_intakes"] = many(ReferenceIntake)
    return shape("Interpretations", "What each value means, and what intake is meant for this patient.", members)


def _form_suggestion(vocabulary: Vocabulary) -> type[Schema]:
    by_goal: Members = {goal: _word(SUGGESTED) for goal in vocabulary.goals}
    return shape(
        "FormSuggestion",
        "A form that may be considered.",
        {
            "form": word(tuple(vocabulary.forms)),
            "display": string(),
            "standing": word(SUGGESTED),
            "standing_by_goal": one(shape("StandingByGoal", "For each goal that it is suggested for.", by_goal)),
            "for_goals": many(_word(tuple(vocabulary.goals))),
            "dose": one(Dose, "null: held back, or none may be given; see `held_back`.", null=True),
            "rationale": strings(),
            "limitations": strings(),
            "cost_tier": word(COST_TIERS),
            "grounds": many(Grounds),
        },
    )


def _form_not_suggested(vocabulary: Vocabulary) -> type[Schema]:
    return shape(
        "FormNotSuggested",
        "A form to keep away from for this patient.",
        {
            "form": word(tuple(vocabulary.forms)),
            "display": string(),
            "standing": word(NOT_SUGGESTED),
            "reason": string(),
            "grounds": many(Grounds),
        },
    )


def _word(words: tuple[str, ...]) -> fields.Field[Any]:
    """One of some words, where it is there."""
    return string(always=False, enum=list(words))
