"""Which medicines must give a caution with magnesium or vitamin D, by which hours, and which must not.

The lists were made from what labels and national references say, not from the rules: a row that is missing shows.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

ADULT: dict[str, Any] = {
    "as_of": "2026-11-20",
    "patient": {"age_years": 44, "sex": "male"},
    "labs": {"egfr": {"value": 92, "unit": "mL/min/{1.73_m2}"}},
    "medications": [],
    "conditions": [],
    "symptoms": [],
    "goals": [],
    "bowel_pattern": "normal",
    "supplements": {},
}
UNNAMED = {"supplements": {"magnesium": {"elemental_mg_per_day": 200}}}
CITRATE = {"supplements": {"magnesium": {"form": "magnesium_citrate", "elemental_mg_per_day": 200}}}
GLYCINATE = {"supplements": {"magnesium": {"form": "magnesium_glycinate", "elemental_mg_per_day": 200}}}
OXIDE = {"supplements": {"magnesium": {"form": "magnesium_oxide", "elemental_mg_per_day": 200}}}
WANTED = {"goals": ["sleep"]}
VITAMIN_D = {"supplements": {"vitamin_d": {"form": "cholecalciferol", "dose_iu_per_day": 1000}}}

ANY_SALT = {
    "magnesium-fluoroquinolone-chelation": """ciprofloxacin, levofloxacin, ofloxacin, norfloxacin,
        moxifloxacin, delafloxacin, gemifloxacin, lomefloxacin, enoxacin, gatifloxacin, sparfloxacin,
        trovafloxacin, nalidixic acid, pefloxacin, prulifloxacin, sitafloxacin, nemonoxacin, garenoxacin,
        lascufloxacin, cinoxacin, pipemidic acid, oxolinic acid, rosoxacin, flumequine, tosufloxacin,
        fleroxacin, rufloxacin, grepafloxacin, temafloxacin, balofloxacin, zabofloxacin""",
    "magnesium-tetracycline-chelation": """tetracycline, doxycycline, minocycline, demeclocycline,
        oxytetracycline, lymecycline, sarecycline, omadacycline, metacycline, chlortetracycline, Pylera""",
    "magnesium-bisphosphonate-chelation": """alendronic acid, risedronate sodium, ibandronic acid,
        etidronate, tiludronate, sodium clodronate, Fosavance, Actonel""",
    "magnesium-thyroid-hormone-binding": "levothyroxine, liothyronine, desiccated thyroid, liotrix",
    "magnesium-integrase-inhibitor-chelation": """dolutegravir, bictegravir, raltegravir, elvitegravir,
        cabotegravir, Biktarvy, Triumeq, Dovato, Genvoya, Stribild, Juluca, Isentress HD""",
    "magnesium-eltrombopag-chelation": "eltrombopag",
    "magnesium-penicillamine-chelation": "penicillamine",
    "magnesium-trientine-binding": "trientine",
    "magnesium-deferiprone-binding": "deferiprone",
    "magnesium-deferasirox-antacid": "deferasirox",
    "magnesium-mycophenolate-absorption": "mycophenolate mofetil, mycophenolate sodium",
    "magnesium-gabapentin-absorption": "gabapentin, gabapentin enacarbil",
    "digoxin-toxicity-with-low-magnesium": "digoxin, digitoxin",
    "magnesium-nitrofurantoin-adsorption": "nitrofurantoin",
    "magnesium-baloxavir-chelation": "baloxavir marboxil",
    "magnesium-hif-inhibitor-chelation": "roxadustat, vadadustat",
    "magnesium-strontium-fluoride-binding": "strontium ranelate, sodium fluoride",
    "magnesium-estramustine-binding": "estramustine",
    "magnesium-iron-absorption": """ferrous sulfate, ferrous fumarate, ferrous gluconate, iron
        polysaccharide, ferric maltol, iron""",
    "high-dose-zinc-lowers-magnesium": "zinc sulfate, zinc acetate, zinc",
    "high-dose-calcium-and-magnesium": "calcium carbonate, calcium citrate, calcium acetate, calcium",
    "magnesium-binds-phosphate": "potassium phosphate, K-Phos Neutral",
    "patiromer-binds-magnesium": "patiromer",
    "magnesium-exchange-resin-alkalosis": "sodium polystyrene sulfonate, calcium polystyrene sulfonate",
    "magnesium-phosphate-binder-gap": """sevelamer, lanthanum carbonate, sucroferric oxyhydroxide, sodium
        zirconium cyclosilicate""",
    "magnesium-misoprostol-diarrhoea": "misoprostol, Arthrotec",
    "loop-diuretic-lowers-magnesium": "furosemide, bumetanide, torasemide, etacrynic acid",
    "thiazide-lowers-magnesium": """hydrochlorothiazide, chlortalidone, indapamide, metolazone,
        chlorothiazide, bendroflumethiazide, xipamide, methyclothiazide, polythiazide, clopamide""",
    "proton-pump-inhibitor-lowers-magnesium": """omeprazole, esomeprazole, lansoprazole, pantoprazole, rabeprazole,
        dexlansoprazole, vonoprazan""",
    "platinum-lowers-magnesium": "cisplatin, carboplatin",
    "antibody-lowers-magnesium": "cetuximab, panitumumab, necitumumab, amivantamab",
    "amphotericin-lowers-magnesium": "amphotericin B",
    "aminoglycoside-lowers-magnesium": """gentamicin, tobramycin, amikacin, streptomycin, neomycin,
        kanamycin, plazomicin""",
    "pentamidine-lowers-magnesium": "pentamidine",
    "foscarnet-lowers-magnesium": "foscarnet",
    "calcineurin-inhibitor-lowers-magnesium": "ciclosporin, voclosporin",
    "mtor-inhibitor-lowers-magnesium": "sirolimus, everolimus, temsirolimus",
    "antiresorptive-with-low-magnesium": "denosumab, zoledronic acid",
    "theophylline-lowers-magnesium": "theophylline, aminophylline",
    "beta2-agonist-lowers-magnesium": "salbutamol, terbutaline, salmeterol, formoterol",
    "insulin-and-magnesium": "insulin glargine, insulin aspart, insulin glulisine, insulin",
    "alcohol-lowers-magnesium": "ethanol",
    "laxative-overuse-lowers-magnesium": "senna, sodium picosulfate, macrogol 3350, lactulose",
    "potassium-sparing-diuretic-keeps-magnesium": "amiloride, triamterene, spironolactone, eplerenone, finerenone",
    "sglt2-inhibitor-raises-magnesium": "canagliflozin, dapagliflozin, empagliflozin, ertugliflozin",
    "active-vitamin-d-raises-magnesium": "calcitriol, alfacalcidol, paricalcitol, doxercalciferol, calcifediol",
    "magnesium-from-other-sources": """magnesium hydroxide, magnesium citrate, Maalox, magnesium salicylate,
        Picolax, Xywav""",
    "magnesium-lithium": "lithium carbonate",
    "magnesium-neuromuscular-blocker": "rocuronium, vecuronium, cisatracurium, atracurium, pancuronium, suxamethonium",
    "magnesium-calcium-channel-blocker": """nifedipine, amlodipine, felodipine, nicardipine, nimodipine,
        diltiazem, verapamil""",
    "magnesium-sedative-medicine": "baclofen, tizanidine, diazepam, zolpidem",
    "qt-medicine-with-low-magnesium": """dofetilide, amiodarone, dronedarone, quinidine, disopyramide,
        ibutilide, methadone, haloperidol, citalopram, vandetanib, arsenic trioxide, quizartinib,
        ribociclib, oxaliplatin, chloroquine, hydroxychloroquine""",
}
"""Code of the caution, and the medicines that give it with any magnesium."""

ACID_SALT = {
    "magnesium-kinase-inhibitor-acid": """dasatinib, bosutinib, nilotinib, erlotinib, gefitinib, neratinib, pazopanib,
        acalabrutinib capsules, selpercatinib, pexidartinib, sotorasib, ceritinib, taletrectinib""",
    "magnesium-other-acid-dependent-medicine": "riociguat, sparsentan, infigratinib, nirogacestat, rilzabrutinib",
    "magnesium-rilpivirine-acid": "rilpivirine, Odefsey, Eviplera",
    "magnesium-atazanavir-acid": "atazanavir, fosamprenavir, tipranavir, delavirdine, Evotaz",
    "magnesium-zalcitabine-antacid": "zalcitabine",
    "magnesium-hepatitis-c-acid": "Epclusa, Harvoni, Vosevi",
    "magnesium-azole-acid": "itraconazole, ketoconazole, levoketoconazole",
    "magnesium-cephalosporin-antacid": "cefdinir, cefpodoxime, cefaclor",
    "magnesium-cefuroxime-acid": "cefuroxime axetil",
    "magnesium-cefditoren-acid": "cefditoren",
    "magnesium-tuberculosis-antacid": "rifampicin, isoniazid, Rifater",
    "magnesium-azithromycin-antacid": "azithromycin",
    "magnesium-quinine-antacid": "quinine sulfate",
    "magnesium-tacrolimus-absorption": "tacrolimus",
    "magnesium-phenytoin-antacid": "phenytoin",
    "magnesium-levodopa-alkaline-salt": "co-careldopa, co-beneldopa, carbidopa",
    "magnesium-rosuvastatin-antacid": "rosuvastatin",
    "magnesium-ace-inhibitor-antacid": "captopril, fosinopril, enalapril",
    "magnesium-fexofenadine-antacid": "fexofenadine",
    "magnesium-ulipristal-acid": "ulipristal",
    "magnesium-sulfonylurea-antacid": "glipizide, glibenclamide",
}
"""Those that need stomach acid: with an antacid salt, a salt that is not named and one that is not chosen yet."""

SLIGHT = {
    "magnesium-ethambutol-antacid": "ethambutol",
    "magnesium-proguanil-adsorption": "proguanil, Malarone",
    "magnesium-pyrimethamine-adsorption": "pyrimethamine",
    "magnesium-beta-blocker-antacid": "atenolol, metoprolol, propranolol",
    "magnesium-dipyridamole-acid": "dipyridamole",
    "magnesium-enteric-coat": "bisacodyl, mesalazine",
    "magnesium-phenothiazine-adsorption": "prochlorperazine, sulpiride, trifluoperazine, perphenazine",
    "magnesium-alkaline-urine": """aspirin, methenamine hippurate, memantine, amphetamine,
        dextroamphetamine, lisdexamfetamine, Adderall""",
    "magnesium-glucocorticoid-antacid": "prednisolone, dexamethasone, deflazacort",
    "magnesium-nsaid-antacid": "diflunisal, naproxen, indometacin",
    "magnesium-fenamate-antacid": "mefenamic acid",
    "magnesium-bile-acid-antacid": "ursodeoxycholic acid, chenodiol, cholic acid",
    "magnesium-mucosal-protector-antacid": "sucralfate",
    "magnesium-antimuscarinic-antacid": "dicycloverine, hyoscyamine",
    "magnesium-h2-blocker-antacid": "cimetidine",
    "magnesium-modified-release-coat": "methylphenidate, Procysbi",
}
"""Those with a slight effect: only with an antacid salt that is taken, or a salt that is not named."""

WITH_VITAMIN_D = {
    "vitamin-d-thiazide-hypercalcaemia": """hydrochlorothiazide, chlortalidone, indapamide,
        bendroflumethiazide, metolazone""",
    "vitamin-d-digoxin-hypercalcaemia": "digoxin, digitoxin",
    "vitamin-d-with-calcium": "calcium carbonate, calcium citrate, calcium acetate, Adcal",
    "vitamin-d-with-lithium": "lithium carbonate",
    "vitamin-d-duplicate": "calcitriol, alfacalcidol, paricalcitol, doxercalciferol, calcifediol, ergocalciferol",
    "vitamin-d-with-calcimimetic": "cinacalcet, etelcalcetide",
    "burosumab-with-plain-vitamin-d": "burosumab",
    "orlistat-lowers-vitamin-d": "orlistat",
    "bile-acid-resin-lowers-vitamin-d": "colestyramine, colestipol",
    "colesevelam-lowers-vitamin-d": "colesevelam",
    "sevelamer-lowers-vitamin-d": "sevelamer",
    "mineral-oil-lowers-vitamin-d": "liquid paraffin",
    "antiepileptic-lowers-vitamin-d": "phenytoin, phenobarbital, primidone, carbamazepine, oxcarbazepine",
    "valproate-and-vitamin-d": "sodium valproate",
    "rifamycin-or-isoniazid-lowers-vitamin-d": "rifampicin, rifabutin, rifapentine, isoniazid",
    "antiretroviral-lowers-vitamin-d": "efavirenz, nevirapine, ritonavir",
    "cancer-medicine-lowers-vitamin-d": "enzalutamide, apalutamide, mitotane",
    "st-johns-wort-lowers-vitamin-d": "St John's wort",
    "glucocorticoid-and-vitamin-d": "prednisolone, prednisone, methylprednisolone, dexamethasone, hydrocortisone",
    "azole-and-vitamin-d-activation": "ketoconazole, itraconazole, fluconazole",
    "rarely-interacts-with-vitamin-d": "cimetidine, danazol, dactinomycin, heparin",
    "vitamin-a-raises-calcium": "vitamin A, bexarotene",
    "vitamin-d-with-aluminium": "aluminium hydroxide, sucralfate",
    "vitamin-d-with-phosphate": "potassium phosphate",
    "vitamin-d-with-parathyroid-analogue": "teriparatide, abaloparatide, palopegteriparatide, parathyroid hormone",
    "vitamin-d-before-denosumab": "denosumab",
    "vitamin-d-with-verapamil": "verapamil, diltiazem",
    "vitamin-d-analogue-on-skin": "calcipotriol, tacalcitol",
    "fat-soluble-vitamins-fall": "odevixibat, maralixibat",
}
"""Code of the caution, and the medicines that give it with an ordinary dose of vitamin D."""

HOURS = {
    (
        2,
        6,
    ): "ciprofloxacin, delafloxacin, doxycycline, minocycline, lymecycline, dolutegravir, bictegravir, alendronic acid",
    (
        2,
        2,
    ): """levofloxacin, ofloxacin, norfloxacin, nalidixic acid, risedronate sodium, etidronate, gabapentin, digoxin,
        mycophenolate mofetil, penicillamine, ferrous sulfate, dasatinib, bosutinib, nilotinib, selpercatinib,
        atazanavir, rosuvastatin, fexofenadine, sotalol, cefdinir, itraconazole, ketoconazole, rifampicin,
        fosinopril, sparsentan, nirogacestat, deflazacort, phenytoin, lanthanum carbonate""",
    (6, 8): "moxifloxacin",
    (2, 3): "gemifloxacin",
    (2, 4): "lomefloxacin, prulifloxacin, eltrombopag, erlotinib",
    (2, 8): "enoxacin",
    (4, 4): """omadacycline, levothyroxine, elvitegravir, nitrofurantoin, chloroquine, hydroxychloroquine,
        deferiprone, Epclusa, Harvoni""",
    (4, 2): "cabotegravir, rilpivirine, ethambutol",
    (4, 6): "Juluca",
    (4, 10): "sotorasib",
    (6, 6): "gefitinib",
    (3, 3): "neratinib, patiromer, sodium polystyrene sulfonate, proguanil",
    (1, 2): "cefuroxime axetil, azithromycin, vadadustat, estramustine",
    (1, 1): "roxadustat, lansoprazole",
}
"""At least so many hours before, and after, magnesium; the longest per side among the medicine's own labels."""

