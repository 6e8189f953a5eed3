"""The only module that knows durable_rules.

The engine is used in the one regime that was measured to be correct, crash-free and leak-free:

* only the C module is imported, never ``durable.engine``;
* a rule has one pattern, led by ``kind``, then plain comparisons of one property each; alternatives are
  separate engine rules; a ruleset (shard) has at most 60 of them;
* one fact for each shard, asserted singly, then a sentinel fact whose rule has the last priority; the agenda is
  drained once, the sentinel must come exactly once and last; everything is retracted and nothing may remain;
* disjunctions inside a conjunction are derived values: they are computed before anything is asserted, and are one
  property each; otherwise the alternatives would multiply;
* engine rules that need the same comparison (the same drug, the same condition) stand together in a shard; a shard of
  which no rule can hold, because each needs a comparison that does not, is not run;
* one lock around it all, so that two patients' facts can never meet;
* after any exception the state and the ruleset are thrown away and built anew; if that fails, or three
  evaluations in a row failed, the process ends, because its memory can no longer be trusted.

A criterion is compiled twice, for its certain and its possible reading; see ``knowledge/criteria.py``.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import ge, getitem, gt, itemgetter, le, lt

import durable_rules_engine

from service.knowledge.criteria import (
    UNREACHED,
    Conjunction,
    Criterion,
    Disjunction,
    Expression,
    Reading,
    Side,
    Term,
    alternatives,
    lower,
    source,
)

SHARD_SIZE = 60
MOST_ALTERNATIVES = 64
MOST_TERMS = 25
MOST_PROPERTIES = 200
MOST_FAILURES = 3

_SID = "1"
_PART = "$part"
_SIDES: tuple[Side, ...] = ("lo", "hi")
_READINGS: tuple[Reading, ...] = ("certain", "possible")
_OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_COMPARE: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_FACT = '{"id":"f0","sid":"1","kind":"patient"'
_SENTINEL = '{"id":"$z","sid":"1","kind":"$sentinel","v":0.5,"w":"a\\"b"}'
_SENTINEL_RULE = (
    '"z":{"all":[{"m":{"$and":[{"kind":"$sentinel"},{"$gt":{"v":0.25}},{"$lt":{"v":0.75}},{"w":"a\\"b"}]}}],'
    '"pri":65535}'
)
_RETRACT = ('{"id":"f0","sid":"1"}', '{"id":"$z","sid":"1"}')
_RESERVED = ("sid", "id", "kind", "$s", "$forward", "v", "w")


class EngineError(Exception):
    """The evaluation did not run to its end. There is no partial result."""


class CompileError(Exception):
    """The rules do not fit the regime."""


@dataclass(frozen=True)
class Outcomes:
    """Rule numbers that hold for certain, and those that hold or may hold."""

    certain: frozenset[int]
    possible: frozenset[int]


Owner = tuple[int, Reading]
"""The number of a rule and the reading of it that an engine rule stands for."""


@dataclass
class _Shard:
    name: str
    definition: str
    pick: Callable[[Sequence[str]], Iterable[str]]
    """Takes this shard's properties out of all fragments of a picture."""
    properties: int
    owners: Mapping[str, Owner]
    can_fire: Callable[[Sequence[float], Sequence[float]], bool]
    """Whether one of the comparisons holds of which every rule here needs one."""
    handle: int | None = None


