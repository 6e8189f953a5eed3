"""The worked cases of the rules: do they end as they say, and do they prove what must be proved?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from service.assessment.assess import Assessor
from service.assessment.body import from_json
from service.assessment.derive import adjust_calcium, estimate_gfr
from service.assessment.picture import Picture
from service.assessment.trace import Tracer
from service.clinical.outcome import SEVERITIES, Outcome
from service.clinical.quantity import Quantity
from service.knowledge import Fault, Rule, Rulebook
from service.knowledge.case_file import EXAMPLE_DAY
from service.knowledge.criteria import atoms
from service.knowledge.rule import Case
from service.knowledge.vocabulary import Vocabulary

_EQUATIONS = "vocabulary/derived.yaml"


def check_cases(rulebook: Rulebook) -> list[Fault]:
    """Run every case and check what the cases of each rule cover."""
    assessor = Assessor(rulebook)
    tracer = Tracer(rulebook)
    faults = list(_wrong_equations(rulebook.vocabulary))
    for rule in rulebook.rules.values():
        for case in rule.cases:
            message = run_case(assessor, tracer, rule, case)
            if message is not None:
                faults.append(Fault(rule.file, case.line, f"{rule.id}, case {case.name!r}: {message}"))
        if rule.kind != "band":
            cases = rulebook.rules[rule.parent].cases if rule.parent is not None else rule.cases
            faults.extend(
                Fault(rule.file, rule.cases_line, f"{rule.id}: {message}")
                for message in _uncovered(assessor, rule, cases)
            )
    return faults


def _wrong_equations(vocabulary: Vocabulary) -> Iterator[Fault]:
    """Worked examples of the calculated values that come out differently."""
    for equation in vocabulary.derived["egfr"]["equations"]:
        for example in equation["worked_examples"]:
            labs = {term["lab"]: {"value": example[term["lab"]], "unit": term["unit"]} for term in equation["terms"]}
            patient = {"age_years": example["age_years"], "sex": example["sex"]}
            egfr = estimate_gfr(vocabulary, from_json({"as_of": EXAMPLE_DAY, "patient": patient, "labs": labs}))
            chosen = [one for one in egfr.calculated if one.equation == equation["display"]] if egfr is not None else []
            if not chosen:
                yield Fault(_EQUATIONS, example["line"], f"{equation['id']}: another equation is used")
            elif not _rounds_to(Decimal(str(chosen[0].value)), Decimal(example["value"])):
                yield Fault(_EQUATIONS, example["line"], f"{equation['id']}: gives {chosen[0].value}")
    for example in vocabulary.derived["calcium_adjusted"]["worked_examples"]:
        sent: dict[str, Quantity] = {key: example[key] for key in ("calcium_total", "albumin")}
        calcium = adjust_calcium(vocabulary, {key: {"value": one.value, "unit": one.unit} for key, one in sent.items()})
        if calcium is None or (calcium.value, calcium.unit) != (example["value"].value, example["value"].unit):
            yield Fault(_EQUATIONS, example["line"], f"calcium_adjusted: gives {calcium and calcium.value}")


def _rounds_to(value: Decimal, printed: Decimal) -> bool:
    return value.quantize(printed) == printed


def run_case(assessor: Assessor, tracer: Tracer, rule: Rule, case: Case) -> str | None:
    """What is wrong with a case, or None."""
    picture = _paint(assessor, case)
    if isinstance(picture, str):
        return picture
    if picture.unrecognised:
        return (
            f"{', '.join(pointer for pointer, _, _ in picture.unrecognised)}: is not understood, so it proves nothing"
        )
    outcomes = assessor.outcome_by_rule(picture.request)
    outcome = outcomes[rule.id]
    if outcome.value != case.expect:
        return f"ends as {outcome.value}, expected {case.expect}"
    if outcome is Outcome.NOT_EVALUATED and case.missing:
        unknown = tracer.unknown_criteria(rule, picture)
        if sorted(unknown) != sorted(case.missing):
            return f"the unknown criteria are {unknown}, expected {list(case.missing)}"
    if case.severity is not None:
        speaking = [
            rule,
            *(one for one in assessor.rules if one.parent == rule.id and outcomes[one.id] == Outcome.FIRES),
        ]
        severity = min((one.severity or "minor" for one in speaking), key=SEVERITIES.index)
        if severity != case.severity:
            return f"the severity is {severity}, expected {case.severity}"
    return None


def _paint(assessor: Assessor, case: Case) -> Picture | str:
    """The picture of a case, or why there is none."""
    try:
        return assessor.painter.paint(from_json(case.request))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"the request cannot be read ({type(error).__name__}: {error})"


def _uncovered(assessor: Assessor, rule: Rule, cases: Sequence[Case]) -> list[str]:
    """Outcomes and boundaries that no case of the rule shows; an escalation is shown by the cases of its row."""
    messages: list[str] = []
    shown = {case.expect for case in cases}
    needed = {"fires", "silent"} | ({"not_evaluated"} if _can_be_unknown(rule) else set())
    # Rows of tables share one shape: what a row must show is decided where the table is read.
    if rule.kind in ("intake", "interaction", "escalation"):
        needed = {"fires", "silent"}
    messages.extend(f"no case ends as {outcome}" for outcome in sorted(needed - shown))
    pictures = [picture for case in cases if not isinstance(picture := _paint(assessor, case), str)]
    names = list(assessor.input_names)
    for atom in {atom for atom in atoms(rule.criterion) if atom.text}:
        if rule.inputs[atom.input].kind == "derived" or atom.origin != rule.source["id"]:
            continue
        number = names.index(atom.input)
        if not any(picture.low[number] == float(atom.bound) == picture.high[number] for picture in pictures):
            messages.append(f"no case exactly on the boundary {atom.text} of {atom.input}")
    return messages


def _can_be_unknown(rule: Rule) -> bool:
    always_known = ("lab_measured", "stated", "preference")
    return any(rule.inputs[atom.input].kind not in always_known for atom in atoms(rule.criterion, exposed=True))
