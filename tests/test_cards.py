"""Cards of real evaluations, held against the specification; ids, feedback and requests beside them."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.api.schemas import RequestReader
from service.assessment import Assessor
from service.fhir.chart import Chart, Draft, Note, Shown, State
from service.hooks.cards import Call, CardWriter
from service.hooks.escape import markdown, plain
from service.hooks.feedback import FeedbackReader, Heard, Opinion, Tally
from service.hooks.ids import Ids, RuleMark
from service.hooks.schema import (
    InvalidResponse,
    Refused,
    check_response,
    read_feedback_body,
    read_request,
    without_empty,
)
from service.knowledge import Rulebook
from service.knowledge.hooks_file import HOOKS, Hooks, load_hooks
from service.settings import Settings

SCHEMA = json.loads(Path(__file__).with_name("cds_hooks.schema.json").read_text(encoding="utf-8"))
RESPONSE = Draft202012Validator({**SCHEMA, "$ref": "#/$defs/response"})
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.request.json"))
TODAY = date(2026, 11, 21)
KEY = b"a key of the tests, 32 bytes long"
URL = "https://cofactor.example"
ASSESSMENT = "org.cofactor.assessment"
CONTEXT = {"userId": "Practitioner/7", "patientId": "p-1", "encounterId": "e-1"}

Json = dict[str, Any]


class Desk:
    """Everything that turns a request body into a response."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.hooks = load_hooks(Settings().rules)
        self.assessor = Assessor(rulebook)
        self.reader = RequestReader(rulebook.vocabulary)
        self.ids = Ids(KEY, {one.id: one.version for one in rulebook.rules.values()})

    def service(self, hook: str) -> str:
        """The id of the service of a hook."""
        return next(one.id for one in self.hooks.services.values() if one.hook == hook)

    def writer(self, profile: str = "generic", rulebook: Rulebook | None = None) -> CardWriter:
        """A writer of a profile."""
        return CardWriter(rulebook or self.rulebook, self.hooks, self.assessor.recogniser, self.ids, URL, profile)

    def answer(self, body: Json) -> Json:
        """As POST /v1/evaluations answers."""
        exact = json.loads(json.dumps(body), parse_float=Decimal)
        return self.assessor.evaluate(self.reader.read(exact, TODAY))

    def respond(
        self,
        hook: str,
        body: Json,
        *,
        drafts: tuple[int, ...] = (),
        selected: tuple[int, ...] | None = None,
        states: dict[str, State] | None = None,
        notes: tuple[Note, ...] = (),
        profile: str = "generic",
        context: Json | None = None,
        writer: CardWriter | None = None,
        names: Callable[[int], str | None] = lambda index: f"MedicationRequest/d{index}",
    ) -> Json:
        """The response; `drafts` are places in the medications of the body."""
        orders = tuple(
            Draft(names(index), index, selected is None or index in selected, {"resourceType": "MedicationRequest"})
            for index in drafts
        )
        chart = Chart(body, states or {}, notes, orders)
        call = Call(self.hooks.services[self.service(hook)], context or CONTEXT)
        response = (writer or self.writer(profile)).response(call, self.answer(body), chart)
        RESPONSE.validate(json.loads(json.dumps(response)))
        assert len(response["cards"]) <= call.service.most_cards
        return response


@pytest.fixture(scope="module")
def desk(rulebook: Rulebook) -> Desk:
    """One for all tests."""
    return Desk(rulebook)


def patient(egfr: int | None, *names: str, **more: Any) -> Json:
    """An adult on these medicines."""
    labs = {"egfr": {"value": egfr, "unit": "mL/min/{1.73_m2}", "collected_on": "2026-10-12"}} if egfr else {}
    return {
        "as_of": "2026-11-20",
        "patient": {"age_years": 58, "sex": "male"},
        "labs": labs,
        "medications": [{"name": one} for one in names],
        "conditions": [],
        **more,
    }


def suggestions(response: Json) -> Iterator[Json]:
    """All of all cards."""
    for card in response["cards"]:
        yield from card.get("suggestions", ())


def actions(response: Json) -> list[Json]:
    """All of all suggestions."""
    return [action for one in suggestions(response) for action in one["actions"]]


# The cases that matter most.


def test_magnesium_oxide_in_severe_kidney_disease_warns_on_that_order(desk: Desk) -> None:
    """The order can be removed with a click, and the eGFR stands there with its date."""
    response = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg tablet"), drafts=(0,))
    card = response["cards"][0]
    assert card["indicator"] == "warning"
    assert card["summary"].startswith("Severe kidney disease")
    assert "22 mL/min/1.73 m2 on 2026-10-12" in card["detail"]
    assert "No clinician has signed these rules yet." in card["detail"]
    removal = card["suggestions"][0]["actions"]
    assert [one["type"] for one in removal] == ["delete"]
    assert removal[0]["resourceId"] == "MedicationRequest/d0"
    assert card["selectionBehavior"] == "at-most-one"
    assert {"id": "gate-mg-severe-kidney-disease", "version": 1} in card["extension"]["org.cofactor.rules"]


def test_ciprofloxacin_for_a_patient_on_magnesium_gives_the_spacing(desk: Desk) -> None:
    """The hours are those of the evaluation."""
    body = patient(92, "Magnesium citrate 200 mg", "Ciprofloxacin 500 mg")
    response = desk.respond("order-sign", body, drafts=(1,))
    caution = next(one for one in desk.answer(body)["cautions"] if one["spacing"])
    card = response["cards"][0]
    assert card["indicator"] == "warning"
    assert caution["summary"] == card["summary"]
    hours = caution["spacing"]
    assert f"at least {hours['hours_before']} h before or {hours['hours_after']} h after magnesium" in card["detail"]
    assert "suggestions" not in card
    assert "selectionBehavior" not in card
    assert len(card["overrideReasons"]) == 6


def test_an_order_that_nothing_is_said_of_brings_no_card_and_says_what_was_assessed(desk: Desk) -> None:
    """Other findings of the chart are named, and not on a card."""
    states = {"patient": State("used", 1), "egfr": State("none_found"), "otc": State("null")}
    body = patient(92, "Magnesium citrate 200 mg", "Ciprofloxacin 500 mg", "Amoxicillin 500 mg")
    response = desk.respond("order-sign", body, drafts=(2,), states=states)
    assert response["cards"] == []
    said = response["extension"][ASSESSMENT]
    assert said["knowledge"]["version"] == desk.rulebook.version
    assert said["knowledge"]["sign_off"] == "pending"
    assert "magnesium-fluoroquinolone-chelation" in said["notOnACard"]["cautions"]
    assert said["orders"] == [{"order": "MedicationRequest/d2", "state": "assessed", "text": "assessed"}]
    assert said["data"]["egfr"]["text"] == "eGFR: none found by the query of the EHR"


def test_order_select_is_driven_by_selections_only(desk: Desk) -> None:
    """The same drafts, another selection, another answer; none selected, no card."""
    body = patient(22, "Magnesium oxide 400 mg", "Amoxicillin 500 mg")
    one = desk.respond("order-select", body, drafts=(0, 1), selected=(0,))
    assert [action["resourceId"] for action in actions(one) if action["type"] == "delete"] == ["MedicationRequest/d0"]
    for selected in ((1,), ()):
        other = desk.respond("order-select", body, drafts=(0, 1), selected=selected)
        assert other["cards"] == []
        states = [order["state"] for order in other["extension"][ASSESSMENT]["orders"]]
        assert states == ["not_selected", "assessed" if selected else "not_selected"]