NOT_WITH_EITHER = """paracetamol, amoxicillin, co-amoxiclav, phenoxymethylpenicillin, flucloxacillin,
    cefalexin, cefixime, trimethoprim, co-trimoxazole, clindamycin, metronidazole, vancomycin, linezolid,
    aciclovir, valaciclovir, oseltamivir, terbinafine, metformin, gliclazide, glimepiride, pioglitazone,
    sitagliptin, linagliptin, semaglutide, repaglinide, acarbose, lisinopril, ramipril, perindopril,
    losartan, valsartan, candesartan, telmisartan, bisoprolol, carvedilol, nebivolol, doxazosin, isosorbide
    mononitrate, hydralazine, clonidine, ivabradine, clopidogrel, ticagrelor, apixaban, rivaroxaban,
    edoxaban, warfarin, simvastatin, pravastatin, atorvastatin, ezetimibe, fenofibrate, sertraline,
    fluoxetine, paroxetine, venlafaxine, duloxetine, mirtazapine, bupropion, trazodone, amitriptyline,
    quetiapine, olanzapine, risperidone, aripiprazole, lamotrigine, levetiracetam, topiramate, pregabalin,
    sumatriptan, donepezil, ropinirole, pramipexole, cetirizine, loratadine, montelukast, fluticasone,
    tiotropium, ibuprofen, diclofenac, celecoxib, meloxicam, codeine, morphine, tramadol, oxycodone,
    allopurinol, colchicine, febuxostat, tamsulosin, finasteride, solifenacin, mirabegron, sildenafil,
    levonorgestrel, estradiol, tamoxifen, letrozole, methotrexate, azathioprine, adalimumab, imatinib,
    ibrutinib, metoclopramide, loperamide, simeticone, folic acid, cyanocobalamin, varenicline"""
