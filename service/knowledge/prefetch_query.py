"""What a prefetch template may be: tokens and queries of CDS Hooks 2.0.1, so that every client can fill it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

USER_TOKENS = ("userPractitionerId", "userPractitionerRoleId", "userPatientId", "userRelatedPersonId")

_TOKEN = re.compile(r"\{\{([^{}]*)\}\}")
_READ = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}")
_SEARCH = re.compile(r"([A-Z][A-Za-z]+)\?([^\s{}]+)")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_SORT = re.compile(r"-?[a-z][a-z\-]*")
_DATE = re.compile(r"(eq|lt|gt|ge|le)?[0-9]{4}(-[0-9]{2}){0,2}")
_ID = re.compile(r"([A-Z][A-Za-z]+/)?[A-Za-z0-9.\-]{1,64}")
_TOKEN_VALUE = re.compile(r"[^\s|,&=]+(\|[^\s|,&=]+)?")

PARAMETERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Observation": {
            "patient": "reference", "code": "token", "category": "token", "status": "token", "date": "date",
        },
        "MedicationRequest": {
            "patient": "reference", "intent": "token", "status": "token", "code": "token", "authoredon": "date",
        },
        "MedicationStatement": {
            "patient": "reference", "status": "token", "code": "token", "effective": "date",
        },
        "Condition": {
            "patient": "reference", "category": "token", "clinical-status": "token", "code": "token",
            "recorded-date": "date",
        },
    }
)  # fmt: skip
"""The search parameters of R4 that the templates may use, with their type."""


def faults_of(query: str, tokens: Iterable[str]) -> list[str]:
    """What is wrong with a template; ``tokens`` are those that the hook offers."""
    faults = []
    allowed = {f"context.{one}" for one in tokens} | set(USER_TOKENS)
    for found in _TOKEN.findall(query):
        if found not in allowed:
            faults.append(f"the token {found!r} is not one that the hook offers in 2.0.1")
    # With the tokens filled in it has to be a query that any server understands.
    filled = _TOKEN.sub("id", query)
    if "{" in filled or "}" in filled:
        faults.append("has a brace that belongs to no token")
    elif _READ.fullmatch(filled) is None:
        searched = _SEARCH.fullmatch(filled)
        if searched is None:
            faults.append("is neither a read of one resource nor a search of one type")
        else:
            faults.extend(_search_faults(searched[1], searched[2]))
    return faults


def _search_faults(kind: str, parameters: str) -> list[str]:
    known = PARAMETERS.get(kind)
    if known is None:
        return [f"searches {kind}, which is not read"]
    faults = []
    names = []
    for one in parameters.split("&"):
        name, equals, value = one.partition("=")
        names.append(name)
        if not equals or not _fits(name, value, known):
            faults.append(f"the parameter {name!r} is not one that 2.0.1 allows with this value")
    if len(set(names)) != len(names):
        faults.append("has a parameter twice")
    if "patient" not in names:
        faults.append("is not about one patient")
    return faults


def _fits(name: str, value: str, known: Mapping[str, str]) -> bool:
    if name == "_count":
        return _COUNT.fullmatch(value) is not None
    if name == "_sort":
        return _SORT.fullmatch(value) is not None and value.lstrip("-") in known
    base, _, modifier = name.partition(":")
    kind = known.get(base)
    if kind is None or (modifier and (modifier, kind) != ("in", "token")) or name.endswith(":"):
        return False
    if modifier:
        return re.fullmatch(r"https?://[^\s,&=]+", value) is not None
    pattern = {"reference": _ID, "token": _TOKEN_VALUE, "date": _DATE}[kind]
    values = value.split(",") if kind == "token" else [value]
    return all(pattern.fullmatch(one) is not None for one in values)
