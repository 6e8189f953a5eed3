"""The HTTP door: what is taken as it is, what is refused, and how a refusal looks."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from service.api.decode import DEEPEST
from service.api.problems import KINDS, LARGEST_BODY, SHOWN_AT_MOST
from service.app import create_app
from service.assessment import Assessor, IncompleteEvaluation
from service.settings import Settings
from tests.browser import needs_browser, page_at

EVALUATIONS = "/v1/evaluations"
PROBLEM = "application/problem+json"
SECRET = "Jane-Roe-1952"
"""Stands for whatever a caller might send about a patient; no refusal or log line may repeat it."""


def post(client: FlaskClient, body: bytes | str, **options: Any) -> TestResponse:
    """Send a body as it is."""
    data = body.encode() if isinstance(body, str) else body
    return client.post(EVALUATIONS, data=data, **{"content_type": "application/json", **options})


def lab(key: str, value: str, unit: str = "mg/dL", more: str = "") -> str:
    """A body with one result, its value spelled as given."""
    return f'{{"labs": {{"{key}": {{"value": {value}, "unit": "{unit}"{more}}}}}}}'


def creatinine(value: str, unit: str = "mg/dL", more: str = "") -> str:
    """A body with one creatinine."""
    return lab("creatinine", value, unit, more)


VALUE = "/labs/creatinine/value"
UNIT = "/labs/creatinine/unit"
DAY = "/labs/creatinine/collected_on"
AGE = "/patient/age_years"
NAME = "/medications/0/name"
CODING = '"system": "http://snomed.info/sct"'

# What is sent, where the fault is, and its code. Each is nearly right, and each is refused.
NEAR_MISSES: dict[str, tuple[str, str, str]] = {
    # Numbers.
    "a string for a number": (creatinine('"1.1"'), VALUE, "wrong_type"),
    "a word for a number": (creatinine('"high"'), VALUE, "wrong_type"),
    "an empty string for a number": (creatinine('""'), VALUE, "wrong_type"),
    "true for a number": (creatinine("true"), VALUE, "wrong_type"),
    "null for a number": (creatinine("null"), VALUE, "null"),
    "an array for a number": (creatinine("[1.1]"), VALUE, "wrong_type"),
    "a range for a number": (creatinine('{"low": 1, "high": 2}'), VALUE, "wrong_type"),
    "a comparator for a number": (creatinine('"<0.2"'), VALUE, "wrong_type"),
    "a decimal comma": (creatinine('"1,1"'), VALUE, "wrong_type"),
    "a negative creatinine": (creatinine("-1.1"), VALUE, "out_of_range"),
    "a creatinine of zero": (creatinine("0"), VALUE, "out_of_range"),
    "a creatinine of minus zero": (creatinine("-0.0"), VALUE, "out_of_range"),
    "a creatinine that no one has": (creatinine("1e400"), VALUE, "out_of_range"),
    "a value of one unit under another": (creatinine("97", "mg/dL"), VALUE, "out_of_range"),
    "no value": ('{"labs": {"creatinine": {"unit": "mg/dL"}}}', VALUE, "required"),
    # Whole numbers.
    "a fraction of a year": ('{"patient": {"age_years": 67.5}}', AGE, "not_an_integer"),
    "a float that is whole": ('{"patient": {"age_years": 67.0}}', AGE, "not_an_integer"),
    "an exponent in an age": ('{"patient": {"age_years": 6e1}}', AGE, "not_an_integer"),
    "an age as a string": ('{"patient": {"age_years": "67"}}', AGE, "wrong_type"),
    "an age of true": ('{"patient": {"age_years": true}}', AGE, "wrong_type"),
    "a negative age": ('{"patient": {"age_years": -1}}', AGE, "out_of_range"),
    "an age past all": ('{"patient": {"age_years": 121}}', AGE, "out_of_range"),
    "an age in days": ('{"patient": {"age_years": 24455}}', AGE, "out_of_range"),
    "weeks in fractions": (
        '{"supplements": {"magnesium": {"weeks": 7.9}}}',
        "/supplements/magnesium/weeks",
        "not_an_integer",
    ),
    # Booleans.
    "yes for true": (
        '{"preferences": {"cost_sensitive": "yes"}}',
        "/preferences/cost_sensitive",
        "wrong_type",
    ),
    "1 for true": (
        '{"preferences": {"cost_sensitive": 1}}',
        "/preferences/cost_sensitive",
        "wrong_type",
    ),
    # Units.
    "no unit": ('{"labs": {"creatinine": {"value": 1.1}}}', UNIT, "required"),
    "an unknown unit": (creatinine("1.1", "mg/l"), UNIT, "unknown_unit"),
    "a unit in another case": (creatinine("1.1", "MG/DL"), UNIT, "unknown_unit"),
    "another analyte's unit": (creatinine("1.1", "ng/mL"), UNIT, "unknown_unit"),
    "a unit with a space": (creatinine("1.1", "mg/dL "), UNIT, "unknown_unit"),
    "an empty unit": (creatinine("1.1", ""), UNIT, "unknown_unit"),
    "a micro sign": (creatinine("97", "µmol/L"), UNIT, "unknown_unit"),
    "a unit that is null": ('{"labs": {"creatinine": {"value": 1, "unit": null}}}', UNIT, "null"),
    "a unit that is a number": (
        '{"labs": {"creatinine": {"value": 1, "unit": 1}}}',
        UNIT,
        "wrong_type",
    ),
    "an eGFR with its unit cut short": (
        lab("egfr", "52", "mL/min"),
        "/labs/egfr/unit",
        "unknown_unit",
    ),
    "a heart rate in the wrong unit": (
        '{"vitals": {"heart_rate": {"value": 60, "unit": "bpm"}}}',
        "/vitals/heart_rate/unit",
        "unknown_unit",
    ),
    # Dates.
    "a result from the future": (
        creatinine("1.1", more=', "collected_on": "2026-11-22"'),
        DAY,
        "date_in_future",
    ),
    "a result from after as_of": (
        '{"as_of": "2026-10-01", "labs": {"creatinine": '
        '{"value": 1.1, "unit": "mg/dL", "collected_on": "2026-10-02"}}}',
        DAY,
        "date_in_future",
    ),
    "a medicine from the future": (
        '{"medications": [{"name": "digoxin", "since": "2027-01-01"}]}',
        "/medications/0/since",
        "date_in_future",
    ),
    "an as_of in the future": ('{"as_of": "2026-11-23"}', "/as_of", "date_in_future"),
    "a week date": ('{"as_of": "2026-W01-1"}', "/as_of", "not_a_date"),
    "an ordinal date": ('{"as_of": "2026-325"}', "/as_of", "not_a_date"),
    "a date without hyphens": ('{"as_of": "20261120"}', "/as_of", "not_a_date"),
    "a date in another order": ('{"as_of": "20-11-2026"}', "/as_of", "not_a_date"),
    "a date with a time": ('{"as_of": "2026-11-20T00:00:00Z"}', "/as_of", "not_a_date"),
    "a date with a new line": ('{"as_of": "2026-11-20\\n"}', "/as_of", "not_a_date"),
    "a date in other digits": ('{"as_of": "२०२६-११-२०"}', "/as_of", "not_a_date"),
    "a day that there is not": ('{"as_of": "2026-02-29"}', "/as_of", "not_a_date"),
    "a month that there is not": ('{"as_of": "2026-13-01"}', "/as_of", "not_a_date"),
    "a placeholder date": ('{"as_of": "0001-01-01"}', "/as_of", "not_a_date"),
    "a date as a number": ('{"as_of": 20261120}', "/as_of", "wrong_type"),
    "a month for a day": (creatinine("1.1", more=', "collected_on": "2026-10"'), DAY, "not_a_date"),
    # Names, keys and codes.
    "an unknown field": ('{"allergies": []}', "/allergies", "unknown_field"),
    "a field in another case": ('{"Labs": {}}', "/Labs", "unknown_field"),
    "an unknown lab": (lab("no_such_lab", "1"), "/labs/no_such_lab", "unknown_field"),
    "a lab that can only be asked for": (lab("ecg", "1"), "/labs/ecg", "unknown_field"),
    "an unknown field of a result": (
        creatinine("1.1", more=', "comparator": "<"'),
        "/labs/creatinine/comparator",
        "unknown_field",
    ),
    "an unknown vital": ('{"vitals": {"pulse": {}}}', "/vitals/pulse", "unknown_field"),
    "an unknown condition": (
        '{"conditions": [{"key": "gout"}]}',
        "/conditions/0/key",
        "unknown_value",
    ),
    "an unknown symptom": ('{"symptoms": [{"key": "itch"}]}', "/symptoms/0/key", "unknown_value"),
    "an unknown goal": ('{"goals": ["immortality"]}', "/goals/0", "unknown_value"),
    "a goal in another case": ('{"goals": ["Sleep"]}', "/goals/0", "unknown_value"),
    "an unknown form": (
        '{"supplements": {"magnesium": {"form": "magnesium_stearate"}}}',
        "/supplements/magnesium/form",
        "unknown_value",
    ),
    "an unknown sex": ('{"patient": {"sex": "F"}}', "/patient/sex", "unknown_value"),
    "an unknown route": (
        '{"medications": [{"name": "digoxin", "route": "PO"}]}',
        "/medications/0/route",
        "unknown_value",
    ),
    "an unknown region": ('{"preferences": {"region": "uk"}}', "/preferences/region", "unknown_value"),
    "a goal twice": ('{"goals": ["sleep", "sleep"]}', "/goals/1", "repeated"),
    "a name for a patient": ('{"patient": {"name": "J"}}', "/patient/name", "unknown_field"),
    "a field called like our own": ('{"_schema": 1}', "/_schema", "unknown_field"),
    "a medicine as a string": ('{"medications": ["digoxin"]}', "/medications/0", "wrong_type"),
    "a medicine without a name": ('{"medications": [{}]}', "/medications/0", "required"),
    "a medicine with a route only": (
        '{"medications": [{"route": "oral"}]}',
        "/medications/0",
        "required",
    ),
    "a medicine with an empty name": ('{"medications": [{"name": ""}]}', NAME, "wrong_length"),
    "a medicine with a long name": (
        json.dumps({"medications": [{"name": "a" * 301}]}),
        NAME,
        "wrong_length",
    ),
    "a medicine with a number for a name": ('{"medications": [{"name": 1}]}', NAME, "wrong_type"),
    "a condition without a key": ('{"conditions": [{}]}', "/conditions/0", "required"),
    "a condition as a string": ('{"conditions": ["dialysis"]}', "/conditions/0", "wrong_type"),
    "a code without a system": (
        '{"conditions": [{"code": {"code": "1"}}]}',
        "/conditions/0/code/system",
        "required",
    ),
    "a code that is a number": (
        f'{{"conditions": [{{"code": {{{CODING}, "code": 1}}}}]}}',
        "/conditions/0/code/code",
        "wrong_type",
    ),
    "a system that is no URI": (
        '{"conditions": [{"code": {"system": "SNOMED", "code": "1"}}]}',
        "/conditions/0/code/system",
        "wrong_pattern",
    ),
    "a system with a new line": (
        '{"conditions": [{"code": {"system": "http://snomed.info/sct\\n", "code": "1"}}]}',
        "/conditions/0/code/system",
        "wrong_pattern",
    ),
    # Shapes.
    "an object for an array": ('{"medications": {}}', "/medications", "wrong_type"),
    "a string for an array": ('{"goals": "sleep"}', "/goals", "wrong_type"),
    "an array for an object": ('{"labs": []}', "/labs", "wrong_type"),
    "an array for a result": ('{"labs": {"creatinine": [1.1]}}', "/labs/creatinine", "wrong_type"),
    "a number for a result": ('{"labs": {"creatinine": 1.1}}', "/labs/creatinine", "wrong_type"),
    "null for what is not known": ('{"medications": null}', "/medications", "null"),
    "null for a lab": ('{"labs": {"creatinine": null}}', "/labs/creatinine", "null"),
    "null for a goal": ('{"goals": [null]}', "/goals/0", "null"),
    "an array of patients": ("[{}]", "", "wrong_type"),
    "a string": ('"{}"', "", "wrong_type"),
    "null": ("null", "", "wrong_type"),
    "too many medicines": (
        json.dumps({"medications": [{"name": "digoxin"}] * 201}),
        "/medications",
        "too_many",
    ),
    "too many conditions": (
        json.dumps({"conditions": [{"key": "dialysis"}] * 201}),
        "/conditions",
        "too_many",
    ),
    "too many symptoms": (
        json.dumps({"symptoms": [{"key": "weakness"}] * 101}),
        "/symptoms",
        "too_many",
    ),
    # Doses.
    "a negative dose": (
        '{"supplements": {"vitamin_d": {"dose_iu_per_day": -400}}}',
        "/supplements/vitamin_d/dose_iu_per_day",
        "out_of_range",
    ),
    "a dose of zero": (
        '{"supplements": {"magnesium": {"elemental_mg_per_day": 0}}}',
        "/supplements/magnesium/elemental_mg_per_day",
        "out_of_range",
    ),
    "a dose with its unit": (
        '{"supplements": {"vitamin_d": {"dose_iu_per_day": "400 IU"}}}',
        "/supplements/vitamin_d/dose_iu_per_day",
        "wrong_type",
    ),
}

# Bodies that are not JSON, or not wholly: the pointer and code of their first fault, if it has a place.
NOT_JSON: dict[str, tuple[bytes, tuple[str, str] | None]] = {
    "nothing": (b"", None),
    "blanks": (b" \r\n\t", None),
    "a broken end": (b'{"labs": {', None),
    "two values": (b"{}{}", None),
    "single quotes": (b"{'goals': []}", None),
    "a trailing comma": (b'{"goals": ["sleep",]}', None),
    "a comment": (b"{} // no", None),
    "a tab in a string": (b'{"medications": [{"name": "a\tb"}]}', None),
    "a leading zero": (creatinine("01.1").encode(), None),
    "a leading point": (creatinine(".5").encode(), None),
    "a plus sign": (creatinine("+1.1").encode(), None),
    "a hexadecimal number": (creatinine("0x10").encode(), None),
    "a byte order mark": (b"\xef\xbb\xbf{}", None),
    "broken UTF-8": (b'{"medications": [{"name": "caf\xe9"}]}', None),
    "an overlong byte": (b'{"medications": [{"name": "\xc0\x80"}]}', None),
    "a surrogate as bytes": (b'{"medications": [{"name": "\xed\xa0\x80"}]}', None),
    "UTF-16": ('{"goals": []}'.encode("utf-16"), None),
    "UTF-32": ('{"goals": []}'.encode("utf-32-le"), None),
    "nested too deeply": (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), None),
    "a bottomless object": (b'{"labs": ' * 20000, None),
    "a bottomless array": (b"[" * 200000, None),
    "NaN": (creatinine("NaN").encode(), (VALUE, "not_a_number")),
    "Infinity": (creatinine("Infinity").encode(), (VALUE, "not_a_number")),
    "minus Infinity": (creatinine("-Infinity").encode(), (VALUE, "not_a_number")),
    "a repeated key": (b'{"goals": ["sleep"], "goals": []}', ("/goals", "repeated_key")),
    "a repeated value": (
        creatinine("1.1", more=', "value": 9').encode(),
        (VALUE, "repeated_key"),
    ),
    "a key repeated by an escape": (
        b'{"goals": [], "\\u0067oals": []}',
        ("/goals", "repeated_key"),
    ),
    "half a surrogate pair": (
        b'{"medications": [{"name": "\\ud83d"}]}',
        (NAME, "unpaired_surrogate"),
    ),
    "a pair in the wrong order": (
        b'{"medications": [{"name": "\\ude00\\ud83d"}]}',
        (NAME, "unpaired_surrogate"),
    ),
    "half a pair in a key": (b'{"\\udc00": 1}', ("/\N{REPLACEMENT CHARACTER}", "unpaired_surrogate")),
    "an endless integer": (creatinine("1" * 5000).encode(), (VALUE, "unreadable_number")),
    "an endless fraction": (creatinine("1." + "1" * 5000).encode(), (VALUE, "unreadable_number")),
    "an endless exponent": (creatinine("1e" + "9" * 30).encode(), (VALUE, "unreadable_number")),
}


def check_problem(response: TestResponse) -> dict[str, Any]:
    """Every refusal has this shape and no other."""
    assert response.content_type == PROBLEM
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = json.loads(response.data)
    assert {"type", "title", "status", "detail"} <= set(body)
    assert set(body) <= {"type", "title", "status", "detail", "errors", "errors_left_out"}
    assert body["status"] == response.status_code
    kind = KINDS[body["type"].removeprefix("/problems/")]
    assert (body["title"], body["status"]) == (kind.title, kind.status)
    assert body["detail"]
    assert b"<" not in response.data, "no HTML, not even a part of it"
    assert SECRET.encode() not in response.data
    assert b"Traceback" not in response.data
    for error in body.get("errors", []):
        assert set(error) == {"pointer", "code", "detail"}
        assert error["pointer"] == "" or error["pointer"].startswith("/")
    return body


@pytest.mark.parametrize(("body", "pointer", "code"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_a_near_miss_is_refused_where_it_is(client: FlaskClient, body: str, pointer: str, code: str) -> None:
    """Nothing is coerced: what is nearly right is refused with its place and a code."""
    response = post(client, body)
    assert response.status_code == 422
    errors = check_problem(response)["errors"]
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in errors}


@pytest.mark.parametrize(("body", "fault"), NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_json_is_refused(client: FlaskClient, body: bytes, fault: tuple[str, str] | None) -> None:
    """Decoding is strict, and says where a fault is when it has a place."""
    response = post(client, body)
    assert response.status_code == 400
    problem = check_problem(response)
    assert problem["type"] == "/problems/malformed-json"
    found = [(error["pointer"], error["code"]) for error in problem.get("errors", [])]
    assert found == ([fault] if fault else [])


ACCEPTED: dict[str, str] = {
    "nothing known": "{}",
    "empty parts": (
        '{"labs": {}, "vitals": {}, "medications": [], "conditions": [], "symptoms": [], '
        '"goals": [], "supplements": {}, "preferences": {}, "patient": {}}'
    ),
    "blanks around": " \n{}\n ",
    "today": '{"as_of": "2026-11-21"}',
    "tomorrow, which it is somewhere": '{"as_of": "2026-11-22"}',
    "a leap day": '{"as_of": "2024-02-29"}',
    "a whole number for a value": creatinine("1"),
    "an exponent in a value": creatinine("11e-1"),
    "a result of the same day": creatinine("1.1", more=', "collected_on": "2026-11-21"'),
    "umol/L": creatinine("97", "umol/L"),
    "a newborn": '{"patient": {"age_years": 0}}',
    "unknown said in words": '{"patient": {"sex": "unknown", "pregnancy": "unknown"}}',
    "no week yet": '{"supplements": {"vitamin_d": {"dose_iu_per_day": 0.1, "weeks": 0}}}',
    "supplements without detail": '{"supplements": {"magnesium": {}, "vitamin_d": {}}}',
    "a medicine no one knows": '{"medications": [{"name": "zzyzxomab 10 mg"}]}',
    "a name in another script": '{"medications": [{"name": "\\u30de\\u30b0 \\ud83d\\ude00"}]}',
    "a code system no one knows": ('{"conditions": [{"code": {"system": "urn:oid:1.2.3", "code": "x y"}}]}'),
    "a condition by key and code": (f'{{"conditions": [{{"key": "dialysis", "code": {{{CODING}, "code": "1"}}}}]}}'),
    "a condition twice": '{"conditions": [{"key": "dialysis"}, {"key": "dialysis"}]}',
    "as many medicines as may be": json.dumps({"medications": [{"name": "digoxin"}] * 200}),
    "the longest name": json.dumps({"medications": [{"name": "é" * 300}]}),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_what_fits_the_contract_is_answered(client: FlaskClient, body: str) -> None:
    """Strictness refuses nothing that the contract allows."""
    response = post(client, body)
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_all_faults_are_told_at_once(client: FlaskClient) -> None:
    """A caller mends a request in one go, not fault by fault; the order is always the same."""
    body = {
        "as_of": "soon",
        "patient": {"age_years": 7.5, "sex": "x"},
        "labs": {
            "creatinine": {"value": -1, "unit": "mg/dL", "collected_on": "2030-01-01", "note": ""},
            "egfr": {"value": "52", "unit": "ml/min"},
        },
        "goals": ["sleep", "sleep", "x"],
        "medications": [{"name": "digoxin"}, {}, {"name": 1, "since": "x"}],
        "other": 1,
    }
    response = post(client, json.dumps(body))
    errors = check_problem(response)["errors"]
    assert [(error["pointer"], error["code"]) for error in errors] == [
        ("/as_of", "not_a_date"),
        ("/goals/1", "repeated"),
        ("/goals/2", "unknown_value"),
        ("/labs/creatinine/collected_on", "date_in_future"),
        ("/labs/creatinine/note", "unknown_field"),
        ("/labs/creatinine/value", "out_of_range"),
        ("/labs/egfr/unit", "unknown_unit"),
        ("/labs/egfr/value", "wrong_type"),
        ("/medications/1", "required"),
        ("/medications/2/name", "wrong_type"),
        ("/medications/2/since", "not_a_date"),
        ("/other", "unknown_field"),
        ("/patient/age_years", "not_an_integer"),
        ("/patient/sex", "unknown_value"),
    ]


def test_all_faults_of_a_reading_are_told_at_once(client: FlaskClient) -> None:
    """The same for what is wrong with the JSON itself."""
    response = post(client, '{"a": NaN, "b": [1, {"c": 1, "c": "\\ud800"}], "a": Infinity}')
    errors = check_problem(response)["errors"]
    assert [(error["pointer"], error["code"]) for error in errors] == [
        ("/a", "not_a_number"),
        ("/b/1/c", "repeated_key"),
        ("/b/1/c", "unpaired_surrogate"),
        ("/a", "repeated_key"),
        ("/a", "not_a_number"),
    ]


def test_a_syntax_error_after_a_repeated_key_is_still_a_refusal(client: FlaskClient) -> None:
    """The second reading meets what the first did not come to."""
    assert check_problem(post(client, '{"a": {"b": 1, "b": 2}, '))["status"] == 400


def test_a_key_in_a_pointer_is_escaped_and_cut(client: FlaskClient) -> None:
    """A pointer can be followed, and cannot be used to send text through us."""
    body = json.dumps({"a/b~c": 1, "x" * 100: 1, "tab\there": 1})
    errors = check_problem(post(client, body))["errors"]
    assert {error["pointer"] for error in errors} == {
        "/a~1b~0c",
        "/" + "x" * 64 + "…",
        "/tab\N{REPLACEMENT CHARACTER}here",
    }


def test_a_flood_of_faults_is_cut_and_counted(client: FlaskClient) -> None:
    """A small body cannot ask for a huge answer."""
    body = json.dumps({f"k{number}": 1 for number in range(1000)})
    problem = check_problem(post(client, body))
    assert len(problem["errors"]) == SHOWN_AT_MOST
    assert problem["errors_left_out"] == 1000 - SHOWN_AT_MOST


def test_no_refusal_repeats_a_value(client: FlaskClient) -> None:
    """What was sent may be about a patient."""
    bodies: list[Any] = [
        {"patient": {"age_years": SECRET, "sex": SECRET}},
        {"labs": {"creatinine": {"value": SECRET, "unit": SECRET, "collected_on": SECRET}}},
        {"medications": [{"name": SECRET * 50, "route": SECRET, "since": SECRET}]},
        {"conditions": [{"key": SECRET, "code": {"system": SECRET, "code": [SECRET]}}]},
        {"goals": [SECRET], "symptoms": [{"key": SECRET}], "bowel_pattern": SECRET},
        SECRET,
    ]
    for body in bodies:
        response = post(client, json.dumps(body))
        assert response.status_code == 422
        check_problem(response)
    for text in (f'"{SECRET}', f'{{"name": {SECRET}}}', f'["{SECRET}", NaN]'):
        response = post(client, text)
        assert response.status_code == 400
        check_problem(response)


# Around the body.


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "Application/JSON; Charset=UTF-8",
    ],
)
def test_json_in_utf_8_is_taken(client: FlaskClient, content_type: str) -> None:
    """However the media type is spelled."""
    assert post(client, "{}", content_type=content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/fhir+json",
        "application/jsonp",
        "application/json, application/json",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-16",
    ],
)
def test_another_content_type_is_refused(client: FlaskClient, content_type: str | None) -> None:
    """A body is not taken for JSON because it looks like it."""
    response = post(client, "{}", content_type=content_type)
    assert response.status_code == 415
    assert response.headers["Accept"] == "application/json"
    check_problem(response)


def test_a_compressed_body_is_refused(client: FlaskClient) -> None:
    """A small body must not become a large one."""
    response = post(client, "{}", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert response.headers["Accept-Encoding"] == "identity"
    check_problem(response)


def test_a_body_over_the_limit_is_refused(client: FlaskClient) -> None:
    """Exactly the limit is taken, one byte more is not."""
    assert post(client, b"{}" + b" " * (LARGEST_BODY - 2)).status_code == 200
    response = post(client, b"{}" + b" " * (LARGEST_BODY - 1))
    assert response.status_code == 413
    check_problem(response)


def test_a_body_over_the_limit_that_does_not_say_so_is_refused(client: FlaskClient) -> None:
    """The limit holds for a body in chunks, whose length is not announced."""
    in_chunks: dict[str, Any] = {
        "environ_overrides": {"wsgi.input_terminated": True},
        "headers": {"Transfer-Encoding": "chunked"},
    }
    assert post(client, b"{}" + b" " * (LARGEST_BODY - 2), **in_chunks).status_code == 200
    response = post(client, b"{}" + b" " * (LARGEST_BODY - 1), **in_chunks)
    assert response.status_code == 413
    check_problem(response)


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        "application/*",
        "application/json; charset=utf-8",
        "text/html, application/json;q=0.1",
        "APPLICATION/JSON",
        "application/problem+json, application/json",
        "",
    ],
)
def test_an_accept_header_that_can_be_met(client: FlaskClient, accept: str) -> None:
    """Parameters and order do not matter."""
    assert post(client, "{}", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/xml",
        "text/*",
        "application/json;q=0",
        "*/*, application/json;q=0.0",
        "application/*;q=0, */*",
        "application/problem+json",
        "json",
        ";;,",
    ],
)
def test_an_accept_header_that_cannot_be_met(client: FlaskClient, accept: str) -> None:
    """Said, rather than answered with what was not wanted."""
    response = post(client, "{}", headers={"Accept": accept})
    assert response.status_code == 406
    check_problem(response)


def test_a_query_that_would_be_ignored_is_refused(client: FlaskClient) -> None:
    """as_of in the address must not look as if it had been taken."""
    response = client.post(f"{EVALUATIONS}?as_of=2026-01-01", data="{}", content_type="application/json")
    assert response.status_code == 400
    check_problem(response)


class _BreaksOff(io.RawIOBase):
    """A body that the server cannot read to its end; what it says then is its own affair."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        raise RuntimeError(SECRET)


