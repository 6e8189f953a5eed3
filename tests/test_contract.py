"""openapi.yaml: it is what the code describes, and the service does what it says."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from schemathesis.checks import CHECKS
from schemathesis.openapi.checks import RejectedPositiveData

from service.api import contract
from service.api.problems import KINDS
from service.api.schemas import ROUTES
from service.app import create_app
from service.knowledge import Rulebook
from service.settings import Settings
from tests.contract_run import run

COMMITTED = Settings().contract
PAGE_ASSETS = "/docs/"
EXAMPLES_EACH = 300


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The committed contract."""
    with COMMITTED.open(encoding="utf-8") as file:
        loaded: dict[str, Any] = yaml.safe_load(file)
    return loaded


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Holds a value against a schema of the contract, with its references."""
    return Draft202012Validator(
        {**schema, "components": document["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def check(document: dict[str, Any], name: str, value: Any) -> None:
    """Hold a value against a named schema."""
    errors = validator(document, {"$ref": f"#/components/schemas/{name}"}).iter_errors(value)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_committed_contract_is_what_the_schemas_say(rulebook: Rulebook) -> None:
    """`make openapi` would change nothing."""
    assert COMMITTED.read_text(encoding="utf-8") == contract.render(rulebook)


def test_the_service_serves_the_committed_contract(client: FlaskClient, document: dict[str, Any]) -> None:
    """As JSON, and nothing else."""
    assert json.loads(client.get("/openapi.json").data) == document


def test_the_contract_has_every_operation_and_no_other(app: Flask, document: dict[str, Any]) -> None:
    """Routes and contract cannot drift apart. The services of CDS Hooks are one route and a path each."""
    services = re.compile(r"(?<=^/cds-services/)[^/]+")
    routed = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith(PAGE_ASSETS)
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert routed == {(services.sub("{service_id}", path), method) for path, method, _ in operations(document)}


def test_the_contract_is_openapi_3_1_with_sound_schemas(document: dict[str, Any]) -> None:
    """Every schema is JSON Schema 2020-12, and every reference leads somewhere."""
    assert document["openapi"].startswith("3.1.")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def references(node: Any) -> Iterator[str]:
    """Every $ref below a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


OF_CLIENTS = {
    "PatientViewRequest", "OrderSelectRequest", "OrderSignRequest", "PatientViewContext", "OrderSelectContext",
    "OrderSignContext", "FhirAuthorization", "FhirResource", "FhirBundle", "FeedbackRequest", "CardFeedback",
    "DraftEntry", "AcceptedSuggestion", "OverrideReason", "ChosenReason",
}  # fmt: skip
"""What EHRs send by CDS Hooks may have members that are not known."""


def test_every_object_is_closed(document: dict[str, Any]) -> None:
    """Only what follows the rule files or FHIR, or comes from an EHR, may have keys of its own."""
    open_ones = {
        name
        for name, schema in document["components"]["schemas"].items()
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False
    }
    assert open_ones == {"AsWritten", "OpenApi", *OF_CLIENTS, "DraftOrder"}


