"""The shape of each file in ``vocabulary/``."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from service.clinical.outcome import SEVERITIES
from service.knowledge import codes
from service.knowledge.fields import Flag, Key, Number, Strict, Text, Words
from service.knowledge.inputs import AGENTS
from service.knowledge.vocabulary import CERTAINTIES, COST_TIERS


def _rising(pair: list[Decimal]) -> None:
    if len(pair) != 2 or pair[0] >= pair[1]:
        raise ValidationError("must be two numbers, the lower one first")


class Ranges(Strict):
    possible = fields.List(Number(), required=True, validate=_rising)
    plausible = fields.List(Number(), required=True, validate=_rising)

    @validates_schema
    def inside(self, data: Mapping[str, Any], **_: Any) -> None:
        """What is plausible is possible."""
        if not data["possible"][0] <= data["plausible"][0] <= data["plausible"][1] <= data["possible"][1]:
            raise ValidationError("must lie inside possible", "plausible")


class Unit(Ranges):
    factor = Number(required=True)
    printed_as = Text()

    @validates_schema
    def converts(self, data: Mapping[str, Any], **_: Any) -> None:
        """A value keeps its order when it is converted."""
        if data["factor"] <= 0:
            raise ValidationError("must be above zero", "factor")


class SwapHint(Strict):
    unit = Text(required=True)
    low = Number(required=True, data_key="from")
    high = Number(required=True, data_key="to")
    ask = Text(required=True)


class Sources(Strict):
    factors = Words(load_default=list)
    ranges = Words(load_default=list)


class Lab(Strict):
    display = Text(required=True)
    loinc = Text(allow_none=True, required=True, validate=codes.loinc)
    also_loinc = Words(load_default=list, validate=codes.each(codes.loinc))
    input = Flag(load_default=True)
    unit = Text()
    units = fields.Dict(keys=fields.String(), values=fields.Nested(Unit), load_default=dict)
    swap_hint = fields.List(fields.Nested(SwapHint), load_default=list)
    answered_by = Words(load_default=list)
    agent = Key(*AGENTS, load_default="magnesium")
    sources = fields.Nested(Sources, load_default=dict)
    note = Text()


class Vital(Ranges):
    display = Text(required=True)
    unit = Text(required=True)
    loinc = Text(allow_none=True, validate=codes.loinc)
    sources = Words(load_default=list)
    note = Text()


class Display(Strict):
    display = Text(required=True)
    note = Text()


class Goal(Display):
    agents = Words(required=True)


class Monitoring(Display):
    loinc = Text(allow_none=True, validate=codes.loinc)


class Implies(Strict):
    pregnancy = Key("pregnant", "lactating", required=True)


class Condition(Display):
    snomed = Words(single=False, required=True, validate=codes.each(codes.snomed))
    icd10cm = Words(single=False, required=True, validate=codes.each(codes.icd10cm))
    code_status = fields.Dict(keys=fields.String(), values=Text(), load_default=dict)
    implies = fields.Nested(Implies, load_default=None)


class Group(Display):
    any_of = Words(single=False, empty=False, required=True)


class Form(Strict):
    display = Text(required=True)
    aliases = Words(load_default=list)
    formula = Text(required=True)
    elemental_percent = Number(required=True)
    variants = fields.Dict(keys=fields.String(), values=fields.Raw(), load_default=dict)
    tolerability = Text(required=True)
    absorption = Text(required=True)
    certainty = Key(*CERTAINTIES, required=True)
    use = Text(required=True)
    cost_tier = Key(*COST_TIERS, required=True)
    laxative = Flag(required=True)
    acid_neutralising = Flag(required=True)
    trial_doses = Words(load_default=list)
    limitations = Words(load_default=list)
    rxnorm = Text(allow_none=True, required=True)
    sources = Words(empty=False, required=True)
    note = Text()


class Drug(Strict):
    display = Text(required=True)
    rxnorm = Text(allow_none=True, required=True)
    names = Words(load_default=list)
    note = Text()


class Combination(Strict):
    display = Text(required=True)
    ingredients = Words(single=False, empty=False, required=True)
    names = Words(load_default=list)
    note = Text()


class DrugClass(Strict):
    display = Text(required=True)
    members = Words(single=False, empty=False, required=True)
    routes = Words(load_default=list)
    note = Text()


class Route(Strict):
    display = Text(required=True)
    says = Words(load_default=list)
    forms = Words(load_default=list)


class CheckCase(Strict):
    name = Text(required=True)
    expect = Key("fires", "silent", "not_evaluated", required=True)
    request = fields.Dict(keys=fields.String(), values=fields.Raw(), required=True)


class Check(Strict):
    title = Text(required=True)
    severity = Key(*SEVERITIES, required=True)
    summary = Text(required=True)
    detail = Text(required=True)
    action = Text(required=True)
    limits = Words(single=False, empty=False, required=True)
    sources = Words(empty=False, required=True)
    cases = fields.List(fields.Nested(CheckCase), required=True)


class Caveat(Strict):
    text = Text(required=True)
    sources = Words(empty=False, required=True)


class Statement(Caveat):
    certainty = Key(*CERTAINTIES, required=True)


class Food(Strict):
    display = Text(required=True)
    portion = Text(required=True)
    magnesium_mg = fields.Raw(required=True)
    oxalate = Key("low", "moderate", "high", "very_high")
    note = Text()
    sources = Words(empty=False, required=True)


class Source(Strict):
    citation = Text(required=True)
    doi = Text()
    pmid = Text()
    pmcid = Text()
    kind = Key("study", "guidance", "policy", "label", "compendium", required=True)
    checked = Key("abstract_read", "excerpt_read", "text_not_re_read", "not_applicable", required=True)
    design = Text()
    funding = Text()
    risk_of_bias = Text()
    grade = fields.Dict(keys=fields.String(), values=Text())
    statement = Text()