NOT_WITH_MAGNESIUM = """doravirine, efavirenz, nevirapine, lenacapavir, Cabenuva, Apretude, avatrombopag,
    lusutrombopag, fluconazole, voriconazole, posaconazole, daprodustat, methyldopa, tolvaptan,
    trandolapril, darunavir, maraviroc, cefprozil, ceftibuten, crizotinib, dacomitinib, acalabrutinib
    tablets, SUBA-itraconazole, entacapone, prasugrel"""
NOT_WITH_VITAMIN_D = """ciprofloxacin, doxycycline, levothyroxine, alendronic acid, gabapentin, omeprazole,
    furosemide, spironolactone, amlodipine, insulin glargine, salbutamol, dolutegravir, rosuvastatin,
    ferrous sulfate, dasatinib, lovastatin, pexidartinib, tolvaptan, lactulose, budesonide"""
ANOTHER_ROUTE = (
    ("ciprofloxacin", "ophthalmic"),
    ("ciprofloxacin", "intravenous"),
    ("doxycycline", "intravenous"),
    ("ibandronic acid", "intravenous"),
    ("levothyroxine", "intravenous"),
    ("cefuroxime", "intravenous"),
    ("ketoconazole", "topical"),
    ("rifampicin", "intravenous"),
    ("mycophenolate mofetil", "intravenous"),
    ("rilpivirine", "intramuscular"),
    ("mesalazine", "rectal"),
    ("iron sucrose", "intravenous"),
    ("sodium fluoride", "topical"),
    ("misoprostol", "vaginal"),
)


