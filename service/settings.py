"""What depends on the machine; read from the environment once. Nothing here changes advice."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.knowledge.hooks_file import HOOKS, PROFILES

HOME = Path(__file__).resolve().parent.parent
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)https?://(?:[a-z0-9][a-z0-9.-]*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
"""As browsers write it: in small letters, and without a port that goes without saying."""
_ADDRESS = re.compile(r"https?://[^\s?#,@]+")


@dataclass(frozen=True)
class HookSettings:
    """Which CDS Hooks services there are, who may call them, and where they are reached."""

    hooks: tuple[str, ...] | None = None
    """The hooks that are served; None: those that are on by default."""
    trust: Path | None = None
    """The list of issuers whose tokens are believed; None: callers are not verified."""
    anyone: bool = False
    """Whether callers are let in unverified from anywhere; else, without a list, from this machine only."""
    replay: str = str(HOME / "var" / "replay.sqlite")
    """Where used tokens are remembered: a file, or the address of a Redis."""
    origins: tuple[str, ...] | None = None
    """Pages of which browsers may call; None: those of this machine while callers are not verified."""
    key_file: Path | None = None
    """The secret that seals the ids of cards; None: they are sealed with what is no secret."""
    profile: str = "generic"
    """How cards are cut for callers who are not verified; an issuer on the list has its own."""
    public_url: str | None = None
    """Where clients reach this service; the list of issuers says it too."""


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
    port: str = "8000"
    """Where the server listens, for the address of this service when none is given."""
    hooks: HookSettings = field(default_factory=HookSettings)


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. Raises ValueError for a value that means nothing."""
    level = environment.get("LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        raise ValueError(f"LOG_LEVEL must be one of: {', '.join(LOG_LEVELS)}")
    directory = environment.get("TERMINOLOGY_DIR")
    return Settings(
        log_level=level,
        terminology=_path(environment, "TERMINOLOGY"),
        terminology_directory=Path(directory) if directory else HOME / "var",
        port=environment.get("PORT") or "8000",
        hooks=_hooks(environment),
    )


def _hooks(environment: Mapping[str, str]) -> HookSettings:
    verify = environment.get("CDS_HOOKS_VERIFY") or "on"
    if verify not in ("on", "off"):
        raise ValueError("CDS_HOOKS_VERIFY must be on or off")
    trust = _path(environment, "CDS_HOOKS_TRUST")
    if trust is not None and verify == "off":
        raise ValueError(
            "CDS_HOOKS_TRUST lists who may call, and CDS_HOOKS_VERIFY=off lets anyone in: only one of them"
        )
    if trust is not None and environment.get("CDS_HOOKS_PROFILE"):
        raise ValueError("CDS_HOOKS_PROFILE is for callers who are not verified: the list of issuers has its own")
    profile = environment.get("CDS_HOOKS_PROFILE") or HookSettings.profile
    if profile not in PROFILES:
        raise ValueError(f"CDS_HOOKS_PROFILE must be one of: {', '.join(PROFILES)}")
    hooks = _list(environment, "CDS_HOOKS")
    if not set(hooks or ()) <= set(HOOKS):
        raise ValueError(f"CDS_HOOKS must be none, or some of: {', '.join(HOOKS)}; with commas between them")
    origins = _list(environment, "CDS_HOOKS_ORIGINS")
    if not all(_ORIGIN.fullmatch(origin) for origin in origins or ()):
        raise ValueError(
            "CDS_HOOKS_ORIGINS must be none, or origins as browsers write them, such as https://ehr.example, with "
            "commas between them"
        )
    public_url = environment.get("PUBLIC_URL") or None
    if public_url is not None and _ADDRESS.fullmatch(public_url) is None:
        raise ValueError("PUBLIC_URL must be an address such as https://advice.example, without query or fragment")
    return HookSettings(
        hooks=hooks,
        trust=trust,
        anyone=verify == "off",
        replay=environment.get("CDS_HOOKS_REPLAY") or HookSettings.replay,
        origins=origins,
        key_file=_path(environment, "CDS_HOOKS_KEY_FILE"),
        profile=profile,
        public_url=public_url.rstrip("/") if public_url is not None else None,
    )


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    said = environment.get(name)
    return Path(said) if said else None


def _list(environment: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    """What stands between commas; empty for `none`, and None where nothing is said."""
    said = environment.get(name, "").strip()
    if said in ("", "none"):
        return () if said else None
    listed = tuple(one.strip() for one in said.split(",") if one.strip())
    if not listed:
        raise ValueError(f"{name} has commas and nothing between them")
    return listed
