"""The set-up of the clients, where something is missing: it is said in a line, and `make test` goes on."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TOOLS = ["cat", "chmod", "cksum", "cp", "dirname", "mkdir", "rm", "sh", "tr"]


@pytest.fixture
def set_up(tmp_path: Path) -> Callable[..., list[str]]:
    """Run the set-up in a checkout of its own, with these stand-ins for programs; the lines that it writes."""
    checkout, bare = tmp_path / "a checkout", tmp_path / "bin"
    (checkout / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "clients.sh", checkout / "tools")
    shutil.copytree(ROOT / "tests" / "clients", checkout / "tests" / "clients")
    bare.mkdir()
    for tool in TOOLS:
        (bare / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")

    def run(**stand_ins: str) -> list[str]:
        for name, script in stand_ins.items():
            (bare / name).write_text(f"#!/bin/sh\n{script}\n")
            (bare / name).chmod(0o755)
        done = subprocess.run(
            [checkout / "tools" / "clients.sh", bare / "python"],
            env={"PATH": str(bare)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr.splitlines()

    return run


NO_PYTHON = "case $* in *version_info*) echo 3.14 ;; *) echo somewhere ;; esac"
"""An interpreter that HealthChain is not made for."""

MAKES_PYTHON = """case $* in
*version_info*) echo 3.12 ;;
*venv*) mkdir -p "$3/bin"; printf '#!/bin/sh\nexit %d\n' {status} >"$3/bin/python"; chmod +x "$3/bin/python" ;;
*) echo somewhere ;;
esac"""
"""One whose environments install everything, or nothing."""


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ({}, "there is no node, or no npm"),
        ({"node": "exit 0"}, "there is no node, or no npm"),
        ({"node": "exit 1", "npm": "exit 0"}, "node is older than 18"),
        ({"node": "exit 0", "npm": "exit 1"}, "npm could not install"),
    ],
)
def test_a_machine_without_node_is_told_so(
    set_up: Callable[..., list[str]], programs: dict[str, str], says: str
) -> None:
    """Each time, in a line; what is there works all the same."""
    works = MAKES_PYTHON.format(status=0)
    for _ in range(2):
        (line,) = set_up(python=works, **programs)
        assert line.startswith(f"clients: {says}")
        assert "will be skipped" in line


def test_a_machine_without_a_fitting_python_is_told_so(set_up: Callable[..., list[str]]) -> None:
    """Or with one that cannot install what is locked."""
    works = {"node": "exit 0", "npm": "exit 0"}
    assert set_up(python=NO_PYTHON, **works) == [
        "clients: HealthChain is not made for Python 3.14: the tests with HealthChain will be skipped."
    ]
    (line,) = set_up(python=MAKES_PYTHON.format(status=1))
    assert line.startswith("clients: pip could not install")


def test_the_clients_are_set_up_once(set_up: Callable[..., list[str]], tmp_path: Path) -> None:
    """And once more when a lock has changed."""
    assert set_up(python=MAKES_PYTHON.format(status=0), node="exit 0", npm="exit 0") == []
    fails = {"python": MAKES_PYTHON.format(status=1), "npm": "exit 1"}
    assert set_up(**fails) == []
    for lock, says in (("package-lock.json", "npm could not"), ("requirements.lock", "pip could not")):
        with (tmp_path / "a checkout" / "tests" / "clients" / lock).open("a") as file:
            file.write("\n")
        assert any(line.startswith(f"clients: {says}") for line in set_up(**fails))
