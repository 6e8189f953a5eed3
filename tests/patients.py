"""Patients for the tests: request bodies over the whole vocabulary, each the same for the same number and seed.

Half of them start from a worked case of a rule, so that rare conjunctions come up, the others from nothing. Values
lie on, just below and just above every number that the rule files write; at every level something may be left out.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from tests.oracle import NO_RULES, RULES, Vocabulary, listed, read_yaml

SEED = 20261121
DAYS = ("2026-11-20", "2026-03-01", "2025-12-31", "2024-02-29", "2021-07-15")
"""For which answers are asked for."""

ROUTES = ("oral", "intravenous", "topical", "ophthalmic", "intramuscular", "rectal")
SECTIONS = (
    "patient", "labs", "vitals", "medications", "conditions", "symptoms", "goals", "bowel_pattern", "supplements",
    "preferences",
)  # fmt: skip
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CODE_SYSTEMS = {"snomed": "http://snomed.info/sct", "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm"}
VITAMIN_D_FORMS = ("cholecalciferol", "ergocalciferol", "calcifediol", "calcitriol", "alfacalcidol")
TOGETHER = (["egfr"], ["creatinine"], ["creatinine", "cystatin_c"], ["calcium_total", "albumin"])
ON_ALL_SIDES = (Decimal(0), Decimal("-0.000001"), Decimal("0.000001"))

_QUANTITY = re.compile(r"(-?\d+(?:\.\d+)?) (\S+)")
_SHORTHAND = re.compile(r"(-?\d+(?:\.\d+)?) (\S+?)(?:, (\d+) days ago)?")
_WRITINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: f"{name} 40 mg",
    lambda name: f"{name.upper()} 75 MCG TABLET",
    lambda name: f"{name}® 20 mg/5 ml",
    lambda name: f"{name}™ 20 mg",
    lambda name: f"generic {name.replace('-', chr(0x2011))} XL",
    lambda name: name.replace(" ", "\u00a0") + " (one a day)",
    lambda name: name.replace("e", "é", 1) + " 10mg",
    lambda name: f"  {name.lower()},sustained-release",
    lambda name: f"x{name}",
    lambda name: f"{name}ol 5 mg",
)
"""How a medicine's name is written in a record; the last two are other words."""


def as_json(body: Mapping[str, Any]) -> bytes:
    """A body as it is sent."""
    return json.dumps(body, default=float).encode()


