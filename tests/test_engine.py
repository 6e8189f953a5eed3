"""The engine keeps its contract: right in the regime that it is used in, and silent rather than wrong outside of it."""

from __future__ import annotations

import json
import operator
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from math import nan
from pathlib import Path
from typing import Any

import durable_rules_engine
import pytest

import service.engine
from service.engine import CompileError, Engine, EngineError, Outcomes
from service.evaluator import build_evaluator
from service.knowledge import Rulebook
from service.knowledge.criteria import UNREACHED, All, Any_, Atom, Choice, Criterion, Not, NotRuledOut, atoms

HOME = Path(__file__).resolve().parent.parent
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
UNKNOWN = (float(-UNREACHED), float(UNREACHED))
ABSENT = (nan, nan)

Bounds = tuple[list[float], list[float]]


# Criteria and patients at random, and what Kleene's logic says of them.

NUMBERS = [f"number_{index}" for index in range(6)]
FLAGS = [f"flag_{index}" for index in range(6)]
UNITS = ["value_a", "value_b"]
INPUTS = [*NUMBERS, *FLAGS, *UNITS]
LIMITS = [Decimal(text) for text in ("0.4", "2.07", "30", "1000", "0.0000001", "123456.789", "-5")]


def a_criterion(dice: random.Random, depth: int = 3) -> Criterion:
    """A tree of criteria."""
    kind = dice.choice(("number", "flag") if depth == 0 else ("number", "flag", "any", "all", "not", "maybe", "choice"))
    match kind:
        case "number":
            return Atom(dice.choice(NUMBERS), dice.choice(list(COMPARE)), dice.choice(LIMITS))
        case "flag":
            return Atom(dice.choice(FLAGS), ">=", Decimal(1))
        case "not":
            return Not(a_criterion(dice, depth - 1))
        case "maybe":
            return NotRuledOut(a_criterion(dice, depth - 1))
        case "choice":
            return Choice(tuple(Atom(unit, dice.choice(list(COMPARE)), dice.choice(LIMITS)) for unit in UNITS))
    parts = tuple((f"part_{index}", a_criterion(dice, depth - 1)) for index in range(dice.randint(1, 4)))
    return Any_(parts) if kind == "any" else All(parts)


def some_criteria(seed: int, count: int) -> list[Criterion]:
    """Trees that the engine takes; few are too large for it."""
    dice = random.Random(seed)
    found: list[Criterion] = []
    refused = 0
    while len(found) < count:
        criterion = a_criterion(dice)
        try:
            Engine([criterion], INPUTS)
            found.append(criterion)
        except CompileError:
            refused += 1
    assert refused < count / 4
    return found


def a_patient(dice: random.Random) -> Bounds:
    """Known, unknown and half-known inputs; of the two units the value is in one."""
    pairs: list[tuple[float, float]] = []
    near = [float(limit) + side for limit in LIMITS for side in (-1e-9, 0.0, 1e-9, -3, 3)]
    for _ in NUMBERS:
        one, other = sorted((dice.choice(near), dice.choice(near)))
        pairs.append(dice.choice(((one, one), (one, one), UNKNOWN, (one, other), (one, float(UNREACHED)))))
    pairs += [dice.choice(((0.0, 0.0), (1.0, 1.0), (0.0, 1.0))) for _ in FLAGS]
    value = dice.choice(near)
    pairs += dice.choice(((ABSENT, (value, value)), ((value, value), ABSENT), (UNKNOWN, UNKNOWN)))
    return [low for low, _ in pairs], [high for _, high in pairs]


def kleene(criterion: Criterion, patient: Bounds) -> bool | None:
    """Three-valued evaluation, straight from the tree."""
    match criterion:
        case Atom():
            number = INPUTS.index(criterion.input)
            holds = {COMPARE[criterion.operator](side[number], float(criterion.bound)) for side in patient}
            return holds.pop() if len(holds) == 1 else None
        case Not():
            inner = kleene(criterion.child, patient)
            return None if inner is None else not inner
        case NotRuledOut():
            return kleene(criterion.child, patient) is not False
        case Choice():
            there = [one for one in criterion.children if all(_exists(atom, patient) for atom in atoms(one))]
            return kleene(there[0], patient)
    values = {kleene(child, patient) for _, child in criterion.children}
    decisive = isinstance(criterion, Any_)
    return decisive if decisive in values else None if None in values else not decisive


def _exists(atom: Atom, patient: Bounds) -> bool:
    value = patient[0][INPUTS.index(atom.input)]
    return value == value


