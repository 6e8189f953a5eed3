"""A CDS Hooks call with eight prefetch Bundles, as an EHR would send it, and where the time of one goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import orjson

from bench.layers import fastest
from service.api.decode import decode
from service.api.outcomes import DEEPEST_CALL
from service.api.schemas import RequestReader
from service.assessment import Assessor
from service.fhir import ChartReader
from service.hooks.cards import Call, CardWriter
from service.hooks.ids import Ids
from service.hooks.schema import check_response, read_request
from service.knowledge import load_rulebook
from service.knowledge.hooks_file import load_hooks
from service.settings import Settings

SERVICE = "mgvd-order-sign"
PATH = f"/cds-services/{SERVICE}"
_PATIENT = {"reference": "Patient/bench"}
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_TODAY = date(2026, 11, 21)


def call_body() -> bytes:
    """Signing ciprofloxacin for a man of 62 on magnesium oxide, whose results and lists are all there."""
    results = {
        "vitd25oh": _results("62292-8", "25-hydroxyvitamin D", 22, "ng/mL", 3),
        "magnesium": _results("19123-9", "Magnesium", 2, "mg/dL", 3),
        "creatinine": _results("2160-0", "Creatinine", 1, "mg/dL", 3),
        "egfr": _results("98979-8", "eGFR", 78, "mL/min/{1.73_m2}", 3),
        "calcium": _results("17861-6", "Calcium", 9, "mg/dL", 3),
    }
    taken = {
        "medications": [_order(f"m{at}", *one, "active") for at, one in enumerate(_TAKEN)],
        "otc": [{**_order("s0", "198741", "magnesium oxide 400 MG Oral Tablet", "active"), "effectiveDateTime": _WHEN}],
    }
    taken["otc"][0]["resourceType"] = "MedicationStatement"
    conditions = [
        _condition("c0", "38341003", "Hypertensive disorder"),
        _condition("c1", "44054006", "Type 2 diabetes"),
    ]
    patient = {"resourceType": "Patient", "id": "bench", "birthDate": "1964-03-02", "gender": "male"}
    draft = _order("d0", "309309", "ciprofloxacin 500 MG Oral Tablet", "draft")
    call = {
        "hook": "order-sign",
        "hookInstance": "7d0cc7b2-3f0b-4cf0-8ea4-2f7d3f9a1c11",
        "context": {"userId": "Practitioner/bench", "patientId": "bench", "draftOrders": _bundle([draft])},
        "prefetch": {
            "patient": patient,
            **{key: _bundle(found) for key, found in (results | taken | {"conditions": conditions}).items()},
        },
    }
    return orjson.dumps(call)


_WHEN = "2026-11-02T08:30:00Z"
_TAKEN = (
    ("310798", "hydrochlorothiazide 25 MG Oral Tablet"),
    ("860975", "metformin hydrochloride 500 MG Oral Tablet"),
    ("617318", "atorvastatin 20 MG Oral Tablet"),
)


def _bundle(resources: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"https://ehr.example/fhir/{one['resourceType']}/{one['id']}", "resource": one} for one in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def _results(loinc: str, name: str, value: int, unit: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "resourceType": "Observation",
            "id": f"{loinc}-{at}",
            "status": "final",
            "category": [{"coding": [{"code": "laboratory"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": loinc, "display": name}], "text": name},
            "subject": _PATIENT,
            "effectiveDateTime": f"2026-{11 - at:02}-02T08:30:00Z",
            "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
        }
        for at in range(count)
    ]


def _order(key: str, rxnorm: str, name: str, status: str) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": key,
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": _RXNORM, "code": rxnorm, "display": name}], "text": name},
        "subject": _PATIENT,
        "authoredOn": _WHEN,
        "dosageInstruction": [{"text": "1 tablet by mouth daily"}],
    }


def _condition(key: str, snomed: str, name: str) -> dict[str, Any]:
    active = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    return {
        "resourceType": "Condition",
        "id": key,
        "clinicalStatus": active,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": snomed, "display": name}], "text": name},
        "subject": _PATIENT,
    }


def measure_call() -> dict[str, float]:
    """Microseconds of each layer for one call."""
    settings = Settings()
    rulebook = load_rulebook(settings.rules)
    hooks = load_hooks(settings.rules, rulebook.vocabulary)
    assessor = Assessor(rulebook)
    reader = RequestReader(rulebook.vocabulary)
    charts = ChartReader(rulebook.vocabulary, assessor.recogniser)
    ids = Ids(b"the key of a measurement", {key: rule.version for key, rule in rulebook.rules.items()})
    writer = CardWriter(rulebook, hooks, assessor.recogniser, ids, "http://127.0.0.1:8000")
    service = hooks.services[SERVICE]
    body = call_body()
    parsed = decode(body, DEEPEST_CALL)
    said = read_request(service.hook, parsed)

    def read_chart() -> Any:
        context = said["context"]
        return charts.read(context["patientId"], said["prefetch"], _TODAY, draft_orders=context["draftOrders"])

    chart = read_chart()
    request = reader.read(chart.body, _TODAY)
    answer = assessor.evaluate(request)
    call = Call(service, said["context"])
    response = writer.response(call, answer, chart)
    layers: dict[str, Callable[[], Any]] = {
        "parse": lambda: decode(body, DEEPEST_CALL),
        "validate the call": lambda: read_request(service.hook, parsed),
        "read FHIR": read_chart,
        "validate the body": lambda: reader.read(chart.body, _TODAY),
        "evaluate": lambda: assessor.evaluate(request),
        "cards": lambda: writer.response(call, answer, chart),
        "  of which checks": lambda: check_response(response, service.most_cards),
        "encode": lambda: orjson.dumps(response),
    }
    return fastest(layers)
