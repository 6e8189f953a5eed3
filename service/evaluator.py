"""The second evaluator: the same criteria as one plain Python function, generated when the rules are loaded.

It shares the translation of criteria with the engine, but neither its normal form nor its C code. Both run on
every request and must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.engine import Outcomes
from service.knowledge.criteria import (
    All,
    Any_,
    Atom,
    Choice,
    Criterion,
    Not,
    NotRuledOut,
    Reading,
    lower,
    source,
)
from service.knowledge.rule import Rule

Bounds = Sequence[float]
Evaluate = Callable[[Bounds, Bounds], Outcomes]
Names = Callable[[Bounds, Bounds], list[str]]


def build_evaluator(
    criteria: Sequence[Criterion], inputs: Sequence[str], only_certain: Collection[int] = ()
) -> Evaluate:
    """A function of the inputs' bounds that gives the rules that hold and those that may hold.

    ``only_certain`` are the numbers of criteria of which nobody asks whether they are possible.
    """
    numbers = {name: number for number, name in enumerate(inputs)}
    lines = ["def run(lo, hi):", " certain = []", " possible = []"]
    for number, criterion in enumerate(criteria):
        readings: tuple[Reading, ...] = ("certain",) if number in only_certain else ("certain", "possible")
        for reading in readings:
            lines.append(f" if {source(lower(criterion, reading), numbers)}: {reading}.append({number})")
    lines.append(" return certain, possible")
    run = _compile(lines)["run"]

    def evaluate(low: Bounds, high: Bounds) -> Outcomes:
        certain, possible = run(low, high)
        return Outcomes(frozenset(certain), frozenset(possible))

    return evaluate


@dataclass(frozen=True)
class Explainer:
    """Three questions about one rule and one patient, each answered with names."""

    holding: Names
    """The inputs by which the rule fires; what holds by absence has none."""
    missing: Names
    """The unknown inputs by which the rule is not evaluated."""
    unknown: Names
    """The named criteria that are unknown."""


def build_explainers(rules: Sequence[Rule], inputs: Sequence[str]) -> Mapping[str, Explainer]:
    """Functions for every rule, generated like the evaluator and from the same translation."""
    numbers = {name: number for number, name in enumerate(inputs)}
    lines: list[str] = []
    for index, rule in enumerate(rules):
        questions = {
            "holding": list(_holding(rule.criterion, numbers, 1)),
            "missing": list(_missing(rule.criterion, numbers, 1)),
            "unknown": [f" if {_unknown(child, numbers)}: found({name!r})" for name, child in rule.named],
        }
        for question, body in questions.items():
            lines += [f"def {question}{index}(lo, hi):", " names = []", " found = names.append", *body, " return names"]
    space = _compile(lines)
    return {
        rule.id: Explainer(space[f"holding{index}"], space[f"missing{index}"], space[f"unknown{index}"])
        for index, rule in enumerate(rules)
    }


def _compile(lines: list[str]) -> dict[str, Any]:
    """The functions of a generated source; it holds comparisons of numbers only, and no name of the outside world."""
    space: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<rules>", "exec"), {"__builtins__": {}}, space)
    return space


def _unknown(criterion: Criterion, numbers: dict[str, int]) -> str:
    possible, certain = (source(lower(criterion, reading), numbers) for reading in ("possible", "certain"))
    return f"{possible} and not {certain}"


def _holding(criterion: Criterion, numbers: dict[str, int], depth: int) -> Iterator[str]:
    indent = " " * depth
    match criterion:
        case Atom():
            yield f"{indent}if {source(lower(criterion, 'certain'), numbers)}: found({criterion.input!r})"
        case Not(NotRuledOut(Not(child))):
            # "Known to hold" is written so.
            yield from _holding(child, numbers, depth)
        case Not():
            return
        case NotRuledOut():
            yield from _holding(criterion.child, numbers, depth)
        case Choice():
            for child in criterion.children:
                yield from _holding(child, numbers, depth)
        case All():
            for _, child in criterion.children:
                yield from _holding(child, numbers, depth)
        case Any_():
            for _, child in criterion.children:
                body = list(_holding(child, numbers, depth + 1))
                if body:
                    yield f"{indent}if {source(lower(child, 'certain'), numbers)}:"
                    yield from body


def _missing(criterion: Criterion, numbers: dict[str, int], depth: int) -> Iterator[str]:
    """Follows the unknown parts of an unknown criterion down to their inputs."""
    indent = " " * depth
    match criterion:
        case Atom():
            yield f"{indent}found({criterion.input!r})"
        case Not():
            yield from _missing(criterion.child, numbers, depth)
        case NotRuledOut():
            return
        case Choice():
            yield from _when_unknown(criterion.children, numbers, depth)
        case All() | Any_():
            yield from _when_unknown([child for _, child in criterion.children], numbers, depth)


def _when_unknown(children: Sequence[Criterion], numbers: dict[str, int], depth: int) -> Iterator[str]:
    for child in children:
        body = list(_missing(child, numbers, depth + 1))
        if body:
            yield f"{' ' * depth}if {_unknown(child, numbers)}:"
            yield from body
