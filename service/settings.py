"""What depends on the machine; read from the environment once. Nothing here changes advice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Settings:
    """Where the knowledge, the contract and the table of medications are, and how much is logged."""

    rules: Path = HOME / "rules"
    contract: Path = HOME / "openapi.yaml"
    log_level: str = "info"
    terminology: Path | None = None
    """An imported RxNorm table; None: the part of it that comes with the rules."""
    terminology_directory: Path = HOME / "var"
    """Where the table of the rules is built, unless it is there."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. Raises ValueError for a value that means nothing."""
    level = environment.get("LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        raise ValueError(f"LOG_LEVEL must be one of: {', '.join(LOG_LEVELS)}")
    chosen = environment.get("TERMINOLOGY")
    directory = environment.get("TERMINOLOGY_DIR")
    return Settings(
        log_level=level,
        terminology=Path(chosen) if chosen else None,
        terminology_directory=Path(directory) if directory else HOME / "var",
    )