def expected(criteria: Sequence[Criterion], patient: Bounds) -> Outcomes:
    """What an evaluator has to say."""
    values = [kleene(criterion, patient) for criterion in criteria]
    return Outcomes(
        frozenset(number for number, value in enumerate(values) if value is True),
        frozenset(number for number, value in enumerate(values) if value is not False),
    )


@pytest.fixture(scope="module")
def criteria() -> list[Criterion]:
    """Enough criteria for several shards."""
    return some_criteria(1, 120)


@pytest.fixture
def engine(criteria: list[Criterion]) -> Engine:
    """An engine of its own for each test."""
    return Engine(criteria, INPUTS)


def assert_right(engine: Engine, criteria: Sequence[Criterion], seed: int, count: int = 5) -> None:
    """Some evaluations, each held against Kleene's logic."""
    dice = random.Random(seed)
    for _ in range(count):
        patient = a_patient(dice)
        assert engine.evaluate(*patient) == expected(criteria, patient)


@pytest.mark.parametrize("seed", range(10))
def test_both_evaluators_follow_kleene(seed: int) -> None:
    """Random criteria, random patients: engine, second evaluator and the logic itself agree."""
    dice = random.Random(seed)
    criteria = some_criteria(seed + 100, 40)
    engine, second = Engine(criteria, INPUTS), build_evaluator(criteria, INPUTS)
    for _ in range(150):
        patient = a_patient(dice)
        assert engine.evaluate(*patient) == second(*patient) == expected(criteria, patient)


def test_a_reading_that_nobody_asks_for() -> None:
    """Where only what is certain is asked for, the rest is as it would be otherwise."""
    dice = random.Random(5)
    criteria = some_criteria(5, 40)
    spared = set(range(0, 40, 3))
    engine, second = Engine(criteria, INPUTS, spared), build_evaluator(criteria, INPUTS, spared)
    for _ in range(150):
        patient = a_patient(dice)
        whole = expected(criteria, patient)
        assert engine.evaluate(*patient) == second(*patient) == Outcomes(whole.certain, whole.possible - spared)


def test_the_rulebook_at_random(rulebook: Rulebook) -> None:
    """The real criteria on inputs that no patient has: the two evaluators agree on all of them."""
    dice = random.Random(3)
    rules = [rule.criterion for rule in rulebook.rules.values()]
    names = list(rulebook.inputs)
    bounds: dict[str, list[float]] = {name: [0.0] for name in names}
    for rule in rules:
        for atom in atoms(rule):
            bounds[atom.input] += [float(atom.bound) + side for side in (-1e-6, 0.0, 1e-6)]
    engine, second = Engine(rules, names), build_evaluator(rules, names)
    for _ in range(300):
        pairs = []
        for name in names:
            one, other = sorted((dice.choice(bounds[name]), dice.choice(bounds[name])))
            pairs.append(dice.choice(((one, one), (one, one), (one, other), UNKNOWN, ABSENT)))
        low, high = [one for one, _ in pairs], [other for _, other in pairs]
        assert engine.evaluate(low, high) == second(low, high)


# What the engine is given.


class Between:
    """Stands before the C module, notes what it is given, and can play a fault once."""

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self.facts: list[str] = []
        self.faults: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(durable_rules_engine, name)

        def call(*arguments: Any) -> Any:
            if name == "create_ruleset":
                self.definitions.append(arguments[1])
            if name == "assert_fact":
                self.facts.append(arguments[1])
            fault = self.faults.pop(name, None)
            return real(*arguments) if fault is None else fault(real, *arguments)

        return call


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    """A door between the adapter and the C module."""
    door = Between()
    monkeypatch.setattr(service.engine, "durable_rules_engine", door)
    return door


