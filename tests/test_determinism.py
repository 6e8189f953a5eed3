"""The same answer always: same body, same day, same knowledge give the same bytes, whoever answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

from flask.testing import FlaskClient

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.request.json"))

ANSWER = """
import sys
from service.app import create_app
client = create_app().test_client()
for path in sys.argv[1:]:
    body = open(path, "rb").read()
    answer = client.post("/v1/evaluations", data=body, content_type="application/json")
    sys.stdout.buffer.write(answer.data + b"\\n")
"""


def test_same_bytes_after_a_restart_with_other_hash_seeds(client: FlaskClient) -> None:
    """Three processes with different hash seeds, and this one, give the same bytes for every example."""
    here = b"".join(
        client.post("/v1/evaluations", data=path.read_bytes(), content_type="application/json").data + b"\n"
        for path in EXAMPLES
    )
    for seed in ("0", "1", "4711"):
        run = subprocess.run(
            [sys.executable, "-c", ANSWER, *map(str, EXAMPLES)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "LOG_LEVEL": "error"},
            capture_output=True,
            check=True,
        )
        assert run.stdout == here


def test_order_of_requests_does_not_matter(client: FlaskClient) -> None:
    """What one patient is told does not depend on who came before."""

    def answer(path: Path) -> bytes:
        return client.post("/v1/evaluations", data=path.read_bytes(), content_type="application/json").data

    forwards = {path: answer(path) for path in EXAMPLES}
    backwards = {path: answer(path) for path in reversed(EXAMPLES)}
    assert forwards == backwards


def test_key_order_of_the_request_does_not_matter(client: FlaskClient) -> None:
    """JSON objects have no order; neither has their meaning."""

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(one) for one in value] if isinstance(value, list) else value

    for path in EXAMPLES:
        body = json.loads(path.read_bytes())
        first = client.post("/v1/evaluations", json=body)
        second = client.post("/v1/evaluations", json=turned(body))
        assert first.data == second.data, path.name
