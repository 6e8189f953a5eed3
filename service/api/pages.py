"""What the knowledge resources say: knowledge, rules, forms, vocabulary. They follow the rule files."""

from __future__ import annotations

from collections.abc import Mapping

from marshmallow import INCLUDE, Schema, fields

from service.api.answers import Evidence, KnowledgeMark
from service.api.shapes import RULE_ID, boolean, by_key, integer, many, number, one, string, strings, word
from service.api.strict import StrictSchema
from service.clinical.outcome import SEVERITIES
from service.knowledge.inputs import AGENTS, PREGNANCY
from service.knowledge.rule import ROW_KINDS, RULE_KINDS
from service.knowledge.vocabulary import CERTAINTIES, COST_TIERS


class AsWritten(Schema):
    """As the rule file has it; `rules/README.md` explains the keys."""

    class Meta:
        """Its keys are those of the files."""

        unknown = INCLUDE


class SourceAttribute(StrictSchema):
    """One attribute of a decision support intervention, 45 CFR 170.315(b)(11)(iv)(A)."""

    name = string(pattern="^[a-z_]+$")
    text = string()


class Counts(StrictSchema):
    """How much there is."""

    rules = integer()
    rules_by_kind = by_key(fields.Integer(), "Kinds that occur.")
    worked_cases = integer()
    labs = integer()
    conditions = integer()
    forms = integer()
    drugs = integer()
    sources = integer()
    fhir_codes = integer("LOINC codes of results that are read from FHIR.")


class Knowledge(KnowledgeMark):
    """What the knowledge base says about itself."""

    title = string()
    last_reviewed = string(format="date")
    next_review = string(format="date")
    licence = string()
    counts = one(Counts)
    inactive_rules = strings("Ids of drafts and of retired rules; they are never evaluated.")
    source_attributes = many(SourceAttribute)


class RuleSummary(StrictSchema):
    """A rule in short."""

    id = string(pattern=RULE_ID)
    version = integer()
    kind = word((*RULE_KINDS, *ROW_KINDS))
    title = string()
    severity = string("null: the rule gives no caution.", null=True, enum=[*SEVERITIES, None])
    certainty = word(CERTAINTIES)
    file = string()


class RuleList(StrictSchema):
    """All active rules."""

    knowledge = one(KnowledgeMark)
    rules = many(RuleSummary)


class WorkedCase(StrictSchema):
    """A patient, and how the rule must end."""

    name = string()
    expect = word(("fires", "silent", "not_evaluated"))
    request = one(AsWritten)
    missing = strings("Criteria that are then unknown.")


class RuleEvidence(Evidence):
    """A source, and what it says for this rule."""

    says = string("In our words.")


class Rule(RuleSummary):
    """A rule in full."""

    knowledge = one(KnowledgeMark)
    source = one(AsWritten)
    inputs = strings("What it looks at.")
    evidence = many(RuleEvidence)
    limitations = strings()
    cases = many(WorkedCase)


class Word(StrictSchema):
    """An entry of the vocabulary."""

    key = string()
    display = string()
    note = string(always=False)


class Sourced(StrictSchema):
    """A sentence with its sources."""

    key = string()
    text = string()
    sources = strings()


class Form(Word):
    """A form of magnesium."""

    aliases = strings()
    formula = string()
    elemental_percent = number()
    variants = by_key(fields.Raw(), "Elemental content of other hydrates and the like.")
    tolerability = string()
    absorption = string()
    certainty = word(CERTAINTIES)
    use = string()
    cost_tier = word(COST_TIERS)
    laxative = boolean("Loosens stools at usual doses.")
    acid_neutralising = boolean()
    trial_doses = strings()
    limitations = strings()
    rxnorm = string(null=True)
    sources = strings()


class FormList(StrictSchema):
    """All forms."""

    knowledge = one(KnowledgeMark)
    forms = many(Form)


class LabUnit(StrictSchema):
    """A unit that a result may be sent in."""

    factor = number("value x factor = value in the lab's own unit.")
    possible = many(fields.Float(), "A value outside is an error.")
    plausible = many(fields.Float(), "A value outside is answered with a caution.")
    printed_as = string("The unit whose printed thresholds apply.", always=False)


class SwapHint(StrictSchema):
    """A range in which a value looks like another unit's."""

    unit = string()
    low = number()
    high = number()
    ask = string()


class LabSources(StrictSchema):
    """Where factors and ranges come from."""

    factors = strings(always=False)
    ranges = strings(always=False)


class ResultCode(StrictSchema):
    """A code of an Observation."""

    loinc = string()
    property = string("The property it says is measured; null: any. The unit of a result decides.", null=True)
    used = boolean("false: understood and shown, and its value is never used.")