def names(text: str) -> list[str]:
    """The medicines of a list."""
    return [" ".join(name.split()) for name in text.split(",")]


def flat(table: dict[str, str]) -> list[Any]:
    """One test for each code."""
    return [pytest.param(code, names(text), id=code) for code, text in table.items()]


def about(
    client: FlaskClient, medicine: str, agent: str, route: str | None = None, **change: Any
) -> list[dict[str, Any]]:
    """The interaction cautions on one agent that are about the only medicine in the list."""
    medication = {"name": medicine} if route is None else {"name": medicine, "route": route}
    body = {**ADULT, **change, "medications": [medication]}
    response = client.post("/v1/evaluations", json=body)
    assert response.status_code == 200, response.get_data(as_text=True)
    answer = response.get_json()
    assert not answer["unrecognised"], medicine
    return [
        one
        for one in answer["cautions"]
        if one["agent"] == agent
        and one["category"] == "drug_interaction"
        and any(trigger["pointer"] == "/medications/0" for trigger in one["triggered_by"])
    ]


def missed(client: FlaskClient, code: str, medicines: list[str], agent: str, **change: Any) -> list[str]:
    """The medicines without a caution of this code."""
    return [one for one in medicines if code not in [said["code"] for said in about(client, one, agent, **change)]]


