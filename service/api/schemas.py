"""What a request may say; the enumerations and ranges come from the vocabulary.

`RequestReader` builds the schemas once, at start, and turns each decoded body into plain data or a
Problem that lists everything that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, ClassVar, cast

from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.exceptions import SCHEMA

from service.api.complaints import Complaint
from service.api.measured import Measured
from service.api.problems import Problem, faults_in
from service.api.strict import (
    Boolean,
    Choice,
    Date,
    Integer,
    Items,
    Json,
    Nested,
    Number,
    StrictSchema,
    Text,
    calendar,
    parse_date,
)
from service.knowledge import Fault, Rulebook, Vocabulary
from service.knowledge.inputs import BOWEL_PATTERNS, PREGNANCY, ROUTES, SEXES, VITAMIN_D_FORMS
from service.knowledge.vocabulary import REGIONS

MOST_MEDICATIONS = 200
MOST_CONDITIONS = 200
MOST_SYMPTOMS = 100
LONGEST_NAME = 300
QUERY = "query"
SHORTEST_QUERY = 2
LONGEST_QUERY = 100
QUERY_PATTERN = rf"[^\u0000-\u001f\u007f]{{{SHORTEST_QUERY},{LONGEST_QUERY}}}"
"""No control characters."""
LONGEST_CODE = 100
LONGEST_SYSTEM = 300
OLDEST_YEARS = 120
LARGEST_MAGNESIUM_DOSE = 50_000
LARGEST_VITAMIN_D_DOSE = 600_000
LONGEST_WEEKS = 5_200

_ABSOLUTE_URI = r"[A-Za-z][A-Za-z0-9+.\-]*:[!-~]+"


class NeedsOneOf(StrictSchema):
    """An object that must have at least one of some fields."""

    one_of: ClassVar[tuple[str, ...]] = ()

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def has_one(self, _: Json, original: object, **__: Any) -> None:
        """Complain about the object when none of the fields is there."""
        if isinstance(original, Mapping) and not any(key in original for key in self.one_of):
            missing = Complaint("required", f"Needs at least one of: {', '.join(self.one_of)}.")
            raise ValidationError({SCHEMA: [missing]})

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        return {"anyOf": [{"required": [key]} for key in self.one_of]}


class Coding(StrictSchema):
    """A code with the system it belongs to."""

    system = Text(
        LONGEST_SYSTEM,
        pattern=_ABSOLUTE_URI,
        required=True,
        about=(
            "The code system, as an absolute URI: `http://www.nlm.nih.gov/research/umls/rxnorm`, "
            "`http://snomed.info/sct`, `http://hl7.org/fhir/sid/icd-10-cm`. A system that is not "
            "known is accepted; the entry then comes back in `unrecognised`."
        ),
    )
    code = Text(LONGEST_CODE, required=True)
    display = Text(LONGEST_NAME, about="Of a medication: read as a name too, and held against the code.")


class Medication(NeedsOneOf):
    """A medicine that is taken; by name, by code, or both."""

    one_of = ("name", "code")

    name = Text(
        LONGEST_NAME,
        about="A generic or brand name; strength and form may follow it, as `Synthroid 75 mcg`.",
    )
    code = Nested(Coding)
    route = Choice(ROUTES, about="When left out, by mouth is assumed.")
    since = Date(about="The day it was started; not after `as_of`.")


class Patient(StrictSchema):
    """Who is asked about. There is no place for a name or a number of the patient."""

    age_years = Integer(0, OLDEST_YEARS, about="Completed years.")
    sex = Choice(
        (*SEXES, "unknown"),
        about=("The sex that laboratory equations ask for. `unknown` is the same as leaving it out."),
    )
    pregnancy = Choice(
        (*PREGNANCY, "unknown"),
        about="`none`: known not to be. `unknown` is the same as leaving it out.",
    )


class VitaminDSupplement(StrictSchema):
    """Vitamin D, or an active form of it, that is taken now."""

    form = Choice(VITAMIN_D_FORMS)
    dose_iu_per_day = Number(
        0,
        LARGEST_VITAMIN_D_DOSE,
        above=True,
        about="The average per day, in IU. Who takes none leaves `vitamin_d` out.",
    )
    weeks = Integer(0, LONGEST_WEEKS, about="For how many weeks it has been taken.")


class Preferences(StrictSchema):
    """What the patient would rather have. Left out: no."""

    cost_sensitive = Boolean()
    region = Choice(REGIONS, about="Whose reference intakes and labels apply first.")


def _magnesium_supplement(forms: Iterable[str]) -> type[Schema]:
    return _schema(
        "MagnesiumSupplement",
        "Magnesium that is taken now.",
        form=Choice(tuple(forms)),
        elemental_mg_per_day=Number(
            0,
            LARGEST_MAGNESIUM_DOSE,
            above=True,
            about="Elemental magnesium in mg per day, not the weight of the salt. If none is taken, leave it out.",
        ),
        weeks=Integer(0, LONGEST_WEEKS, about="For how many weeks it has been taken."),
    )


def _schema(name: str, doc: str, **members: fields.Field[Any]) -> type[Schema]:
    """A schema class of this name, whose fields depend on the vocabulary."""
    made = StrictSchema.from_dict(members, name=name)
    made.__doc__ = doc
    return made


def _labs(vocabulary: Vocabulary) -> type[Schema]:
    members = {
        lab.key: Measured(
            {name: unit.possible for name, unit in lab.units.items()},
            dated=True,
            about=lab.display,
        )
        for lab in vocabulary.labs.values()
        if lab.input
    }
    return _schema("Labs", "Laboratory results, the latest of each.", **members)


def _vitals(vocabulary: Vocabulary) -> type[Schema]:
    members = {
        key: Measured({vital.unit: vital.possible}, dated=False, about=vital.display)
        for key, vital in vocabulary.vitals.items()
    }
    return _schema("Vitals", "Vital signs of now.", **members)


class _Condition(NeedsOneOf):
    """A diagnosis; by key, by code, or both."""

    one_of = ("key", "code")

    code = Nested(Coding, about="A code that is not known comes back in `unrecognised`.")


def _condition(vocabulary: Vocabulary) -> type[Schema]:
    key = Choice(
        tuple(vocabulary.conditions),
        about="A key that `GET /v1/vocabulary` lists; another one is an error.",
    )
    made = _Condition.from_dict({"key": key}, name="Condition")
    made.__doc__ = _Condition.__doc__
    return made


def _goals(vocabulary: Vocabulary) -> Items:
    known = tuple(vocabulary.goals)
    return Items(
        Choice(known),
        most=len(known),
        unique=True,
        about="What is wanted; decides between forms. Each at most once.",
    )


def evaluation_request(vocabulary: Vocabulary) -> type[Schema]:
    """The schema of a body of POST /v1/evaluations."""
    symptom = _schema(
        "Symptom",
        "A symptom or sign that is present.",
        key=Choice(tuple(vocabulary.symptoms), required=True),
    )
    supplements = _schema(
        "Supplements",
        "All supplements of the two kinds that are taken. An empty object: takes neither.",
        magnesium=Nested(_magnesium_supplement(vocabulary.forms)),
        vitamin_d=Nested(VitaminDSupplement),
    )
    return _schema(
        "EvaluationRequest",
        "All that is known about one patient. Every part may be left out: absent is unknown, and "
        "unknown is never taken for normal. An empty array or object says that there is none.",
        as_of=Date(
            is_as_of=True,
            about=(
                "The day the answer is for, by default today (UTC); not later than tomorrow. The "
                "same request, `as_of` and knowledge give the same bytes."
            ),
        ),
        patient=Nested(Patient),
        labs=Nested(_labs(vocabulary)),
        vitals=Nested(_vitals(vocabulary)),
        medications=Items(Nested(Medication), most=MOST_MEDICATIONS, about="`[]`: known to take none."),
        conditions=Items(
            Nested(_condition(vocabulary)),
            most=MOST_CONDITIONS,
            about="`[]`: known to have none.",
        ),
        symptoms=Items(Nested(symptom), most=MOST_SYMPTOMS, about="`[]`: asked, and there are none."),
        goals=_goals(vocabulary),
        bowel_pattern=Choice((*BOWEL_PATTERNS, "unknown")),
        supplements=Nested(supplements, about="`{}`: known to take neither."),
        preferences=Nested(Preferences),
    )


class RequestReader:
    """Reads the bodies of POST /v1/evaluations."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.schema = evaluation_request(vocabulary)()

    def read(self, body: object, today: date) -> Json:
        """Plain data with `as_of` set, or a Problem with every fault."""
        stated = parse_date(body.get("as_of")) if isinstance(body, dict) else None
        with calendar(today, stated or today):
            try:
                read: Json = self.schema.load(cast(Json, body))
            except ValidationError as error:
                faults = faults_in(error.messages)
                detail = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}: see errors."
                raise Problem("invalid-input", detail, faults) from None
        read.setdefault("as_of", today)
        return read


def refused_cases(rulebook: Rulebook) -> list[Fault]:
    """Worked cases that could not be sent as a request: a word that is refused proves nothing about a rule."""
    reader = RequestReader(rulebook.vocabulary)
    found = []
    for rule in rulebook.rules.values():
        for case in rule.cases:
            try:
                reader.read(dict(case.request), date.fromisoformat(case.request["as_of"]))
            except Problem as problem:
                found += [
                    Fault(rule.file, case.line, f"{rule.id}, case {case.name!r}: {fault.pointer}: {fault.detail}")
                    for fault in problem.faults
                ]
    return found