def test_every_operation_is_explained(document: dict[str, Any]) -> None:
    """A name for generators, words for people, and every refusal in the shape of its address."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    refusals = document["components"]["responses"]
    problems = {int(name.removeprefix("Problem")) for name in refusals if name.startswith("Problem")}
    assert problems == {kind.status for kind in KINDS.values()}
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        assert operation["tags"], (path, method)
        assert "405" in operation["responses"], (path, method)
        for status, response in operation["responses"].items():
            if status >= "400":
                shape = "Outcome" if path.startswith("/cds-services") else "Problem"
                assert response == {"$ref": f"#/components/responses/{shape}{status}"}
    for name, response in refusals.items():
        problem = name.startswith("Problem")
        assert set(response["content"]) == {"application/problem+json" if problem else "application/json"}


def request_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The bodies that the contract shows."""
    operation = document["paths"]["/v1/evaluations"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    return {name: example["value"] for name, example in examples.items()}


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """Whoever copies an example gets something that works."""
    shown = 0
    for media in media_types(document):
        for name, example in media.get("examples", {}).items():
            errors = list(validator(document, media["schema"]).iter_errors(example["value"]))
            assert errors == [], name
            shown += 1
    assert shown >= len(KINDS) + len(request_examples(document))


def media_types(node: Any) -> Iterator[dict[str, Any]]:
    """Every media type object below a node."""
    if isinstance(node, dict):
        for value in node.get("content", {}).values():
            yield value
        for value in node.values():
            yield from media_types(value)
    elif isinstance(node, list):
        for item in node:
            yield from media_types(item)


def test_the_examples_are_of_this_service(client: FlaskClient, document: dict[str, Any], rulebook: Rulebook) -> None:
    """The service understands all that they send, and could still say what they show."""
    example = contract.load(contract.EXAMPLES)
    assert example["rule_id"] in rulebook.rules
    answers = {}
    for name, body in request_examples(document).items():
        answers[name] = json.loads(client.post("/v1/evaluations", json=body).data)
        assert answers[name]["unrecognised"] == [], name
    assert answers["urgent"]["disposition"] == "urgent"
    shown, real = example["answer"], answers["typical"]
    assert shown["disposition"] == real["disposition"]
    for part, key in (
        ("cautions", "code"),
        ("form_suggestions", "form"),
        ("lab_questions", "lab"),
        ("advice", "topic"),
    ):
        assert {item[key] for item in shown[part]} <= {item[key] for item in real[part]}
    assert set(rules_named(shown)) <= set(rulebook.rules)


def rules_named(node: Any) -> Iterator[str]:
    """The id of every rule that an answer names."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "rule":
                yield value["id"]
            else:
                yield from rules_named(value)
    elif isinstance(node, list):
        for item in node:
            yield from rules_named(item)


# Answers, beyond those that are generated below.

TYPICAL = {
    "patient": {"age_years": 52, "sex": "female", "pregnancy": "none"},
    "labs": {"egfr": {"value": 82, "unit": "mL/min/{1.73_m2}", "collected_on": "2026-10-01"}},
    "medications": [],
    "conditions": [],
    "symptoms": [],
    "goals": ["general_repletion"],
    "bowel_pattern": "normal",
    "supplements": {},
}


def patients(rulebook: Rulebook) -> Iterator[dict[str, Any]]:
    """Bodies that bring in every part of the vocabulary."""
    vocabulary = rulebook.vocabulary
    yield {}
    yield TYPICAL
    for age in (0, 17, 18, 64, 65, 90, 120):
        yield {**TYPICAL, "patient": {"age_years": age, "sex": "male"}}
    for state in ("none", "pregnant", "lactating", "unknown"):
        yield {**TYPICAL, "patient": {"age_years": 30, "sex": "female", "pregnancy": state}}
    for key, lab in vocabulary.labs.items():
        for unit, known in lab.units.items():
            for value in {*known.possible, *known.plausible}:
                result = {"value": float(value), "unit": unit}
                yield {**TYPICAL, "labs": {key: result, **({} if key == "egfr" else TYPICAL["labs"])}}
    for key, vital in vocabulary.vitals.items():
        for value in {*vital.possible, *vital.plausible}:
            yield {**TYPICAL, "vitals": {key: {"value": float(value), "unit": vital.unit}}}
    for key in vocabulary.conditions:
        yield {**TYPICAL, "conditions": [{"key": key}]}
    for key in vocabulary.symptoms:
        yield {**TYPICAL, "symptoms": [{"key": key}]}
    for key in vocabulary.drugs:
        yield {**TYPICAL, "medications": [{"name": key.replace("_", " ")}]}
    for key in vocabulary.goals:
        yield {**TYPICAL, "goals": [key]}
    for pattern in ("loose", "constipated", "unknown"):
        yield {**TYPICAL, "goals": list(vocabulary.goals), "bowel_pattern": pattern}
    for form in vocabulary.forms:
        dose = {"form": form, "elemental_mg_per_day": 1000, "weeks": 30}
        yield {**TYPICAL, "supplements": {"magnesium": dose}}
    for amount in (0.5, 400.5, 12000, 600000):
        supplement = {"dose_iu_per_day": amount, "weeks": 52}
        yield {**TYPICAL, "supplements": {"vitamin_d": supplement}, "preferences": {"region": "eu"}}
    yield {
        **TYPICAL,
        "labs": {
            "creatinine": {"value": 1.3, "unit": "mg/dL"},
            "cystatin_c": {"value": 1.4, "unit": "mg/L"},
            "calcium_total": {"value": 10.4, "unit": "mg/dL"},
            "albumin": {"value": 3.1, "unit": "g/dL", "collected_on": "2020-02-29"},
        },
        "medications": [{"name": "zzyzxomab 10 mg"}, {"name": "levothyroxine", "since": "2024-01-01"}],
        "conditions": [{"code": {"system": "http://snomed.info/sct", "code": "0"}}],
    }


def test_every_answer_fits_the_contract(client: FlaskClient, document: dict[str, Any], rulebook: Rulebook) -> None:
    """Whatever part of the vocabulary a patient brings in."""
    answers = validator(document, {"$ref": "#/components/schemas/EvaluationAnswer"})
    seen: Counter[str] = Counter()
    for body in patients(rulebook):
        response = client.post("/v1/evaluations", json=body)
        assert response.status_code == 200, (body, response.text)
        answer = json.loads(response.data)
        faults = [f"{error.json_path}: {error.message}" for error in answers.iter_errors(answer)]
        assert faults == [], body
        seen.update(key for key, value in answer.items() if value not in ([], None))
        seen.update([answer["disposition"]])
    everything = set(document["components"]["schemas"]["EvaluationAnswer"]["properties"])
    assert everything <= set(seen), "no answer has these: the contract for them was not tested"
    assert {"routine", "review", "urgent", "out_of_scope"} <= set(seen)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/knowledge", "Knowledge"),
        ("/v1/rules", "RuleList"),
        ("/v1/forms", "FormList"),
        ("/v1/vocabulary", "Vocabulary"),
        ("/livez", "State"),
        ("/readyz", "State"),
    ],
)
def test_what_can_be_read_fits_the_contract(
    client: FlaskClient, document: dict[str, Any], path: str, schema: str
) -> None:
    """All of it, not a sample."""
    check(document, schema, json.loads(client.get(path).data))


def test_every_rule_fits_the_contract(client: FlaskClient, document: dict[str, Any], rulebook: Rulebook) -> None:
    """Whatever kind it is."""
    for key in rulebook.rules:
        check(document, "Rule", json.loads(client.get(f"/v1/rules/{key}").data))


def test_every_route_of_the_knowledge_can_be_sent(rulebook: Rulebook) -> None:
    """A rule about a route that no request can name would never fire."""
    spoken_of = {route for group in rulebook.drug_groups.values() for route in group.routes}
    assert spoken_of <= set(ROUTES)


# Schemathesis.


@pytest.fixture(scope="module")
def far_future() -> Flask:
    """The service on a day after every date that can be generated."""
    return create_app(Settings(log_level="critical"), clock=lambda: date(2100, 1, 1))


BEYOND_JSON_SCHEMA = {"date_in_future", "not_an_integer"}
"""The order of days, and how a whole number is written (to JSON Schema 7.0 is an integer): the only reasons for which
a body that fits the schema may be refused."""


def beyond_json_schema(failure: Any, response: Any) -> bool:
    """Whether a body that fits the schema was refused for what JSON Schema cannot say, and nothing else."""
    if not isinstance(failure, RejectedPositiveData):
        return False
    errors = json.loads(response.content).get("errors", [])
    return bool(errors) and {error["code"] for error in errors} <= BEYOND_JSON_SCHEMA


def test_the_service_does_what_the_contract_says(far_future: Flask) -> None:
    """Every check of schemathesis, in every phase; CDS Hooks has a run of its own, with all its services on."""
    found = run(far_future, "^/(?!cds-services)", EXAMPLES_EACH, beyond_json_schema)
    assert found.faults == []
    assert set(CHECKS.get_all_names()) - found.checks == set(), "these checks were off"
    # A run in which everything is refused would prove little.
    assert found.answered["POST", "/v1/evaluations", 200] > EXAMPLES_EACH
    assert found.answered["POST", "/v1/evaluations", 422] > EXAMPLES_EACH