@pytest.mark.parametrize(("code", "medicines"), flat(ANY_SALT | ACID_SALT | SLIGHT))
def test_with_a_salt_that_is_not_named(client: FlaskClient, code: str, medicines: list[str]) -> None:
    """Whatever the salt may be, every medicine gives its caution."""
    assert missed(client, code, medicines, "magnesium", **UNNAMED) == []


@pytest.mark.parametrize(("code", "medicines"), flat(ANY_SALT))
def test_with_any_salt(client: FlaskClient, code: str, medicines: list[str]) -> None:
    """What every salt does, citrate does, and it is said before magnesium is taken."""
    assert missed(client, code, medicines, "magnesium", **CITRATE) == []
    assert missed(client, code, medicines, "magnesium", **WANTED) == []


@pytest.mark.parametrize(("code", "medicines"), flat(ACID_SALT))
def test_what_needs_stomach_acid(client: FlaskClient, code: str, medicines: list[str]) -> None:
    """Said with oxide and before a salt is chosen, and not with a salt that leaves the acid alone."""
    assert missed(client, code, medicines, "magnesium", **OXIDE) == []
    assert missed(client, code, medicines, "magnesium", **WANTED) == []
    assert missed(client, code, medicines, "magnesium", **GLYCINATE) == medicines


