"""Read the criteria of a rule file into trees over named inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from service.clinical.quantity import Quantity, parse_quantity
from service.knowledge.criteria import All, Any_, Atom, Choice, Criterion, Not, NotRuledOut, Operator
from service.knowledge.errors import Fault
from service.knowledge.inputs import (
    AGENTS,
    BOWEL_PATTERNS,
    DOSE_UNITS,
    PREGNANCY,
    SEXES,
    STATED,
    VITAMIN_D_FORMS,
    Input,
)
from service.knowledge.vocabulary import PREFERENCES, Lab, Vocabulary
from service.knowledge.yaml_file import Document, KeyPath

_COMPARATORS: dict[str, Operator] = {"below": "<", "at_most": "<=", "above": ">", "at_least": ">="}


@dataclass(frozen=True)
class Band:
    """Part of a lab's range; ``low`` and ``high`` hold the edge in each printed unit, or nothing."""

    status: str
    low: Mapping[str, Decimal]
    high: Mapping[str, Decimal]


@dataclass
class CriterionReader:
    """Reads criteria of one document. What it cannot read becomes a fault with its line."""

    vocabulary: Vocabulary
    table: Callable[[str], tuple[Band, ...] | str]
    """The bands of a lab; or why there are none, empty where that is a fault already."""
    define: Callable[[str], tuple[Criterion, Mapping[str, Input]] | str]
    """The criterion and inputs of a definition; or why there are none, empty where that is a fault already."""
    document: Document
    faults: list[Fault]
    inputs: dict[str, Input] = field(default_factory=dict)
    borrowed: dict[str, Input] = field(default_factory=dict)
    """Inputs of the definitions that are used."""
    names: list[str] = field(default_factory=list)
    """Every name given to a criterion, nested ones included, in reading order."""
    complete: bool = True
    """Whether every definition and band table could be used; if not, what the criteria use is not known."""
    numbered: set[str] = field(default_factory=set)
    """The names whose own criterion writes a number."""

    def block(self, data: Any, path: KeyPath) -> tuple[tuple[str, Criterion], ...]:
        """A mapping of names to criteria."""
        if not isinstance(data, dict) or not data:
            self._fault(path, "must be a mapping of names to criteria")
            return ()
        children = []
        for name, leaf in data.items():
            if name in self.names:
                self._fault((*path, name), f"the criterion name {name!r} stands twice")
            self.names.append(name)
            children.append((name, self.criterion(leaf, (*path, name))))
        return tuple(children)

    def criterion(self, data: Any, path: KeyPath) -> Criterion:
        """One criterion: a mapping with exactly one kind."""
        if not isinstance(data, dict):
            return self._refuse(path, "must be a mapping with one kind of criterion")
        kinds = [kind for kind in _KINDS if kind in data]
        if len(kinds) != 1:
            return self._refuse(path, f"must have exactly one kind of criterion, of: {', '.join(_KINDS)}")
        kind = kinds[0]
        extra = set(data) - {kind} - _MODIFIERS.get(kind, frozenset())
        if extra:
            return self._refuse((*path, min(extra)), f"unknown key {min(extra)!r} in a {kind} criterion")
        reader: Callable[[CriterionReader, Any, dict[str, Any], KeyPath], Criterion] = _KINDS[kind]
        return reader(self, data[kind], data, path)

    # The kinds.

    def _any(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return Any_(self.block(value, (*path, "any")))

    def _all(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return All(self.block(value, (*path, "all")))

    def _not(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return Not(self.criterion(value, (*path, "not")))

    def _not_ruled_out(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return NotRuledOut(self.criterion(value, (*path, "not_ruled_out")))

    def _defined(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        found = self.define(str(value))
        if isinstance(found, str):
            return self._refuse(path, found) if found else self._leave_out()
        criterion, inputs = found
        self.borrowed.update(inputs)
        return criterion

    def _age(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._plain_numbers(Input("age_years"), value, (*path, "age_years"))

    def _sex(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("sex", value, SEXES, path)

    def _pregnancy(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("pregnancy", value, PREGNANCY, path)

    def _bowel_pattern(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("bowel_pattern", value, BOWEL_PATTERNS, path)

    def _condition(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        words = self._words(value, path)
        known = {*self.vocabulary.conditions, *self.vocabulary.condition_groups}
        members = [key for word in words if word in known for key in self.vocabulary.condition_members(word)]
        self._known(words, known, path, "condition")
        return self._any_flag([Input("condition", key) for key in dict.fromkeys(members)], path)

    def _symptom(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("symptom", value, self.vocabulary.symptoms, path)

    def _goal(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("goal", value, self.vocabulary.goals, path)

    def _preference(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("preference", value, PREFERENCES, path)

    def _stated(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        return self._flags("stated", value, STATED, path)

    def _drug_class(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        words = self._words(value, path)
        self._known(words, self.vocabulary.drug_classes, path, "drug class")
        if "taken_for_at_least" not in data:
            return self._any_flag([Input("drug", word) for word in words], path)
        days = self._days(data["taken_for_at_least"], (*path, "taken_for_at_least"))
        parts = tuple((word, self._atom(Input("drug_days", word), ">=", days, f"{days} days")) for word in words)
        self._number_written(path)
        return parts[0][1] if len(parts) == 1 else Any_(parts)

    def _supplement(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        if value not in AGENTS:
            return self._refuse(path, f"{value!r} is not a supplement: {', '.join(AGENTS)}")
        details = [key for key in ("form", "dose", "weeks") if key in data]
        if len(details) > 1:
            return self._refuse(path, "at most one of form, dose, weeks")
        if not details:
            return self._any_flag([Input("supplement", value)], path)
        if details == ["form"]:
            words = self._words(data["form"], (*path, "form"))
            known = self.vocabulary.forms if value == "magnesium" else VITAMIN_D_FORMS
            self._known(words, known, (*path, "form"), "form")
            return self._any_flag([Input("supplement_form", f"{value}/{word}") for word in words], path)
        if details == ["weeks"]:
            return self._plain_numbers(Input("supplement_weeks", value), data["weeks"], (*path, "weeks"))
        unit = DOSE_UNITS[value]
        return self._quantities(
            data["dose"], (*path, "dose"), {unit: Input("supplement_dose", value, unit)}, any_unit=None
        )

    def _vital(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        vital = self.vocabulary.vitals.get(value) if isinstance(value, str) else None
        if vital is None:
            return self._refuse(path, f"the vital sign {value!r} is not known")
        limits = _comparators_of(data)
        return self._quantities(limits, path, {vital.unit: Input("vital", vital.key, vital.unit)}, any_unit=None)

    def _lab(self, value: Any, data: dict[str, Any], path: KeyPath) -> Criterion:
        lab = self.vocabulary.labs.get(value) if isinstance(value, str) else None
        if lab is None or not lab.input:
            return self._refuse(path, f"the lab {value!r} is not known as an input")
        asked = [key for key in ("status", "measured", "older_than") if key in data]
        if len(asked) + any(key in data for key in (*_COMPARATORS, "compare")) != 1:
            return self._refuse(path, "needs exactly one of: status, measured, older_than, comparators")
        if "status" in data:
            return self._statuses(lab, data["status"], path)
        if "measured" in data:
            if not isinstance(data["measured"], bool):
                return self._refuse((*path, "measured"), "must be true or false")
            measured = self._any_flag([Input("lab_measured", lab.key)], path)
            return measured if data["measured"] else Not(measured)
        if "older_than" in data:
            days = self._days(data["older_than"], (*path, "older_than"))
            self._number_written(path)
            return self._atom(Input("lab_age", lab.key), ">", days, f"{days} days")
        return self._lab_thresholds(lab, data, path)

    def _lab_thresholds(self, lab: Lab, data: dict[str, Any], path: KeyPath) -> Criterion:
        several = any(isinstance(data.get(key), list) and len(data[key]) > 1 for key in _COMPARATORS)
        either = data.get("compare") == "either"
        limits = _comparators_of(data)
        if "compare" in data and (not either or not several):
            return self._refuse((*path, "compare"), "compare may be 'either', with thresholds in several units")
        if not several or either:
            inputs = {unit: Input("lab_value", lab.key, unit) for unit in lab.units}
            return self._quantities(limits, path, inputs, any_unit="either" if several else None)
        inputs = {unit: Input("lab_reported", lab.key, unit) for unit in lab.printed_units}
        return self._quantities(limits, path, inputs, any_unit="reported")

    def _statuses(self, lab: Lab, value: Any, path: KeyPath) -> Criterion:
        words = self._words(value, (*path, "status"))
        table = self.table(lab.key)
        if isinstance(table, str):
            return self._refuse(path, table) if table else self._leave_out()
        statuses = [band.status for band in table]
        self._known(words, statuses, (*path, "status"), "status")
        if set(statuses) <= set(words):
            return self._refuse((*path, "status"), "names every status; write `measured: true`")
        return status_criterion(lab, table, words, self.register)

    # Numbers.

    def _quantities(self, data: Any, path: KeyPath, inputs: Mapping[str, Input], any_unit: str | None) -> Criterion:
        """Comparators with one quantity each, or the same threshold in several units."""
        if not isinstance(data, dict) or not set(data) & set(_COMPARATORS):
            return self._refuse(path, f"must compare: {', '.join(_COMPARATORS)}")
        unknown = sorted(str(key) for key in set(data) - set(_COMPARATORS))
        if unknown:
            return self._refuse((*path, unknown[0]), f"unknown key {unknown[0]!r} next to {', '.join(_COMPARATORS)}")
        self._number_written(path)
        by_unit: dict[str, list[tuple[str, Criterion]]] = {}
        units: set[str] = set()
        for comparator, operator in _COMPARATORS.items():
            if comparator not in data:
                continue
            amounts = self._amounts(data[comparator], (*path, comparator))
            written = [quantity.unit for quantity in amounts]
            units = units or set(written)
            if len(set(written)) != len(written) or set(written) != units:
                self._fault((*path, comparator), "must give one number for each unit, the same units everywhere")
            for quantity in amounts:
                if quantity.unit not in inputs:
                    self._fault((*path, comparator), f"the unit {quantity.unit!r} does not belong to it")
                    continue
                atom = self._atom(inputs[quantity.unit], operator, quantity.value, str(quantity))
                by_unit.setdefault(quantity.unit, []).append((comparator, atom))
        if any_unit == "reported" and set(by_unit) != set(inputs):
            missing = ", ".join(sorted(set(inputs) - set(by_unit)))
            return self._refuse(path, f"the threshold is missing for values reported in {missing}")
        parts = [parts[0][1] if len(parts) == 1 else All(tuple(parts)) for parts in by_unit.values()]
        if not parts:
            return _NEVER
        if len(parts) == 1:
            return parts[0]
        if any_unit == "reported":
            return Choice(tuple(parts))
        return Any_(tuple(zip(by_unit, parts, strict=True)))

    def _plain_numbers(self, wanted: Input, data: Any, path: KeyPath) -> Criterion:
        if not isinstance(data, dict) or not data or set(data) - set(_COMPARATORS):
            return self._refuse(path, f"must compare with: {', '.join(_COMPARATORS)}")
        self._number_written(path)
        parts: list[tuple[str, Criterion]] = []
        for comparator, number in data.items():
            if isinstance(number, bool) or not isinstance(number, int | Decimal):
                self._fault((*path, comparator), "must be a number")
                continue
            parts.append((comparator, self._atom(wanted, _COMPARATORS[comparator], Decimal(number), str(number))))
        if not parts:
            return _NEVER
        return parts[0][1] if len(parts) == 1 else All(tuple(parts))

    def _amounts(self, value: Any, path: KeyPath) -> list[Quantity]:
        result = []
        for one in value if isinstance(value, list) else [value]:
            try:
                result.append(parse_quantity(one if isinstance(one, str) else ""))
            except ValueError:
                self._fault(path, "must be a quantity 'number unit'")
        return result

    def _days(self, value: Any, path: KeyPath) -> Decimal:
        for quantity in self._amounts(value, path):
            if quantity.unit == "days":
                return quantity.value
            self._fault(path, "must be a number of days")
        return Decimal(0)

    # Flags and words.

    def _flags(self, kind: Any, value: Any, known: Any, path: KeyPath) -> Criterion:
        words = self._words(value, path)
        self._known(words, known, path, kind)
        return self._any_flag([Input(kind, word) for word in words if word in known], path)

    def _any_flag(self, inputs: list[Input], path: KeyPath) -> Criterion:
        if not inputs:
            return _NEVER
        return self._atom(Input.any_of(inputs[0].kind, (one.key for one in inputs)), ">=", Decimal(1), "")

    def _words(self, value: Any, path: KeyPath) -> list[str]:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            self._fault(path, "must be a word or a list of words")
            return []
        return words

    def _known(self, words: list[str], known: Any, path: KeyPath, what: str) -> None:
        for word in words:
            if word not in known:
                self._fault(path, f"the {what} {word!r} is not known")

    # Book-keeping.

    def placeholders(self) -> set[str]:
        """What the texts of this rule may name."""
        return {
            _PLACEHOLDERS[one.kind].format(key=one.key.partition("/")[0])
            for wanted in (*self.inputs.values(), *self.borrowed.values())
            for one in wanted.members
        }

    def all_inputs(self) -> dict[str, Input]:
        """The inputs of the criteria, those of definitions included."""
        return {**self.borrowed, **self.inputs}

    def register(self, wanted: Input) -> str:
        """Note that an input is needed; gives its name."""
        name = wanted.name
        if self.inputs.setdefault(name, wanted) != wanted:
            self._fault((), f"two inputs are called {name!r}")
        return name

    def _atom(self, wanted: Input, operator: Operator, bound: Decimal, text: str) -> Atom:
        origin = str(self.document.data["id"]) if text else ""
        return Atom(self.register(wanted), operator, bound, text, origin)

    def _number_written(self, path: KeyPath) -> None:
        """Mark the innermost named criterion on the path as one that writes a number."""
        for part in reversed(path):
            if isinstance(part, str) and part in self.names:
                self.numbered.add(part)
                return

    def _fault(self, path: KeyPath, message: str) -> None:
        where = ".".join(str(part) for part in path)
        self.faults.append(self.document.fault(path, f"{where}: {message}" if where else message))

    def _leave_out(self) -> Criterion:
        """What this rests on is wrong elsewhere and was reported there."""
        self.complete = False
        return _NEVER

    def _refuse(self, path: KeyPath, message: str) -> Criterion:
        self._fault(path, message)
        return _NEVER


def _comparators_of(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in _COMPARATORS if key in data}


_PLACEHOLDERS: dict[str, str] = {
    "age_years": "age",
    "lab_value": "lab.{key}",
    "lab_reported": "lab.{key}",
    "lab_sent": "lab.{key}",
    "lab_age": "lab.{key}",
    "lab_measured": "lab.{key}",
    "vital": "vital.{key}",
    "condition": "conditions",
    "symptom": "symptoms",
    "drug": "drugs",
    "drug_days": "drugs",
    "supplement": "supplement.{key}",
    "supplement_form": "supplement.{key}",
    "supplement_dose": "supplement.{key}",
    "supplement_weeks": "supplement.{key}",
    "sex": "sex",
    "pregnancy": "pregnancy",
    "bowel_pattern": "bowel_pattern",
    "goal": "goals",
    "preference": "preferences",
    "stated": "stated",
    "derived": "lab.egfr",
}

_NEVER: Criterion = Any_(())
"""Stands in for what could not be read; a rulebook with faults is never used."""


def status_criterion(
    lab: Lab, table: tuple[Band, ...], statuses: list[str], register: Callable[[Input], str]
) -> Criterion:
    """The value lies in one of these bands; neighbouring bands become one range."""
    runs: list[list[Band]] = []
    previous: Band | None = None
    for band in table:
        if band.status in statuses:
            if previous is not None and previous.status in statuses:
                runs[-1].append(band)
            else:
                runs.append([band])
        previous = band
    units = lab.printed_units
    parts: list[Criterion] = []
    for unit in units:
        name = register(Input("lab_reported" if len(units) > 1 else "lab_value", lab.key, unit))
        ranges: list[tuple[str, Criterion]] = []
        for run in runs:
            edges: list[tuple[str, Criterion]] = []
            if run[0].low:
                edges.append(("from", Atom(name, ">=", run[0].low[unit])))
            if run[-1].high:
                edges.append(("to", Atom(name, "<", run[-1].high[unit])))
            ranges.append((run[0].status, edges[0][1] if len(edges) == 1 else All(tuple(edges))))
        parts.append(ranges[0][1] if len(ranges) == 1 else Any_(tuple(ranges)))
    return parts[0] if len(parts) == 1 else Choice(tuple(parts))


_KINDS: dict[str, Callable[[CriterionReader, Any, dict[str, Any], KeyPath], Criterion]] = {
    "any": CriterionReader._any,
    "all": CriterionReader._all,
    "not": CriterionReader._not,
    "not_ruled_out": CriterionReader._not_ruled_out,
    "defined": CriterionReader._defined,
    "age_years": CriterionReader._age,
    "sex": CriterionReader._sex,
    "pregnancy": CriterionReader._pregnancy,
    "bowel_pattern": CriterionReader._bowel_pattern,
    "condition": CriterionReader._condition,
    "symptom": CriterionReader._symptom,
    "goal": CriterionReader._goal,
    "preference": CriterionReader._preference,
    "stated": CriterionReader._stated,
    "drug_class": CriterionReader._drug_class,
    "supplement": CriterionReader._supplement,
    "vital": CriterionReader._vital,
    "lab": CriterionReader._lab,
}

_MODIFIERS: dict[str, frozenset[str]] = {
    "drug_class": frozenset({"taken_for_at_least"}),
    "supplement": frozenset({"form", "dose", "weeks"}),
    "vital": frozenset(_COMPARATORS),
    "lab": frozenset({*_COMPARATORS, "compare", "status", "measured", "older_than"}),
}