class Engine:
    """All rules, compiled into shards; safe to share between threads."""

    def __init__(
        self,
        criteria: Sequence[Criterion],
        inputs: Sequence[str],
        only_certain: Collection[int] = (),
        typical: tuple[Sequence[float], Sequence[float]] | None = None,
        titles: Sequence[str] = (),
    ) -> None:
        """Compile criteria over the named inputs.

        ``only_certain`` are the numbers of criteria of which nobody asks whether they are possible. ``typical`` are the
        bounds of a patient of whom little is said: rules that cannot hold for such a patient share shards. It decides
        what is skipped, never what holds. ``titles`` are what a CompileError calls the criteria.
        """
        parts = _Parts()
        rules = [
            (
                (number, reading),
                _alternatives(titles[number] if titles else str(number), parts.factor(lower(criterion, reading))),
            )
            for number, criterion in enumerate(criteria)
            for reading in _READINGS
            if reading == "certain" or number not in only_certain
        ]
        names = [*inputs, *(_part_name(number) for number in range(len(parts.numbers)))]
        numbers = {name: number for number, name in enumerate(names)}
        _check_properties(len(names))
        self._parts = parts.function(numbers)
        self._shards = _build_shards("rules", rules, numbers, _usual(inputs, typical))
        self._part_count = len(parts.numbers)
        self._lock = threading.Lock()
        self._failures = 0
        terms: dict[int, set[Term]] = {}
        for _, found in rules:
            for term in frozenset().union(*found):
                terms.setdefault(_place(term, numbers), set()).add(term)
        self._texts = _Fragments(len(inputs), self._part_count, terms)
        self._warm_up = _Picture([0.0] * len(inputs), [1.0] * len(inputs), self._part_count, self._texts).fragments
        for shard in self._shards:
            self._create(shard)

    def evaluate(self, low: Sequence[float], high: Sequence[float]) -> Outcomes:
        """Run every rule on one patient: the bounds of each input, NaN where it does not exist.

        Raises EngineError when the evaluation did not run to its end.
        """
        picture = _Picture(low, high, self._part_count, self._texts)
        for part in self._parts(picture.low, picture.high):
            picture.set_part(part)
        found: dict[Reading, set[int]] = {"certain": set(), "possible": set()}
        with self._lock:
            for rule, reading in self._run_all(self._shards, picture):
                found[reading].add(rule)
            self._failures = 0
        return Outcomes(frozenset(found["certain"]), frozenset(found["possible"]))

    def _run_all(self, shards: Sequence[_Shard], picture: _Picture) -> list[Owner]:
        return [
            shard.owners[name]
            for shard in shards
            if shard.can_fire(picture.low, picture.high)
            for name in self._run(shard, picture.fragments)
        ]

    def _create(self, shard: _Shard) -> None:
        shard.handle = durable_rules_engine.create_ruleset(shard.name, shard.definition)
        # The first evaluation creates the state: only then is delete_state safe, and the engine proven to run.
        self._drain(shard, self._warm_up)

    def _run(self, shard: _Shard, fragments: Sequence[str]) -> list[str]:
        try:
            return self._drain(shard, fragments)
        except BaseException as error:
            self._recover(shard)
            raise EngineError("the rule engine did not finish") from error

    def _drain(self, shard: _Shard, fragments: Sequence[str]) -> list[str]:
        handle = shard.handle
        fact = f"{_FACT}{''.join(shard.pick(fragments))}}}"
        code, state = durable_rules_engine.assert_fact(handle, fact)
        if code not in (0, 1):
            raise EngineError(f"fact refused with {code}")
        code, state = durable_rules_engine.assert_fact(handle, _SENTINEL)
        if code != 0:
            raise EngineError(f"sentinel refused with {code}")
        fired: list[str] = []
        started = durable_rules_engine.start_action_for_state(handle, state)
        message = started[1] if started else None
        while message:
            fired.append(message[2 : message.index('"', 2)])
            message = durable_rules_engine.complete_and_start_action(handle, state)
        for fact in _RETRACT:
            durable_rules_engine.retract_fact(handle, fact)
        if fired.count("z") != 1 or fired[-1] != "z":
            raise EngineError("the agenda was cut short")
        if durable_rules_engine.get_facts(handle, _SID) != "[]":
            raise EngineError("facts were left behind")
        return fired[:-1]

    def _recover(self, shard: _Shard) -> None:
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            os.abort()
        try:
            durable_rules_engine.delete_state(shard.handle, _SID)
            durable_rules_engine.delete_ruleset(shard.handle)
            self._create(shard)
        except BaseException:
            os.abort()


def _fragment(name: str, value: float) -> str:
    """A property with its value; nothing for NaN, because the property does not exist."""
    return "" if value != value else f',"{name}":{_number(value)}'


