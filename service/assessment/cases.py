"""The worked cases of the rules: do they end as they say, and do they prove what must be proved?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.assessment.assess import Assessor
from service.assessment.body import from_json
from service.assessment.trace import Tracer
from service.clinical.outcome import SEVERITIES, Outcome
from service.knowledge import Fault, Rule, Rulebook
from service.knowledge.criteria import All, Any_, Atom, Choice, Criterion, Not, NotRuledOut, atoms
from service.knowledge.rule import Case


def check_cases(rulebook: Rulebook) -> list[Fault]:
    """Run every case and check what the cases of each rule cover."""
    assessor = Assessor(rulebook)
    tracer = Tracer(rulebook)
    faults = []
    for rule in rulebook.rules.values():
        for case in rule.cases:
            message = run_case(assessor, tracer, rule, case)
            if message is not None:
                faults.append(Fault(rule.file, case.line, f"{rule.id}, case {case.name!r}: {message}"))
        if rule.kind != "band":
            cases = rulebook.rules[rule.parent].cases if rule.parent is not None else rule.cases
            faults.extend(Fault(rule.file, 1, f"{rule.id}: {message}") for message in _uncovered(assessor, rule, cases))
    return faults


def run_case(assessor: Assessor, tracer: Tracer, rule: Rule, case: Case) -> str | None:
    """What is wrong with a case, or None."""
    try:
        request = from_json(case.request)
        picture = assessor.painter.paint(request)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"the request cannot be read ({type(error).__name__}: {error})"
    outcomes = assessor.outcome_by_rule(request)
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


def _uncovered(assessor: Assessor, rule: Rule, cases: Sequence[Case]) -> list[str]:
    """Outcomes and boundaries that no case of the rule shows; an escalation is shown by the cases of its row."""
    messages: list[str] = []
    shown = {case.expect for case in cases}
    needed = {"fires", "silent"} | ({"not_evaluated"} if _can_be_unknown(rule) else set())
    # Rows of tables share one shape: what a row must show is decided where the table is read.
    if rule.kind in ("intake", "interaction", "escalation"):
        needed = {"fires", "silent"}
    messages.extend(f"no case ends as {outcome}" for outcome in sorted(needed - shown))
    pictures = [assessor.painter.paint(from_json(case.request)) for case in cases]
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
    return any(rule.inputs[atom.input].kind not in always_known for atom in _exposed(rule.criterion))


def _exposed(criterion: Criterion) -> Iterator[Atom]:
    """The comparisons whose being unknown can leave the criterion unknown: those not under `not_ruled_out`."""
    match criterion:
        case Atom():
            yield criterion
        case Not():
            yield from _exposed(criterion.child)
        case NotRuledOut():
            return
        case Choice():
            for child in criterion.children:
                yield from _exposed(child)
        case All() | Any_():
            for _, child in criterion.children:
                yield from _exposed(child)
