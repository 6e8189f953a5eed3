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
    """The answer in the file is the answer of the service, the digests of the knowledge aside."""
    answer = client.post("/v1/evaluations", data=path.read_bytes(), content_type="application/json")
    assert answer.status_code == 200
    shown = json.loads(Path(str(path).replace(".request.", ".answer.")).read_text(encoding="utf-8"))
    given = json.loads(answer.data)
    for part in (given["knowledge"], given["knowledge"]["terminology"]):
        assert part.pop("digest").startswith("sha256:")
    for part in (shown["knowledge"], shown["knowledge"]["terminology"]):
        part.pop("digest")
    assert given == shown


def test_readme_shows_a_real_answer(client: FlaskClient) -> None:
    """The request in the README gives the answer that the README shows."""
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    body = readme.split("-d '", 1)[1].split("' | jq", 1)[0]
    shown = json.loads(readme.split("```json\n", 1)[1].split("```", 1)[0])
    answer = json.loads(client.post("/v1/evaluations", data=body, content_type="application/json").data)
    keys = ("severity", "summary", "action", "spacing", "limitations")
    assert shown == {
        "disposition": answer["disposition"],
        "cautions": [{key: one[key] for key in keys} for one in answer["cautions"]],
    }
    assert json.loads(body) == json.loads((FOLDER / "one-antibiotic.request.json").read_text(encoding="utf-8"))