@pytest.mark.parametrize(("code", "medicines"), flat(SLIGHT))
def test_slight_effects(client: FlaskClient, code: str, medicines: list[str]) -> None:
    """Said with oxide only."""
    assert missed(client, code, medicines, "magnesium", **OXIDE) == []
    assert missed(client, code, medicines, "magnesium", **GLYCINATE) == medicines
    assert missed(client, code, medicines, "magnesium", **WANTED) == medicines


@pytest.mark.parametrize(("code", "medicines"), flat(WITH_VITAMIN_D))
def test_with_vitamin_d(client: FlaskClient, code: str, medicines: list[str]) -> None:
    """Every medicine gives its caution with an ordinary dose."""
    assert missed(client, code, medicines, "vitamin_d", **VITAMIN_D) == []


@pytest.mark.parametrize(
    ("hours", "medicine"), [pytest.param(hours, one, id=one) for hours, text in HOURS.items() for one in names(text)]
)
def test_hours(client: FlaskClient, hours: tuple[int, int], medicine: str) -> None:
    """The gap on each side, and the text gives no other one for the same side."""
    (caution,) = about(client, medicine, "magnesium", **UNNAMED)
    assert caution["spacing"] == {"hours_before": hours[0], "hours_after": hours[1]}


@pytest.mark.parametrize("medicine", ["raltegravir", "baloxavir", "cefditoren", "ulipristal", "quinine", "misoprostol"])
def test_no_hours_where_none_help(client: FlaskClient, medicine: str) -> None:
    """What is to be left out altogether has no gap."""
    (caution,) = about(client, medicine, "magnesium", **UNNAMED)
    assert caution["spacing"] is None