def test_a_body_that_cannot_be_read_is_a_bad_request(client: FlaskClient) -> None:
    """Whatever the server raises over it."""
    response = client.post(
        EVALUATIONS,
        content_type="application/json",
        environ_overrides={"wsgi.input": _BreaksOff(), "wsgi.input_terminated": True},
    )
    assert response.status_code == 400
    assert check_problem(response)["type"] == "/problems/bad-request"


def test_a_body_shorter_than_its_length_is_a_bad_request(client: FlaskClient) -> None:
    """What arrived is a whole request, and still not the one that was meant."""
    response = client.post(
        EVALUATIONS,
        content_type="application/json",
        environ_overrides={"wsgi.input": io.BytesIO(b"{}"), "CONTENT_LENGTH": "40", "wsgi.input_terminated": True},
    )
    assert response.status_code == 400
    assert check_problem(response)["type"] == "/problems/bad-request"


# Methods and addresses.

READABLE = [
    "/v1/knowledge",
    "/v1/rules",
    "/v1/forms",
    "/v1/vocabulary",
    "/problems/invalid-input",
    "/openapi.json",
]
PROBES = ["/livez", "/readyz"]
PAGE = ["/docs", "/docs/start.js", "/docs/swagger-ui.js", "/docs/swagger-ui.css"]


