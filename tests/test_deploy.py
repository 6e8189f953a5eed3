"""What is shipped: the image's contents, its Dockerfile, and settings that must agree with others.

No container engine is needed: the files that would be in the image are put in a directory of their
own, and checked, served and health-checked there.
"""

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import make_settings

from deploy.worker import BoundedThreadWorker
from service.api.problems import LARGEST_BODY

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROXY = (ROOT / "deploy" / "nginx.conf").read_text()


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """The server's settings, as gunicorn reads them."""
    return runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory /app of the image: what .dockerignore lets through, and nothing else."""
    app = tmp_path_factory.mktemp("image")
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "everything is kept out unless it is named"
    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        source, target = ROOT / name, app / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    # As the Dockerfile does, so that nothing is left to be written when it runs.
    assert "python -m service terminology build" in DOCKERFILE
    build = [sys.executable, "-m", "service", "terminology", "build"]
    subprocess.run(build, cwd=app, env=environment(0), check=True, stdout=subprocess.DEVNULL)
    return app


def environment(port: int) -> dict[str, str]:
    """As the image sets it, except that it stays on loopback and on a free port."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def health(image: Path, port: int) -> int:
    command = [sys.executable, "deploy/healthcheck.py"]
    return subprocess.run(command, cwd=image, env=environment(port), check=False).returncode


def files(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def served(image: Path) -> Iterator[int]:
    """The port on which the image's own command serves."""
    command = json.loads(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    assert command[0] == "python"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    before = files(image)
    process = subprocess.Popen(
        [sys.executable, *command[1:]], cwd=image, env=environment(port), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while health(image, port) != 0:
        assert process.poll() is None, "the server ended instead of starting"
        assert time.monotonic() < deadline, "the server did not become ready"
        time.sleep(0.2)
    yield port
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert files(image) == before, "the service must be able to run on a read-only file system"


def test_the_rules_in_the_image_pass_their_check(image: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "service", "check"],
        cwd=image,
        env=environment(0),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_the_image_is_ready_and_answers(served: int) -> None:
    """The health check passed for `served` to exist; an evaluation is what it is for."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{served}/v1/evaluations",
        data=b'{"patient": {"age_years": 52, "sex": "female", "pregnancy": "none"}}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert "disposition" in json.load(answer)


def test_the_health_check_fails_when_nothing_listens(image: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert health(image, closed.getsockname()[1]) == 1


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run(
        [str(hadolint), "--no-color", str(ROOT / "deploy" / "Dockerfile")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_without_privileges() -> None:
    last_stage = DOCKERFILE.split("\nFROM ")[-1]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", last_stage, re.MULTILINE)
    assert all(int(number) >= 10000 for number in user)
    assert "HEALTHCHECK" in last_stage


def test_the_base_image_is_named_without_a_registry() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) == {"python:3.13-slim-bookworm"}


def test_the_image_says_which_version_it_is() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in DOCKERFILE


def test_gunicorn_knows_every_setting(settings: dict[str, Any]) -> None:
    """It ignores a misspelt name without a word."""
    known = set(make_settings())
    ours = {name for name in settings if not name.startswith("_")} - {"gc", "os", "Path"}
    assert ours <= known
    assert len(ours) > 15


def test_the_service_is_loaded_once_and_the_server_keeps_a_watch(settings: dict[str, Any]) -> None:
    assert settings["wsgi_app"] == "service.app:served()"
    assert settings["preload_app"] is True
    assert 0 < settings["timeout"] <= 30
    assert settings["reuse_port"] is False


def test_the_worker_is_the_bounded_one(settings: dict[str, Any]) -> None:
    module, _, name = settings["worker_class"].rpartition(".")
    assert (module, name) == (BoundedThreadWorker.__module__, BoundedThreadWorker.__name__)


def test_no_request_line_is_logged(settings: dict[str, Any]) -> None:
    assert settings["accesslog"] is None
    (form,) = re.findall(r"log_format bare '(.*)';", PROXY)
    variables = set(re.findall(r"\$(\w+)", form))
    assert not variables & {"request", "request_uri", "args", "query_string", "request_body"}
    assert not any(name.startswith(("arg_", "http_", "sent_http_")) for name in variables)


def proxy_seconds(directive: str) -> list[int]:
    return [int(value) for value in re.findall(rf"^\s*{directive} (\d+)s;", PROXY, re.MULTILINE)]


def test_the_proxy_ends_an_idle_connection_first(settings: dict[str, Any]) -> None:
    upstream = PROXY.split("upstream cofactor {")[1].split("}")[0]
    (idle,) = re.findall(r"keepalive_timeout (\d+)s;", upstream)
    assert int(idle) < settings["keepalive"]


def test_the_proxy_gives_up_before_the_service_does() -> None:
    (read,) = proxy_seconds("proxy_read_timeout")
    (send,) = proxy_seconds("proxy_send_timeout")
    assert read < BoundedThreadWorker.exchange_seconds
    assert send <= BoundedThreadWorker.read_seconds


def test_the_proxy_lets_through_what_the_service_takes() -> None:
    """The refusal of a larger body is the service's to word."""
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", PROXY)
    assert int(megabytes) * 1024 * 1024 > LARGEST_BODY


def test_the_proxy_buffers() -> None:
    assert "proxy_request_buffering on;" in PROXY
    assert "proxy_buffering on;" in PROXY


def test_requests_in_flight_have_time_when_an_orchestrator_stops_the_service(
    settings: dict[str, Any],
) -> None:
    assert settings["graceful_timeout"] < 30