def test_one_card_for_each_draft_that_is_contraindicated(desk: Desk) -> None:
    """And no more than three cards, whatever is drafted; every draft can still be removed."""
    names = ["Magnesium oxide 400 mg", "Milk of Magnesia", "Magnesium citrate 200 mg", "Magnesium chloride 64 mg"]
    for count in (2, 4):
        response = desk.respond("order-sign", patient(22, *names[:count]), drafts=tuple(range(count)))
        removed = {one["resourceId"] for one in actions(response) if one["type"] == "delete"}
        assert removed == {f"MedicationRequest/d{index}" for index in range(count)}
    two = desk.respond("order-sign", patient(22, *names[:2]), drafts=(0, 1))
    with_removal = [card for card in two["cards"] if any(a["type"] == "delete" for a in actions({"cards": [card]}))]
    assert len(with_removal) == 2


def test_an_urgent_finding_is_said_whatever_is_ordered(desk: Desk) -> None:
    """With urgent tests as drafts, on each hook."""
    labs = {"magnesium": {"value": 0.98, "unit": "mg/dL", "collected_on": "2026-11-20"}}
    body = patient(70, "Amoxicillin 500 mg", labs=labs)
    for hook in HOOKS:
        response = desk.respond(hook, body, drafts=() if hook == "patient-view" else (0,))
        card = response["cards"][0]
        assert card["indicator"] == "warning"
        assert "Severe hypomagnesaemia" in card["summary"]
        assert card["detail"].startswith("URGENT")
        orders = [one["resource"] for one in actions(response)]
        assert orders
        assert {one["priority"] for one in orders} == {"urgent"}
        ecg = [one for one in orders if one["code"]["coding"][0]["code"] == "11524-6"]
        assert ecg
        assert all("category" not in one for one in ecg)


def test_patient_view_is_silent_unless_there_is_a_reason(desk: Desk) -> None:
    """A healthy adult: nothing. A high-risk combination: one card, without drafts to remove."""
    assert desk.respond("patient-view", patient(92))["cards"] == []
    response = desk.respond("patient-view", patient(22, "Milk of Magnesia"))
    assert len(response["cards"]) == 1
    assert all(one["type"] == "create" for one in actions(response))


def test_below_18_is_out_of_scope_and_nothing_is_removed(desk: Desk) -> None:
    """One card that says so, with no suggestion."""
    body = {**patient(None, "Magnesium citrate 200 mg"), "patient": {"age_years": 15}}
    card = desk.respond("order-sign", body, drafts=(0,))["cards"][0]
    assert "adults of 18" in card["summary"]
    assert card["indicator"] == "info"
    assert "suggestions" not in card
    statement = desk.respond("patient-view", body)["extension"][ASSESSMENT]["statement"]
    assert "Not assessed" in statement


# What leads, what is quiet, and what is left out.

LISTS = {"medications": State("used", 1), "otc": State("none_found")}


def details(response: Json) -> str:
    """All that the cards say, in one text."""
    return "\n".join(text for card in response["cards"] for text in (card["summary"], card["detail"]))


@pytest.mark.parametrize(
    ("states", "indicator", "says"),
    [
        (LISTS, "info", "- No magnesium is in the list of medicines that was sent."),
        ({"medications": State("failed"), "otc": State("null")}, "warning", "Whether magnesium is taken is not known"),
        ({}, "warning", "Whether magnesium is taken is not known"),
    ],
)
def test_what_nobody_takes_does_not_interrupt(desk: Desk, states: dict[str, State], indicator: str, says: str) -> None:
    """The hours are said all the same, and that magnesium is in no list, or that no list was sent."""
    response = desk.respond("order-sign", patient(92, "Ciprofloxacin 500 mg"), drafts=(0,), states=states)
    card = response["cards"][0]
    assert card["indicator"] == indicator
    assert says in card["detail"]
    taken = desk.respond(
        "order-sign", patient(92, "Milk of Magnesia", "Ciprofloxacin 500 mg"), drafts=(1,), states=LISTS
    )
    assert taken["cards"][0]["indicator"] == "warning"
    assert "list of medicines" not in taken["cards"][0]["detail"]


def test_a_medicine_is_not_removed_because_magnesium_must_not_be_taken(desk: Desk) -> None:
    """Raltegravir for someone on magnesium, a potassium-sparing diuretic in kidney disease: warned of, and kept."""
    taking = desk.respond(
        "order-sign", patient(92, "Milk of Magnesia", "raltegravir 400 mg"), drafts=(1,), states=LISTS
    )
    assert "must not be combined with raltegravir" in taking["cards"][0]["summary"]
    kidney = desk.respond("order-sign", patient(22, "spironolactone 25 mg"), drafts=(0,), states=LISTS)
    assert "kept in the body by spironolactone" in details(kidney)
    for response in (taking, kidney):
        assert [one for one in actions(response) if one["type"] == "delete"] == []
    other = desk.respond("order-sign", patient(92, "raltegravir 400 mg", "Milk of Magnesia"), drafts=(1,), states=LISTS)
    assert [one["resourceId"] for one in actions(other) if one["type"] == "delete"] == ["MedicationRequest/d1"]


def test_what_rests_on_the_patient_leads(desk: Desk) -> None:
    """Of cautions alike the kidney comes before other medicines; a draft is called one; the first is said in full."""
    body = patient(38, "digoxin 0.125 mg", "Magnesium oxide 400 mg tablet")
    response = desk.respond("order-sign", body, drafts=(1,), states=LISTS)
    card = response["cards"][0]
    assert card["summary"].startswith("Kidney function in the G3b range")
    first, _, also = card["detail"].partition("**Also:**")
    assert "Estimated glomerular filtration rate 38 mL/min/1.73 m2 on 2026-10-12" in first
    assert "Magnesium oxide 400 mg tablet (drafted)" in first
    assert "digoxin 0.125 mg (drafted)" not in card["detail"]
    assert "**Low magnesium makes digoxin more toxic" in also
    assert "at least 2 h before or 2 h after magnesium" in also


def test_an_order_that_stands_alone_is_told_what_all_are_told_in_a_low_voice(desk: Desk) -> None:
    """One magnesium product and good kidneys: no warning and no test; beside another one it is a warning."""
    alone = desk.respond("order-sign", patient(92, "Magnesium citrate 200 mg"), drafts=(0,), states=LISTS)
    assert [card["indicator"] for card in alone["cards"]] == ["info"]
    assert actions(alone) == []
    assert "magnesium" in alone["extension"][ASSESSMENT]["notOnACard"]["labQuestions"]
    second = desk.respond(
        "order-sign", patient(92, "Milk of Magnesia", "Magnesium citrate 200 mg"), drafts=(1,), states=LISTS
    )
    assert second["cards"][0]["indicator"] == "warning"
    blocked = {"conditions": [{"key": "heart_block"}]}
    forbidden = desk.respond(
        "order-sign", patient(92, "Magnesium citrate 200 mg", **blocked), drafts=(0,), states=LISTS
    )
    assert len(forbidden["cards"]) == 1
    assert "magnesium-from-other-sources" in forbidden["extension"][ASSESSMENT]["notOnACard"]["cautions"]


def _labs(**values: str) -> Json:
    found = {}
    for key, said in values.items():
        value, unit, *day = said.split()
        found[key] = {"value": float(value), "unit": unit, "collected_on": day[0] if day else "2026-11-10"}
    return {"labs": found}


NORMAL = {"egfr": "92 mL/min/{1.73_m2}"}


