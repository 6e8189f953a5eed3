"""A third reading of the rules, written apart from the service: plain, slow, exact.

It takes nothing from ``service`` but the YAML files and ``rules/README.md``, which says what they mean, and what a
medication is called: the table of names has tests of its own. Every word in a
file stays text until it is needed; numbers are exact fractions, but for the powers of the eGFR equations. A criterion
becomes a function of a patient that gives True, False or None (unknown), after Kleene.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from service.knowledge import load_rulebook
from service.terminology import Recognised, Recogniser

Json = Mapping[str, Any]
Truth = bool | None
Test = Callable[["Patient"], Truth]
DrugGroups = Mapping[str, tuple[set[str], set[str]]]
"""By name: the drugs that are meant, and the routes (none: any)."""

FIRES, SILENT, NOT_EVALUATED = "fires", "silent", "not_evaluated"
RULES = Path(__file__).resolve().parent.parent / "rules"
NO_RULES = ("vocabulary", "fhir")
"""Folders that say what words and codes mean."""


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "below": lambda value, limit: value < limit,
    "at_most": lambda value, limit: value <= limit,
    "above": lambda value, limit: value > limit,
    "at_least": lambda value, limit: value >= limit,
}


def read_yaml(path: Path) -> Any:
    """The content of a file, every scalar as the text that stands there."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def exact(value: Any) -> Fraction:
    """A number as it is written."""
    return Fraction(str(value))


def listed(value: Any) -> list[Any]:
    """One word or a list of words, as a list."""
    return value if isinstance(value, list) else [value]


def quantity(text: str) -> tuple[Fraction, str]:
    """``0.70 mmol/L`` as number and unit."""
    number, unit = text.split(" ")
    return Fraction(number), unit


# Three-valued logic.


def and_(values: Iterable[Truth]) -> Truth:
    """False if one is false; else unknown if one is."""
    result: Truth = True
    for value in values:
        if value is False:
            return False
        if value is None:
            result = None
    return result


def or_(values: Iterable[Truth]) -> Truth:
    """True if one is true; else unknown if one is."""
    result: Truth = False
    for value in values:
        if value is True:
            return True
        if value is None:
            result = None
    return result


def not_(value: Truth) -> Truth:
    """The opposite; the unknown stays unknown."""
    return None if value is None else not value


def every(tests: list[Test]) -> Test:
    """All hold."""
    return lambda patient: and_(test(patient) for test in tests)


def some(tests: list[Test]) -> Test:
    """One holds."""
    return lambda patient: or_(test(patient) for test in tests)


class Vocabulary:
    """The words that rules and requests share."""

    def __init__(self, folder: Path) -> None:
        def file(name: str, top: str | None = None) -> Any:
            return read_yaml(folder / "vocabulary" / f"{name}.yaml")[top or name.replace("-", "_")]

        self.labs = {key: one for key, one in file("labs").items() if one.get("input") != "false"}
        self.vitals = file("vitals")
        self.derived = file("derived")
        self.conditions = file("conditions")
        self.groups = file("conditions", "groups")
        self.forms = file("forms")
        self.drugs = file("drugs")
        self.classes = file("drug-classes")
        self._recogniser = Recogniser.of(load_rulebook(folder))

    def convert(self, lab: str, value: Fraction, unit: str, wanted: str) -> Fraction:
        """A lab value in another unit of the lab."""
        units = self.labs[lab]["units"]
        return value * Fraction(units[unit]["factor"]) / Fraction(units[wanted]["factor"])

    def printed(self, lab: str, unit: str) -> str:
        """The unit whose printed thresholds count for a value reported in ``unit``."""
        return str(self.labs[lab]["units"][unit].get("printed_as", unit))

    def printed_units(self, lab: str) -> set[str]:
        """The units in which thresholds on a lab are printed."""
        return {self.printed(lab, unit) for unit in self.labs[lab]["units"]}

    def conditions_of(self, entry: Json) -> set[str]:
        """What a condition of a request is: its key, and every condition with its code."""
        found = {entry["key"]} if "key" in entry else set()
        systems = {"http://snomed.info/sct": "snomed", "http://hl7.org/fhir/sid/icd-10-cm": "icd10cm"}
        code = entry.get("code")
        if code is not None and code["system"] in systems:
            codes = systems[code["system"]]
            found |= {key for key, one in self.conditions.items() if code["code"] in one.get(codes, ())}
        return found

    def recognised(self, medication: Json) -> Recognised:
        """What a medication is, by the service's own table: the oracle reads the rules, not the names of medicines."""
        return self._recogniser.recognise(medication)

    def ingredients(self, medication: Json) -> set[str]:
        """The drugs that a medication is."""
        return set(self.recognised(medication).ingredients)