def _number(value: float) -> str:
    """A JSON number without exponent, which the engine cannot read."""
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    return format(Decimal(text), "f") if "e" in text else text


class _Pieces(dict[float, str]):
    """What the engine reads for a bound by its value; made on the way for a value that is not kept."""

    def __init__(self, name: str, terms: Collection[Term]) -> None:
        common = (0.0, 1.0, float(UNREACHED), float(-UNREACHED))
        super().__init__({value: _fragment(name, value) if _any_holds(terms, value) else "" for value in common})
        self._name = name

    def __missing__(self, value: float) -> str:
        return _fragment(self._name, value)


class _Fragments:
    """Bounds as pieces of a JSON object; those of flags, unknown values and parts are made once.

    A bound for which no comparison of any rule holds is left out: to the engine a property that is absent and one for
    which nothing holds are the same, and it copies every fact into every firing.
    """

    def __init__(self, inputs: int, parts: int, terms: Mapping[int, Collection[Term]]) -> None:
        self._low, self._high = (
            [_Pieces(_property(number, side), terms.get(first + number, ())) for number in range(inputs)]
            for first, side in zip((0, inputs + parts), _SIDES, strict=True)
        )
        self._no_part = [""] * parts
        self.part = [_fragment(_property(inputs + number, "lo"), 1.0) for number in range(parts)]

    def of(self, low: Sequence[float], high: Sequence[float]) -> list[str]:
        """A piece for each lower bound, for each part, and for each upper bound."""
        return [*map(getitem, self._low, low), *self._no_part, *map(getitem, self._high, high)]


def _any_holds(terms: Collection[Term], value: float) -> bool:
    return any(_COMPARE[term.operator](value, float(term.bound)) for term in terms)


class _Picture:
    """The bounds of one patient as numbers and as the engine reads them; parts are added as they are found."""

    def __init__(self, low: Sequence[float], high: Sequence[float], parts: int, fragments: _Fragments) -> None:
        self.low = [*low, *([0.0] * parts)]
        self.high = high
        self.fragments = fragments.of(low, high)
        self._first = len(low)
        self._part = fragments.part

    def set_part(self, part: int) -> None:
        """Note that a part holds."""
        self.fragments[self._first + part] = self._part[part]


class _Parts:
    """Disjunctions that stand inside conjunctions, each with a number of its own; inner ones come first."""

    def __init__(self) -> None:
        self.numbers: dict[Expression, int] = {}

    def factor(self, expression: Expression) -> Expression:
        """The expression with its inner disjunctions replaced by one comparison each."""
        match expression:
            case Term():
                return expression
            case Disjunction():
                return Disjunction(tuple(self.factor(part) for part in expression.parts))
            case Conjunction():
                return Conjunction(tuple(self._replace(part) for part in expression.parts))

    def _replace(self, part: Expression) -> Expression:
        body = self.factor(part)
        if not isinstance(body, Disjunction):
            return body
        number = self.numbers.setdefault(body, len(self.numbers))
        return Term(_part_name(number), "lo", ">=", Decimal(1))

    def function(self, numbers: Mapping[str, int]) -> Callable[[list[float], Sequence[float]], list[int]]:
        """Computes the parts of a picture: sets the lower bound of each that holds, and gives their numbers."""
        lines = ["def parts(lo, hi):", " found = []"]
        for body, part in self.numbers.items():
            place = numbers[_part_name(part)]
            lines.append(f" if {source(body, numbers)}: lo[{place}] = 1.0; found.append({part})")
        lines.append(" return found")
        space: dict[str, Callable[[list[float], Sequence[float]], list[int]]] = {}
        exec(compile("\n".join(lines), "<parts>", "exec"), {"__builtins__": {}}, space)
        return space["parts"]


def _part_name(number: int) -> str:
    return f"{_PART}{number}"


def _alternatives(title: str, expression: Expression) -> list[frozenset[Term]]:
    found = alternatives(expression)
    if not 0 < len(found) <= MOST_ALTERNATIVES or any(not 0 < len(terms) < MOST_TERMS for terms in found):
        raise CompileError(f"rule {title} has {len(found)} alternatives, or one with no or too many terms")
    return found


