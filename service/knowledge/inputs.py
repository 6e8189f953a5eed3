"""The named numbers that criteria compare: what each one is, and how it is called.

An input's name is its meaning in snake_case (``lab_magnesium_mmol_l``); the picture of a patient gives each of
them a lower and an upper bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from service.clinical.quantity import slug

InputKind = Literal[
    "age_years",
    "sex",
    "pregnancy",
    "bowel_pattern",
    "lab_value",
    "lab_reported",
    "lab_sent",
    "lab_age",
    "lab_measured",
    "vital",
    "condition",
    "symptom",
    "drug",
    "drug_days",
    "medication_check",
    "goal",
    "supplement",
    "supplement_form",
    "supplement_dose",
    "supplement_weeks",
    "preference",
    "stated",
    "derived",
]

SEXES = ("female", "male")
PREGNANCY = ("none", "pregnant", "lactating")
BOWEL_PATTERNS = ("normal", "loose", "constipated")
ROUTES = (
    "oral", "sublingual", "buccal", "inhaled", "nasal", "ophthalmic", "otic", "topical", "transdermal",
    "subcutaneous", "intramuscular", "intravenous", "rectal", "vaginal", "other",
)  # fmt: skip
AGENTS = ("magnesium", "vitamin_d")
STATED = ("medications", "conditions", "symptoms", "supplements", "goals", "age_years", "sex", "pregnancy")
DOSE_UNITS = {"magnesium": "mg/d", "vitamin_d": "[IU]/d"}
VITAMIN_D_FORMS = ("cholecalciferol", "ergocalciferol", "calcifediol", "calcitriol", "alfacalcidol")


@dataclass(frozen=True, order=True)
class Input:
    """One number: its kind, the word it is about, and for values the unit.

    A flag may be about several words: it then says whether any of them holds.
    """

    kind: InputKind
    key: str = ""
    unit: str = ""

    @classmethod
    def any_of(cls, kind: InputKind, keys: Iterable[str]) -> Input:
        """The flag that one of several words holds."""
        return cls(kind, "+".join(sorted(set(keys))))

    @property
    def members(self) -> tuple[Input, ...]:
        """The flags that a flag of several words stands for; otherwise the input itself."""
        return tuple(Input(self.kind, key, self.unit) for key in self.key.split("+"))

    @property
    def name(self) -> str:
        """The name in rules and evaluators."""
        if "+" in self.key:
            return f"any_{self.kind}_{zlib.crc32(self.key.encode()):08x}"
        match self.kind:
            case "age_years" | "derived":
                return self.key or "age_years"
            case "lab_value":
                return f"lab_{self.key}_{slug(self.unit)}"
            case "lab_reported":
                return f"lab_{self.key}_reported_{slug(self.unit)}"
            case "lab_sent":
                return f"lab_{self.key}_sent_{slug(self.unit)}"
            case "lab_age":
                return f"lab_{self.key}_age_days"
            case "lab_measured":
                return f"lab_{self.key}_measured"
            case "drug_days":
                return f"drug_{self.key}_days"
            case "supplement_form" | "supplement_dose" | "supplement_weeks":
                detail = self.kind.removeprefix("supplement_")
                agent, _, form = self.key.partition("/")
                return f"supplement_{agent}_{detail}" + (f"_{form}" if form else "")
            case _:
                return f"{self.kind}_{self.key}"
