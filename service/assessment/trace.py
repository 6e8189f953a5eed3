"""Why a rule ended as it did: the inputs that made it fire, and those it would need to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from operator import itemgetter
from typing import Any

from service.assessment.derive import labs_used
from service.assessment.picture import Picture
from service.evaluator import build_explainers
from service.knowledge.criteria import atoms
from service.knowledge.inputs import Input
from service.knowledge.interactions import drug_group
from service.knowledge.rule import Rule
from service.knowledge.rulebook import Rulebook


@dataclass(frozen=True)
class Trigger:
    """A place in the request and what was said there."""

    pointer: str
    display: str


_DIGITS = 4
"""Digits of a measured number that are shown, unless there are more before the point."""

Order = tuple[tuple[bool, int, str], ...]
"""The parts of a JSON Pointer, so that positions sort as numbers."""

Places = list[tuple[Order, Trigger]]


class Tracer:
    """Explains outcomes of the rules of one rulebook."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._members = {name: one.members for name, one in rulebook.inputs.items()}
        self._shown_as: dict[str, set[str]] = {}
        for key, one in rulebook.vocabulary.drugs.items():
            self._shown_as.setdefault(one.display, set()).add(key)
        self._fixed_places = {name: _fixed_place(one) for name, one in rulebook.inputs.items()}
        self._only_place = {rule.id: self._place_of_all(rule) for rule in rulebook.rules.values()}
        self._explainers = build_explainers(list(rulebook.rules.values()), list(rulebook.inputs))

    def triggers(self, rule: Rule, picture: Picture, seen: dict[str, Places]) -> list[Trigger]:
        """What in the request made the rule fire, in the order of the request's keys.

        ``seen`` keeps the places of this picture's inputs from one rule to the next.
        """
        found: dict[str, tuple[Order, Trigger]] = {}
        for name in dict.fromkeys(self._explainers[rule.id].holding(picture.low, picture.high)):
            if name not in seen:
                places = (trigger for one in self._members[name] for trigger in self.places(one, picture))
                seen[name] = [(_order(one.pointer), one) for one in places]
            for place in seen[name]:
                found.setdefault(place[1].pointer, place)
        return [trigger for _, trigger in sorted(found.values(), key=itemgetter(0))]

    def missing(self, rule: Rule, picture: Picture) -> list[str]:
        """The places of the request that a value would have to be given at."""
        only = self._only_place[rule.id]
        if only is not None:
            return only
        names = self._explainers[rule.id].missing(picture.low, picture.high)
        pointers: set[str] = set()
        for name in dict.fromkeys(names):
            fixed = self._fixed_places[name]
            if fixed is not None:
                pointers.add(fixed)
            else:
                pointers.update(place for one in self._members[name] for place in self.missing_places(one, picture))
        return sorted(pointers)

    def _place_of_all(self, rule: Rule) -> list[str] | None:
        """Where whatever a rule wants to know would be said, if that is always the same place."""
        places = {self._fixed_places[atom.input] for atom in atoms(rule.criterion, exposed=True)}
        only = places.pop() if len(places) == 1 else None
        return [only] if only is not None else None

    def unknown_criteria(self, rule: Rule, picture: Picture) -> list[str]:
        """The named criteria of a rule that are unknown."""
        return self._explainers[rule.id].unknown(picture.low, picture.high)

    # Places in the request.

    def places(self, one: Input, picture: Picture) -> list[Trigger]:
        """Where the value of an input was said, and how to show it."""
        request = picture.request
        match one.kind:
            case "age_years":
                return [Trigger("/patient/age_years", f"{request['patient']['age_years']} years")]
            case "sex":
                said = request.get("patient", {}).get("sex")
                return [Trigger("/patient/sex", str(said))] if said == one.key else []
            case "pregnancy":
                said = request.get("patient", {}).get("pregnancy")
                known = self._rulebook.vocabulary.conditions
                implied = [key for key in picture.conditions if known[key].pregnancy == one.key]
                return [
                    *([Trigger("/patient/pregnancy", str(said))] if said == one.key else []),
                    *(
                        Trigger(f"/conditions/{at}", known[key].display)
                        for key in implied
                        for at in picture.conditions[key]
                    ),
                ]
            case "bowel_pattern":
                said = request.get("bowel_pattern")
                return [Trigger("/bowel_pattern", str(said))] if said == one.key else []
            case "lab_sent":
                return [Trigger(f"/labs/{one.key}", self.show_lab(one.key, request["labs"][one.key]))]
            case "lab_value" | "lab_reported" | "lab_age" | "lab_measured" | "derived":
                return [
                    Trigger(f"/labs/{key}", self.show_lab(key, request["labs"][key]))
                    for key in self.labs_behind(one.key if one.kind != "derived" else "egfr", picture)
                ]
            case "vital":
                vital = request.get("vitals", {}).get(one.key)
                if vital is None:
                    return []
                display = self._rulebook.vocabulary.vitals[one.key].display
                return [Trigger(f"/vitals/{one.key}", f"{display} {shown_value(vital['value'])} {vital['unit']}")]
            case "condition":
                display = self._rulebook.vocabulary.conditions[one.key].display
                return [Trigger(f"/conditions/{index}", display) for index in picture.conditions.get(one.key, ())]
            case "symptom":
                display = self._rulebook.vocabulary.symptoms[one.key].display
                return [
                    Trigger(f"/symptoms/{index}", display)
                    for index, symptom in enumerate(request["symptoms"])
                    if symptom["key"] == one.key
                ]
            case "drug" | "drug_days":
                return [
                    Trigger(f"/medications/{index}", self._show_medication(index, picture))
                    for index in picture.group_positions.get(one.key, ())
                ]
            case "medication_check":
                return [
                    Trigger(f"/medications/{index}", self._show_medication(index, picture))
                    for index in picture.conflicts
                ]
            case "goal":
                goals = request["goals"]
                return [Trigger(f"/goals/{goals.index(one.key)}", one.key)] if one.key in goals else []
            case "supplement" | "supplement_form" | "supplement_dose" | "supplement_weeks":
                agent, _, form = one.key.partition("/")
                taken = request.get("supplements", {}).get(agent)
                if taken is None or (form and taken.get("form") != form):
                    return []
                return [Trigger(f"/supplements/{agent}", self.show_supplement(agent, request))]
            case "preference":
                name = one.key.partition("_")[0] if one.key.startswith("region_") else one.key
                return [Trigger(f"/preferences/{name}", one.key.replace("_", " "))]
            case "stated":
                return []

    def missing_places(self, one: Input, picture: Picture) -> list[str]:
        """Where the value of an unknown input would be said."""
        match one.kind:
            case "drug_days":
                undated = [
                    f"/medications/{index}/since"
                    for index in picture.group_positions.get(one.key, ())
                    if "since" not in picture.request["medications"][index]
                ]
                return undated or ["/medications"]
            case "supplement" | "supplement_form" | "supplement_dose" | "supplement_weeks":
                agent = one.key.partition("/")[0]
                if agent not in picture.request.get("supplements", {}):
                    return ["/supplements"]
                names = {"supplement_form": "form", "supplement_weeks": "weeks"}
                dose = "elemental_mg_per_day" if agent == "magnesium" else "dose_iu_per_day"
                return [f"/supplements/{agent}/{names.get(one.kind, dose)}"]
            case _:
                fixed = _fixed_place(one)
                return [fixed] if fixed is not None else []

    def labs_behind(self, key: str, picture: Picture) -> list[str]:
        """The labs of the request that a value rests on."""
        values = labs_used(key, picture.request.get("labs", {}), picture.egfr, picture.calcium)
        return list(dict.fromkeys(lab for used in values for lab in used))

    # How values are shown.

    def show_lab(self, key: str, result: Mapping[str, Any]) -> str:
        """``Serum magnesium 0.58 mmol/L on 2026-11-10``."""
        day = result.get("collected_on")
        when = f" on {day.isoformat()}" if day is not None else ""
        return f"{self._rulebook.vocabulary.labs[key].display} {shown_value(result['value'])} {result['unit']}{when}"

    def show_supplement(self, agent: str, request: Mapping[str, Any]) -> str:
        """The supplement as reported: dose, form and duration as far as they were said."""
        said = request["supplements"][agent]
        vocabulary = self._rulebook.vocabulary
        if agent == "magnesium":
            form = said.get("form")
            name = vocabulary.forms[form].display if form is not None else "Magnesium"
            dose = f"{plain(said['elemental_mg_per_day'])} mg/day elemental" if "elemental_mg_per_day" in said else ""
        else:
            name = f"Vitamin D ({said['form']})" if "form" in said else "Vitamin D"
            dose = f"{plain(said['dose_iu_per_day'])} IU/day" if "dose_iu_per_day" in said else ""
        weeks = f"for {said['weeks']} weeks" if "weeks" in said else ""
        return " ".join(part for part in (name, dose, weeks) if part)

    def _show_medication(self, index: int, picture: Picture) -> str:
        medication = picture.request["medications"][index]
        name: str = medication.get("name") or medication["code"].get("display") or medication["code"]["code"]
        return name

    def places_of_other_drugs(self, rule: Rule, picture: Picture, drug: str) -> set[str]:
        """Pointers of the medications by which a rule matched and in which this drug is not."""
        return {
            f"/medications/{index}"
            for key in self._drug_groups(rule)
            for index in picture.group_positions.get(key, ())
            if not (picture.medications or ())[index] & self._shown_as[drug]
        }

    def _drug_groups(self, rule: Rule) -> list[str]:
        """Whose medicines a rule speaks of: of a row its members, else of the classes that the rule names itself.

        What a row further asks for, and a definition that a rule uses, speaks of other medicines.
        """
        if rule.kind in ("interaction", "escalation"):
            return [drug_group(rule.parent or rule.id)]
        return [one.key for wanted in rule.own_inputs for one in wanted.members if one.kind in ("drug", "drug_days")]

    def ingredients(self, rule: Rule, picture: Picture) -> list[str]:
        """Display names of the ingredients by which a rule matched, each once."""
        return list(dict.fromkeys(name for key in self._drug_groups(rule) for _, name in self._taken(key, picture)))

    def route_assumed(self, rule: Rule, picture: Picture, drug: str | None) -> list[str]:
        """Those of them, or the one drug, that count as taken by mouth only because nothing says the route."""
        return list(
            dict.fromkeys(
                name
                for key in self._drug_groups(rule)
                if self._rulebook.drug_groups[key].routes
                for index, name in self._taken(key, picture)
                if index in picture.route_assumed and drug in (None, name)
            )
        )

    def _taken(self, group: str, picture: Picture) -> Iterator[tuple[int, str]]:
        """Position and display name of every ingredient that is in a drug group."""
        members = self._rulebook.drug_groups[group].members
        for index in picture.group_positions.get(group, ()):
            for drug in sorted((picture.medications or ())[index] & members):
                yield index, self._rulebook.vocabulary.drugs[drug].display