class ResultUnit(StrictSchema):
    """A unit of an Observation; other spellings of it are read too."""

    unit = string()
    property = string("What it measures; null: not said.", null=True)


class FromFhir(StrictSchema):
    """How results are read from FHIR R4, for CDS Hooks."""

    codes = many(ResultCode, "Of results of one moment the first is taken.")
    units = many(ResultUnit)
    prefetch = strings("Prefetch keys that may bring it.")


class Lab(Word):
    """An analyte."""

    loinc = string(null=True)
    also_loinc = strings()
    agent = word(AGENTS)
    input = boolean("false: can be asked for, not sent.")
    unit = string(always=False)
    units = by_key(fields.Nested(LabUnit), "By UCUM code.")
    swap_hint = many(SwapHint)
    answered_by = strings("Other labs that answer a question for this one.")
    fhir = one(FromFhir)
    sources = one(LabSources)


class Vital(Word):
    """A vital sign."""

    unit = string()
    possible = many(fields.Float())
    plausible = many(fields.Float())
    loinc = string(null=True, always=False)
    sources = strings()


class Implied(StrictSchema):
    """What a diagnosis says about the patient besides itself."""

    pregnancy = word(PREGNANCY)


class KnownCondition(Word):
    """A diagnosis with its codes."""

    snomed = strings("Empty: none was verified, and none is guessed.")
    icd10cm = strings()
    code_status = by_key(fields.String(), "How well a code is verified.")
    implies = one(Implied, null=True)


class ConditionGroup(Word):
    """Diagnoses that rules treat alike."""

    any_of = strings()


class Goal(Word):
    """A goal."""

    agents = strings()


class Drug(Word):
    """An ingredient with the names it goes by."""

    rxnorm = string(null=True)
    names = strings()


class DrugClass(Word):
    """Ingredients that rules treat alike."""

    members = strings()
    routes = strings("Empty: any.")


class Monitored(Word):
    """Something to keep an eye on."""

    loinc = string(null=True, always=False)


class Food(Word):
    """A food with its magnesium content."""

    portion = string()
    magnesium_mg = fields.Raw(required=True)
    oxalate = string(always=False)
    sources = strings()


class Statement(Sourced):
    """A background statement."""

    certainty = word(CERTAINTIES)


class Source(StrictSchema):
    """An entry of the bibliography."""

    key = string()
    url = string(null=True)
    citation = string()
    kind = word(("study", "guidance", "policy", "label", "compendium"))
    checked = word(
        ("abstract_read", "excerpt_read", "text_not_re_read", "not_applicable"),
        "How much of it was read for these rules.",
    )
    doi = string(always=False)
    pmid = string(always=False)
    pmcid = string(always=False)
    design = string(always=False)
    funding = string(always=False)
    risk_of_bias = string(always=False)
    grade = fields.Dict(keys=fields.String(), values=fields.String())
    statement = string(always=False)


class KnownIngredient(StrictSchema):
    """What a medication consists of."""

    key = string("A key of `drugs` in `GET /v1/vocabulary`; null: no rule speaks of it.", null=True)
    display = string()
    rxnorm = string("Its RxNorm ingredient code; null: none was verified.", null=True)


class KnownMedication(StrictSchema):
    """A name, and what the rules know of it."""

    name = string()
    route = string("What the product is for, where it has one route only; null: not known.", null=True)
    ingredients = many(KnownIngredient)
    drug_classes = strings("Keys of `drug_classes` in `GET /v1/vocabulary`.")
    interactions = many(string(pattern=RULE_ID), "Rules about interactions, as `GET /v1/rules/{id}` shows them.")


class MedicationList(StrictSchema):
    """Names that begin with what was asked for."""

    knowledge = one(KnowledgeMark)
    medications = many(KnownMedication, "At most 20, the likeliest first.")


class Vocabulary(StrictSchema):
    """Every key that a request, an answer or a rule may use."""

    knowledge = one(KnowledgeMark)
    goals = many(Goal)
    labs = many(Lab)
    vitals = many(Vital)
    symptoms = many(Word)
    conditions = many(KnownCondition)
    condition_groups = many(ConditionGroup)
    drug_classes = many(DrugClass)
    drugs = many(Drug)
    monitoring = many(Monitored)
    foods = many(Food)
    caveats = many(Sourced)
    statements = many(Statement)
    sources = many(Source)


SCHEMAS: Mapping[str, type[Schema]] = {
    "Knowledge": Knowledge,
    "RuleList": RuleList,
    "Rule": Rule,
    "FormList": FormList,
    "Vocabulary": Vocabulary,
    "MedicationList": MedicationList,
}
