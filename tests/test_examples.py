"""The examples are real: the service gives exactly the answers that are shown."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

FOLDER = Path(__file__).parent.parent / "examples"
REQUESTS = sorted(FOLDER.glob("*.request.json"))


def test_there_are_enough() -> None:
    """At least eight pairs, and no answer without a request."""
    assert len(REQUESTS) >= 8
    answers = {path.name.replace(".answer.", ".request.") for path in FOLDER.glob("*.answer.json")}
    assert answers == {path.name for path in REQUESTS}


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name.removesuffix(".request.json"))
def test_answer_is_the_one_shown(client: FlaskClient, path: Path) -> None:
    """The answer in the file is the answer of the service, the digest of the knowledge aside."""
    answer = client.post("/v1/evaluations", data=path.read_bytes(), content_type="application/json")
    assert answer.status_code == 200
    shown = json.loads(Path(str(path).replace(".request.", ".answer.")).read_text(encoding="utf-8"))
    given = json.loads(answer.data)
    assert given["knowledge"].pop("digest").startswith("sha256:")
    shown["knowledge"].pop("digest")
    assert given == shown