def test_an_abnormal_result_is_said_with_the_order_it_matters_for(desk: Desk) -> None:
    """Low magnesium with magnesium or a medicine that lowers it, high calcium with vitamin D; never amoxicillin."""
    low = _labs(**NORMAL, magnesium="1.5 mg/dL")
    for name in ("Magnesium citrate 200 mg", "omeprazole 20 mg"):
        response = desk.respond("order-sign", patient(92, name, **low), drafts=(0,), states=LISTS)
        assert response["cards"][0]["summary"].startswith("Low serum magnesium.")
        assert "Serum magnesium 1.5 mg/dL on 2026-11-10" in response["cards"][0]["detail"]
    beside = _labs(**NORMAL, calcium_total="8.2 mg/dL", albumin="4.0 g/dL")
    names = ("Magnesium citrate 200 mg", "hydrochlorothiazide 25 mg")
    response = desk.respond("order-sign", patient(92, *names, **beside), drafts=(0,), states=LISTS)
    assert response["cards"][0]["summary"].startswith("Magnesium and potassium can fall on hydrochlorothiazide")
    assert "**Low calcium. Measure magnesium with it" in response["cards"][0]["detail"]
    high = _labs(**NORMAL, calcium_total="10.9 mg/dL", albumin="4.0 g/dL")
    response = desk.respond("order-sign", patient(92, "cholecalciferol 1000 unit", **high), drafts=(0,), states=LISTS)
    assert response["cards"][0]["summary"].startswith("Hypercalcaemia.")
    asked = {one["resource"]["code"]["coding"][0]["code"] for one in actions(response) if one["type"] == "create"}
    assert "2731-8" in asked
    for labs in (low, high):
        assert desk.respond("order-sign", patient(92, "Amoxicillin 500 mg", **labs), drafts=(0,))["cards"] == []


def test_a_doubt_about_a_value_goes_with_what_rests_on_it(desk: Desk) -> None:
    """An urgent value outside what is expected may be a wrong unit."""
    labs = _labs(**NORMAL, magnesium="0.9 mg/dL")
    for hook in HOOKS:
        drafts = () if hook == "patient-view" else (0,)
        card = desk.respond(hook, patient(92, "Amoxicillin 500 mg", **labs), drafts=drafts)["cards"][0]
        assert card["summary"].startswith("Severe hypomagnesaemia.")
        assert "Serum magnesium: unusual value; check the result and its unit." in card["detail"]
    apart = _labs(egfr="92 mL/min/{1.73_m2}", creatinine="2.9 mg/dL")
    card = desk.respond("order-sign", patient(92, "Magnesium oxide 400 mg", **apart), drafts=(0,))["cards"][0]
    assert card["summary"].startswith("Severe kidney disease")
    assert "Reported eGFR and the eGFR calculated from the creatinine sent disagree." in card["detail"]
    wrong = _labs(**NORMAL, vitamin_d_125oh="40 pg/mL")
    said = "The vitamin D test sent does not show stores"
    for name, there in (("ergocalciferol 50,000 unit", True), ("Amoxicillin 500 mg", False)):
        response = desk.respond("order-sign", patient(92, name, **wrong), drafts=(0,), states=LISTS)
        assert (said in details(response)) is there


@pytest.mark.parametrize(
    ("body", "cards"),
    [
        (patient(38), 0),
        (patient(38, "Milk of Magnesia"), 1),
        (patient(22), 1),
        (patient(None, **_labs(egfr="22 mL/min/{1.73_m2} 2020-01-01")), 1),
        (patient(None, **_labs(**NORMAL, magnesium="1.5 mg/dL")), 1),
        (patient(None, **_labs(**NORMAL, magnesium="1.5 mg/dL 2025-11-01")), 0),
        (patient(92, "spironolactone 25 mg", "Ciprofloxacin 500 mg", "levothyroxine 100 mcg"), 0),
        (patient(92, "Ciprofloxacin 500 mg", "Milk of Magnesia"), 1),
        (patient(92, "digoxin 0.125 mg", **_labs(**NORMAL, potassium="3.1 mmol/L")), 1),
    ],
)
def test_who_is_spoken_of_when_a_chart_is_opened(desk: Desk, body: Json, cards: int) -> None:
    """Abnormal results of the last year, combinations with what is listed, and what is severe by itself."""
    response = desk.respond("patient-view", body, states=LISTS)
    assert len(response["cards"]) == cards, details(response)


def test_nothing_is_advised_about_the_dead(desk: Desk) -> None:
    """A chart is opened in silence, with the reason; an order is still checked, and the death said first."""
    body = patient(22, "Magnesium oxide 400 mg")
    for hook, drafts in (("patient-view", ()), ("order-sign", (Draft("MedicationRequest/d0", 0, True, {}),))):
        chart = Chart(body, {}, (), drafts, deceased=True)
        call = Call(desk.hooks.services[desk.service(hook)], CONTEXT)
        response = desk.writer().response(call, desk.answer(body), chart)
        RESPONSE.validate(json.loads(json.dumps(response)))
        if drafts:
            assert response["cards"][0]["detail"].startswith("**The record says that this patient has died.**")
        else:
            assert response["cards"] == []
            assert "has died" in response["extension"][ASSESSMENT]["statement"]


def test_results_that_no_card_is_about_are_left_off_the_card(desk: Desk) -> None:
    """For an antibiotic that vitamin D was not looked for stands in extension alone; lists are always said."""
    states = {key: State("absent") for key in desk.hooks.prefetch}
    response = desk.respond(
        "order-sign", patient(92, "Milk of Magnesia", "Ciprofloxacin 500 mg"), drafts=(1,), states=states
    )
    detail = response["cards"][0]["detail"]
    assert "Not supplied: Patient, Medication orders, Medicines and supplements taken, Conditions." in detail
    assert response["extension"][ASSESSMENT]["data"]["vitd25oh"]["state"] == "absent"
    other = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,), states=states)
    assert "25-OH vitamin D" in other["cards"][0]["detail"]


# Short enough, and nothing lost.


def _of_cards(desk: Desk, hook: str, body: Json, response: Json) -> Iterator[tuple[Json, list[str]]]:
    """The cautions that a card has, and what was cut of each."""
    said = response["extension"][ASSESSMENT]
    cut: dict[str, list[str]] = {}
    for one in said.get("shortened", ()):
        cut.setdefault(one.get("caution", ""), []).extend(one["leftOut"])
    missing = said.get("notOnACard", {}).get("cautions", ())
    for caution in desk.answer(body)["cautions"]:
        if caution["code"] not in missing:
            yield caution, cut.get(caution["code"], [])


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name.removesuffix(".request.json"))
def test_every_caution_is_on_a_card_or_named_and_what_is_cut_is_named(desk: Desk, path: Path, hook: str) -> None:
    """Summary, hours and the action of a severe one are never cut; of the rest each part is there or named."""
    body = json.loads(path.read_text(encoding="utf-8"))
    drafts = () if hook == "patient-view" else tuple(range(len(body.get("medications", ()))))
    response = desk.respond(hook, body, drafts=drafts)
    text = details(response)

    def there(part: str) -> bool:
        return markdown(desk.writer()._wording.units(part)) in text or plain(part) in text

    for caution, cut in _of_cards(desk, hook, body, response):
        assert there(caution["summary"])
        assert "action" in cut or there(caution["action"])
        assert "why" in cut or there(caution["detail"])
        assert "limits" in cut or all(there(one) for one in caution["limitations"])
        assert "action" not in cut or caution["severity"] in ("moderate", "minor")
        if caution["spacing"]:
            hours = caution["spacing"]
            assert f"at least {hours['hours_before']} h before or {hours['hours_after']} h after" in text