Usual = Callable[[Term], bool]
"""Whether a comparison usually holds."""


def _usual(inputs: Sequence[str], typical: tuple[Sequence[float], Sequence[float]] | None) -> Usual:
    if typical is None:
        return lambda term: False
    bounds = {"lo": dict(zip(inputs, typical[0], strict=True)), "hi": dict(zip(inputs, typical[1], strict=True))}

    def holds(term: Term) -> bool:
        value = bounds[term.side].get(term.input, 0.0)
        return _COMPARE[term.operator](value, float(term.bound))

    return holds


def _build_shards(
    name: str, rules: list[tuple[Owner, list[frozenset[Term]]]], numbers: Mapping[str, int], usual: Usual
) -> list[_Shard]:
    flat = [(owner, terms) for owner, found in rules for terms in found]
    frequency = Counter(term for _, terms in flat for term in terms)
    guarded = sorted(
        ((_guard(terms, frequency, usual), owner, terms) for owner, terms in flat),
        key=lambda one: (usual(one[0]), one[0], one[1], sorted(one[2])),
    )
    return [
        _build_shard(f"{name}{start}", guarded[start : start + SHARD_SIZE], numbers)
        for start in range(0, len(guarded), SHARD_SIZE)
    ]


def _guard(terms: frozenset[Term], frequency: Counter[Term], usual: Usual) -> Term:
    """The comparison by which a rule is put into a shard: seldom true, a flag where there is one, and the rarest."""
    return min(terms, key=lambda term: (usual(term), term.operator != ">=" or term.bound != 1, frequency[term], term))


def _can_fire(guards: set[Term], numbers: Mapping[str, int]) -> Callable[[Sequence[float], Sequence[float]], bool]:
    source = " or ".join(
        f"{term.side}[{numbers[term.input]}]{term.operator}{float(term.bound)!r}" for term in sorted(guards)
    )
    function: Callable[[Sequence[float], Sequence[float]], bool] = eval(
        f"lambda lo, hi: {source}", {"__builtins__": {}}
    )
    return function


def _build_shard(name: str, rules: list[tuple[Term, Owner, frozenset[Term]]], numbers: Mapping[str, int]) -> _Shard:
    parts = []
    owners: dict[str, Owner] = {}
    places: set[int] = set()
    for index, (_, owner, terms) in enumerate(rules):
        for term in terms:
            places.add(_place(term, numbers))
        conditions = ",".join(
            f'{{"{_OPERATORS[term.operator]}":{{"{_property(numbers[term.input], term.side)}":'
            f"{_number(float(term.bound))}}}}}"
            for term in sorted(terms)
        )
        separator = "," if conditions else ""
        parts.append(f'"r{index}":{{"all":[{{"m":{{"$and":[{{"kind":"patient"}}{separator}{conditions}]}}}}],"pri":0}}')
        owners[f"r{index}"] = owner
    if len(places) > MOST_PROPERTIES:
        raise CompileError(f"a shard has {len(places)} properties")
    return _Shard(
        name,
        "{" + ",".join([*parts, _SENTINEL_RULE]) + "}",
        itemgetter(*sorted(places)),
        len(places),
        owners,
        _can_fire({guard for guard, _, _ in rules}, numbers),
    )


def _place(term: Term, numbers: Mapping[str, int]) -> int:
    """Where the fragment of a bound stands: the lower one of every name, then the upper ones."""
    return numbers[term.input] + len(numbers) * _SIDES.index(term.side)


def _property(number: int, side: Side) -> str:
    """The engine's name of a bound: short, because it copies every fact into every firing."""
    return f"{side}{number}"


def _check_properties(count: int) -> None:
    """Names that the engine's 32-bit hash cannot tell apart would be one property to it."""
    seen: dict[int, str] = {}
    for name in (*_RESERVED, *(_property(number, side) for number in range(count) for side in _SIDES)):
        other = seen.setdefault(_fnv1a(name), name)
        if other != name:
            raise CompileError(f"the engine cannot tell {name!r} from {other!r}")


def _fnv1a(name: str) -> int:
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value
