"""Read ``vocabulary/derived.yaml``: equations over labs, with worked examples that ``check`` runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from marshmallow import fields

from service.clinical.outcome import SEVERITIES
from service.clinical.quantity import Quantity
from service.knowledge.case_file import read_cases
from service.knowledge.errors import Fault
from service.knowledge.fields import Amount, Key, Number, Strict, Text, Whole, Words, load
from service.knowledge.inputs import PREGNANCY, SEXES
from service.knowledge.vocabulary import Lab
from service.knowledge.yaml_file import Document, KeyPath

DISAGREEMENT = "egfr-values-disagree"
"""The rule that compares a reported with a calculated eGFR."""


def _by_sex() -> fields.Dict:
    return fields.Dict(keys=Key(*SEXES), values=Number(), required=True)


class _Term(Strict):
    lab = Text(required=True)
    unit = Text(required=True)
    scale = _by_sex()
    below = _by_sex()
    above = _by_sex()


class _Equation(Strict):
    id = Text(required=True)
    display = Text(required=True)
    constant = Number(required=True)
    age_base = Number(required=True)
    female_factor = Number(required=True)
    terms = fields.List(fields.Nested(_Term), required=True)
    sources = Words(empty=False, required=True)
    worked_examples = fields.List(fields.Dict(keys=fields.String(), values=fields.Raw()), required=True)


class _NotValidIn(Strict):
    pregnancy = Words(required=True)
    conditions = Words(required=True)


class _Disagreement(Strict):
    percent = Number(required=True)
    severity = Key(*SEVERITIES, required=True)
    sources = Words(empty=False, required=True)
    examples = fields.Raw(required=True)


class _Egfr(Strict):
    unit = Text(required=True)
    equations = fields.List(fields.Nested(_Equation), required=True)
    minimum_age_years = Whole(required=True)
    collected_within_days = Whole(required=True)
    not_valid_in = fields.Nested(_NotValidIn, required=True)
    disagreement = fields.Nested(_Disagreement, required=True)


class _Formula(Strict):
    calcium_unit = Text(required=True)
    albumin_unit = Text(required=True)
    slope = Number(required=True)
    reference = Number(required=True)


class _CalciumExample(Strict):
    calcium_total = Amount(required=True)
    albumin = Amount(required=True)
    value = Amount(required=True)


class _Calcium(Strict):
    formulae = fields.List(fields.Nested(_Formula), required=True)
    worked_examples = fields.List(fields.Nested(_CalciumExample), required=True)
    sources = Words(empty=False, required=True)


class _Derived(Strict):
    egfr = fields.Nested(_Egfr, required=True)
    calcium_adjusted = fields.Nested(_Calcium, required=True)


def read_derived(
    document: Document,
    labs: Mapping[str, Lab],
    conditions: Mapping[str, Any],
    sources: Mapping[str, Any],
    faults: list[Fault],
) -> dict[str, Any]:
    """The equations with every word in them checked; each worked example carries its line."""
    written = document.data if isinstance(document.data, dict) else {}
    if set(written) != {"derived"}:
        faults.append(document.fault((), "must have the key 'derived' and no other"))
    data = load(_Derived(), document, ("derived",), written.get("derived"), faults)
    if data is None:
        return {}
    check = _Check(document, labs, faults)
    for path, named in _sources(data):
        check.known(path, named, sources, "source")
    check.egfr(data["egfr"], conditions)
    check.calcium(data["calcium_adjusted"])
    disagreement = data["egfr"]["disagreement"]
    disagreement["cases"] = read_cases(
        document, DISAGREEMENT, disagreement["examples"], faults, ("derived", "egfr", "disagreement", "examples")
    )
    return data


def _sources(data: Mapping[str, Any]) -> Iterable[tuple[KeyPath, list[str]]]:
    for index, equation in enumerate(data["egfr"]["equations"]):
        yield ("derived", "egfr", "equations", index, "sources"), equation["sources"]
    yield ("derived", "egfr", "disagreement", "sources"), data["egfr"]["disagreement"]["sources"]
    yield ("derived", "calcium_adjusted", "sources"), data["calcium_adjusted"]["sources"]


class _Check:
    """Whether the words of the equations are known, and whether every unit is served."""

    def __init__(self, document: Document, labs: Mapping[str, Lab], faults: list[Fault]) -> None:
        self._document = document
        self._labs = labs
        self._faults = faults

    def known(self, path: KeyPath, used: Iterable[str], known: Iterable[str], what: str) -> None:
        for word in used:
            if word not in known:
                self._fault(path, f"the {what} {word!r} is not known")

    def egfr(self, data: dict[str, Any], conditions: Mapping[str, Any]) -> None:
        at: KeyPath = ("derived", "egfr")
        self._unit((*at, "unit"), "egfr", data["unit"])
        not_valid_in = data["not_valid_in"]
        self.known((*at, "not_valid_in", "pregnancy"), not_valid_in["pregnancy"], PREGNANCY, "pregnancy")
        self.known((*at, "not_valid_in", "conditions"), not_valid_in["conditions"], conditions, "condition")
        if not data["equations"]:
            self._fault((*at, "equations"), "must not be empty")
        for name in ("id", "display"):
            if len({one[name] for one in data["equations"]}) != len(data["equations"]):
                self._fault((*at, "equations"), f"two equations have the same {name}")
        for index, equation in enumerate(data["equations"]):
            self._equation((*at, "equations", index), equation)

    def _equation(self, path: KeyPath, equation: dict[str, Any]) -> None:
        if not equation["terms"] or not equation["worked_examples"]:
            self._fault(path, "needs terms and worked examples")
        for index, term in enumerate(equation["terms"]):
            self._unit((*path, "terms", index), term["lab"], term["unit"])
            for name in ("scale", "below", "above"):
                if set(term[name]) != set(SEXES):
                    self._fault((*path, "terms", index, name), f"must give a number for each of: {', '.join(SEXES)}")
            if any(scale <= 0 for scale in term["scale"].values()):
                self._fault((*path, "terms", index, "scale"), "must be above zero")
        wanted = {"age_years", "sex", "value", *(term["lab"] for term in equation["terms"])}
        for index, example in enumerate(equation["worked_examples"]):
            where = (*path, "worked_examples", index)
            numbers = [value for key, value in example.items() if key != "sex"]
            if set(example) != wanted:
                self._fault(where, f"must have: {', '.join(sorted(wanted))}")
            elif example["sex"] not in SEXES or any(
                isinstance(one, bool) or not isinstance(one, int | Decimal) for one in numbers
            ):
                self._fault(where, "must be numbers and a sex")
            example["line"] = self._document.line(where)

    def calcium(self, data: dict[str, Any]) -> None:
        at: KeyPath = ("derived", "calcium_adjusted")
        served = [formula["calcium_unit"] for formula in data["formulae"]]
        if len(set(served)) != len(served):
            self._fault((*at, "formulae"), "a unit has two formulae")
        for index, formula in enumerate(data["formulae"]):
            self._unit((*at, "formulae", index), "calcium_total", formula["calcium_unit"])
            self._unit((*at, "formulae", index), "albumin", formula["albumin_unit"])
        for unit in self._units("calcium_total"):
            if unit not in served:
                self._fault((*at, "formulae"), f"no formula for calcium_total in {unit}")
            if unit not in self._units("calcium_adjusted"):
                self._fault((*at, "formulae"), f"calcium_total can be sent in {unit}, calcium_adjusted cannot")
        shown: set[str] = set()
        for index, example in enumerate(data["worked_examples"]):
            where = (*at, "worked_examples", index)
            total: Quantity = example["calcium_total"]
            shown.add(total.unit)
            self._unit(where, "calcium_total", total.unit)
            self._unit(where, "albumin", example["albumin"].unit)
            example["line"] = self._document.line(where)
        for unit in served:
            if unit not in shown:
                self._fault((*at, "worked_examples"), f"no worked example in {unit}")

    def _units(self, lab: str) -> Iterable[str]:
        return self._labs[lab].units if lab in self._labs else ()

    def _unit(self, path: KeyPath, lab: str, unit: str) -> None:
        if lab not in self._labs or not self._labs[lab].input:
            self._fault(path, f"the lab {lab!r} is not known as an input")
        elif unit not in self._labs[lab].units:
            self._fault(path, f"the unit {unit!r} does not belong to {lab}")

    def _fault(self, path: KeyPath, message: str) -> None:
        self._faults.append(self._document.fault(path, f"{'.'.join(map(str, path[1:]))}: {message}"))
