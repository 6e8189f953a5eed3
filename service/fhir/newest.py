"""Of all results of a lab the newest; none, where a newer one could not be read or two of one moment differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from service.fhir.chart import Ledger, Shown
from service.fhir.results import Observation, Result, ResultReader, body_of

_HOLDS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def choose(reader: ResultReader, ledger: Ledger) -> tuple[dict[str, Any], tuple[Shown, ...]]:
    """The ``labs`` of the body, and results that are only shown; what became of each Observation is entered."""
    by_lab: dict[str, list[Result]] = {}
    for one in reader.results:
        by_lab.setdefault(one.lab.key, []).append(one)
    labs: dict[str, Any] = {}
    shown: list[Shown] = []
    for key, results in sorted(by_lab.items()):
        fates = _fates(results)
        for result, fate in zip(results, fates, strict=True):
            observation = reader.observations[result.source]
            if fate == "":
                labs[key] = body_of(result)
                observation.used = True
                for remark in result.remarks:
                    ledger.remark(observation.key, remark, key)
            else:
                observation.reasons.append((fate, key))
        shown += _only_shown(results, used=key in labs)
    for observation in reader.observations:
        _enter(observation, ledger)
    return labs, tuple(shown)


def _enter(one: Observation, ledger: Ledger) -> None:
    """Use it or leave it out, once; what else was found out about its parts is remarked."""
    said = [*one.reasons]
    if one.used:
        ledger.use(one.key)
    else:
        ledger.leave_out(one.key, *said.pop(0))
    for reason, detail in said:
        ledger.remark(one.key, reason, detail)


def _only_shown(results: Sequence[Result], *, used: bool) -> list[Shown]:
    """The newest that was understood and never counts; where none is used, also a limit or a unit of another size."""
    problems = ("obsolete_code",) if used else ("obsolete_code", "comparator", "unit_property_mismatch")
    understood = [one for one in results if one.problem in problems and one.comparator in ("", *_HOLDS)]
    newest = max(understood, key=lambda one: one.at.at, default=None)
    if newest is None:
        return []
    said = body_of(newest)
    return [Shown(newest.lab.key, said["value"], said["unit"], said["collected_on"], newest.problem, newest.comparator)]


def _fates(results: Sequence[Result]) -> list[str]:
    """Of each result why it is not used; empty for the one that is."""
    good = [one for one in results if not one.problem]
    if not good:
        return [one.problem for one in results]
    newest = max(one.at.at for one in good)
    best, differ = _best([one for one in good if one.at.at == newest])
    refused = ""
    if differ:
        refused = "conflicting_results"
    elif any(_contradicts(one, best) for one in results):
        refused = "newer_unreadable"

    def fate(one: Result) -> str:
        if one.problem:
            return one.problem
        if one.at.at < newest:
            return "older_result"
        return refused or ("" if one is best else "same_time")

    return [fate(one) for one in results]


def _best(results: Sequence[Result]) -> tuple[Result, bool]:
    """Of results of one moment the preferred one; and whether equally preferred ones differ."""

    def preference(one: Result) -> tuple[int, float]:
        return one.code.rank, -one.issued.at.timestamp() if one.issued is not None else 0

    # The order in which they came does not matter.
    first = min(results, key=lambda one: (preference(one), one.unit != one.lab.unit, one.unit, one.value))
    rivals = [one for one in results if preference(one) == preference(first)]
    return first, not all(_agree(first, one) or _agree(one, first) for one in rivals)


def _agree(one: Result, other: Result) -> bool:
    """Whether one is the other in its unit, but for the rounding of the other."""
    here = one.in_own_unit / other.lab.units[other.unit].factor
    there = Decimal(other.value or 0)
    if one.unit == other.unit:
        return here == there
    step = there.as_tuple().exponent
    return abs(here - there) * 2 <= Decimal((0, (1,), step if isinstance(step, int) else 0))


def _contradicts(one: Result, chosen: Result) -> bool:
    """Whether a newer result that cannot be used may say something else: ``<15`` after 62."""
    if not one.problem or one.problem == "obsolete_code" or one.at.at <= chosen.at.at:
        return False
    holds = _HOLDS.get(one.comparator)
    return holds is None or not holds(chosen.in_own_unit, one.in_own_unit)