class Patient:
    """A request, and what follows from it before any rule is read."""

    def __init__(self, body: Json, vocabulary: Vocabulary, drug_groups: DrugGroups) -> None:
        self.body = body
        self.vocabulary = vocabulary
        self.as_of = date.fromisoformat(body["as_of"])
        self.person: Json = body.get("patient", {})
        self.labs: Json = body.get("labs", {})
        self.vitals: Json = body.get("vitals", {})
        self.age = self.person.get("age_years")
        self.sex = known(self.person.get("sex"))
        self.bowel = known(body.get("bowel_pattern"))
        self.conditions: set[str] | None = None
        if "conditions" in body:
            self.conditions = set().union(*(vocabulary.conditions_of(one) for one in body["conditions"]))
        self.pregnancy = self._pregnancy()
        self.goals = set(body["goals"]) if "goals" in body else None
        self.symptoms = {one["key"] for one in body["symptoms"]} if "symptoms" in body else None
        self.by_mouth: set[str] = set()
        self.drugs = self._drugs(drug_groups) if "medications" in body else None
        self.calculated = self._calculated_egfr()
        self.calcium = self._calcium()

    def _pregnancy(self) -> str | None:
        """What is stated; a diagnosis that implies it outweighs `none`; a man of whom nothing is stated has none."""
        stated = known(self.person.get("pregnancy"))
        implied = [
            one["implies"]["pregnancy"]
            for key, one in self.vocabulary.conditions.items()
            if "implies" in one and key in (self.conditions or ())
        ]
        if implied and stated in (None, "none"):
            return "pregnant" if "pregnant" in implied else "lactating"
        return stated or ("none" if self.sex == "male" else None)

    def _drugs(self, groups: DrugGroups) -> dict[str, list[Json]]:
        """The medications of each group that has any. A medication without a route is taken by mouth."""
        found: dict[str, list[Json]] = {}
        for one in self.body["medications"]:
            recognised = self.vocabulary.recognised(one)
            ingredients, route = set(recognised.ingredients), recognised.route or "oral"
            if route == "oral":
                self.by_mouth |= ingredients
            for group, (members, routes) in groups.items() if ingredients else ():
                if ingredients & members and (not routes or route in routes):
                    found.setdefault(group, []).append(one)
        return found

    def _calculated_egfr(self) -> list[tuple[float, list[str]]]:
        """Calculated eGFR values with their labs; the lower value if sex is unknown.

        One value: of the first equation with all inputs. Where labs of one equation were collected too far apart it is
        passed over, and each equation of a single lab gives a value.
        """
        said = self.vocabulary.derived["egfr"]
        if self.age is None or self.age < int(said["minimum_age_years"]):
            return []
        if self.pregnancy in said["not_valid_in"]["pregnancy"]:
            return []
        if (self.conditions or set()) & set(said["not_valid_in"]["conditions"]):
            return []
        values = []
        passed_over = False
        for equation in said["equations"]:
            used = [term["lab"] for term in equation["terms"]]
            if not all(lab in self.labs for lab in used):
                continue
            days = [self.days_since(self.labs[lab].get("collected_on")) for lab in used]
            if max(days) - min(days) > int(said["collected_within_days"]):
                passed_over = True
                continue
            sexes = [self.sex] if self.sex is not None else ["female", "male"]
            values.append((min(self._equation(equation, sex, self.age) for sex in sexes), used))
            if not passed_over:
                break
        return values

    def _equation(self, equation: Json, sex: str, age: int) -> float:
        result = float(equation["constant"]) * float(equation["age_base"]) ** age
        if sex == "female":
            result *= float(equation["female_factor"])
        for term in equation["terms"]:
            lab = self.labs[term["lab"]]
            value = self.vocabulary.convert(term["lab"], exact(lab["value"]), lab["unit"], term["unit"])
            ratio = value / Fraction(term["scale"][sex])
            result *= float(ratio) ** float(term["below" if ratio < 1 else "above"][sex])
        return result

    def _calcium(self) -> tuple[Fraction, str, list[str]] | None:
        """Adjusted calcium, its unit and labs: the laboratory's own; the total with albumin; the total as it is."""
        for lab in ("calcium_adjusted", "calcium_total"):
            if lab in self.labs:
                value, unit = exact(self.labs[lab]["value"]), self.labs[lab]["unit"]
                break
        else:
            return None
        if lab == "calcium_adjusted" or "albumin" not in self.labs:
            return value, unit, [lab]
        albumin = self.labs["albumin"]
        for formula in self.vocabulary.derived["calcium_adjusted"]["formulae"]:
            if formula["calcium_unit"] == unit:
                seen = self.vocabulary.convert(
                    "albumin", exact(albumin["value"]), albumin["unit"], formula["albumin_unit"]
                )
                value += Fraction(formula["slope"]) * (Fraction(formula["reference"]) - seen)
        return value, unit, [lab, "albumin"]

    def egfrs(self) -> list[Fraction | float]:
        """The reported eGFR and the calculated one, as far as they are known."""
        reported = [exact(self.labs["egfr"]["value"])] if "egfr" in self.labs else []
        return [*reported, *(sorted(value for value, _ in self.calculated)[:1])]

    def value(self, lab: str) -> tuple[Any, str] | None:
        """A lab's value and unit; of two eGFR the lower."""
        if lab == "egfr":
            values = self.egfrs()
            return (min(values), "mL/min/{1.73_m2}") if values else None
        if lab == "calcium_adjusted":
            return None if self.calcium is None else self.calcium[:2]
        found = self.labs.get(lab)
        return None if found is None else (exact(found["value"]), found["unit"])

    def in_unit(self, lab: str, unit: str) -> Any:
        """A lab's value in a unit, or None."""
        found = self.value(lab)
        if found is None or found[1] == unit:
            return None if found is None else found[0]
        return self.vocabulary.convert(lab, *found, unit)

    def reported(self, lab: str) -> tuple[Any, str] | None:
        """A lab's value in the unit whose printed thresholds count for it, and that unit."""
        found = self.value(lab)
        if found is None:
            return None
        unit = self.vocabulary.printed(lab, found[1])
        return self.in_unit(lab, unit), unit

    def lab_age(self, lab: str) -> int | None:
        """Days since a result. What is calculated is as old as its oldest part; of two eGFR the younger counts."""

        def oldest(used: Iterable[str]) -> int:
            return max(self.days_since(self.labs[one].get("collected_on")) for one in used)

        if lab == "egfr":
            ages = [oldest(["egfr"])] if "egfr" in self.labs else []
            ages += [oldest(used) for _, used in self.calculated]
            return min(ages, default=None)
        if lab == "calcium_adjusted":
            return None if self.calcium is None else oldest(self.calcium[2])
        return oldest([lab]) if lab in self.labs else None

    def days_since(self, day: str | None) -> int:
        """Days up to ``as_of``; a day that is not given is today."""
        return 0 if day is None else (self.as_of - date.fromisoformat(day)).days

    def taken_for(self, group: str, days: Fraction) -> Truth:
        """Whether a medication of the group is taken for so long."""
        if self.drugs is None:
            return None
        return or_(
            None if "since" not in one else self.days_since(one["since"]) >= days for one in self.drugs.get(group, ())
        )

    def supplement(self, agent: str, key: str | None = None) -> Any:
        """What is said of a supplement: None unknown, False not taken, True taken, or the value of ``key``."""
        if "supplements" not in self.body:
            return None
        if agent not in self.body["supplements"]:
            return False
        return True if key is None else self.body["supplements"][agent].get(key)

    def takes_form(self, agent: str, forms: set[str]) -> Truth:
        """Whether one of some forms is taken: as a medicine by mouth, or as a supplement."""
        if forms & self.by_mouth:
            return True
        said = self.supplement(agent, "form")
        return False if said is False else one_of(said, forms)

    def states(self, what: str) -> bool:
        """Whether the request says something about it."""
        if what in ("age_years", "sex", "pregnancy"):
            return {"age_years": self.age, "sex": self.sex, "pregnancy": self.pregnancy}[what] is not None
        return what in self.body

    def prefers(self, what: str) -> bool:
        """A preference; what is not said is not wanted."""
        said = self.body.get("preferences", {})
        return said.get("region") == "eu" if what == "region_eu" else said.get(what) is True


