"""The structure of the code: doors open downwards only, and each library has its own door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVICE = ROOT / "service"

FLOORS = [
    "clinical", "knowledge", "terminology", "engine", "evaluator", "assessment", "fhir", "hooks", "api", "settings",
    "app", "__main__",
]  # fmt: skip
"""Lower floors first; a module may import its own floor and those below it."""

BESIDE = {("evaluator", "engine"), ("app", "settings"), ("__main__", "settings")}

DOORS = {
    "durable_rules_engine": {"engine"},
    "durable": set(),
    "flask": {"app", "api"},
    "werkzeug": {"api"},
    "marshmallow": {"knowledge", "hooks", "api"},
    "yaml": {"knowledge", "api"},
    "orjson": {"api"},
    "rapidfuzz": {"terminology"},
    "sqlite3": {"terminology", "hooks"},
    "jwt": {"hooks"},
    "cryptography": {"hooks"},
    "redis": {"hooks"},
    "apispec": {"api"},
    "offapi": {"api"},
}
"""Third-party packages and the floors that may import them."""


def modules() -> list[Path]:
    return sorted(SERVICE.rglob("*.py"))


def floor(path: Path) -> str:
    parts = path.relative_to(SERVICE).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SERVICE)))
def test_doors_open_downwards(path: Path) -> None:
    """A module imports its own floor and lower ones, never a higher one."""
    here = floor(path)
    if here == "__init__":
        assert list(imports(path)) == []
        return
    for name in imports(path):
        if not name.startswith("service."):
            continue
        there = name.split(".")[1]
        assert FLOORS.index(there) <= FLOORS.index(here), f"{here} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SERVICE)))
def test_third_parties_have_one_door(path: Path) -> None:
    """A library is imported only on the floor that has it."""
    for name in imports(path):
        package = name.split(".")[0]
        if package in DOORS:
            assert floor(path) in DOORS[package], f"{path.name} imports {name}"


def test_no_clinical_number_in_python() -> None:
    """Numbers with a decimal point in the service are technical ones; thresholds and coefficients stand in rules/."""
    allowed = {0.0, 0.25, 0.5, 0.75, 1.0, 100.0}
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value not in allowed
    }
    assert found == set()


def test_files_and_functions_stay_readable() -> None:
    """A feel for size: no file over 450 lines, no function over 80."""
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 80, f"{path}: {node.name}"
