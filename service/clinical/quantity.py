"""A number with its UCUM unit, as rule files write it: the number, a space, the unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_PATTERN = re.compile(r"(-?\d+(?:\.\d+)?) (\S+)")


@dataclass(frozen=True)
class Quantity:
    """An exact decimal value and a UCUM unit."""

    value: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{self.value} {self.unit}"


def parse_quantity(text: str) -> Quantity:
    """Read ``number unit``. Raises ValueError when the text is anything else."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a quantity 'number unit': {text!r}")
    return Quantity(Decimal(match[1]), match[2])


def slug(unit: str) -> str:
    """The unit as part of an input's name: ``mL/min/{1.73_m2}`` gives ``ml_min_1_73_m2``."""
    return re.sub(r"[^a-z0-9]+", "_", unit.lower()).strip("_")