class Patients:
    """Makes the patient with a number."""

    def __init__(self, folder: Path = RULES, seed: int = SEED) -> None:
        self.seed = seed
        self.vocabulary = Vocabulary(folder)
        files = [read_yaml(path) for path in sorted(folder.glob("*/*.yaml")) if path.parent.name not in NO_RULES]
        self.worked = [case for file in files for case in _cases(file)]
        self.cases = [body for _, _, body in self.worked]
        self.limits = _Limits(files)
        self.goals = list(read_yaml(folder / "vocabulary" / "goals.yaml")["goals"])
        self.symptoms = list(read_yaml(folder / "vocabulary" / "symptoms.yaml")["symptoms"])
        self.forms = list(self.vocabulary.forms)
        self.names = [
            (key, name)
            for key, drug in self.vocabulary.drugs.items()
            for name in (drug["display"], *drug.get("names", ()))
        ]
        self.probes = list(self._probes())
        self.probes_of: dict[str, list[tuple[str, Decimal]]] = {}
        for lab, unit, value in self.probes:
            self.probes_of.setdefault(lab, []).append((unit, value))
        self._dice = random.Random(seed)
        self._as_of = date.fromisoformat(DAYS[0])

    def patient(self, number: int) -> dict[str, Any]:
        """The request body with this number: every other one is a worked case, first each as it is, then changed."""
        if number % 2 and number // 2 < len(self.cases):
            return copy.deepcopy(self.cases[number // 2])
        self._dice = dice = random.Random(f"{self.seed}-{number}")
        body = copy.deepcopy(dice.choice(self.cases)) if number % 2 else self._from_nothing()
        body["as_of"] = body["as_of"] if number % 2 else dice.choice(DAYS)
        self._as_of = date.fromisoformat(body["as_of"])
        if body.get("labs") and dice.random() < 0.3:
            # Where it matters: a lab of the case, around one of its numbers.
            lab = dice.choice(sorted(body["labs"]))
            unit, value = dice.choice(self.probes_of[lab])
            body["labs"][lab] = {**body["labs"][lab], "unit": unit, "value": value}
        for _ in range(dice.choice((0, 1, 1, 2, 3, 5))):
            dice.choice((self._replace, self._replace, self._leave_out, self._add, self._merge))(body)
        if dice.random() < 0.6:
            # In turn, so that each value comes up; without what would overrule it.
            lab, unit, value = self.probes[number * 7 % len(self.probes)]
            labs = body.setdefault("labs", {})
            labs[lab] = self._dated({"value": value, "unit": unit})
            if lab == "calcium_total" and dice.random() < 0.8:
                labs.pop("calcium_adjusted", None)
        for one in (*body.get("labs", {}).values(), *body.get("medications", ())):
            # Parts of several patients were mixed, and nothing happens after the day of the question.
            for key in {"collected_on", "since"} & set(one):
                one[key] = min(one[key], body["as_of"])
        return body

    # Whole patients.

    def _from_nothing(self) -> dict[str, Any]:
        share = self._dice.choice((0.2, 0.6, 0.9, 1.0))
        body: dict[str, Any] = {"as_of": DAYS[0]}
        self._as_of = date.fromisoformat(DAYS[0])
        for section in SECTIONS:
            if self._dice.random() < share:
                body[section] = self._section(section)
        return body

    def _replace(self, body: dict[str, Any]) -> None:
        section = self._dice.choice(SECTIONS)
        body[section] = self._section(section)

    def _leave_out(self, body: dict[str, Any]) -> None:
        section = self._dice.choice([key for key in body if key != "as_of"] or [""])
        inner = body.get(section)
        if isinstance(inner, dict) and inner and self._dice.random() < 0.7:
            key = self._dice.choice(sorted(inner))
            deeper = inner[key]
            if section == "supplements" and deeper and self._dice.random() < 0.7:
                del deeper[self._dice.choice(sorted(deeper))]
            else:
                del inner[key]
        else:
            body.pop(section, None)

    def _add(self, body: dict[str, Any]) -> None:
        section = self._dice.choice(SECTIONS)
        new = self._section(section)
        if isinstance(new, dict):
            body[section] = {**body.get(section, {}), **new}
        elif isinstance(new, list):
            body[section] = [*body.get(section, []), *(one for one in new if one not in body.get(section, []))]
        else:
            body[section] = new

    def _merge(self, body: dict[str, Any]) -> None:
        other = copy.deepcopy(self._dice.choice(self.cases))
        for section, new in other.items():
            if isinstance(new, dict):
                body[section] = {**body.get(section, {}), **new}
            elif isinstance(new, list) and section not in ("goals", "symptoms"):
                body[section] = [*body.get(section, []), *new]
            elif section != "as_of":
                body[section] = new

    # Parts of patients.

    def _section(self, section: str) -> Any:
        return getattr(self, f"_{section}")()

    def _some(self, values: list[Any], most: int = 4) -> list[Any]:
        return self._dice.sample(values, min(len(values), self._dice.choice((0, 0, 1, 1, 2, most))))

    def _patient(self) -> dict[str, Any]:
        ages = [age for limit in self.limits.ages for age in (limit - 1, limit, limit + 1) if 0 <= age <= 120]
        whole = {
            "age_years": self._dice.choice(ages) if self._dice.random() < 0.6 else self._dice.randint(0, 120),
            "sex": self._dice.choice(("female", "male", "female", "male", "unknown")),
            "pregnancy": self._dice.choice(("none", "none", "none", "pregnant", "lactating", "unknown")),
        }
        return {key: value for key, value in whole.items() if self._dice.random() < 0.85}

    def _labs(self) -> dict[str, Any]:
        count = self._dice.choice((0, 1, 2, 4, 8))
        keys = self._dice.sample(list(self.vocabulary.labs), count)
        if self._dice.random() < 0.5:
            keys += self._dice.choice(TOGETHER)
        return {key: self._lab(key) for key in keys}

    def _lab(self, key: str) -> dict[str, Any]:
        unit, said = self._dice.choice(list(self.vocabulary.labs[key]["units"].items()))
        probes = [value for of, value in self.probes_of[key] if of == unit]
        if self._dice.random() < 0.4:
            return self._dated({"value": self._dice.choice(probes), "unit": unit})
        low, high = (Decimal(one) for one in said[self._dice.choice(("plausible", "plausible", "possible"))])
        return self._dated({"value": self._between(low, high), "unit": unit})

    def _between(self, low: Decimal, high: Decimal) -> Decimal:
        step = Decimal(self._dice.choice(("1", "0.1", "0.01", "0.001")))
        value = (low + (high - low) * Decimal(str(self._dice.random())) ** 2).quantize(step)
        return min(max(value, low), high)

    def _dated(self, result: dict[str, Any]) -> dict[str, Any]:
        if self._dice.random() < 0.5:
            result["collected_on"] = self._day()
        return result

    def _day(self) -> str:
        limit = self._dice.choice(self.limits.days)
        ago = self._dice.choice((0, limit - 1, limit, limit + 1, self._dice.randint(0, 1500)))
        return (self._as_of - timedelta(days=ago)).isoformat()

    def _vitals(self) -> dict[str, Any]:
        found = {}
        for key in self._some(list(self.vocabulary.vitals)):
            said = self.vocabulary.vitals[key]
            low, high = (Decimal(one) for one in said["possible"])
            written = [*self.limits.vitals.get(key, ()), *(Decimal(one) for one in said["plausible"])]
            near = [limit + side for limit in written for side in (-1, 1, *ON_ALL_SIDES)]
            value = self._dice.choice(near) if self._dice.random() < 0.7 else self._between(low, high)
            found[key] = {"value": min(max(value, low), high), "unit": said["unit"]}
        return found

    def _medications(self) -> list[dict[str, Any]]:
        return [self._medication() for _ in range(self._dice.choice((0, 0, 1, 1, 2, 4, 8)))]

    def _medication(self) -> dict[str, Any]:
        drug, name = self._dice.choice(self.names)
        if self._dice.random() < 0.5:
            drug = self._dice.choice(self._dice.choice(list(self.vocabulary.classes.values()))["members"])
            name = self._dice.choice([name for key, name in self.names if key == drug])
        writing = self._dice.choice(_WRITINGS) if self._dice.random() < 0.5 else _WRITINGS[1]
        found: dict[str, Any] = {"name": writing(name)}
        kind = self._dice.random()
        if kind < 0.08:
            found["name"] = f"{name}/{self._dice.choice(self.names)[1]} 10 mg/20 mg"
        elif kind < 0.12:
            found["name"] = "zzyzxomab 10 mg"
        elif kind < 0.3:
            coded = self._dice.choice(list(self.vocabulary.drugs)) if self._dice.random() < 0.1 else drug
            code = self.vocabulary.drugs[coded]["rxnorm"]
            code = code if code != "null" else "999999999"
            system = RXNORM if self._dice.random() < 0.9 else CODE_SYSTEMS["snomed"]
            found["code"] = {"system": system, "code": code}
            if self._dice.random() < 0.3:
                found["code"]["display"] = name
            if self._dice.random() < 0.7:
                del found["name"]
        if self._dice.random() < 0.3:
            found["route"] = self._dice.choice(ROUTES)
        if self._dice.random() < 0.5:
            found["since"] = self._day()
        return found

    def _conditions(self) -> list[dict[str, Any]]:
        found = []
        for key in self._some(list(self.vocabulary.conditions)):
            one: dict[str, Any] = {"key": key}
            kind = self._dice.choice(list(CODE_SYSTEMS))
            codes = self.vocabulary.conditions[key][kind]
            if codes and self._dice.random() < 0.4:
                one = {"code": {"system": CODE_SYSTEMS[kind], "code": self._dice.choice(codes)}}
            elif self._dice.random() < 0.05:
                one = {"code": {"system": CODE_SYSTEMS[kind], "code": "no-such-code"}}
            found.append(one)
        return found

    def _symptoms(self) -> list[dict[str, Any]]:
        return [{"key": key} for key in self._some(self.symptoms)]

    def _goals(self) -> list[str]:
        return self._some(self.goals, 3)

    def _bowel_pattern(self) -> str:
        return self._dice.choice(("normal", "normal", "loose", "constipated", "unknown"))

    def _supplements(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        dose_keys = {"magnesium": "elemental_mg_per_day", "vitamin_d": "dose_iu_per_day"}
        for agent in self._some(list(dose_keys), 2):
            whole = {
                "form": self._dice.choice(self.forms if agent == "magnesium" else VITAMIN_D_FORMS),
                dose_keys[agent]: max(self._near(self.limits.doses[agent], Decimal("0.5"), 1000), Decimal("0.5")),
                "weeks": int(self._near(self.limits.weeks[agent], Decimal(1), 60)),
            }
            found[agent] = {key: value for key, value in whole.items() if self._dice.random() < 0.8}
        return found

    def _near(self, limits: list[Decimal], step: Decimal, most: int) -> Decimal:
        near = [limit + side * step for limit in limits for side in (-1, 0, 1) if limit + side * step >= 0]
        return self._dice.choice(near) if near and self._dice.random() < 0.7 else Decimal(self._dice.randint(0, most))

    def _preferences(self) -> dict[str, Any]:
        whole = {"cost_sensitive": self._dice.random() < 0.7, "region": self._dice.choice(("us", "eu"))}
        return {key: value for key, value in whole.items() if self._dice.random() < 0.7}

    # Values around the numbers of the files.

    def _probes(self) -> Iterator[tuple[str, str, Decimal]]:
        """Lab, unit and value: on, below and above every number, in every unit of the lab."""
        seen = set()
        for lab, said in self.vocabulary.labs.items():
            units = said["units"]
            written = {(Decimal(number), unit) for number, unit in self.limits.labs.get(lab, ())}
            for unit, of in units.items():
                written |= {(Decimal(one), unit) for one in (*of["plausible"], *of["possible"])}
            for hint in said.get("swap_hint", ()):
                written |= {(Decimal(hint[end]), hint["unit"]) for end in ("from", "to")}
            for number, unit in sorted(written):
                for other, of in units.items():
                    low, high = (Decimal(one) for one in of["possible"])
                    for value in _around(number, Decimal(units[unit]["factor"]) / Decimal(of["factor"])):
                        if low <= value <= high and (lab, other, value) not in seen:
                            seen.add((lab, other, value))
                            yield lab, other, value


def _around(number: Decimal, factor: Decimal) -> Iterator[Decimal]:
    """A number on all sides; once converted, the nearest values with six decimals."""
    places = Decimal("0.000001")
    if factor == 1:
        printed = Decimal(1).scaleb(number.as_tuple().exponent)
        yield from (number, number - printed, number + printed, number - places, number + places)
    else:
        yield (number * factor).quantize(places, ROUND_FLOOR)
        yield (number * factor).quantize(places, ROUND_CEILING)


class _Limits:
    """Every number that a criterion of a rule file writes, by what it is about."""

    def __init__(self, files: list[Any]) -> None:
        self.labs: dict[str, set[tuple[str, str]]] = {}
        self.vitals: dict[str, list[Decimal]] = {}
        self.ages: list[int] = [18]
        self.days: list[int] = [1]
        self.doses: dict[str, list[Decimal]] = {"magnesium": [], "vitamin_d": []}
        self.weeks: dict[str, list[Decimal]] = {"magnesium": [], "vitamin_d": []}
        for file in files:
            for band in file.get("bands", ()):
                self._lab(file["lab"], band.get("to", []))
            for part in (file.get("when"), file.get("unless"), file.get("rows")):
                self._walk(part)

    def _walk(self, node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                self._walk(one)
        if not isinstance(node, dict):
            return
        match node:
            case {"lab": lab} if "priority" not in node:
                for key in ("below", "at_most", "above", "at_least"):
                    self._lab(lab, node.get(key, []))
            case {"vital": vital}:
                texts = [one for key, one in node.items() if key != "vital"]
                self.vitals.setdefault(vital, []).extend(Decimal(_parts(text)[0]) for text in texts)
            case {"supplement": agent, "dose": said}:
                self.doses[agent] += [Decimal(_parts(text)[0]) for text in said.values()]
            case {"supplement": agent, "weeks": said}:
                self.weeks[agent] += [Decimal(text) for text in said.values()]
            case {"age_years": said}:
                self.ages += [int(text) for text in said.values()]
        for key in ("older_than", "within", "taken_for_at_least"):
            self.days += [int(_parts(node[key])[0])] if key in node else []
        for one in node.values():
            self._walk(one)

    def _lab(self, lab: str, texts: str | list[str]) -> None:
        self.labs.setdefault(lab, set()).update(_parts(text) for text in listed(texts))


def _parts(text: str) -> tuple[str, str]:
    match = _QUANTITY.fullmatch(text)
    assert match is not None, text
    return match[1], match[2]


# Worked cases of the files, as request bodies.


def _cases(file: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The rule, how it has to end, and the request."""
    if "examples" not in file:
        return
    for case in file["examples"].get("cases", file.get("cases", ())):
        body = _merged(file["examples"]["patient"], case.get("with", {}))
        body = {"as_of": DAYS[0], **{key: _value(key, one) for key, one in body.items()}}
        yield case.get("row", file["id"]), case["expect"], body


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        result[key] = _merged(result.get(key), value)
        if value == "null":
            del result[key]
    return result


def _value(key: str, value: Any) -> Any:
    """Texts of a YAML file as what they are in JSON."""
    if isinstance(value, dict):
        return {inner: _value(inner, one) for inner, one in value.items()}
    if isinstance(value, list):
        return [_value(key, one) for one in value]
    match = _SHORTHAND.fullmatch(value)
    if match is not None and key != "name":
        result: dict[str, Any] = {"value": Decimal(match[1]), "unit": match[2]}
        if match[3] is not None:
            result["collected_on"] = (date.fromisoformat(DAYS[0]) - timedelta(days=int(match[3]))).isoformat()
        return result
    if key in ("age_years", "weeks"):
        return int(value)
    if key in ("value", "elemental_mg_per_day", "dose_iu_per_day"):
        return Decimal(value)
    return value == "true" if key == "cost_sensitive" else value