def test_a_caution_speaks_of_its_own_medicine(client: FlaskClient) -> None:
    """Summary and action name no other medicine of the same row."""
    medicines = sorted(
        {one for table in (ANY_SALT, ACID_SALT, SLIGHT) for text in table.values() for one in names(text)}
    )
    plain = [one for one in medicines if one.islower() and " " not in one and one != "liotrix"]
    foreign = []
    for one in plain:
        for caution in about(client, one, "magnesium", **UNNAMED):
            said = f"{caution['summary']} {caution['action']}".lower().split()
            others = {word.strip(".,;:()") for word in said} & set(plain)
            foreign += [(one, other) for other in others if other[:5] not in one and one[:5] not in other]
    assert [
        pair for pair in foreign if pair[1] not in {"iron", "zinc", "calcium", "insulin", "macrogol", "digoxin"}
    ] == []


@pytest.mark.parametrize("medicine", names(NOT_WITH_EITHER))
def test_no_caution_with_either(client: FlaskClient, medicine: str) -> None:
    """A medicine that does not interact, with both supplements."""
    both = {"supplements": {**UNNAMED["supplements"], **VITAMIN_D["supplements"]}}
    assert about(client, medicine, "magnesium", **both) == []
    assert about(client, medicine, "vitamin_d", **both) == []


@pytest.mark.parametrize("medicine", names(NOT_WITH_MAGNESIUM))
def test_no_caution_with_magnesium(client: FlaskClient, medicine: str) -> None:
    """A medicine that does not interact with magnesium, whatever the salt."""
    assert about(client, medicine, "magnesium", **UNNAMED) == []
    assert about(client, medicine, "magnesium", **WANTED) == []


@pytest.mark.parametrize("medicine", names(NOT_WITH_VITAMIN_D))
def test_no_caution_with_vitamin_d(client: FlaskClient, medicine: str) -> None:
    """A medicine that does not interact with an ordinary dose of vitamin D."""
    assert about(client, medicine, "vitamin_d", **VITAMIN_D) == []


@pytest.mark.parametrize(("medicine", "route"), ANOTHER_ROUTE)
def test_no_caution_by_another_route(client: FlaskClient, medicine: str, route: str) -> None:
    """Only what is in the gut is bound in the gut."""
    assert about(client, medicine, "magnesium", route, **OXIDE) == []


def test_nothing_is_said_without_magnesium_or_vitamin_d(client: FlaskClient) -> None:
    """A medicine that interacts is silent where neither is taken nor wanted."""
    for code in (*ANY_SALT, *ACID_SALT):
        if code not in {"magnesium-from-other-sources", "active-vitamin-d-raises-magnesium"}:
            for medicine in names((ANY_SALT | ACID_SALT)[code])[:2]:
                assert about(client, medicine, "magnesium") == [], medicine


def test_slight_effects_wait_until_magnesium_is_known_to_be_taken(client: FlaskClient) -> None:
    """Where nothing is said about supplements, only what matters is said; the rest is named as not evaluated."""
    body = {key: value for key, value in ADULT.items() if key not in {"supplements", "goals"}}
    body["medications"] = [
        {"name": "aspirin"},
        {"name": "naproxen"},
        {"name": "rosuvastatin"},
        {"name": "ciprofloxacin"},
    ]
    answer = client.post("/v1/evaluations", json=body).get_json()
    said = {one["code"] for one in answer["cautions"]}
    assert said == {"magnesium-fluoroquinolone-chelation", "magnesium-rosuvastatin-antacid"}
    waiting = {rule for one in answer["not_evaluated"] for rule in one["rules"]}
    assert {"mg-nsaid-antacid", "mg-methenamine-salicylate-urine"} <= waiting


def test_the_same_is_not_said_twice(client: FlaskClient) -> None:
    """Two ingredients of one product that share a row of their own get one caution."""
    for product, kept in (("co-careldopa", "levodopa"), ("Adderall", "amfetamine"), ("Juluca", "dolutegravir")):
        said = about(client, product, "magnesium", **OXIDE)
        assert len(said) == 1, product
        assert kept in f"{said[0]['summary']} {said[0]['action']}"