def test_a_long_detail_is_cut_and_says_what_of(desk: Desk) -> None:
    """Many cautions at once: the first in full, and all of them by name."""
    names = [
        "furosemide 40 mg", "hydrochlorothiazide 25 mg", "omeprazole 20 mg", "digoxin 0.125 mg", "verapamil 40 mg",
        "naproxen 220 mg", "levothyroxine 100 mcg", "Magnesium oxide 400 mg",
    ]  # fmt: skip
    body = patient(38, *names)
    response = desk.respond("order-sign", body, drafts=(7,), states=LISTS)
    card = response["cards"][0]
    touched = [one for one in desk.answer(body)["cautions"] if one["agent"] == "magnesium"]
    assert len(touched) > 6
    assert all(one["summary"] in card["summary"] + card["detail"] for one in touched)
    cut = response["extension"][ASSESSMENT]["shortened"]
    assert {"why", "limits"} <= set(
        next(one for one in cut if one["caution"] == "loop-diuretic-lowers-magnesium")["leftOut"]
    )
    full = sum(len(one["detail"]) + len(one["action"]) + sum(map(len, one["limitations"])) for one in touched)
    assert len(card["detail"]) < full / 2
    ruled = [one["label"] for one in card["links"] if one["label"].startswith("Rule ")]
    assert len(ruled) == desk.hooks.cards["most_rule_links"]


def test_many_drafts_say_each_caution_once(desk: Desk) -> None:
    """Merged for want of room; an earlier card has it in full, and each order that can go is called by its name."""
    names = ["Magnesium oxide 400 mg", "Milk of Magnesia", "Magnesium citrate 200 mg", "Magnesium chloride 64 mg"]
    response = desk.respond("order-sign", patient(22, *names), drafts=(0, 1, 2, 3), states=LISTS)
    for card in response["cards"]:
        headings = re.findall(r"^- (\*\*.*?\*\*)", card["detail"], re.MULTILINE)
        assert len(set(headings)) == len(headings)
    labels = [one["label"] for one in suggestions(response) if one["actions"][0]["type"] == "delete"]
    forms = ("magnesium oxide", "magnesium hydroxide", "magnesium citrate", "magnesium chloride")
    assert [label.split(".")[0] for label in labels] == [f"Remove the draft order for {form}" for form in forms]


def test_what_an_earlier_card_says_in_full_is_only_called_by_name(desk: Desk) -> None:
    """On a later card only what leads it is said again."""
    body = patient(22, "Magnesium oxide 400 mg", "Milk of Magnesia", conditions=[{"key": "myasthenia_gravis"}])
    first, second = desk.respond("order-sign", body, drafts=(0, 1), states=LISTS)["cards"][:2]
    said = {one["code"]: one for one in desk.answer(body)["cautions"]}
    leads, follows = said["magnesium-neuromuscular-junction-disease"], said["magnesium-severe-kidney-disease"]
    for card in (first, second):
        assert card["summary"].startswith(leads["summary"])
        assert leads["action"] in card["detail"]
        assert follows["summary"] in card["detail"]
    assert follows["action"] in first["detail"]
    assert follows["action"] not in second["detail"]


def test_results_are_shown_as_people_write_them(desk: Desk) -> None:
    """Four digits, cut off and not rounded, so that no threshold is crossed; what was calculated says so."""
    labs = {"labs": {"creatinine": {"value": 2.669139258290069, "unit": "mg/dL", "collected_on": "2026-11-10"}}}
    card = desk.respond("order-sign", patient(None, "Magnesium oxide 400 mg", **labs), drafts=(0,))["cards"][0]
    assert "Serum creatinine 2.669 mg/dL on 2026-11-10" in card["detail"]
    assert "mL/min/1.73 m2 (calculated)" in card["detail"]
    near = {"labs": {"egfr": {"value": 29.99999, "unit": "mL/min/{1.73_m2}", "collected_on": "2026-11-10"}}}
    card = desk.respond("order-sign", patient(None, "cholecalciferol 1000 unit", **near), drafts=(0,))["cards"][0]
    assert "Estimated glomerular filtration rate 29.99 mL/min/1.73 m2 on 2026-11-10" in card["detail"]


def test_what_was_not_recognised_is_called_by_name(desk: Desk) -> None:
    """The first few medicines, escaped and shortened; diagnoses by their number."""
    names = [f"zyzzomab{letter} <b>10</b> mg {'x' * 90}" for letter in "abcde"]
    codes = [{"code": {"system": "http://snomed.info/sct", "code": code}} for code in ("40055000", "444814009")]
    body = patient(22, *names, "Magnesium oxide 400 mg", conditions=codes)
    detail = desk.respond("order-sign", body, drafts=(5,))["cards"][0]["detail"]
    assert re.search(r"not wholly checked: zyzzomaba &lt;b&gt;10&lt;/b&gt; mg x+ …, zyzzomabb .*, 2 more\.", detail)
    assert "Diagnoses with a code that is not known here: 2." in detail
    assert "zyzzomabd" not in detail


def test_what_was_shown_and_not_used_is_on_the_card(desk: Desk) -> None:
    """In one line with its reason, where the card is about that test."""
    shown = (Shown("egfr", Decimal("41.23456"), "mL/min", "2026-11-10", "unit_property_mismatch"),)
    notes = (Note("egfr", "unit_property_mismatch", "egfr", True, 3),)
    body = patient(None, "Magnesium oxide 400 mg")
    chart = Chart(body, {}, notes, (Draft("MedicationRequest/d0", 0, True, {}),), shown)
    call = Call(desk.hooks.services["mgvd-order-sign"], CONTEXT)
    detail = desk.writer().response(call, desk.answer(body), chart)["cards"][0]["detail"]
    assert "- eGFR 41.23 mL/min on 2026-11-10 not used: the unit is not one for this test." in detail
    assert detail.count("not one for this test") == 1


def test_tests_that_come_together_are_ordered_once(desk: Desk) -> None:
    """An eGFR is reported with creatinine; when it is wanted stands on the order."""
    response = desk.respond("order-sign", patient(None, "Magnesium oxide 400 mg"), drafts=(0,), states=LISTS)
    card = next(one for one in response["cards"] if one["summary"].startswith("Tests to consider: creatinine, eGFR"))
    assert "**Serum creatinine / Estimated glomerular filtration rate.**" in card["detail"]
    ordered = [one["resource"] for one in actions(response)]
    codes = [one["code"]["coding"][0]["code"] for one in ordered]
    assert "2160-0" in codes
    assert "98979-8" not in codes
    assert all(one["note"][0]["text"].startswith("When: ") for one in ordered)


def _cut_tests(response: Json) -> dict[str, list[str]]:
    shortened = response["extension"][ASSESSMENT]["shortened"]
    return {one["labQuestion"]: one["leftOut"] for one in shortened if "labQuestion" in one}


def test_tests_on_a_long_card_are_shortened_from_the_last(desk: Desk) -> None:
    """A short one says which test and when; what is missing is named, also of a test that comes with another."""
    alone = desk.respond("order-sign", patient(None, "Magnesium oxide 400 mg"), drafts=(0,), states=LISTS)
    assert _cut_tests(alone)["egfr"] == ["question", "reason", "timing"]
    # Of several times that rules ask for, the first is shown.
    watched = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,), states=LISTS)
    assert "timing" in _cut_tests(watched)["magnesium"]
    low = _labs(**NORMAL, magnesium="0.9 mg/dL")
    body = patient(92, "Magnesium oxide 400 mg", "digoxin 0.125 mg", **low)
    response = desk.respond("order-sign", body, drafts=(0,), states=LISTS)
    asked = {one["lab"]: one for one in desk.answer(body)["lab_questions"]}
    text = details(response)
    on_cards = [lab for lab, one in asked.items() if f"- **{one['display']}.**" in text]
    short = [lab for lab, left in _cut_tests(response).items() if "question" in left]
    assert short
    assert set(short) < set(on_cards)
    for lab in on_cards:
        assert (plain(asked[lab]["question"]) in text) != (lab in short)
        said = re.search(rf"^- \*\*{asked[lab]['display']}\.\*\* (.*)\.$", text, re.MULTILINE)
        if lab in short:
            assert said is not None
            assert asked[lab]["timing"].lower().startswith(said.group(1).lower())