def _fixed_place(one: Input) -> str | None:
    """Where a missing value would be said, for inputs of which that does not depend on the request."""
    match one.kind:
        case "age_years" | "sex" | "pregnancy":
            return f"/patient/{one.kind}"
        case "bowel_pattern":
            return "/bowel_pattern"
        case "lab_value" | "lab_reported" | "lab_sent" | "lab_age" | "lab_measured":
            return f"/labs/{one.key}"
        case "derived":
            return "/labs/egfr"
        case "vital":
            return f"/vitals/{one.key}"
        case "condition" | "symptom" | "goal":
            return f"/{one.kind}s"
        case "drug" | "medication_check":
            return "/medications"
        case _:
            return None


def plain(value: Any) -> Any:
    """A number as JSON shows it: whole numbers without a point."""
    if isinstance(value, Decimal | float):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 10**15 else number
    return value


def shown_value(value: Any) -> Any:
    """A measured number as people read it: what follows the fourth digit is cut off, never rounded over a threshold."""
    if not isinstance(value, Decimal | float):
        return value
    exact = Decimal(str(value))
    decimals = min(max(_DIGITS - 1 - exact.adjusted(), 1), _DIGITS)
    return plain(exact.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN))


def _order(pointer: str) -> Order:
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in pointer.split("/"))