def known(word: str | None) -> str | None:
    """``unknown`` is the same as nothing."""
    return None if word == "unknown" else word


def among(said: set[str] | None, wanted: Iterable[str]) -> Truth:
    """Whether one of some words is in a list that may not have been given."""
    return None if said is None else not said.isdisjoint(wanted)


def one_of(said: str | None, wanted: Iterable[str]) -> Truth:
    """Whether a word that may not have been given is one of some."""
    return None if said is None else said in wanted


def compared(value: Any, limits: list[tuple[str, Fraction]]) -> Truth:
    """A value that may be unknown against all of its limits."""
    return None if value is None else all(_COMPARE[word](value, limit) for word, limit in limits)


class Oracle:
    """All active rules of a folder as tests, and what they are."""

    def __init__(self, folder: Path = RULES) -> None:
        self.vocabulary = Vocabulary(folder)
        self.files = {
            path.stem: read_yaml(path) for path in sorted(folder.glob("*/*.yaml")) if path.parent.name not in NO_RULES
        }
        self.tables = {one["lab"]: one["bands"] for one in self.files.values() if one["kind"] == "bands"}
        self.groups = {
            key: (set(one["members"]), set(one.get("routes", ()))) for key, one in self.vocabulary.classes.items()
        }
        self.rules: dict[str, Test] = {}
        self.about: dict[str, Json] = {}
        """Of each rule its kind and what it says, as its file has it."""
        for one in self.files.values():
            if one["status"] == "active":
                for rule, test, about in self._rules_of(one):
                    self.rules[rule], self.about[rule] = test, about
        for rule, test in self._implied():
            self.rules[rule], self.about[rule] = test, {"kind": "data_quality", "severity": "minor", "caution": True}

    def patient(self, body: Json) -> Patient:
        """A request, ready for the rules."""
        return Patient(body, self.vocabulary, self.groups)

    def outcomes(self, body: Json) -> dict[str, str]:
        """How every rule ends for a request."""
        patient = self.patient(body)
        ends = {True: FIRES, False: SILENT, None: NOT_EVALUATED}
        return {rule: ends[test(patient)] for rule, test in self.rules.items()}

    # Files to rules.

    def _rules_of(self, file: Json) -> Iterator[tuple[str, Test, Json]]:
        match file["kind"]:
            case "bands":
                for band in file["bands"]:
                    rule = f"{file['id']}-{band['status'].lower().replace('_', '-')}"
                    yield rule, self._status(file["lab"], [band["status"]]), {"kind": "band"}
            case "intakes":
                for row in file["rows"]:
                    yield row["id"], self._block(row["who"]), {"kind": "intake"}
            case "interactions":
                yield from self._interactions(file)
            case kind:
                tests = [self._block(file["when"])]
                if "unless" in file:
                    tests += [self._negated(one) for one in file["unless"].values()]
                then = file.get("then", {})
                about = {**then, "kind": kind, "severity": file.get("severity"), "caution": "caution" in then}
                yield file["id"], every(tests), about

    def _interactions(self, file: Json) -> Iterator[tuple[str, Test, Json]]:
        in_play = self._criterion({"not_ruled_out": {"defined": f"{file['agent'].replace('_', '-')}-in-play"}})
        for row in file["rows"]:
            group = f"row {row['id']}"
            self.groups[group] = set(row["members"]), set(row.get("routes", ()))
            row_tests = [self._taken([group]), in_play, *self._salt_in_scope(file["agent"], row.get("salts", "all"))]
            row_tests += [self._block(row["when"])] if "when" in row else []
            about = {**row, "kind": "interaction", "caution": row["action"] != "none"}
            yield row["id"], every(row_tests), about
            for number, one in enumerate(row.get("escalate", ()), 1):
                about = {"kind": "escalation", "severity": one["severity"], "caution": False}
                yield f"{row['id']}-escalation-{number}", every([*row_tests, self._block(one["when"])]), about

    def _salt_in_scope(self, agent: str, salts: str | list[str]) -> list[Test]:
        """A row that speaks of some forms only is silent for who is known to take another one, or none."""
        if salts == "all":
            return []
        if salts == "acid_neutralising":
            salts = [form for form, said in self.vocabulary.forms.items() if said["acid_neutralising"] == "true"]
        return [self._criterion({"not_ruled_out": {"supplement": agent, "form": salts}})]

    def _implied(self) -> Iterator[tuple[str, Test]]:
        """Values outside the plausible range, values that look like another unit's, and eGFR values that differ."""
        for lab, said in self.vocabulary.labs.items():
            name = lab.replace("_", "-")
            plausible = {unit: [one["plausible"]] for unit, one in said["units"].items()}
            yield f"range-{name}", self._in_ranges(lab, plausible)
            if "swap_hint" in said:
                hints: dict[str, list[list[str]]] = {}
                for hint in said["swap_hint"]:
                    hints.setdefault(hint["unit"], []).append([hint["from"], hint["to"]])
                for unit, ranges in hints.items():
                    rule = re.sub("[^a-z0-9]+", "-", f"unit-{name}-{unit}".lower()).strip("-")
                    yield rule, self._in_ranges(lab, {unit: ranges}, hint=True)
        for vital, said in self.vocabulary.vitals.items():
            low, high = map(Fraction, said["plausible"])
            inside = self._vital(vital, [("at_least", low), ("at_most", high)])
            yield f"range-{vital.replace('_', '-')}", lambda patient, inside=inside: not_(inside(patient))
        percent = Fraction(self.vocabulary.derived["egfr"]["disagreement"]["percent"])

        def disagree(patient: Patient) -> Truth:
            values = patient.egfrs()
            return bool(max(values) and 100 * (max(values) - min(values)) / max(values) > percent) if values else None

        yield "egfr-values-disagree", disagree
        yield (
            "medication-name-and-code-disagree",
            lambda patient: (
                any(patient.vocabulary.recognised(one).conflict for one in patient.body["medications"])
                if "medications" in patient.body
                else None
            ),
        )

    def _in_ranges(self, lab: str, ranges: Mapping[str, list[list[str]]], hint: bool = False) -> Test:
        """Of the value as it was sent. A hint: inside one of the unit's half-open ranges. Else: outside its range."""
        limits = {unit: [(Fraction(low), Fraction(high)) for low, high in pairs] for unit, pairs in ranges.items()}

        def test(patient: Patient) -> Truth:
            if lab not in patient.labs:
                return None
            value, unit = exact(patient.labs[lab]["value"]), patient.labs[lab]["unit"]
            if hint:
                return any(low <= value < high for low, high in limits.get(unit, ()))
            return any(not low <= value <= high for low, high in limits[unit])

        return test

    # Criteria to tests.

    def _block(self, named: Json) -> Test:
        return every([self._criterion(one) for one in named.values()])

    def _negated(self, data: Json) -> Test:
        inner = self._criterion(data)
        return lambda patient: not_(inner(patient))

    def _criterion(self, data: Json) -> Test:
        match data:
            case {"any": named}:
                return some([self._criterion(one) for one in named.values()])
            case {"all": named}:
                return self._block(named)
            case {"not": inner}:
                return self._negated(inner)
            case {"not_ruled_out": inner}:
                asked = self._criterion(inner)
                return lambda patient: asked(patient) is not False
            case {"defined": name}:
                return next(test for _, test, _ in self._rules_of(self.files[name]))
            case {"age_years": said}:
                limits = [(word, Fraction(number)) for word, number in said.items()]
                return lambda patient: compared(patient.age, limits)
            case {"sex": said}:
                return lambda patient: one_of(patient.sex, listed(said))
            case {"pregnancy": said}:
                return lambda patient: one_of(patient.pregnancy, listed(said))
            case {"bowel_pattern": said}:
                return lambda patient: one_of(patient.bowel, listed(said))
            case {"condition": said}:
                groups = self.vocabulary.groups
                keys = {key for one in listed(said) for key in (groups[one]["any_of"] if one in groups else [one])}
                return lambda patient: among(patient.conditions, keys)
            case {"symptom": said}:
                return lambda patient: among(patient.symptoms, listed(said))
            case {"goal": said}:
                return lambda patient: among(patient.goals, listed(said))
            case {"preference": said}:
                return lambda patient: any(patient.prefers(one) for one in listed(said))
            case {"stated": said}:
                return lambda patient: any(patient.states(one) for one in listed(said))
            case {"drug_class": said, "taken_for_at_least": long}:
                days, unit = quantity(long)
                assert unit == "days"
                return lambda patient: or_(patient.taken_for(one, days) for one in listed(said))
            case {"drug_class": said}:
                return self._taken(listed(said))
            case {"vital": vital}:
                limits = [(word, quantity(data[word])) for word in _COMPARE if word in data]
                assert all(unit == self.vocabulary.vitals[vital]["unit"] for _, (_, unit) in limits)
                return self._vital(vital, [(word, limit) for word, (limit, _) in limits])
            case {"supplement": agent}:
                return self._supplement(agent, data)
            case {"lab": lab}:
                return self._lab(lab, data)
        raise ValueError(f"not a criterion: {data}")

    def _taken(self, groups: list[str]) -> Test:
        return lambda patient: among(None if patient.drugs is None else set(patient.drugs), groups)

    def _vital(self, vital: str, limits: list[tuple[str, Fraction]]) -> Test:
        def test(patient: Patient) -> Truth:
            found = patient.vitals.get(vital)
            return compared(None if found is None else exact(found["value"]), limits)

        return test

    def _supplement(self, agent: str, data: Json) -> Test:
        key = {"form": "form", "weeks": "weeks"}.get(next((key for key in data if key != "supplement"), ""))
        if "dose" in data:
            key = {"magnesium": "elemental_mg_per_day", "vitamin_d": "dose_iu_per_day"}[agent]
        if key is None:
            return lambda patient: patient.supplement(agent)
        if key == "form":
            return lambda patient: patient.takes_form(agent, set(listed(data["form"])))
        if "dose" in data:
            unit = {"magnesium": "mg/d", "vitamin_d": "[IU]/d"}[agent]
            limits = [(word, quantity(text)[0]) for word, text in data["dose"].items()]
            assert all(quantity(text)[1] == unit for text in data["dose"].values())
        else:
            limits = [(word, Fraction(number)) for word, number in data["weeks"].items()]

        def test(patient: Patient) -> Truth:
            # Who does not take it takes 0 of it, for 0 weeks.
            said = patient.supplement(agent, key)
            return compared(0 if said is False else None if said is None else exact(said), limits)

        return test

    def _lab(self, lab: str, data: Json) -> Test:
        match data:
            case {"status": said}:
                return self._status(lab, listed(said))
            case {"measured": said}:
                return lambda patient: (patient.value(lab) is not None) == (said == "true")
            case {"older_than": said}:
                days = quantity(said)[0]
                return lambda patient: None if patient.lab_age(lab) is None else patient.lab_age(lab) > days
            case {"within": said}:
                days = quantity(said)[0]
                return lambda patient: None if patient.lab_age(lab) is None else patient.lab_age(lab) <= days
        written = [(word, *quantity(one)) for word in _COMPARE if word in data for one in listed(data[word])]
        by_unit: dict[str, list[tuple[str, Fraction]]] = {}
        for word, limit, unit in written:
            by_unit.setdefault(unit, []).append((word, limit))
        if len(by_unit) == 1 or data.get("compare") == "either":
            return some([self._compared_in(lab, unit, limits) for unit, limits in by_unit.items()])

        def test(patient: Patient) -> Truth:
            found = patient.reported(lab)
            return None if found is None else compared(found[0], by_unit[found[1]])

        return test

    def _compared_in(self, lab: str, unit: str, limits: list[tuple[str, Fraction]]) -> Test:
        return lambda patient: compared(patient.in_unit(lab, unit), limits)

    def _status(self, lab: str, wanted: list[str]) -> Test:
        """The band that holds the value, in the unit that it was reported in."""
        edges = {
            unit: [
                (dict(reversed(quantity(edge)) for edge in listed(band.get("to", []))).get(unit), band["status"])
                for band in self.tables[lab]
            ]
            for unit in self.vocabulary.printed_units(lab)
        }

        def test(patient: Patient) -> Truth:
            found = patient.reported(lab)
            if found is None:
                return None
            value, unit = found
            status = next(status for edge, status in edges[unit] if edge is None or value < edge)
            return status in wanted

        return test
