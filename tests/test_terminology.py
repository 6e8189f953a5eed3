"""What medications are understood to be, by name and by code, and what is not understood."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.knowledge import Rulebook
from service.settings import Settings
from service.terminology import Recognised, Recogniser
from service.terminology.text import words

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"

MISSPELT = """
levofloxicin 500 mg|levofloxacin
Synthoid 50|Synthroid
ciprofloxasin|ciprofloxacin
ciprofloxcin|ciprofloxacin
doxycycyline|doxycycline
doxicycline|doxycycline
alendornate 70mg|alendronate
dolutegravr|dolutegravir
Biktravy|Biktarvy
colestryamine|colestyramine
furosimide|furosemide
frusemid|frusemide
omeprozole 20|omeprazole
esomeprazle|esomeprazole
metformn 500|metformin
lisinoprol|lisinopril
amlodpine|amlodipine
atorvastatn|atorvastatin
warfrin|warfarin
digoxn|digoxin
digitoxn|digitoxin
penicilamine|penicillamine
gabapentn|gabapentin
mycofenolate|mycophenolate
prednisilone|prednisolone
minocyline|minocycline
risendronate|risedronate
lithum|lithium
spironolactne|spironolactone
azithromicin|azithromycin
amoxicilin|amoxicillin
paracetmol|paracetamol
acetominophen|acetaminophen
salbutmol|salbutamol
ferous sulfate|ferrous sulfate
Nexum|Nexium
Losek|Losec
Fosomax|Fosamax
Actonell|Actonel
Plaquinil|Plaquenil
Juluka|Juluca
Tivicy|Tivicay
levothyroxne 75|levothyroxine
ciprofloxicin 500|ciprofloxacin
doxycyline|doxycycline
metfromin 500 mg bid|metformin
Lisinipril 10|lisinopril
omperazole|omeprazole
magnesum oxide 400|magnesium oxide
magneisum citrate|magnesium citrate
magnisium|magnesium
calcuim carbonate|calcium carbonate
vitamn D3|vitamin D3
cholcalciferol|cholecalciferol
kolchicine|colchicine
qiprofloxacin|ciprofloxacin
iprofloxacin|ciprofloxacin
azithro 250|azithromycin
moxi|moxifloxacin
"""
"""Not understood | the name that comes first in did_you_mean."""

PARTLY = """
amlodipine/benazepryl|amlodipine|benazepryl|benazepril
metformin + sitaglipton|metformin|sitaglipton|sitagliptin
carbidopa/levadopa 25/100|carbidopa|levadopa|levodopa
metformin, mycofenolat|metformin|mycofenolat|mycophenolate
ciprofloxacin zzyzxomab 10 mg|ciprofloxacin|zzyzxomab|
aspirin/abc|aspirin|abc|
"""
"""A combination | what is understood of it | what is not | what comes first in did_you_mean."""

NOTHING = [
    "Iron Man", "calcium channel blocker", "calcium channel", "iron deficiency anaemia", "zinc finger", "gold member",
    "sodium free diet", "potassium level pending", "low salt", "vitamin", "vitamins", "water pill", "calcium score",
    "blood thinner", "patient declines all", "none", "unknown", "n/a", "NKDA", "see list", "red rice", "D",
    "mg tablets", "magnesium deficiency", "magnesium level", "vitamin D deficiency", "vitamin D level",
    "thyroid disease", "insulin resistance", "aspirin allergy", "digoxin level", "insulin pump", "silver lining",
    "perform surgery", "name of drug", "take as directed", "2 tablets daily", "mom brings the list",
    "D pending review of chart", "x", "12", "!!!", "/", "75 mcg", "oral tablet", "hydrochloride", "zzyzxomab 10 mg",
    "ironically", "calciums", "ciprofloxacinol", "synthroidal", "digoxinlike", "see note", "patient refuses",
    "unable to obtain", "eye drops", "antacid", "statin", "beta blocker", "CPAP", "test strips",
    "compression stockings", "pen needles", "no meds", "\N{GREEK SMALL LETTER ALPHA}",
]  # fmt: skip
"""No medication, or none that is said: ordinary words, findings, longer words with a name in them."""

NO_SUGGESTION = ["see note", "patient refuses", "unable to obtain", "no meds", "eye drops", "beta blocker", "CPAP"]
"""Plain English is no misspelt name."""

CODES = """
10582|levothyroxine|
40144|levothyroxine|
224920|levothyroxine|
892251|levothyroxine|oral
966208|levothyroxine|oral
2056466|levothyroxine|oral
903736|levothyroxine|
2551|ciprofloxacin|
81981|ciprofloxacin|
848960|ciprofloxacin|otic
213320|ciprofloxacin + hydrocortisone|otic
359383|ciprofloxacin|oral
1665210|ciprofloxacin|intravenous
998756|ciprofloxacin|intravenous
465711|ciprofloxacin + hydrocortisone|
203565|ciprofloxacin|
314080|levofloxacin|ophthalmic
1665497|levofloxacin|intravenous
317403|levofloxacin|
3640|doxycycline|
1543955|doxycycline|oral
702296|doxycycline|oral
310026|doxycycline|oral
2099769|doxycycline|oral
835700|doxycycline|oral
82012|doxycycline|
1650029|doxycycline|
6979|minocycline|
858374|minocycline|oral
756134|minocycline|oral
904465|alendronate + cholecalciferol|oral
904492|alendronate + cholecalciferol|oral
1020066|risedronate|oral
905092|risedronate|oral
60334|risedronate|
905034|risedronate|oral
1999668|bictegravir + emtricitabine + tenofovir alafenamide|
1996259|bictegravir + emtricitabine + tenofovir alafenamide|
1999673|bictegravir + emtricitabine + tenofovir alafenamide|oral
1999663|bictegravir|
1433879|dolutegravir|oral
2122518|dolutegravir + lamivudine|
1546888|abacavir + dolutegravir + lamivudine|oral
1989501|Juluca|
1989506|Juluca|oral
1989499|Juluca|
205732|furosemide|oral
2683305|furosemide|intravenous
197730|furosemide|oral
876533|amlodipine + telmisartan|oral
848151|amlodipine + hydrochlorothiazide + valsartan|oral
104416|amlodipine|
309888|digoxin|oral
197606|digoxin|oral
237166|digoxin|oral
333033|digoxin|
616444|mycophenolate mofetil|oral
311881|mycophenolate mofetil|intravenous
199058|mycophenolate mofetil|oral
476673|gabapentin|oral
2398511|gabapentin|oral
1291987|amoxicillin + clarithromycin + omeprazole|oral
616541|omeprazole + sodium bicarbonate|oral
207212|omeprazole|oral
245014|ferrous sulfate|oral
198740|magnesium oxide|oral
1658244|magnesium sulfate|intravenous
198745|magnesium sulfate|topical
215976|magnesium amino acid chelate|
314718|magnesium|
1594675|iron|
5992|iron sucrose|
684879|pyridoxine|
42954|vitamin B6|
"""
"""Codes of RxNorm of every kind | ingredients | the route of the dose form."""


def table(text: str) -> list[list[str]]:
    return [line.split("|") for line in text.strip().splitlines()]


def records() -> list[list[str]]:
    """Medications as records write them, their ingredients by other names, and the route that is said."""
    lines = (Path(__file__).parent / "medications.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")][1:]


@pytest.fixture(scope="session")
def recogniser(rulebook: Rulebook) -> Recogniser:
    return Recogniser.of(rulebook, Settings().terminology_directory)


@pytest.fixture(scope="session")
def meaning(recogniser: Recogniser) -> Callable[[str], frozenset[str]]:
    """The ingredients that names parted by plus signs stand for."""

    def of(names: str) -> frozenset[str]:
        found = set()
        for part in names.split(" + "):
            name = recogniser.store.name(" ".join(words(part)))
            assert name is not None, part
            found |= set(name.ingredients.split(" "))
        return frozenset(found)

    return of


def by_code(recogniser: Recogniser, code: str) -> Recognised:
    return recogniser.recognise({"code": {"system": RXNORM, "code": code}})


def both(recogniser: Recogniser, name: str, code: str, **more: str) -> Recognised:
    return recogniser.recognise({"name": name, "code": {"system": RXNORM, "code": code}, **more})


@pytest.mark.parametrize(("text", "names", "route"), records(), ids=lambda value: value)
def test_names(
    recogniser: Recogniser, meaning: Callable[[str], frozenset[str]], text: str, names: str, route: str
) -> None:
    """A name as records write it becomes ingredients and a route."""
    found = recogniser.recognise({"name": text})
    assert found.ingredients == meaning(names)
    assert found.route == (route or None)
    assert found.route_assumed is (not route)
    assert (found.unread, found.conflict) == ((), False)


@pytest.mark.parametrize(("code", "names", "route"), table(CODES), ids=lambda value: value)
def test_codes(
    recogniser: Recogniser, meaning: Callable[[str], frozenset[str]], code: str, names: str, route: str
) -> None:
    """Ingredients, precise ingredients, brands, drugs, components, combinations and packs."""
    found = by_code(recogniser, code)
    assert found.ingredients == meaning(names)
    assert (found.route or "") in ({route, "oral", "ophthalmic"} if not route else {route})
    assert found.unread == ()


def test_there_are_several_hundred() -> None:
    assert len(records()) >= 1000
    assert len(table(CODES)) + len(table(MISSPELT)) + len(NOTHING) >= 150


def test_what_rules_speak_of_has_their_key(recogniser: Recogniser, rulebook: Rulebook) -> None:
    """Not a key of its own, whatever name or code it comes by."""
    for key, drug in rulebook.vocabulary.drugs.items():
        for name in (drug.display, *drug.names):
            assert key in recogniser.recognise({"name": name}).ingredients, name
        if drug.rxnorm is not None:
            assert by_code(recogniser, drug.rxnorm).ingredients == {key}
    for combination in rulebook.vocabulary.combinations.values():
        for name in (combination.display, *combination.names):
            assert set(combination.ingredients) <= recogniser.recognise({"name": name}).ingredients, name


@pytest.mark.parametrize(("text", "meant"), table(MISSPELT), ids=lambda value: value)
def test_misspelt(recogniser: Recogniser, text: str, meant: str) -> None:
    """Never guessed, never dropped, always the same."""
    found = recogniser.recognise({"name": text})
    (unread,) = found.unread
    assert (found.ingredients, unread.place, unread.text) == (frozenset(), "", text)
    assert unread.did_you_mean[0] == meant
    assert len(unread.did_you_mean) <= 5
    assert found == recogniser.recognise({"name": text})


@pytest.mark.parametrize(("text", "names", "unread", "meant"), table(PARTLY), ids=lambda value: value)
def test_a_part_that_is_misspelt(
    recogniser: Recogniser, meaning: Callable[[str], frozenset[str]], text: str, names: str, unread: str, meant: str
) -> None:
    """What is understood counts, and the rest is not dropped."""
    found = recogniser.recognise({"name": text})
    assert (found.ingredients, [one.text for one in found.unread]) == (meaning(names), [unread])
    assert found.unread[0].did_you_mean[:1] == ((meant,) if meant else ())


@pytest.mark.parametrize("text", NOTHING)
def test_no_lucky_part(recogniser: Recogniser, text: str) -> None:
    """A name inside a word, or an ordinary word in other company, is no medication."""
    found = recogniser.recognise({"name": text})
    assert (found.ingredients, [one.text for one in found.unread]) == (frozenset(), [text])
    if text in NO_SUGGESTION:
        assert found.unread[0].did_you_mean == ()


@pytest.mark.parametrize("beside", ["one a day", "morning after food", "take action", "gel one", "INH 2 puffs"])
def test_a_name_that_is_usually_said_beside_others(recogniser: Recogniser, beside: str) -> None:
    assert recogniser.recognise({"name": f"Albuterol 5 mg {beside}"}).ingredients == {"albuterol"}


def test_a_mineral_among_unknown_words_is_not_dropped(recogniser: Recogniser) -> None:
    found = recogniser.recognise({"name": "Colecalciferol zzyzx magnesium quux"})
    assert (found.ingredients, [one.text for one in found.unread]) == ({"cholecalciferol"}, ["zzyzx quux magnesium"])


@pytest.mark.parametrize(
    "code", ["0", "999999999", "010582x", "1e4", "-1", "10582 ", "٣٦٤٠", "9" * 40, "levothyroxine"]
)
def test_codes_that_are_none(recogniser: Recogniser, code: str) -> None:
    found = by_code(recogniser, code)
    assert (found.ingredients, [one.text for one in found.unread]) == (frozenset(), [code])


def test_a_code_of_another_system_is_none(recogniser: Recogniser) -> None:
    found = recogniser.recognise({"code": {"system": "http://snomed.info/sct", "code": "10582"}})
    assert (found.ingredients, [one.text for one in found.unread]) == (frozenset(), ["10582"])


@pytest.mark.parametrize(
    ("name", "code", "ingredients", "conflict"),
    [
        ("Synthroid 75 mcg", "10582", {"levothyroxine"}, False),
        ("levothyroxine", "2551", {"levothyroxine", "ciprofloxacin"}, True),
        # One says more than the other.
        ("magnesium oxide 400 mg", "6574", {"magnesium_oxide"}, False),
        ("Magnesium 400 mg", "6582", {"magnesium_oxide"}, False),
        ("Vitamin D3 1000 IU", "11253", {"cholecalciferol"}, False),
        ("itraconazole oral solution", "28031", {"itraconazole_solution"}, False),
        ("Juluca", "1433868", {"dolutegravir_rilpivirine"}, False),
        ("magnesium oxide", "1897", {"magnesium_oxide", "calcium_carbonate"}, True),
    ],
)
def test_name_and_code(recogniser: Recogniser, name: str, code: str, ingredients: set[str], conflict: bool) -> None:
    """Both are read; they disagree only when they have nothing in common."""
    found = both(recogniser, name, code)
    assert (found.ingredients, found.conflict, found.unread) == (ingredients, conflict, ())


@pytest.mark.parametrize(
    ("name", "code", "ingredients", "unread"),
    [
        ("ciproflxacin 500", "1191", {"aspirin"}, {"": "ciproflxacin 500"}),
        ("aspirin/zzyzxomab", "1191", {"aspirin"}, {"": "zzyzxomab"}),
        ("levothyroxine", "999999999", {"levothyroxine"}, {"/code": "999999999"}),
        ("levothyroxne", "999999999", set(), {"": "levothyroxne", "/code": "999999999"}),
        ("levothyroxine", "0010582", {"levothyroxine"}, {"/code": "0010582"}),
    ],
)
def test_of_name_and_code_the_one_that_is_not_understood_is_reported(
    recogniser: Recogniser, name: str, code: str, ingredients: set[str], unread: dict[str, str]
) -> None:
    """The other one counts, and hides nothing."""
    found = both(recogniser, name, code)
    keys = {name for key in found.ingredients for name in (recogniser.store.ingredient(key)[0],)}
    assert (keys, {one.place: one.text for one in found.unread}) == (ingredients, unread)


def test_a_code_that_is_shown_as_something_else(recogniser: Recogniser) -> None:
    """What a code is shown as counts like a name, and is held against the code."""
    found = recogniser.recognise({"code": {"system": RXNORM, "code": "10582", "display": "ciprofloxacin 500 MG"}})
    assert (found.ingredients, found.conflict, found.unread) == ({"levothyroxine", "ciprofloxacin"}, True, ())


@pytest.mark.parametrize("between", [", ", "\n", " and ", " with ", " (", " - ", "; ", " plus "])
def test_a_second_medicine_is_reported_however_it_is_joined(recogniser: Recogniser, between: str) -> None:
    for text in (f"aspirin 81 mg{between}newdrugumab 5 mg", f"newdrugumab{between}aspirin 81 mg"):
        assert [one.text for one in recogniser.recognise({"name": text}).unread] == ["newdrugumab"]


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("stopped ciprofloxacin", "stopped"),
        ("ciprofloxacin 500 mg (discontinued)", "discontinued"),
        ("not ciprofloxacin", "not"),
        ("allergic to ciprofloxacin", "allergic"),
    ],
)
def test_that_it_is_not_taken_is_reported(recogniser: Recogniser, text: str, unread: str) -> None:
    """The medicine counts, which is safer; that the text may say otherwise is for someone to read."""
    found = recogniser.recognise({"name": text})
    assert (found.ingredients, [one.text for one in found.unread]) == ({"ciprofloxacin"}, [unread])
    assert found.unread[0].did_you_mean == ()


@pytest.mark.parametrize(
    "more",
    [
        "take one tablet by mouth twice a day with meals for 10 days then stop",
        "DO NOT CRUSH, swallow whole with a full glass of water",
        "hold for SBP < 100 or HR < 60",
        "1-2 tabs q4-6h PRN moderate to severe pain",
        "for UTI",
        "last filled 03/12/2026 qty 90 refills 3",
        "zum Einnehmen, 1x täglich morgens nüchtern",
        "1 comprimé matin et soir pendant les repas",
    ],
)
def test_directions_are_not_taken_for_medicines(recogniser: Recogniser, more: str) -> None:
    found = recogniser.recognise({"name": f"lisinopril 10 mg {more}"})
    assert (found.ingredients, found.unread) == ({"lisinopril"}, ())


def test_the_display_of_an_unknown_code_is_read(recogniser: Recogniser) -> None:
    code = {"system": RXNORM, "code": "999999999", "display": "levothyroxine 50 mcg"}
    assert recogniser.recognise({"code": code}).ingredients == {"levothyroxine"}


def test_the_route_that_is_said_wins(recogniser: Recogniser) -> None:
    """The request, else the code, else the name."""
    assert both(recogniser, "ciprofloxacin eye drops", "359383", route="intravenous").route == "intravenous"
    assert both(recogniser, "ciprofloxacin eye drops", "359383").route == "oral"
    assert both(recogniser, "ciprofloxacin", "213320").route == "otic"
    assert recogniser.recognise({"name": "ciprofloxacin eye drops"}).route == "ophthalmic"
    unknown = recogniser.recognise({"name": "ciprofloxacin"})
    assert (unknown.route, unknown.route_assumed) == (None, True)


def evaluate(client: FlaskClient, *medications: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/evaluations", json={"medications": list(medications)}).get_json()
    return answer


def test_a_known_drug_without_a_rule_is_silent(client: FlaskClient) -> None:
    answer, without = evaluate(client, {"name": "latanoprost eye drops"}), evaluate(client)
    assert answer["unrecognised"] == []
    assert answer["cautions"] == without["cautions"]


def test_what_is_not_understood_is_in_the_answer(client: FlaskClient) -> None:
    answer = evaluate(client, {"name": "levofloxicin"}, {"name": "Synthroid"}, {"name": "metformin/sitaglipton"})
    assert answer["unrecognised"] == [
        {"pointer": "/medications/0", "text": "levofloxicin", "did_you_mean": ["levofloxacin"]},
        {"pointer": "/medications/2", "text": "sitaglipton", "did_you_mean": ["sitagliptin"]},
    ]


def test_a_disagreement_is_a_caution(client: FlaskClient) -> None:
    answer = evaluate(client, {"name": "levothyroxine", "code": {"system": RXNORM, "code": "2551"}})
    (caution,) = [one for one in answer["cautions"] if one["code"] == "medication-name-and-code-disagree"]
    assert caution["category"] == "data_quality"
    assert caution["triggered_by"] == [{"pointer": "/medications/0", "display": "levothyroxine"}]


def test_the_answer_says_which_terminology(client: FlaskClient, recogniser: Recogniser) -> None:
    found = evaluate(client)["knowledge"]["terminology"]
    assert found == recogniser.release.described()
    assert found["source"] == "built-in"


# Type-ahead.


def search(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    response = client.get("/v1/medications", query_string={"query": query})
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    found: list[dict[str, Any]] = response.get_json()["medications"]
    return found


def test_type_ahead(client: FlaskClient, rulebook: Rulebook) -> None:
    (first, *_) = search(client, "cipro hc")
    assert (first["name"], first["route"]) == ("Cipro HC", "otic")
    assert {one["display"] for one in first["ingredients"]} >= {"ciprofloxacin"}
    assert "fluoroquinolone" in first["drug_classes"]
    assert "mg-fq-ciprofloxacin" in first["interactions"]
    assert set(first["interactions"]) <= set(rulebook.rules)
    assert any(one["name"] == "Milk of Magnesia" for one in search(client, "magnesia"))
    assert search(client, "thr syn") == search(client, "no such name") == search(client, "!!") == []
    for query in ("am", "le", "ma", "co", "cal", "slow"):
        names = [one["name"] for one in search(client, query)]
        assert 1 <= len(names) <= 20
        assert len(set(names)) == len(names)
        assert all(any(word.startswith(query) for word in words(name)) for name in names)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("SYNTHR", "Synthroid"),
        ("isoniazid 300 mg", "isoniazid"),
        ("isoniazid 300 m", "isoniazid"),
        ("synthroid 75mcg tab daily", "Synthroid"),
        ("isoniazid tablets", "isoniazid"),
        ("slowmag", "Slow-Mag"),
        ("mag 64", "Mag 64"),
        ("ox mag", "Mag-Ox"),
    ],
)
def test_type_ahead_finds_first(client: FlaskClient, query: str, name: str) -> None:
    """The beginning of any word, with or without a strength."""
    assert search(client, query)[0]["name"] == name


@pytest.mark.parametrize(
    "query",
    [
        "", "?query=", "?query=a", "?query=ab&query=cd", "?x=ab", "?query=ab&x=1", "?query=" + "a" * 101,
        "?query=ci%00pro", "?query=%FF%FEcipro", "?query=cipro%C2", "?query=%ED%A0%80a",
    ],
)  # fmt: skip
def test_type_ahead_refuses(client: FlaskClient, query: str) -> None:
    response = client.get(f"/v1/medications{query}")
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
    assert response.get_json()["type"] == "/problems/bad-request"