def test_only_checks_of_what_is_ordered_are_said_to_be_missing(desk: Desk) -> None:
    """Gates of magnesium do not concern vitamin D; one line says how many, and for want of what."""
    body = {"as_of": "2026-11-20", "patient": {"age_years": 58, "sex": "male"}, "conditions": []}
    vitamin = {**body, "medications": [{"name": "Cholecalciferol 1000 unit"}]}
    assert desk.respond("order-sign", vitamin, drafts=(0,), states=LISTS)["cards"] == []
    magnesium = {**body, "medications": [{"name": "Magnesium oxide 400 mg"}]}
    response = desk.respond("order-sign", magnesium, drafts=(0,), states=LISTS)
    held = [one for one in response["extension"][ASSESSMENT]["heldBack"] if one["outcome"] == "not_evaluated"]
    count = sum(len(one["rules"]) for one in held)
    assert f"- Safety checks not made: {count}, for want of eGFR." in response["cards"][0]["detail"]
    assert response["cards"][0]["detail"].count("Safety checks not made") == 1


# Suggestions and profiles.


def test_laboratory_questions_become_draft_orders(desk: Desk) -> None:
    """A ServiceRequest with a LOINC code, for this patient and this encounter."""
    body = patient(52, "Magnesium citrate 200 mg")
    response = desk.respond("order-sign", body, drafts=(0,))
    card = next(one for one in response["cards"] if one["indicator"] == "info")
    assert card["selectionBehavior"] == "any"
    codes = set()
    for one in card["suggestions"]:
        (action,) = one["actions"]
        assert action["description"] == one["label"]
        resource = action["resource"]
        assert resource["resourceType"] == "ServiceRequest"
        assert (resource["status"], resource["intent"]) == ("draft", "proposal")
        assert resource["subject"] == {"reference": "Patient/p-1"}
        assert resource["encounter"] == {"reference": "Encounter/e-1"}
        assert resource["category"][0]["coding"][0]["code"] == "108252007"
        assert resource["code"]["coding"][0]["system"] == "http://loinc.org"
        assert resource["reasonCode"][0]["text"]
        codes.add(resource["code"]["coding"][0]["code"])
    asked = {one["loinc"] for one in desk.answer(body)["lab_questions"]}
    assert codes
    assert codes <= asked


@pytest.mark.parametrize("identifier", ["a b", "../x", "x" * 65, 'p"><script>', "Patient/1/2"])
def test_what_is_no_fhir_id_is_put_into_no_resource(desk: Desk, identifier: str) -> None:
    """The cards stay; what would need the id is left away."""
    body = patient(52, "Magnesium citrate 200 mg")
    context = {**CONTEXT, "patientId": identifier}
    response = desk.respond("order-sign", body, drafts=(0,), context=context, names=lambda _: f"X/{identifier}")
    assert response["cards"]
    assert actions(response) == []
    assert identifier not in json.dumps(response, ensure_ascii=False)


def test_a_draft_without_an_id_cannot_be_removed(desk: Desk) -> None:
    """It is warned of all the same."""
    response = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,), names=lambda _: None)
    assert response["cards"][0]["indicator"] == "warning"
    assert all(one["type"] == "create" for one in actions(response))


def _with_alternative(desk: Desk, profile: str, hook: str = "order-sign", body: Json | None = None) -> Json:
    """A draft that is contraindicated, beside forms that are not: answers of that shape are rare, so one is made."""
    body = body or patient(22, "Magnesium oxide 400 mg")
    answer = desk.answer(body)
    healthy = desk.answer({**patient(92, "Magnesium oxide 400 mg"), "goals": ["muscle"], "supplements": {}})
    assert len(healthy["form_suggestions"]) > 2
    answer = {**answer, "form_suggestions": healthy["form_suggestions"]}
    chart = Chart(body, {}, (), (Draft("MedicationRequest/d0", 0, True, {}),))
    call = Call(desk.hooks.services[desk.service(hook)], CONTEXT)
    response = desk.writer(profile).response(call, answer, chart)
    RESPONSE.validate(json.loads(json.dumps(response)))
    return response


def test_no_form_is_an_alternative_to_what_no_form_may_be_taken_with(desk: Desk) -> None:
    """Whatever the forms of the answer are: the caution is of all of them."""
    body = patient(92, "Magnesium oxide 400 mg", "raltegravir 400 mg")
    response = _with_alternative(desk, "generic", body=body)
    assert "raltegravir" in response["cards"][0]["summary"]
    assert [one["type"] for one in actions({"cards": response["cards"][:1]})] == ["delete"]


def test_alternatives_are_offered_beside_the_removal(desk: Desk) -> None:
    """Generic clients replace in one step; Epic takes one action for each suggestion."""
    generic = _with_alternative(desk, "generic")["cards"][0]
    kinds = [[action["type"] for action in one["actions"]] for one in generic["suggestions"]]
    assert kinds == [["delete"], ["delete", "create"], ["delete", "create"]]
    assert generic["selectionBehavior"] == "at-most-one"
    created = generic["suggestions"][1]["actions"][1]["resource"]
    assert created["resourceType"] == "MedicationRequest"
    assert (created["status"], created["intent"]) == ("draft", "proposal")
    assert created["medicationCodeableConcept"]["text"].startswith("Magnesium")
    epic = _with_alternative(desk, "epic")
    for card in epic["cards"]:
        assert card.get("selectionBehavior", "any") == "any"
    for one in suggestions(epic):
        assert len(one["actions"]) == 1
        assert "isRecommended" not in one
        assert one["actions"][0]["description"] == one["label"]


def test_forms_are_suggested_while_an_order_is_chosen(desk: Desk) -> None:
    """One suggestion for each; none recommended on weak evidence; not any more when it is signed."""
    body = {**patient(92, "Magnesium oxide 400 mg"), "goals": ["muscle"], "supplements": {}}
    answer = desk.answer(body)
    assert len(answer["form_suggestions"]) > 1
    chart = Chart(body, {}, (), (Draft("MedicationRequest/d0", 0, True, {}),))

    def forms(hook: str, profile: str) -> list[Json]:
        call = Call(desk.hooks.services[desk.service(hook)], CONTEXT)
        response = desk.writer(profile).response(call, answer, chart)
        RESPONSE.validate(json.loads(json.dumps(response)))
        return [card for card in response["cards"] if card["summary"].startswith("Forms of magnesium")]

    assert forms("order-sign", "generic") == []
    (card,) = forms("order-select", "generic")
    assert card["indicator"] == "info"
    assert card["selectionBehavior"] == "at-most-one"
    assert len(card["suggestions"]) == len(answer["form_suggestions"])
    assert not any(one.get("isRecommended") for one in card["suggestions"])
    for one in answer["form_suggestions"][0]["grounds"]:
        for source in one["evidence"]:
            source["certainty"] = "high"
    (card,) = forms("order-select", "generic")
    assert [one.get("isRecommended", False) for one in card["suggestions"]].count(True) == 1
    (card,) = forms("order-select", "epic")
    assert card["selectionBehavior"] == "any"
    assert not any("isRecommended" in one for one in card["suggestions"])


def test_only_signed_rules_interrupt_at_signing(desk: Desk) -> None:
    """Contraindications are critical at order-sign once signed, and nowhere else."""
    rules = {
        key: dataclasses.replace(one, source={**one.source, "sign_off": "signed"})
        for key, one in desk.rulebook.rules.items()
    }
    writer = desk.writer(rulebook=dataclasses.replace(desk.rulebook, rules=rules))
    body = patient(22, "Magnesium oxide 400 mg")
    indicators = {
        hook: desk.respond(hook, body, drafts=() if hook == "patient-view" else (0,), writer=writer)["cards"][0][
            "indicator"
        ]
        for hook in HOOKS
    }
    assert indicators == {"patient-view": "warning", "order-select": "warning", "order-sign": "critical"}


# What was not assessed.