def fnv1a(name: str) -> int:
    """The 32-bit hash by which the C module tells names apart."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def test_every_definition_is_in_the_regime(between: Between, rulebook: Rulebook) -> None:
    """At most 60 rules a shard, one pattern a rule, led by kind, then plain comparisons of one property each."""
    Engine([rule.criterion for rule in rulebook.rules.values()], list(rulebook.inputs))
    assert len(between.definitions) > 5
    for text in between.definitions:
        definition = json.loads(text)
        assert 1 <= len(definition) - 1 <= 60
        sentinel = definition.pop("z")
        assert sentinel["pri"] == 65535
        properties = set()
        for rule in definition.values():
            assert set(rule) == {"all", "pri"}
            assert 0 <= rule["pri"] < 65535
            (pattern,) = rule["all"]
            assert list(pattern) == ["m"]
            assert list(pattern["m"]) == ["$and"]
            first, *terms = pattern["m"]["$and"]
            assert first == {"kind": "patient"}
            assert len(terms) < 25
            for term in terms:
                ((comparison, said),) = term.items()
                assert comparison in ("$lt", "$lte", "$gt", "$gte")
                ((name, number),) = said.items()
                assert re.fullmatch("[a-z][a-z0-9_]{0,63}", name)
                assert type(number) in (int, float)
                properties.add(name)
        assert len(properties) <= 200
        reserved = {"sid", "id", "kind", "$s", "$forward", "v", "w"}
        assert not properties & reserved
        assert len({fnv1a(name) for name in properties | reserved}) == len(properties | reserved)


def test_numbers_have_no_exponent(between: Between) -> None:
    """The C module cannot read an exponent: very small and very large numbers are written out."""
    limits = [Decimal("0.0000001"), Decimal("123456789012345")]
    criteria = [Atom("number_0", ">=", limit) for limit in limits]
    engine = Engine(criteria, INPUTS)
    assert not any(re.search(r"\d[eE]", text) for text in between.definitions)
    for value in (1e-7, 9.9e-8, 1.01e-7, 1e-300, 123456789012345.0, 123456789012344.0, 1e22, -1e-9):
        between.facts.clear()
        patient = [value] * len(INPUTS), [value] * len(INPUTS)
        assert engine.evaluate(*patient) == expected(criteria, patient)
        assert not any(re.search(r"\d[eE]", fact) for fact in between.facts)


def test_only_the_c_module_is_imported() -> None:
    """The Python part of the library, with its threads and its clock, never comes in."""
    run("import sys\nfrom service.app import create_app\ncreate_app()\nassert 'durable.engine' not in sys.modules")


# What it refuses.


def number(name: str, limit: int = 1) -> Atom:
    """A plain comparison."""
    return Atom(name, ">=", Decimal(limit))


def named(children: Iterator[Criterion]) -> tuple[tuple[str, Criterion], ...]:
    """Children with names."""
    return tuple((f"part_{index}", child) for index, child in enumerate(children))


def test_too_many_alternatives() -> None:
    """A criterion that falls apart into more than 64 alternatives is refused, not truncated."""
    inputs = [f"number_{index}" for index in range(70)]
    assert Engine([Any_(named(number(name) for name in inputs[:64]))], inputs)
    with pytest.raises(CompileError):
        Engine([Any_(named(number(name) for name in inputs[:65]))], inputs)
    pairs = [Any_(named(map(number, inputs[2 * index : 2 * index + 2]))) for index in range(7)]
    # Inside a conjunction a disjunction is one derived value, and the alternatives do not multiply.
    assert Engine([All(named(iter(pairs)))], inputs)


def test_too_many_terms() -> None:
    """More comparisons at once than were tried out are refused."""
    inputs = [f"number_{index}" for index in range(30)]
    assert Engine([All(named(number(name) for name in inputs[:24]))], inputs)
    with pytest.raises(CompileError):
        Engine([All(named(number(name) for name in inputs))], inputs)


def test_too_many_properties() -> None:
    """More properties in one shard than were tried out are refused."""
    inputs = [f"number_{index}" for index in range(400)]
    rules = [All(named(number(name) for name in inputs[start : start + 20])) for start in range(0, 400, 20)]
    with pytest.raises(CompileError):
        Engine(rules, inputs)


def test_a_criterion_that_can_never_hold() -> None:
    """No alternative at all is refused too."""
    with pytest.raises(CompileError):
        Engine([Any_(())], INPUTS)


def test_names_that_the_engine_cannot_tell_apart() -> None:
    """The C module would take two properties of one hash for one."""
    assert fnv1a("liquid") == fnv1a("costarring")
    seen: dict[int, str] = {}
    clash = next(
        number for number in range(10**6) for side in ("lo", "hi")
        if seen.setdefault(fnv1a(f"{side}{number}"), f"{side}{number}") != f"{side}{number}"
    )  # fmt: skip
    with pytest.raises(CompileError, match="cannot tell"):
        Engine([], [""] * (clash + 1))


# Inputs that do not exist.


def test_an_absent_input_is_neither_certain_nor_possible() -> None:
    """A threshold printed for a unit that was not used says nothing, and neither does its negation."""
    atom = Atom("value_a", "<", Decimal(5))
    engine = Engine([atom, Not(atom), NotRuledOut(atom)], INPUTS)
    absent = [nan] * len(INPUTS)
    assert engine.evaluate(absent, absent) == Outcomes(frozenset(), frozenset())
    choice = Choice((Atom("value_a", "<", Decimal(5)), Atom("value_b", "<", Decimal(50))))
    engine = Engine([choice, Not(choice)], INPUTS)
    for value, holds in ((49.0, 0), (50.0, 1)):
        bounds = [nan] * len(INPUTS)
        bounds[INPUTS.index("value_b")] = value
        assert engine.evaluate(bounds, bounds) == Outcomes(frozenset({holds}), frozenset({holds}))


def test_nothing_is_left_of_the_patient_before(engine: Engine, criteria: list[Criterion]) -> None:
    """A patient of whom nothing is known looks the same after any other one."""
    unknown = [UNKNOWN[0]] * len(INPUTS), [UNKNOWN[1]] * len(INPUTS)
    before = engine.evaluate(*unknown)
    for seed in range(20):
        assert_right(engine, criteria, seed, 1)
        assert engine.evaluate(*unknown) == before


# Faults.


def _gone(*_: Any) -> None:
    """Nothing happens, and nothing comes back."""


def _refused(real: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    return 2, real(*arguments)[1]


def _unanswered(real: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    return 1, real(*arguments)[1]


def _broken(*_: Any) -> None:
    raise MemoryError


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def _interrupted_after(real: Callable[..., Any], *arguments: Any) -> None:
    real(*arguments)
    raise KeyboardInterrupt


FAULTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "a fact is refused": ("assert_fact", _refused),
    "the agenda is empty": ("start_action_for_state", _gone),
    "the agenda is cut short": ("complete_and_start_action", _gone),
    "the fact stays": ("retract_fact", _gone),
    "facts are left": ("get_facts", lambda *_: '[{"id":"f0"}]'),
    "a failure while asserting": ("assert_fact", _broken),
    "a failure while starting": ("start_action_for_state", _broken),
    "a failure on the way": ("complete_and_start_action", _broken),
    "a failure while retracting": ("retract_fact", _broken),
    "an interruption before asserting": ("assert_fact", _interrupted),
    "an interruption after asserting": ("assert_fact", _interrupted_after),
    "an interruption after starting": ("start_action_for_state", _interrupted_after),
    "an interruption on the way": ("complete_and_start_action", _interrupted_after),
    "an interruption while looking": ("get_facts", _interrupted_after),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gives_no_answer_and_leaves_nothing(fault: str, between: Between, criteria: list[Criterion]) -> None:
    """After a fault there is an error and no outcome; the next evaluations are right."""
    engine = Engine(criteria, INPUTS)
    for seed in range(4):
        name, play = FAULTS[fault]
        between.faults[name] = play
        with pytest.raises(EngineError):
            engine.evaluate(*a_patient(random.Random(seed)))
        assert not between.faults
        assert_right(engine, criteria, seed)


def test_the_sentinel_must_be_handled(between: Between, criteria: list[Criterion]) -> None:
    """A sentinel that matches nothing means that nothing can be trusted."""
    engine = Engine(criteria, INPUTS)

    def first(real: Callable[..., Any], *arguments: Any) -> Any:
        between.faults["assert_fact"] = _unanswered
        return real(*arguments)

    between.faults["assert_fact"] = first
    with pytest.raises(EngineError, match="did not finish"):
        engine.evaluate(*a_patient(random.Random(1)))
    assert_right(engine, criteria, 1)


class Aborted(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def abort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the end of the process be seen by the test."""

    def end() -> None:
        raise Aborted

    monkeypatch.setattr(os, "abort", end)