def refusals() -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests that are refused, of every status that can be had from outside."""
    yield "404", {"path": "/"}
    yield "404", {"path": "/v1"}
    yield "404", {"path": "/v1/knowledge/"}
    yield "404", {"path": "//v1//knowledge"}
    yield "404", {"path": "/v1/rules/no-such-rule"}
    yield "404", {"path": "/v1/rules/%00"}
    yield "404", {"path": "/v1/rules/..%2f..%2fetc"}
    yield "404", {"path": "/problems/no-such-problem"}
    yield "404", {"path": f"/v1/patients/{SECRET}"}
    yield "404", {"path": "/docs/../settings.py"}
    yield "404", {"path": EVALUATIONS + "/1", "method": "POST"}
    for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE", "HEAD", "QUERY"):
        yield "405", {"path": EVALUATIONS, "method": method}
    for path in READABLE + PROBES + PAGE:
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
            yield "405", {"path": path, "method": method}
    yield "405", {"path": EVALUATIONS, "method": "PUT", "content_type": "text/plain"}
    for path in READABLE:
        yield "406", {"path": path, "headers": {"Accept": "text/html"}}
    yield "406", {"path": "/docs", "headers": {"Accept": "application/json"}}
    yield "400", {"path": "/v1/knowledge?verbose=1"}
    yield "400", {"path": EVALUATIONS, "method": "POST", "content_type": "application/json"}
    yield (
        "413",
        {
            "path": EVALUATIONS,
            "method": "POST",
            "content_type": "application/json",
            "data": b" " * (LARGEST_BODY + 1),
        },
    )
    yield "415", {"path": EVALUATIONS, "method": "POST", "data": SECRET}
    yield "422", {"path": EVALUATIONS, "method": "POST", "json": {"goals": SECRET}}


def test_every_refusal_has_the_one_shape(client: FlaskClient) -> None:
    """Whoever refuses, Flask or we, it looks the same and is never HTML."""
    seen = set()
    for status, options in refusals():
        response = client.open(**options)
        assert response.status == status or response.status_code == int(status), options
        if options.get("method") == "HEAD":
            assert response.content_type == PROBLEM
            assert response.data == b""
        else:
            check_problem(response)
        seen.add(status)
    assert seen == {"400", "404", "405", "406", "413", "415", "422"}


def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient) -> None:
    """405 says what would have been allowed, before anything else is looked at."""
    response = client.put(EVALUATIONS, data="x", content_type="text/plain")
    assert (response.status_code, response.headers["Allow"]) == (405, "OPTIONS, POST")
    check_problem(response)
    response = client.delete("/v1/rules")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [EVALUATIONS, *READABLE, *PROBES, *PAGE])
def test_options_tells_the_methods(client: FlaskClient, path: str) -> None:
    """With no body, and so no HTML."""
    response = client.options(path)
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    allowed = "OPTIONS, POST" if path == EVALUATIONS else "GET, HEAD, OPTIONS"
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("path", [*READABLE, *PROBES, *PAGE])
def test_head_is_get_without_the_body(client: FlaskClient, path: str) -> None:
    """The same headers, nothing else."""
    get, head = client.get(path), client.head(path)
    assert (get.status_code, head.status_code, head.data) == (200, 200, b"")
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize("path", [*READABLE, *PAGE])
def test_what_does_not_change_is_not_sent_twice(client: FlaskClient, path: str) -> None:
    """An ETag, and 304 for those who have it."""
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.data) == (200, first.data)


def test_a_condition_on_a_change_is_no_condition_on_reading(client: FlaskClient) -> None:
    """If-Match guards what a request changes; nothing here can be changed."""
    response = client.get("/v1/knowledge", headers={"If-Match": '"another"'})
    assert (response.status_code, response.data) == (200, client.get("/v1/knowledge").data)


@pytest.mark.parametrize("path", [*READABLE, *PROBES, *PAGE])
def test_every_answer_has_the_safe_headers(client: FlaskClient, path: str) -> None:
    """No sniffing, no framing, no referrer."""
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_is_answered_whatever_it_accepts(client: FlaskClient, path: str) -> None:
    """A probe must not fail over a header."""
    assert client.get(f"{path}?t=1", headers={"Accept": "text/plain"}).status_code == 200


def test_every_problem_type_is_explained_where_it_points(client: FlaskClient) -> None:
    """The type of a problem is an address, and there is something there."""
    for slug, kind in KINDS.items():
        body = json.loads(client.get(f"/problems/{slug}").data)
        assert body == {
            "type": f"/problems/{slug}",
            "title": kind.title,
            "status": kind.status,
            "meaning": kind.meaning,
        }


def test_every_rule_can_be_read(client: FlaskClient) -> None:
    """The list leads to each."""
    rules = json.loads(client.get("/v1/rules").data)["rules"]
    assert rules
    for rule in rules:
        assert json.loads(client.get(f"/v1/rules/{rule['id']}").data)["id"] == rule["id"]


# The page.


def test_the_page_asks_nobody_else_for_anything(client: FlaskClient) -> None:
    """All that /docs loads comes from here, and the policy lets nothing else through."""
    page = client.get("/docs")
    assert page.content_type == "text/html; charset=utf-8"
    assert b"http:" not in page.data
    assert b"https:" not in page.data
    assert b"<style" not in page.data
    assert b" style=" not in page.data
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert client.get("/docs/swagger-ui.js").content_type == "text/javascript; charset=utf-8"
    assert client.get("/docs/swagger-ui.css").content_type == "text/css; charset=utf-8"


@needs_browser
def test_the_page_shows_the_operations_in_a_browser(app: Flask, tmp_path: Path) -> None:
    """Under its own strict policy, with no network but this service."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = page_at(f"http://127.0.0.1:{server.server_port}/docs#/evaluations/create_evaluation", tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert "/v1/evaluations" in page
    assert "/v1/rules/" in page
    assert re.search(r"<button[^>]*>Execute</button>", page), "there is no way to try it"