@pytest.mark.parametrize(
    ("status", "says", "never"),
    [
        ("absent", "Not supplied: ", "none found"),
        ("null", "Not supplied: ", "none found"),
        ("failed", "The query failed, so not known: ", "none found"),
        ("incomplete", "Only a part was supplied: ", "none found"),
        ("none_found", "None found by the query of the EHR: ", "Not supplied: Conditions"),
        ("used", "", "none found"),
    ],
)
def test_states_stay_apart_in_words(desk: Desk, status: Any, says: str, never: str) -> None:
    """On the card and in the extension; only an empty search says that there is none."""
    states = {key: State("used", 1) for key in desk.hooks.prefetch}
    states["conditions"] = State(status, 1 if status in ("used", "incomplete") else 0)
    response = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,), states=states)
    detail = response["cards"][0]["detail"]
    assert (f"{says}Conditions." in detail) == bool(says)
    assert never.lower() not in detail.lower()
    data = response["extension"][ASSESSMENT]["data"]["conditions"]
    assert data["state"] == status
    assert ("none found" in data["text"]) == (status == "none_found")


def test_one_key_for_all_results_speaks_for_the_others(desk: Desk) -> None:
    """What came under `labs` is not said to be missing under its own key."""
    response = desk.respond("patient-view", patient(92), states={"patient": State("used", 1), "labs": State("failed")})
    data = response["extension"][ASSESSMENT]["data"]
    assert data["labs"] == {"state": "failed", "text": "Laboratory results: the query failed, so not known"}
    assert "egfr" not in data
    assert data["otc"]["state"] == "absent"


def test_what_was_left_out_is_said(desk: Desk) -> None:
    """With its reason in words; reasons of no consequence stand in the extension only."""
    notes = (
        Note("magnesium", "not_final", "magnesium", True, 2),
        Note("egfr", "older_result", "egfr", True, 3),
        Note("calcium", "something_new", "", True),
    )
    states = {"magnesium": State("used", 0, 2)}
    response = desk.respond(
        "order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,), notes=notes, states=states
    )
    detail = response["cards"][0]["detail"]
    assert "- Serum magnesium: not a final result (2)." in detail
    assert "- Calcium: something new." in detail
    assert "older than" not in detail
    said = response["extension"][ASSESSMENT]
    assert [one["reason"] for one in said["notes"]] == ["not_final", "older_result", "something_new"]
    assert said["data"]["magnesium"]["text"] == "Serum magnesium: 2 supplied, none could be used"


def test_results_that_are_only_shown_are_in_the_extension(desk: Desk) -> None:
    """With what they are and why they were not used."""
    body = patient(92)
    chart = Chart(body, {}, (), (), (Shown("egfr", 41, "mL/min/{1.73_m2}", "2026-10-01", "obsolete_code"),))
    call = Call(desk.hooks.services["mgvd-patient-view"], CONTEXT)
    response = desk.writer().response(call, desk.answer(body), chart)
    (shown,) = response["extension"][ASSESSMENT]["shownOnly"]
    assert (shown["lab"], shown["value"], shown["reason"]) == ("egfr", 41, "obsolete_code")


def test_an_order_that_can_only_be_half_assessed_says_so(desk: Desk) -> None:
    """Vitamin D for someone of whom nothing is known: no caution, and no silence."""
    body = {"as_of": "2026-11-20", "patient": {"age_years": 58}, "medications": [{"name": "Cholecalciferol 1000 unit"}]}
    response = desk.respond("order-sign", body, drafts=(0,))
    assert any("Not supplied: " in one["detail"] for one in response["cards"])
    assert any("for want of conditions" in one["detail"] for one in response["cards"])
    assert any("not known: conditions" in one["summary"] for one in response["cards"])


def test_a_draft_that_is_not_understood_is_named(desk: Desk) -> None:
    """As not recognised, or only in part, and never as assessed."""
    body = patient(92, "zyzzomab 10 mg", "Amoxicillin zyzzomab 500 mg")
    said = desk.respond("order-sign", body, drafts=(0, 1))["extension"][ASSESSMENT]
    assert [one["state"] for one in said["orders"]] == ["not_recognised", "in_part"]
    assert said["notRecognised"] == 2


# What an EHR sends stays harmless.

NASTY = (
    "Magnesium oxide 400 mg <iframe src=//e.vil></iframe> ![x](http://e.vil/a.png) [y](javascript:alert) \u202e a@b.c"
)


@pytest.mark.parametrize("profile", ["generic", "epic"])
@pytest.mark.parametrize("hook", HOOKS)
def test_text_of_the_record_is_escaped(desk: Desk, hook: str, profile: str) -> None:
    """No tag, no image, no link in a detail, and no word of it in a summary or a label."""
    body = patient(22, NASTY)
    response = desk.respond(hook, body, drafts=() if hook == "patient-view" else (0,), profile=profile)
    assert response["cards"]
    for card in response["cards"]:
        detail = card["detail"]
        assert re.search(r"<|(?<!\\)\[|(?<!\\)`|://|javascript:|@|\u202e", detail) is None
        shown = [card["summary"], *(one["label"] for one in card.get("suggestions", ()))]
        shown += [action["description"] for action in actions({"cards": [card]})]
        assert not any("e.vil" in one or "iframe" in one or "400" in one for one in shown)
    assert "&lt;iframe src=//e.vil&gt;" in response["cards"][0]["detail"]
    assert "iframe" not in json.dumps(response["extension"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>x</b> & \"y\" 'z'", "&lt;b&gt;x&lt;/b&gt; &amp; \"y\" 'z'"),
        ("`a` *b* _c_ |d| ~~e~~ $f$", r"\`a\` \*b\* \_c\_ \|d\| \~\~e\~\~ \$f\$"),
        ("![i](u) [x](y)", r"!\[i\](u) \[x\](y)"),
        ("# a", r"\# a"),
        ("## a", r"#\# a"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("1.5 mg", "1.5 mg"),
        ("a\n\n# b\r\n- c", "a # b - c"),
        ("www.e.vil HTTPS://e.vil x@e.vil", "www .e.vil HTTPS: //e.vil x at e.vil"),
        ("a\x00b\x1b[31m\u202ec\u200bd\u2066e\ufefff", r"ab\[31mcdef"),
        ("a\\b", r"a\\b"),
    ],
)
def test_markdown_shows_what_was_written(text: str, expected: str) -> None:
    """And nothing of it does anything."""
    assert markdown(text) == expected
    assert all(one.isprintable() for one in plain(text))


# Every example, every hook, both profiles.


