"""What the words of the rules mean: labs and units, conditions, forms, drugs, sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from service.knowledge.fhir_map import FhirMap

CERTAINTIES = ("high", "moderate", "low", "very_low", "not_graded")
COST_TIERS = ("low", "medium", "high")
REGIONS = ("us", "eu")
PREFERENCES = ("cost_sensitive", "region_eu")


@dataclass(frozen=True)
class LabUnit:
    """A unit a value may be sent in. ``factor`` turns it into the lab's own unit; ranges are in this unit."""

    unit: str
    factor: Decimal
    possible: tuple[Decimal, Decimal]
    plausible: tuple[Decimal, Decimal]
    printed_as: str
    """The unit whose printed thresholds apply to a value sent in this one."""


@dataclass(frozen=True)
class Lab:
    """An analyte. ``input`` is false for what can only be asked for."""

    key: str
    display: str
    loinc: str | None
    also_loinc: tuple[str, ...]
    input: bool
    unit: str
    units: Mapping[str, LabUnit]
    swap_hints: tuple[SwapHint, ...]
    answered_by: tuple[str, ...]
    """Other labs whose result answers a question for this one."""
    data: Mapping[str, Any]

    @property
    def printed_units(self) -> tuple[str, ...]:
        """The units in which thresholds are printed, each once."""
        return tuple(dict.fromkeys(unit.printed_as for unit in self.units.values()))


@dataclass(frozen=True)
class SwapHint:
    """A range in which a value looks like another unit's."""

    unit: str
    low: Decimal
    high: Decimal
    ask: str


@dataclass(frozen=True)
class Vital:
    """A vital sign, in one unit."""

    key: str
    display: str
    unit: str
    possible: tuple[Decimal, Decimal]
    plausible: tuple[Decimal, Decimal]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """A diagnosis with its codes; an empty list of codes means that none was verified."""

    key: str
    display: str
    snomed: tuple[str, ...]
    icd10cm: tuple[str, ...]
    pregnancy: str | None
    """The pregnancy status that the diagnosis implies."""
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A word with its display and whatever else its file says about it."""

    key: str
    display: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A magnesium salt."""

    key: str
    display: str
    cost_tier: str
    laxative: bool
    acid_neutralising: bool
    limitations: tuple[str, ...]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Drug:
    """An ingredient with the names it goes by."""

    key: str
    display: str
    rxnorm: str | None
    names: tuple[str, ...]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Combination:
    """A product with several ingredients, and the names it goes by."""

    key: str
    display: str
    ingredients: tuple[str, ...]
    names: tuple[str, ...]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class DrugClass:
    """Ingredients that rules treat alike. ``routes`` is empty when the route does not matter."""

    key: str
    display: str
    members: tuple[str, ...]
    routes: tuple[str, ...]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Route:
    """A way to take a medication: words that name it, and words of dose forms that imply it."""

    key: str
    display: str
    says: tuple[str, ...]
    forms: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """An entry of the bibliography."""

    key: str
    citation: str
    url: str | None
    kind: str
    checked: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """Every word that a rule or a request may use."""

    labs: Mapping[str, Lab]
    derived: Mapping[str, Any]
    vitals: Mapping[str, Vital]
    symptoms: Mapping[str, Entry]
    conditions: Mapping[str, Condition]
    condition_groups: Mapping[str, Entry]
    goals: Mapping[str, Entry]
    forms: Mapping[str, Form]
    drugs: Mapping[str, Drug]
    combinations: Mapping[str, Combination]
    drug_classes: Mapping[str, DrugClass]
    routes: Mapping[str, Route]
    checks: Mapping[str, Entry]
    monitoring: Mapping[str, Entry]
    caveats: Mapping[str, Entry]
    statements: Mapping[str, Entry]
    foods: Mapping[str, Entry]
    sources: Mapping[str, Source]
    fhir: FhirMap

    def condition_members(self, key: str) -> tuple[str, ...]:
        """The conditions a key stands for: itself, or the members of a group."""
        group = self.condition_groups.get(key)
        return tuple(group.data["any_of"]) if group is not None else (key,)
