"""Criteria as plain data: trees over named numbers, and their translation into single comparisons.

Every input of a rule is a number with a lower and an upper bound. A known value has equal bounds, an
unknown one has bounds that no value reaches, a flag is 0 or 1. A criterion then has two readings:
*certain* (it holds for every value between the bounds) and *possible* (it holds for some). Both are plain
comparisons with one bound, which is all that the engine, the second evaluator or a prover need to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Operator = Literal["<", "<=", ">", ">="]
Side = Literal["lo", "hi"]

UNREACHED = 10**9
"""Bounds of an unknown number: no value that the request schema accepts comes near them."""

_OPPOSITE: dict[Operator, Operator] = {"<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True)
class Atom:
    """One input compared with one constant.

    ``text`` is the constant as a file writes it and ``origin`` the id of that file's knowledge; both are empty
    for flags and for the edges of band tables.
    """

    input: str
    operator: Operator
    bound: Decimal
    text: str = ""
    origin: str = ""


@dataclass(frozen=True)
class All:
    """Every child holds."""

    children: tuple[tuple[str, Criterion], ...]


@dataclass(frozen=True)
class Any_:
    """At least one child holds."""

    children: tuple[tuple[str, Criterion], ...]


@dataclass(frozen=True)
class Choice:
    """One statement about one value, written for each unit it may be reported in.

    Exactly one child applies: the inputs of the others do not exist for this patient. Negation therefore
    negates each child and keeps the choice.
    """

    children: tuple[Criterion, ...]


@dataclass(frozen=True)
class Not:
    """The child does not hold."""

    child: Criterion


@dataclass(frozen=True)
class NotRuledOut:
    """The child holds, or is unknown."""

    child: Criterion


Criterion = Atom | All | Any_ | Choice | Not | NotRuledOut


@dataclass(frozen=True, order=True)
class Term:
    """One comparison of one bound of one input: what an engine can evaluate."""

    input: str
    side: Side
    operator: Operator
    bound: Decimal


Reading = Literal["certain", "possible"]


@dataclass(frozen=True)
class Conjunction:
    """All parts hold."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Disjunction:
    """One part holds."""

    parts: tuple[Expression, ...]


Expression = Term | Conjunction | Disjunction


def lower(criterion: Criterion, reading: Reading, negated: bool = False) -> Expression:
    """Translate a criterion into comparisons of bounds, without negation."""
    match criterion:
        case Atom():
            operator = _OPPOSITE[criterion.operator] if negated else criterion.operator
            upwards = operator in (">", ">=")
            # "x >= 5" is certain when the lower bound reaches 5, possible when the upper one does.
            side: Side = "lo" if upwards == (reading == "certain") else "hi"
            return Term(criterion.input, side, operator, criterion.bound)
        case Not():
            return lower(criterion.child, reading, not negated)
        case NotRuledOut():
            # Both readings agree: it is a statement about what is known, not about the patient.
            return lower(criterion.child, "certain" if negated else "possible", negated)
        case Choice():
            return Disjunction(tuple(lower(child, reading, negated) for child in criterion.children))
        case All() | Any_():
            parts = tuple(lower(child, reading, negated) for _, child in criterion.children)
            if isinstance(criterion, All) != negated:
                return Conjunction(parts)
            return Disjunction(parts)


def source(expression: Expression, numbers: Mapping[str, int]) -> str:
    """The expression as Python over two lists, ``lo`` and ``hi``: comparisons of numbers only."""
    match expression:
        case Term():
            return f"{expression.side}[{numbers[expression.input]}]{expression.operator}{float(expression.bound)!r}"
        case Conjunction():
            return "(" + " and ".join(source(part, numbers) for part in expression.parts) + ")"
        case Disjunction():
            return "(" + " or ".join(source(part, numbers) for part in expression.parts) + ")"


def alternatives(expression: Expression) -> list[frozenset[Term]]:
    """Disjunctive normal form, without alternatives that another one already covers."""
    found = _expand(expression)
    kept: list[frozenset[Term]] = []
    for terms in sorted(found, key=lambda one: (len(one), sorted(one))):
        if not any(other <= terms for other in kept):
            kept.append(terms)
    return kept


def _expand(expression: Expression) -> list[frozenset[Term]]:
    match expression:
        case Term():
            return [frozenset([expression])]
        case Disjunction():
            return [terms for part in expression.parts for terms in _expand(part)]
        case Conjunction():
            product: list[frozenset[Term]] = [frozenset()]
            for part in expression.parts:
                product = [left | right for left in product for right in _expand(part)]
            return product


def atoms(criterion: Criterion, *, exposed: bool = False) -> Iterator[Atom]:
    """Every comparison in the tree, in reading order.

    ``exposed``: only those whose being unknown can leave the criterion unknown, which none under `not_ruled_out` can.
    """
    match criterion:
        case Atom():
            yield criterion
        case Not():
            yield from atoms(criterion.child, exposed=exposed)
        case NotRuledOut():
            if not exposed:
                yield from atoms(criterion.child)
        case Choice():
            for child in criterion.children:
                yield from atoms(child, exposed=exposed)
        case All() | Any_():
            for _, child in criterion.children:
                yield from atoms(child, exposed=exposed)