@pytest.mark.usefixtures("abort")
def test_three_failures_in_a_row_end_the_process(between: Between, criteria: list[Criterion]) -> None:
    """After the third one nothing in this process is trusted any more; a right evaluation between them starts anew."""
    engine = Engine(criteria, INPUTS)
    patient = a_patient(random.Random(1))
    for failures in (2, 2, 3):
        for failure in range(failures):
            between.faults["complete_and_start_action"] = _broken
            with pytest.raises(Aborted if failure == 2 else EngineError):
                engine.evaluate(*patient)
        if failures == 2:
            assert_right(engine, criteria, 1)


@pytest.mark.usefixtures("abort")
def test_a_rebuild_that_fails_ends_the_process(between: Between, criteria: list[Criterion]) -> None:
    """What cannot be built anew is not used again."""
    engine = Engine(criteria, INPUTS)
    between.faults.update(get_facts=_broken, create_ruleset=_broken)
    with pytest.raises(Aborted):
        engine.evaluate(*a_patient(random.Random(1)))


# Threads and processes. What could end the interpreter runs in one of its own.


def test_threads_share_an_engine(engine: Engine, criteria: list[Criterion]) -> None:
    """Eight threads at once, every answer right."""
    wrong: list[int] = []

    def work(seed: int) -> None:
        try:
            assert_right(engine, criteria, seed, 150)
        except BaseException:
            wrong.append(seed)
            raise

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


