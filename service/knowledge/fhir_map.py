"""What FHIR R4 resources mean in our words: codes of results, units, statuses, routes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ResultCode:
    """A LOINC code of a result. Of one moment the lower ``rank`` is taken; what is only shown is never used."""

    loinc: str
    lab: str
    property: str | None
    rank: int
    only_shown: bool


@dataclass(frozen=True)
class ResultUnit:
    """What a spelling of a unit stands for; labs may spell it otherwise."""

    unit: str
    property: str | None


@dataclass(frozen=True)
class Statuses:
    """Which values of a status are used, and why the others are not."""

    used: frozenset[str]
    out: Mapping[str, str]

    def reason(self, status: str) -> str | None:
        """Why a resource of this status is not used; None when it is."""
        return None if status in self.used else self.out.get(status, "status_unknown")


@dataclass(frozen=True)
class FhirMap:
    """What FHIR resources mean in our words."""

    results: Mapping[str, ResultCode]
    units: Mapping[str, ResultUnit]
    labs_of_key: Mapping[str, frozenset[str]]
    resources_of_key: Mapping[str, frozenset[str]]
    systems: Mapping[str, str]
    """The name of each address of a code system."""
    addresses: Mapping[str, str]
    """The one address of each code system that requests use."""
    statuses: Mapping[str, Statuses]
    sexes: Mapping[str, str]
    routes: Mapping[str, str]
    """SNOMED CT code to route."""

    def unit(self, spelling: str) -> ResultUnit | None:
        """What a unit as it was sent stands for."""
        return self.units.get(spelled(spelling))


_NOTHING_SEEN = re.compile(r"[\s_\u200b-\u200d\u2060\ufeff]+")


def spelled(unit: str) -> str:
    """A spelling without what does not matter: case, blanks, and the shape of µ and ²."""
    return _NOTHING_SEEN.sub("", unicodedata.normalize("NFKC", unit).casefold().replace("\u03bc", "u"))
