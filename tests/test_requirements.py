"""The map from requirements to what carries them is complete, and every carrier is alive."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.knowledge import Rulebook

ROOT = Path(__file__).parent.parent
MAP = yaml.safe_load((ROOT / "rules" / "requirements.yaml").read_text(encoding="utf-8"))
EXPECTED = [
    *(f"S0-{number}" for number in range(1, 64)),
    *(f"S2-{number}" for number in range(1, 76)),
    *(f"S4-{number}" for number in range(1, 36)),
]
CONFLICTS = [f"X-{number}" for number in range(1, 13)]
VERDICTS = {"KEEP", "QUALIFY", "CORRECT", "UNVERIFIED", "LOST", "OMIT"}
ENTRIES = {**MAP["requirements"], **MAP["conflicts"]}
CONTRACT = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))


def clinical_text() -> str:
    """Every text of the knowledge that can reach a reader, without the map itself and the citations."""
    parts = []
    for path in sorted((ROOT / "rules").rglob("*.yaml")):
        if path.name not in ("requirements.yaml", "sources.yaml"):
            parts.append(path.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", "\n".join(parts)).lower()


TEXT = clinical_text()


def test_every_requirement_is_mapped() -> None:
    """All 173 numbers and the 12 conflicts, no more and no less."""
    assert list(MAP["requirements"]) == EXPECTED
    assert list(MAP["conflicts"]) == CONFLICTS


def alive(kind: str, name: str, rulebook: Rulebook) -> bool:
    """Whether a carrier exists."""
    vocabulary = rulebook.vocabulary
    tables: dict[str, Any] = {
        "rule": rulebook.rules,
        "form": vocabulary.forms,
        "caveat": vocabulary.caveats,
        "statement": vocabulary.statements,
        "food": vocabulary.foods,
        "lab": vocabulary.labs,
        "goal": vocabulary.goals,
        "condition": vocabulary.conditions,
        "drug_class": vocabulary.drug_classes,
    }
    if kind == "field":
        words = [part for part in name.strip("/").split("/") if part]
        return all(f"'{word}'" in str(CONTRACT) for word in words)
    return name in tables[kind]


@pytest.mark.parametrize("number", list(ENTRIES))
def test_carriers_are_alive(number: str, rulebook: Rulebook) -> None:
    """What is to be said is said by a rule, text or field that exists; what is not to be said is nowhere."""
    entry = ENTRIES[number]
    assert number.startswith("X-") or entry["verdict"] in VERDICTS
    carriers = entry.get("carried_by", [])
    absent = entry.get("absent", [])
    assert carriers or absent, "neither carried nor absent"
    if entry.get("verdict") in ("KEEP", "QUALIFY", "CORRECT"):
        assert carriers, "must be said somewhere"
    for carrier in carriers:
        ((kind, name),) = carrier.items()
        assert alive(kind, name, rulebook), f"{kind} {name!r} does not exist"
    for phrase in absent:
        assert phrase == phrase.lower()
        assert phrase not in TEXT, f"{phrase!r} must not be said"
