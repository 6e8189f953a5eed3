"""What the values mean, with the authority whose threshold it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from service.assessment.derive import in_unit, shown_gfr
from service.assessment.picture import Picture
from service.assessment.trace import plain
from service.knowledge.rule import Rule
from service.knowledge.rulebook import Rulebook


def interpret(
    rulebook: Rulebook,
    fired: Sequence[Rule],
    picture: Picture,
    evidence: Mapping[str, list[dict[str, Any]]],
    intakes: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Status of each lab that has a band table, and the reference intakes of this person."""
    result: dict[str, Any] = {}
    for rule in fired:
        if rule.kind == "band":
            said = rule.then["interpretation"]
            result[said["lab"]] = {
                **_value(said["lab"], picture),
                "status": said["status"],
                "label": said["label"],
                "meaning": said["meaning"],
                "authority": said["authority"],
                "other_authorities": _others(rulebook, said, picture),
                "rule": {"id": rule.id, "version": rule.version},
                "evidence": evidence[rule.id],
                **_details(said, picture),
            }
    result["reference_intakes"] = [intakes[rule.id] for rule in fired if rule.kind == "intake"]
    return result


def reference_intake(rule: Rule) -> dict[str, Any]:
    """What a reference intake says: always the same."""
    said = {key: plain(value) for key, value in rule.then["intake"].items()}
    return {**said, "rule": {"id": rule.id, "version": rule.version}}


def _value(lab: str, picture: Picture) -> dict[str, Any]:
    labs = picture.request.get("labs", {})
    if lab == "egfr" and picture.egfr is not None:
        deciding = picture.egfr.deciding
        used = ("egfr",) if deciding is None else deciding.used
        unit = "mL/min/{1.73_m2}"
        value: Any = plain(picture.egfr.reported) if deciding is None else shown_gfr(deciding.value)
        return {"value": value, "unit": unit, "collected_on": _oldest(labs, used)}
    if lab == "calcium_adjusted" and picture.calcium is not None:
        calcium = picture.calcium
        return {"value": plain(calcium.value), "unit": calcium.unit, "collected_on": _oldest(labs, calcium.used)}
    result = labs[lab]
    return {
        "value": plain(result["value"]),
        "unit": result["unit"],
        "collected_on": _day(result.get("collected_on")),
    }


def _details(said: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    if said["lab"] == "egfr" and picture.egfr is not None:
        egfr = picture.egfr
        return {
            "stage": said["status"],
            "equation": egfr.deciding.equation if egfr.deciding is not None else None,
            "reported": plain(egfr.reported),
            "calculated": [{"equation": one.equation, "value": shown_gfr(one.value)} for one in egfr.calculated],
        }
    if said["lab"] == "calcium_adjusted" and picture.calcium is not None:
        return {"from_albumin": picture.calcium.from_albumin}
    return {}


def _others(rulebook: Rulebook, said: Mapping[str, Any], picture: Picture) -> list[dict[str, str]]:
    """The same value under other authorities, compared in the unit it was reported in."""
    if not said["other_authorities"]:
        return []
    result = picture.request["labs"][said["lab"]]
    printed = rulebook.vocabulary.labs[said["lab"]].units[result["unit"]].printed_as
    value = in_unit(rulebook.vocabulary, said["lab"], result, printed)
    return [
        {"authority": other["authority"], "label": _label(other, value, printed)} for other in said["other_authorities"]
    ]


def _label(other: Mapping[str, Any], value: Decimal, unit: str) -> str:
    for band in other["bands"]:
        edge = next((one.value for one in band.get("to", ()) if one.unit == unit), None)
        if edge is None or value < edge:
            label: str = band["label"]
            return label
    statement: str = other.get("statement", "No threshold given.")
    return statement


def _oldest(labs: Mapping[str, Any], used: Sequence[str]) -> str | None:
    """The day of the oldest part of a value; None where no part has a day."""
    days = [labs[key]["collected_on"] for key in used if "collected_on" in labs[key]]
    return _day(min(days, default=None))


def _day(value: Any) -> str | None:
    return None if value is None else value.isoformat()