PREPARE = """
import os, random, signal, sys
sys.path.insert(0, "tests")
from test_engine import INPUTS, Engine, EngineError, a_patient, assert_right, expected, some_criteria
criteria = some_criteria(7, 80)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in an interpreter of its own, in the checkout; it must end well."""
    done = attempt(code, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def attempt(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same, however it ends."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=HOME,
        env={**os.environ, "PYTHONPATH": str(HOME), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_exceptions_out_of_nowhere() -> None:
    """A signal handler raises at random points inside evaluations; every next evaluation is right."""
    run(
        PREPARE
        + """
engine, dice, interrupted = Engine(criteria, INPUTS), random.Random(1), 0
class Late(Exception): pass
def late(*_): raise Late
signal.signal(signal.SIGALRM, late)
for attempt in range(100_000):
    if interrupted == 200:
        break
    patient = a_patient(dice)
    want = expected(criteria, patient)
    try:
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(2e-5, 1e-3))
        found = engine.evaluate(*patient)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert found == want
    except (Late, EngineError):
        signal.setitimer(signal.ITIMER_REAL, 0)
        interrupted += 1
        assert_right(engine, criteria, attempt, 1)
assert interrupted == 200, interrupted
"""
    )


def test_fork_after_build() -> None:
    """Workers forked from a process with an engine answer right, and so does the parent."""
    run(
        PREPARE
        + """
engine = Engine(criteria, INPUTS)
children = []
for seed in range(4):
    child = os.fork()
    if not child:
        try:
            assert_right(engine, criteria, seed, 200)
            os._exit(0)
        except BaseException:
            os._exit(1)
    children.append(child)
assert_right(engine, criteria, 9, 200)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""
    )


def test_memory_stays_flat() -> None:
    """Twenty thousand evaluations take no more memory than two thousand."""
    run(
        PREPARE
        + """
def used():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
engine, dice = Engine(criteria, INPUTS), random.Random(1)
patients = [a_patient(dice) for _ in range(200)]
for patient in patients * 10:
    engine.evaluate(*patient)
before = used()
for patient in patients * 90:
    engine.evaluate(*patient)
assert used() - before < 4_000_000, used() - before
"""
    )


@pytest.fixture(scope="module")
def comma(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a locale that writes a comma for the decimal point."""
    folder = tmp_path_factory.mktemp("locale")
    tool = shutil.which("localedef")
    if tool is None:
        pytest.skip("no localedef to make a locale with a decimal comma")
    made = subprocess.run(
        [tool, "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("no sources to make a locale with a decimal comma")
    return {"LOCPATH": str(folder)}


COMMA = """
import locale
def comma():
    locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
    assert locale.localeconv()["decimal_point"] == ","
"""


def test_a_decimal_comma_ends_the_process(comma: dict[str, str]) -> None:
    """The C module would cut decimals off: the process ends instead of answering."""
    code = f"{PREPARE}{COMMA}engine = Engine(criteria, INPUTS)\ncomma()\nengine.evaluate(*a_patient(random.Random(1)))"
    done = attempt(code + "\nprint('answered')", **comma)
    assert done.returncode == -signal.SIGABRT, done.stderr
    assert "answered" not in done.stdout


def test_a_decimal_comma_at_the_start_is_refused(comma: dict[str, str]) -> None:
    """Under such a locale the engine is not built at all."""
    run(
        f"{PREPARE}{COMMA}comma()\n"
        "try:\n    Engine(criteria, INPUTS)\n"
        "except EngineError:\n    pass\n"
        "else:\n    raise SystemExit('built')",
        **comma,
    )


def test_the_same_bytes_in_every_process() -> None:
    """The order of sets and dicts differs from process to process; answers do not."""
    code = """
import hashlib, os
from datetime import date
from service.app import create_app
from service.settings import Settings
from tests.patients import Patients, as_json
client = create_app(Settings(log_level="error"), clock=lambda: date(2026, 11, 21)).test_client()
patients, total = Patients(), hashlib.sha256()
for number in range(60):
    response = client.post("/v1/evaluations", data=as_json(patients.patient(number)), content_type="application/json")
    assert response.status_code == 200, response.text
    total.update(response.data)
print(total.hexdigest())
"""
    assert len({run(code, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "4711")}) == 1
