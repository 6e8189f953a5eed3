"""How one rule ends for one patient."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The three ends of a rule; a fourth does not exist."""

    FIRES = "fires"
    SILENT = "silent"
    NOT_EVALUATED = "not_evaluated"


SEVERITIES = ("contraindicated", "major", "moderate", "minor")
"""Most severe first."""
