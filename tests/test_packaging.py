"""What the project says of itself, its lock files, and the set-up where something is missing."""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements-build.lock", "requirements.lock", "requirements-dev.lock"]
CLIENTS_LOCK = "tests/clients/requirements.lock"
SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
SHELL = shutil.which("sh") or "/bin/sh"


def pins(lock: str) -> dict[str, tuple[Version, list[str]]]:
    """Each package of a lock file with its version and its hashes."""
    found = {}
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.startswith("#")]
    for entry in re.split(r"\n(?=\S)", "\n".join(lines)):
        head, *hashes = [line.strip(" \\") for line in entry.splitlines()]
        name, version = head.split(" ;")[0].split("==")
        found[name] = (Version(version), hashes)
    return found


def required(names: list[str]) -> list[Requirement]:
    return [Requirement(name) for name in names]


@pytest.mark.parametrize("lock", [*LOCKS, CLIENTS_LOCK])
def test_every_locked_file_has_its_hash(lock: str) -> None:
    assert pins(lock)
    for name, (_, hashes) in pins(lock).items():
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes), name


@pytest.mark.parametrize("lock", [*LOCKS, CLIENTS_LOCK, "tests/clients/package-lock.json"])
def test_no_lock_names_a_place_to_download_from(lock: str) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ ", (ROOT / lock).read_text())


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements-build.lock", PROJECT["build-system"]["requires"]),
        ("requirements-build.lock", PROJECT["dependency-groups"]["build"]),
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["project"]["optional-dependencies"]["dev"]),
        (CLIENTS_LOCK, PROJECT["dependency-groups"]["clients"]),
    ],
)
def test_the_locks_hold_what_the_project_asks_for(lock: str, wanted: list[str]) -> None:
    """Otherwise: make lock."""
    locked = pins(lock)
    for requirement in required(wanted):
        version, _ = locked[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, requirement


def test_what_is_tested_is_what_is_shipped() -> None:
    shipped, tested = pins("requirements.lock"), pins("requirements-dev.lock")
    assert shipped.items() <= tested.items()


def test_the_engine_is_pinned_to_one_source_archive() -> None:
    """No wheel of it is published; one file, one hash."""
    version, hashes = pins("requirements.lock")["durable-rules"]
    assert str(version) == "2.0.28"
    assert len(hashes) == 1


def modules_imported(path: Path) -> set[str]:
    """The top-level names of what a file imports, and of the packages it reads files from."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("distribution", "files", "import_module")
            and isinstance(node.args[0], ast.Constant)
        ):
            names.add(str(node.args[0].value).split(".")[0])
    return names


def test_the_service_imports_only_what_it_declares() -> None:
    """A package that comes along with another one today need not do so tomorrow."""
    declared = {canonicalize_name(item.name) for item in required(PROJECT["project"]["dependencies"])}
    distributions = packages_distributions()
    # Only `python -m service openapi` runs it, on a developer's machine.
    development = {"apispec"}
    used = set()
    for path in sorted((ROOT / "service").rglob("*.py")):
        for module in modules_imported(path) - set(sys.stdlib_module_names) - {"service"}:
            used |= {canonicalize_name(name) for name in distributions[module]}
    assert used - development <= declared
    # The server is started, not imported.
    assert declared - used == {"gunicorn"}


def test_the_command_exists() -> None:
    module, _, function = PROJECT["project"]["scripts"]["cofactor"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_all_places_name_the_same_interpreters() -> None:
    requires = Requirement("python" + PROJECT["project"]["requires-python"]).specifier
    minors = [f"3.{minor}" for minor in range(5, 25)]
    assert [minor for minor in minors if f"{minor}.0" in requires] == SUPPORTED
    prefix = "Programming Language :: Python :: 3."
    classifiers = PROJECT["project"]["classifiers"]
    assert [name.split(" :: ")[-1] for name in classifiers if name.startswith(prefix)] == SUPPORTED
    assert f"    {' | '.join(SUPPORTED)}) ;;" in (ROOT / "tools" / "setup.sh").read_text()
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + SUPPORTED[0].replace(".", "")
    assert PROJECT["tool"]["mypy"]["python_version"] == SUPPORTED[0]


def test_the_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability." in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("script", ["tools/setup.sh", "tools/clients.sh", "tools/lock.sh", ".ci/run"])
def test_the_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    interpreter = path.read_text().splitlines()[0].removeprefix("#!").split()[-1].split("/")[-1]
    shell = shutil.which(interpreter)
    if shell is None:
        pytest.skip(f"there is no {interpreter}")
    subprocess.run([shell, "-n", str(path)], check=True)


def test_make_explains_its_targets() -> None:
    lines = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", lines, re.MULTILINE)
    explained = re.findall(r"^\t@echo 'make (\S+)", lines, re.MULTILINE)
    assert set(phony.split()) == {*explained, "help", "setup", "setup-dev"}


# The set-up on machines that lack something. The stand-in for an interpreter answers as the real
# one, except to the one question that a test is about.

TOOLS = ["cat", "cksum", "dirname", "rm", "tr"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without .venv, in a directory whose name has a space."""
    target = tmp_path / "a checkout"
    (target / "tools").mkdir(parents=True)
    for name in [*LOCKS, "tools/setup.sh"]:
        shutil.copy(ROOT / name, target / name)
    return target


@pytest.fixture
def set_up(checkout: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the set-up with an interpreter that gives `answer` when asked about `question`."""

    def run(
        question: str = "nothing", answer: str = "", *, path: str | None = None, python: str = "", kind: str = "dev"
    ) -> subprocess.CompletedProcess[str]:
        stand_in = tmp_path / "python3"
        stand_in.write_text(
            "#!/bin/sh\n"
            f"case $* in *{shlex.quote(question)}*) {answer or ':'}; exit ;; esac\n"
            f'exec "{sys.executable}" "$@"\n'
        )
        stand_in.chmod(0o755)
        environment = {"PATH": os.environ["PATH"] if path is None else path}
        return subprocess.run(
            [SHELL, str(checkout / "tools" / "setup.sh"), python or str(stand_in), kind],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refused set-up."""
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("setup: ")
    return line


def test_no_python(set_up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert "there is no 'python3.99'" in refusal(set_up(python="python3.99"))


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.15", "4.0"])
def test_an_unsupported_python(set_up: Callable[..., subprocess.CompletedProcess[str]], version: str) -> None:
    line = refusal(set_up("version_info", f"echo {version}"))
    assert f"is Python {version}; 3.11 to 3.14 are supported" in line
    assert "make PYTHON=" in line


def test_a_python_that_does_not_run(
    set_up: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert "does not run" in refusal(set_up("version_info", "echo broken >&2; exit 127"))


def test_a_free_threaded_python(set_up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert "free-threaded" in refusal(set_up("Py_GIL_DISABLED", "echo 1"))


def test_no_venv_module(set_up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    line = refusal(set_up("import ensurepip, venv", "echo Traceback >&2; exit 1"))
    assert "apt-get install python3-venv" in line


def test_no_compiler(set_up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in TOOLS:
        (bare / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    line = refusal(set_up('get_config_var("CC")', "echo hidden-gcc -pthread", path=str(bare)))
    assert "no C compiler ('hidden-gcc')" in line
    assert "apt-get install gcc" in line


def test_no_headers(set_up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    line = refusal(set_up("get_paths", "echo /nowhere"))
    assert "/nowhere/Python.h" in line
    assert "apt-get install python3-dev" in line


def test_a_refused_set_up_leaves_nothing_behind(
    set_up: Callable[..., subprocess.CompletedProcess[str]], checkout: Path
) -> None:
    refusal(set_up("get_paths", "echo /nowhere"))
    assert not (checkout / ".venv").exists()


def test_a_failed_installation_is_said_and_tried_again(
    set_up: Callable[..., subprocess.CompletedProcess[str]], checkout: Path
) -> None:
    """A `.venv` whose interpreter fails stands for a machine without a network."""
    fails = "mkdir -p .venv/bin; printf '#!/bin/sh\\nexit 1\\n' >.venv/bin/python"
    for _ in range(2):
        result = set_up("-m venv", f"{fails}; chmod +x .venv/bin/python")
        assert result.returncode == 1
        assert "could not be installed" in result.stderr.splitlines()[-1]
        assert not list((checkout / ".venv").glob("cofactor-dev-*"))


def test_a_second_set_up_does_nothing(set_up: Callable[..., subprocess.CompletedProcess[str]], checkout: Path) -> None:
    works = "mkdir -p .venv/bin; printf '#!/bin/sh\\nexit 0\\n' >.venv/bin/python"
    first = set_up("-m venv", f"{works}; chmod +x .venv/bin/python")
    assert first.returncode == 0
    assert "done" in first.stderr
    second = set_up("-m venv", "exit 1")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert set_up("-m venv", "exit 1", kind="runtime").stderr == ""

    with (checkout / "requirements-dev.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "installing" in set_up("-m venv", "exit 1").stderr

    # What has been moved is made anew: the scripts inside name their place.
    moved = checkout.with_name("elsewhere")
    checkout.rename(moved)
    shutil.copytree(moved, checkout)
    moved.rename(checkout.with_name("gone"))
    assert set_up("-m venv", "exit 1").returncode == 0
