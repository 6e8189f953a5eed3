"""FHIR R4 in: what an EHR sends becomes a body of POST /v1/evaluations, and a note of all that was not used."""

from service.fhir.chart import Chart, Draft, Note, Shown, State, Status
from service.fhir.read import ChartReader

__all__ = ["Chart", "ChartReader", "Draft", "Note", "Shown", "State", "Status"]