@pytest.mark.parametrize("profile", ["generic", "epic"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name.removesuffix(".request.json"))
def test_examples_make_valid_cards(desk: Desk, path: Path, hook: str, profile: str) -> None:
    """Valid, the same twice, within the caps, every id readable, and every topic the same for the same rules."""
    body = json.loads(path.read_text(encoding="utf-8"))
    drafts = () if hook == "patient-view" else tuple(range(len(body.get("medications", ()))))
    response = desk.respond(hook, body, drafts=drafts, profile=profile)
    assert response == desk.respond(hook, body, drafts=drafts, profile=profile)
    service = desk.service(hook)
    for card in response["cards"]:
        origin = desk.ids.read(service, card["uuid"])
        assert origin is not None
        assert origin.kind == "card"
        listed = [RuleMark(one["id"], one["version"]) for one in card["extension"]["org.cofactor.rules"]]
        assert list(origin.rules) == listed[:3]
        assert origin.more == (len(listed) > 3)
        assert 4 <= len(card["overrideReasons"]) <= 6
        assert all(one["url"].startswith("https://") for one in card["links"])
        if profile == "epic":
            assert card.get("selectionBehavior", "any") == "any"
    ids = [one["uuid"] for card in response["cards"] for one in (card, *card.get("suggestions", ()))]
    assert len(set(ids)) == len(ids)
    for one in suggestions(response):
        origin = desk.ids.read(service, one["uuid"])
        assert origin is not None
        assert origin.kind == "suggestion"


def test_an_invalid_response_does_not_leave(desk: Desk) -> None:
    """Each fault is found, also by a schema that was written apart."""
    good = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,))
    check_response(good, 3)

    def broken(change: Callable[[Json], None]) -> Json:
        copy: Json = json.loads(json.dumps(good))
        change(copy)
        return copy

    changes: list[Callable[[Json], None]] = [
        lambda r: r["cards"][0].update(summary="x" * 140),
        lambda r: r["cards"][0].update(summary=" "),
        lambda r: r["cards"][0].update(indicator="hard-stop"),
        lambda r: r["cards"][0].pop("source"),
        lambda r: r["cards"][0].update(detail=None),
        lambda r: r["cards"][0].update(links=[]),
        lambda r: r["cards"][0].pop("selectionBehavior"),
        lambda r: r["cards"][0].update(uuid="1"),
        lambda r: r["cards"][0].update(more="x"),
        lambda r: r["cards"][0]["suggestions"][0]["actions"][0].pop("resourceId"),
        lambda r: r["cards"][0]["suggestions"][0]["actions"][0].pop("description"),
        lambda r: r["cards"][0]["suggestions"][0]["actions"][0].update(type="remove"),
        lambda r: r["cards"][0]["suggestions"][0].update(actions=[]),
        lambda r: r["cards"][0]["overrideReasons"][0].pop("display"),
        lambda r: r["cards"][0]["links"][0].update(url="javascript:alert(1)"),
        lambda r: r["cards"][1]["suggestions"][0]["actions"][0]["resource"].update(note=""),
        lambda r: r.pop("extension"),
        lambda r: r["extension"][ASSESSMENT].update(message=None),
        lambda r: r.update(cards=None),
    ]
    for change in changes:
        with pytest.raises(InvalidResponse):
            check_response(broken(change), 3)
        assert not RESPONSE.is_valid(broken(change))

    def same_id(response: Json) -> None:
        response["cards"][1]["uuid"] = response["cards"][0]["uuid"]

    with pytest.raises(InvalidResponse):
        check_response(broken(same_id), 3)
    with pytest.raises(InvalidResponse):
        check_response(good, 1)


def test_two_recommendations_are_refused_where_one_is_taken(desk: Desk) -> None:
    """cds-resp-1, on a card that is otherwise right."""
    body = _with_alternative(desk, "generic")
    (card,) = [one for one in body["cards"] if len(one.get("suggestions", ())) > 1]
    for one in card["suggestions"][:2]:
        one["isRecommended"] = True
    with pytest.raises(InvalidResponse, match="recommended"):
        check_response(body, 3)
    card["selectionBehavior"] = "any"
    check_response(body, 3)


def test_nothing_empty_is_left() -> None:
    """In any depth; false and zero are something."""
    assert without_empty({"a": [], "b": {"c": None, "d": [{}, ""]}, "e": 0, "f": False, "g": ["x", None]}) == {
        "e": 0,
        "f": False,
        "g": ["x"],
    }


def test_an_unknown_profile_is_refused(desk: Desk) -> None:
    """At start, with the names there are."""
    with pytest.raises(ValueError, match="generic, epic"):
        desk.writer("cerner")


# Ids.


def test_ids_are_uuids_that_only_the_key_reads(desk: Desk) -> None:
    """Version 8, variant of RFC 9562; another key, another service or one other digit: nothing."""
    rules = [RuleMark("mg-levothyroxine", 1), RuleMark("mg-fq-ciprofloxacin", 1)]
    made = desk.ids.make("mgvd-order-sign", "card", 2, rules)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)
    assert made == desk.ids.make("mgvd-order-sign", "card", 2, rules)
    origin = desk.ids.read("mgvd-order-sign", made.upper())
    assert origin is not None
    assert (origin.kind, list(origin.rules), origin.more, origin.ordinal) == ("card", rules, False, 2)
    assert desk.ids.read("mgvd-order-select", made) is None
    assert Ids(b"another key, also 32 bytes long.", {one.id: 1 for one in rules}).read("mgvd-order-sign", made) is None
    for place, digit in enumerate(made):
        if digit != "-":
            other = made[:place] + ("0" if digit != "0" else "1") + made[place + 1 :]
            assert desk.ids.read("mgvd-order-sign", other) is None
    for text in (
        "",
        "x",
        made.replace("-", ""),
        f"{{{made}}}",
        f"urn:uuid:{made}",
        "4e0a3a1e-3283-4575-ab82-028d55fe2719",
    ):
        assert desk.ids.read("mgvd-order-sign", text) is None


def test_ids_of_earlier_versions_are_still_read() -> None:
    """A rule that was changed since; one that went away is not."""
    old = Ids(KEY, {"a": 1, "b": 1})
    new = Ids(KEY, {"a": 3})
    origin = new.read("s", old.make("s", "suggestion", 0, [RuleMark("a", 1)]))
    assert origin is not None
    assert origin.rules == (RuleMark("a", 1),)
    assert new.read("s", old.make("s", "card", 0, [RuleMark("b", 1)])) is None


def test_ids_with_colliding_digests_are_told_apart() -> None:
    """With so many rules that many share a digest, the seal decides."""
    versions = {f"rule-{number}": 1 for number in range(4000)}
    ids = Ids(KEY, versions)
    crowded = [marks for marks in ids._known.values() if len(marks) > 1]
    assert crowded
    for marks in crowded:
        for mark in marks:
            origin = ids.read("s", ids.make("s", "card", 0, [mark]))
            assert origin is not None
            assert origin.rules == (mark,)


def test_what_cannot_be_an_id_is_refused() -> None:
    """No rule, too many cards, a short key."""
    ids = Ids(KEY, {})
    with pytest.raises(ValueError, match="needs a rule"):
        ids.make("s", "card", 0, [])
    with pytest.raises(ValueError, match="ordinal"):
        ids.make("s", "card", 512, [RuleMark("a", 1)])
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Ids(b"short", {})


# Feedback.


@pytest.fixture
def feedback(desk: Desk) -> FeedbackReader:
    """For the ids of the desk."""
    return FeedbackReader(desk.hooks, desk.ids)


def _opinion(card: str, outcome: str = "overridden", **more: Any) -> Json:
    return {"card": card, "outcome": outcome, "outcomeTimestamp": "2026-11-20T10:05:31Z", **more}


def test_feedback_is_counted_for_each_rule(desk: Desk, feedback: FeedbackReader) -> None:
    """Of the card that was sent, with the reason; nothing that was typed is kept."""
    response = desk.respond("order-sign", patient(22, "Magnesium oxide 400 mg"), drafts=(0,))
    card = response["cards"][0]
    reason = card["overrideReasons"][0]
    said = [
        _opinion(card["uuid"], overrideReason={"reason": reason, "userComment": "Mr Miller takes it anyway"}),
        _opinion(card["uuid"], "accepted", acceptedSuggestions=[{"id": card["suggestions"][0]["uuid"]}]),
    ]
    opinions = feedback.read("mgvd-order-sign", {"feedback": said})
    assert len(opinions) == 2
    assert "Miller" not in repr(opinions)
    gate = RuleMark("gate-mg-severe-kidney-disease", 1)
    counted = Counter(tally for one in opinions for tally in one.tallies)
    assert counted[Tally(gate, "overridden", reason["code"])] == 1
    assert counted[Tally(gate, "accepted")] == 1
    assert counted[Tally(gate, "taken")] == 1