# What goes wrong on our side.


def test_without_a_certain_answer_there_is_none(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the evaluators disagree the caller gets an error, never a part of an answer."""

    def fail(*_: object) -> None:
        raise IncompleteEvaluation(f"they differ about {SECRET}")

    monkeypatch.setattr(Assessor, "evaluate", fail)
    _check_our_fault(post(client, "{}"), "no-safe-answer")


def test_a_fault_of_ours_shows_nothing(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the answer nor the log repeats what an exception says."""

    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(Assessor, "evaluate", fail)
    _check_our_fault(post(client, "{}"), "internal-error")


def _check_our_fault(response: TestResponse, slug: str) -> None:
    assert response.status_code == 500
    assert check_problem(response)["type"] == f"/problems/{slug}"


def test_a_service_that_cannot_evaluate_is_not_ready(
    client: FlaskClient, lines: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alive, takes no patients, and says in the log what ails it, without its text."""

    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Assessor, "evaluate", fail)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert check_problem(response)["type"] == "/problems/not-ready"
    assert client.get("/livez").status_code == 200
    fault = json.loads(logging.getLogger("service").handlers[0].format(lines[0]))
    assert (fault["event"], fault["error"], fault["route"]) == ("not-ready", "RuntimeError", "/readyz")
    assert fault["where"][-1].endswith(" fail")
    assert SECRET not in json.dumps(fault)


def test_a_service_whose_self_test_fails_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, rather than one that might be asked."""

    def fail(_: object) -> None:
        raise IncompleteEvaluation("a rule does not fire where it should")

    monkeypatch.setattr(Assessor, "self_test", fail)
    with pytest.raises(IncompleteEvaluation):
        create_app(Settings())


# The log.


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What the service logs meanwhile."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep()
    logger = logging.getLogger("service")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield records
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_a_request_is_one_line_without_the_patient(client: FlaskClient, lines: list[logging.LogRecord]) -> None:
    """Method, route, status and time; no body, no path, no query."""
    handler = logging.getLogger("service").handlers[0]
    post(client, json.dumps({"medications": [{"name": SECRET}]}))
    client.get(f"/v1/rules/{SECRET}?{SECRET}={SECRET}")
    client.get(f"/{SECRET}")
    logged = [json.loads(handler.format(record)) for record in lines]
    assert [(one["method"], one["route"], one["status"]) for one in logged] == [
        ("POST", EVALUATIONS, 200),
        ("GET", "/v1/rules/<rule_id>", 400),
        ("GET", None, 404),
    ]
    assert all(one["duration_ms"] >= 0 for one in logged)
    assert SECRET not in json.dumps(logged)


def test_a_method_of_the_callers_own_is_not_logged(client: FlaskClient, lines: list[logging.LogRecord]) -> None:
    """It could be anything, as a path could."""
    for method in ("PATCH", "JANE-ROE-1952"):
        assert client.open(EVALUATIONS, method=method).status_code == 405
    handler = logging.getLogger("service").handlers[0]
    assert [json.loads(handler.format(record))["method"] for record in lines] == ["PATCH", None]


def test_a_fault_of_ours_is_logged_by_its_place(
    client: FlaskClient, lines: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it happened and of what kind, not what it says."""

    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(Assessor, "evaluate", fail)
    post(client, json.dumps({"medications": [{"name": SECRET}]}))
    handler = logging.getLogger("service").handlers[0]
    fault = json.loads(handler.format(lines[0]))
    assert (fault["level"], fault["error"]) == ("error", "KeyError")
    assert fault["where"][-1].endswith(" fail")
    assert SECRET not in json.dumps([json.loads(handler.format(record)) for record in lines])


def test_the_same_request_gives_the_same_bytes(client: FlaskClient) -> None:
    """Also when its keys come in another order."""
    forward = {"as_of": "2026-11-20", "goals": ["sleep"], "patient": {"sex": "male", "age_years": 50}}
    backward = {
        "patient": {"age_years": 50, "sex": "male"},
        "goals": ["sleep"],
        "as_of": "2026-11-20",
    }
    first = post(client, json.dumps(forward)).data
    assert first == post(client, json.dumps(forward)).data
    assert first == post(client, json.dumps(backward)).data
