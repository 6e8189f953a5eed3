"""How cautions are made of the rows that speak of one drug: who speaks, for whom, and what is taken for granted."""

from typing import Any

import pytest
from flask.testing import FlaskClient


def cautions(client: FlaskClient, *medications: dict[str, Any]) -> list[dict[str, Any]]:
    """Of an adult with good kidneys who wants magnesium."""
    body = {
        "as_of": "2026-11-20",
        "patient": {"age_years": 52, "sex": "female", "pregnancy": "none"},
        "labs": {"egfr": {"value": 82, "unit": "mL/min/{1.73_m2}"}},
        "medications": list(medications),
        "conditions": [],
        "symptoms": [],
        "goals": ["general_repletion"],
        "bowel_pattern": "normal",
        "supplements": {},
    }
    answer = client.post("/v1/evaluations", json=body)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.get_json()["cautions"]
    return found


ASSUMED = "The route of ciprofloxacin was not stated; it is taken to be by mouth."


@pytest.mark.parametrize(
    ("medication", "assumed"),
    [
        ({"name": "ciprofloxacin"}, True),
        ({"name": "ciprofloxacin 500 mg twice daily"}, True),
        ({"name": "ciprofloxacin 500 mg oral tablet"}, False),
        ({"name": "ciprofloxacin", "route": "oral"}, False),
    ],
)
def test_a_route_that_is_taken_for_granted_is_said(
    client: FlaskClient, medication: dict[str, Any], assumed: bool
) -> None:
    """Unknown means by mouth, and the caution says so; a route that was given is not mentioned."""
    (caution,) = cautions(client, medication)
    assert caution["code"] == "magnesium-fluoroquinolone-chelation"
    assert (ASSUMED in caution["limitations"]) is assumed


def test_a_route_is_taken_for_granted_for_one_medicine_only(client: FlaskClient) -> None:
    """Of two medicines only the one without a route is named."""
    found = cautions(client, {"name": "ciprofloxacin"}, {"name": "doxycycline", "route": "oral"})
    said = {one["code"]: [text for text in one["limitations"] if "was not stated" in text] for one in found}
    assert said == {"magnesium-fluoroquinolone-chelation": [ASSUMED], "magnesium-tetracycline-chelation": []}


def test_of_two_cautions_alike_the_one_that_asks_for_more_speaks(client: FlaskClient) -> None:
    """Moxifloxacin binds magnesium and prolongs the QT interval: the hours come first, the rest is added."""
    (caution,) = cautions(client, {"name": "moxifloxacin", "route": "oral"})
    assert (caution["code"], caution["severity"]) == ("magnesium-fluoroquinolone-chelation", "major")
    assert len(caution["codes"]) > 1
    assert caution["codes"][0] == caution["code"]
    assert caution["spacing"] == {"hours_before": 6, "hours_after": 8}
    assert "QT" in caution["detail"]
    assert {one["rule"]["id"] for one in caution["grounds"]} >= {"mg-fq-moxifloxacin", "mg-deplete-qt"}


def test_a_row_speaks_of_its_own_medicines(client: FlaskClient) -> None:
    """A row that asks for a second medicine writes no caution as if that one were its own."""
    found = cautions(
        client, {"name": "magnesium trisilicate", "route": "oral"}, {"name": "nitrofurantoin", "route": "oral"}
    )
    assert not [one["summary"] for one in found if "lowers magnesium trisilicate" in one["summary"]]
    nitrofurantoin = [one for one in found if "nitrofurantoin" in one["summary"]]
    assert [one["code"] for one in nitrofurantoin] == ["magnesium-nitrofurantoin-adsorption"]
    assert {one["pointer"] for one in nitrofurantoin[0]["triggered_by"]} >= {"/medications/1"}