def test_feedback_that_is_repeated_counts_once(desk: Desk, feedback: FeedbackReader) -> None:
    """Within a call and from call to call; another time is another opinion; memory has an end."""
    card = desk.ids.make("mgvd-order-sign", "card", 0, [RuleMark("mg-levothyroxine", 1)])

    def at(time: str) -> tuple[Opinion, ...]:
        said = {**_opinion(card), "outcomeTimestamp": f"2026-11-20T10:05:{time}Z"}
        return feedback.read("mgvd-order-sign", {"feedback": [said] * 3})

    heard = Heard(most_remembered=2)
    assert [len(heard.new(at("31"))) for _ in range(2)] == [1, 0]
    assert [one.tallies for one in at("31")] == [(Tally(RuleMark("mg-levothyroxine", 1), "overridden"),)]
    assert [len(heard.new(at(time))) for time in ("32", "31", "33", "31")] == [1, 0, 1, 1]
    assert heard.new(feedback.read("mgvd-order-sign", {"feedback": []})) == ()


@pytest.mark.parametrize("card", ["not-a-uuid", "4e0a3a1e-3283-4575-ab82-028d55fe2719"])
def test_feedback_on_cards_of_others_is_counted_apart(feedback: FeedbackReader, card: str) -> None:
    """Vendors change ids; nothing is guessed."""
    (opinion,) = feedback.read("mgvd-order-sign", {"feedback": [_opinion(card)]})
    assert opinion.tallies == (Tally(None, "overridden"),)


def test_vendor_ways_of_saying_why_are_understood(desk: Desk, feedback: FeedbackReader) -> None:
    """The plural, as object or array, an extension instead of a reason, no display, further members."""
    card = desk.ids.make("mgvd-order-sign", "card", 0, [RuleMark("mg-levothyroxine", 1)])
    system = desk.hooks.cards["override"]["system"]
    ours = {"code": "risk-benefit-ratio", "system": system}
    site = {"code": "patient John Doe refused", "system": "urn:oid:1.2.3"}
    shapes: list[tuple[Json, str | None]] = [
        ({"overrideReason": {"reason": ours}}, "risk-benefit-ratio"),
        ({"overrideReason": {"reason": site}}, "other"),
        ({"overrideReason": {"userComment": "x"}}, None),
        ({"overrideReasons": [{"extension": {"x": 1}}]}, None),
        ({"overrideReasons": {"extension": {"x": 1}, "userComment": "x"}}, None),
        ({"overrideReasons": [{"reason": ours}], "extension": {"a.b": 1}, "more": 2}, "risk-benefit-ratio"),
        ({}, None),
    ]
    for more, expected in shapes:
        (opinion,) = feedback.read("mgvd-order-sign", {"feedback": [_opinion(card, **more)]})
        assert [one.reason for one in opinion.tallies] == [expected]
        assert "John" not in repr(opinion)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"outcome": "ignored"}, "/feedback/0/outcome"),
        ({"outcome": "accepted"}, "/feedback/0/acceptedSuggestions"),
        ({"outcome": "accepted", "acceptedSuggestions": []}, "/feedback/0/acceptedSuggestions"),
        ({"outcome": "accepted", "acceptedSuggestions": [{}]}, "/feedback/0/acceptedSuggestions/0/id"),
        ({"outcomeTimestamp": "yesterday"}, "/feedback/0/outcomeTimestamp"),
        ({"outcomeTimestamp": "2026-02-30T10:00:00Z"}, "/feedback/0/outcomeTimestamp"),
        ({"outcomeTimestamp": "2026-02-20T10:00:00"}, "/feedback/0/outcomeTimestamp"),
        ({"card": ""}, "/feedback/0/card"),
        ({"overrideReason": {}}, "/feedback/0/overrideReason"),
        ({"overrideReason": {"reason": {"display": "x"}}}, "/feedback/0/overrideReason/reason/code"),
    ],
)
def test_feedback_that_is_none_is_refused(change: Json, pointer: str) -> None:
    """With the place of the fault."""
    with pytest.raises(Refused) as caught:
        read_feedback_body({"feedback": [{**_opinion("x"), **change}]})
    assert pointer in [one.pointer for one in caught.value.faults]
    for body in (None, [], {}, {"feedback": {}}, {"feedback": [1]}):
        with pytest.raises(Refused):
            read_feedback_body(body)


def test_times_of_the_standard_are_taken() -> None:
    """Fractions, zones, a leap second."""
    for time in ("2026-11-20T10:05:31.123456789Z", "2026-11-20T10:05:31+05:30", "2016-12-31T23:59:60Z"):
        assert read_feedback_body({"feedback": [{**_opinion("x"), "outcomeTimestamp": time}]})


# Requests.


def _request(hook: str = "order-sign", **more: Any) -> Json:
    context: Json = {"userId": "Practitioner/1", "patientId": "1"}
    if hook != "patient-view":
        context["draftOrders"] = {"resourceType": "Bundle"}
    if hook == "order-select":
        context["selections"] = ["MedicationRequest/a"]
    return {"hook": hook, "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", "context": context, **more}


@pytest.mark.parametrize("hook", HOOKS)
def test_requests_of_each_hook_are_read(hook: str) -> None:
    """Without prefetch, with null and with a Bundle; what is not known is passed over."""
    assert "prefetch" not in read_request(hook, _request(hook))
    prefetch = {"patient": None, "egfr": {"resourceType": "Bundle", "entry": []}}
    authorization = {
        "access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "y", "more": 1,
    }  # fmt: skip
    body = _request(
        hook,
        prefetch=prefetch,
        fhirServer="https://fhir.example/r4",
        fhirAuthorization=authorization,
        extension={"a.b": {"user": "x"}},
        later=1,
    )
    body["context"]["more"] = {}
    read = read_request(hook, body)
    assert read["prefetch"] == prefetch
    assert "extension" not in read
    assert "later" not in read


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"hook": "patient-view"}, "/hook"),
        ({"hookInstance": "1"}, "/hookInstance"),
        ({"hookInstance": None}, "/hookInstance"),
        ({"context": None}, "/context"),
        ({"context": {"userId": "Practitioner/1", "draftOrders": {"resourceType": "Bundle"}}}, "/context/patientId"),
        ({"context": {"userId": "Practitioner/1", "patientId": "1"}}, "/context/draftOrders"),
        (
            {"context": {"userId": "P/1", "patientId": "1", "draftOrders": {"resourceType": "Patient"}}},
            "/context/draftOrders/resourceType",
        ),
        ({"fhirServer": "fhir.example"}, "/fhirServer"),
        ({"fhirAuthorization": {}}, "/fhirServer"),
        ({"prefetch": []}, "/prefetch"),
        ({"prefetch": {"patient": "x"}}, "/prefetch/patient"),
        ({"prefetch": {"patient": {}}}, "/prefetch/patient/resourceType"),
    ],
)
def test_requests_that_break_the_specification_are_refused(change: Json, pointer: str) -> None:
    """With the place of the fault, and no value of the request."""
    with pytest.raises(Refused) as caught:
        read_request("order-sign", {**_request(), **change})
    assert pointer in [one.pointer for one in caught.value.faults]
    for body in (None, [], "x", {}):
        with pytest.raises(Refused):
            read_request("order-sign", body)


def test_faults_repeat_nothing_that_was_sent() -> None:
    """Neither values nor keys that anyone may have chosen."""
    body = _request(prefetch={"John Doe": "John Doe"}, hookInstance="John Doe", fhirServer="John Doe")
    with pytest.raises(Refused) as caught:
        read_request("order-sign", body)
    assert "John" not in str(caught.value) + repr(caught.value.faults)


def test_hooks_type_is_used(desk: Desk) -> None:
    """The day of the answer is the day of the chart, not of the clock."""
    assert isinstance(desk.hooks, Hooks)
    body = patient(92)
    assert desk.respond("patient-view", body)["extension"][ASSESSMENT]["asOf"] == date(2026, 11, 20).isoformat()
