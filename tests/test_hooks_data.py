"""rules/fhir/services.yaml and cards.yaml: read strictly, and what they say is what CDS Hooks 2.0.1 allows."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import yaml
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from service.fhir.read import ChartReader
from service.hooks.discovery import default_hooks, discovery, enabled_services
from service.knowledge import Rulebook, load_rulebook
from service.knowledge.errors import KnowledgeError
from service.knowledge.hooks_file import HOOKS, Hooks, load_hooks
from service.knowledge.prefetch_query import faults_of
from service.settings import Settings
from service.terminology import Recogniser

SCHEMA = json.loads(Path(__file__).with_name("cds_hooks.schema.json").read_text(encoding="utf-8"))

KNOWN_REASONS = {
    "cds-not-applicable", "patient-ineligible", "indication-order-exists", "action-completed", "action-unsuccessful",
    "action-performed-no-adverse-effect", "action-not-priority", "need-more-info", "does-not-align-latest-evidence",
    "expert-contradicts", "risk-benefit-ratio", "patient-contraindication", "patient-refuses",
    "service-not-available", "too-costly-uncovered",
}  # fmt: skip
"""Of HL7's code system of reasons not to follow advice."""


@pytest.fixture(scope="module")
def hooks() -> Hooks:
    """As it is in the checkout."""
    return load_hooks(Settings().rules)


def test_discovery_is_what_the_specification_asks_for(hooks: Hooks) -> None:
    """All three services, each with its own id and hook, and the same bytes each time."""
    Draft202012Validator({**SCHEMA, "$ref": "#/$defs/discovery"}).validate(discovery(hooks, HOOKS))
    services = discovery(hooks, HOOKS)["services"]
    assert [one["hook"] for one in services] == list(HOOKS)
    assert len({one["id"] for one in services}) == len(services)
    assert json.dumps(discovery(hooks, HOOKS)) == json.dumps(discovery(load_hooks(Settings().rules), HOOKS))


def test_patient_view_is_off_unless_configured(hooks: Hooks) -> None:
    """The two order hooks are on; an unknown hook is refused; none is an empty list."""
    assert default_hooks(hooks) == ("order-select", "order-sign")
    assert list(enabled_services(hooks, ["order-sign"])) == ["mgvd-order-sign"]
    assert discovery(hooks, []) == {"services": []}
    with pytest.raises(ValueError, match="no such hook: order-dispatch"):
        discovery(hooks, ["order-sign", "order-dispatch"])


def test_only_the_chart_needs_a_patient(hooks: Hooks) -> None:
    """An order is checked with whatever there is."""
    assert {one.hook: one.required for one in hooks.services.values()} == {
        "patient-view": ("patient",),
        "order-select": (),
        "order-sign": (),
    }
    assert {one.hook: one.most_cards for one in hooks.services.values()} == {
        "patient-view": 1,
        "order-select": 3,
        "order-sign": 3,
    }


def test_one_key_for_each_analyte_with_codes_of_the_vocabulary(hooks: Hooks, rulebook: Rulebook) -> None:
    """Every LOINC code that is asked for is of a known lab, and all that are read of a lab are asked for."""
    known = rulebook.vocabulary.fhir.results
    asked = {}
    for key, one in hooks.prefetch.items():
        codes = re.findall(r"http://loinc\.org\|([0-9-]+)", one.query)
        if codes:
            asked[key] = {known[code].lab for code in codes}
            # A strict server sends nothing else.
            assert set(codes) == {code for code, it in known.items() if it.lab in asked[key] and not it.only_shown}, key
    assert all(len(labs) == 1 for labs in asked.values())
    assert set(asked) == set(hooks.combined["labs"].stands_for)
    # D2 alone is not the total.
    assert "49054-0" not in hooks.prefetch["vitd25oh"].query


def test_what_is_asked_for_is_read(rulebook: Rulebook) -> None:
    """The files agree as they are, and every prefetch key is one that the reader of charts knows."""
    hooks = load_hooks(Settings().rules, rulebook.vocabulary)
    assert {*hooks.prefetch, *hooks.combined} == set(ChartReader(rulebook.vocabulary, Recogniser.of(rulebook)).keys)


def test_conditions_are_not_asked_for_by_category(hooks: Hooks) -> None:
    """Many records keep diagnoses with the encounters alone: asked for as problems, there would seem to be none."""
    assert "category" not in hooks.prefetch["conditions"].query


def test_no_query_asks_for_the_user_or_for_all_patients(hooks: Hooks) -> None:
    """Clients give up the whole call when one instance cannot be read."""
    for one in (*hooks.prefetch.values(), *hooks.combined.values()):
        assert re.findall(r"\{\{[^}]*\}\}", one.query) == ["{{context.patientId}}"]
        kind, _, search = one.query.partition("?")
        if search:
            assert dict(parse_qsl(search))["patient"] == "{{context.patientId}}"
            assert int(dict(parse_qsl(search))["_count"]) > 0
        else:
            assert kind == "Patient/{{context.patientId}}"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("Observation?patient={{context.draftOrders}}", "token"),
        ("Observation?patient={{context.patientId}}&date=gt{{today()}}", "token"),
        ("Patient/{{context.patient.id}}", "token"),
        ("Patient/{{context.patientId", "brace"),
        ("Observation?patient={{context.patientId}}&_include=Observation:subject", "_include"),
        ("Observation?patient={{context.patientId}}&subject.name=x", "subject.name"),
        ("Observation?patient={{context.patientId}}&code:text=magnesium", "code:text"),
        ("Observation?patient={{context.patientId}}&sort:desc=date", "sort:desc"),
        ("Condition?patient={{context.patientId}}&status=active", "status"),
        ("Observation?patient={{context.patientId}}&date=ne2020", "date"),
        ("Observation?patient={{context.patientId}}&_count=many", "_count"),
        ("Observation?code=http://loinc.org|2601-3", "not about one patient"),
        ("Practitioner?name=x", "searches Practitioner"),
        ("Observation?patient=1&patient=2", "twice"),
        ("http://evil.example/Observation?patient={{context.patientId}}", "neither"),
        ("Observation", "neither"),
    ],
)
def test_queries_that_2_0_1_does_not_have_are_refused(query: str, says: str) -> None:
    """Each with words that name the part."""
    found = faults_of(query, ["userId", "patientId", "encounterId"])
    assert any(says in one for one in found), found


@pytest.mark.parametrize(
    "query",
    [
        "Patient/{{context.patientId}}",
        "Observation?patient={{context.patientId}}&date=ge2025-01-01&_sort=-date",
        "Observation?patient={{context.patientId}}&code:in=http://example.org/ValueSet/x",
        "Encounter/{{context.encounterId}}",
        "Practitioner/{{userPractitionerId}}",
    ],
)
def test_queries_that_2_0_1_has_are_taken(query: str) -> None:
    """Reads, searches, tokens of the hook and of the user."""
    assert faults_of(query, ["userId", "patientId", "encounterId"]) == []


def test_override_reasons_are_of_the_code_system(hooks: Hooks) -> None:
    """Four to six a card, each with its display."""
    override = hooks.cards["override"]
    assert set(override["reasons"]) <= KNOWN_REASONS
    assert all(4 <= len(override[key]) <= 6 for key in ("caution", "labs", "forms"))


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("services", "_sort=-date&_count=2", "_sort=-date&_count=0", "_count"),
        ("services", "hook: order-sign", "hook: order-select", "stands twice"),
        ("services", "required: [patient]", "required: [labs]", "is not prefetched"),
        ("services", "stands_for: [vitd25oh,", "stands_for: [vitd,", "'vitd' is not known"),
        ("services", "id: mgvd-order-sign", "id: order sign", "small letters"),
        ("services", "most_cards: 1", "most_cards: 0", "above zero"),
        ("cards", "order-sign: critical", "order-sign: hard-stop", "must be one of"),
        ("cards", "system: http://terminology", "system: terminology", "must be an absolute URI"),
        ("cards", "labs: [action-completed, ", "labs: [done, ", "'done' is not among the reasons"),
        ("cards", "caution: [risk-benefit-ratio, ", "caution: [risk-benefit-ratio, patient-refuses, ", "4 to 6"),
        ("cards", "absent: '{what}: not supplied'", "absent: '{what}: none found'", "only an empty search"),
        ("cards", "facts: 'Seen: {facts}.'", "facts: 'Seen: {patient}.'", "{patient}"),
        ("cards", "not_assessed: '**Not assessed:**'", "not_assessed: '<b>Not assessed:</b>'", "no HTML"),
        ("cards", "  no_orders: No draft order was there to be assessed.\n", "", "'no_orders' is missing"),
        ("cards", "extension: org.cofactor.assessment", "extension: assessment", "reverse-domain"),
        ("cards", "quiet_notes: [older_result", "quiet_notes: [old", "is not known"),
        ("cards", "of_no_use: [code_unknown", "of_no_use: [code", "is not known"),
        ("cards", "mild: [moderate", "mild: [medium", "is not known"),
        ("cards", "  effects: [mg_down", "  effects: [mg_falls", "is not known"),
        ("cards", "  always: [contraindicated]", "  always: [worst]", "is not known"),
    ],
)
def test_a_mistake_is_refused_with_its_line(tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    """One change to the real files, one fault at the line of the change or of what it belongs to."""
    change(tmp_path, file, old, new)
    with pytest.raises(KnowledgeError) as caught:
        load_hooks(tmp_path)
    assert any(fault in one.message for one in caught.value.faults), str(caught.value)
    assert all(one.file == f"fhir/{file}.yaml" and one.line >= 1 for one in caught.value.faults)


def change(folder: Path, file: str, old: str, new: str) -> int:
    """Copy `rules/fhir` there with one change; the line that it is in."""
    shutil.copytree(Settings().rules / "fhir", folder / "fhir")
    path = folder / "fhir" / f"{file}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


ALBUMIN = "code=http://loinc.org|1751-7,http://loinc.org|61151-7,http://loinc.org|61152-5"
OTC = "otc: [MedicationStatement, MedicationRequest]"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (ALBUMIN, "code=http://loinc.org|2823-3", "prefetch.albumin.query: 2823-3 is not a code that"),
        (ALBUMIN, "code=http://loinc.org|1751-8", "prefetch.albumin.query: 1751-8 is not a code that"),
        (ALBUMIN, "code=http://snomed.info/sct|1751-7", "'http://snomed.info/sct|1751-7' is not a LOINC code"),
        (ALBUMIN, "code=1751-7", "'1751-7' is not a LOINC code with its system"),
        (ALBUMIN, "category=laboratory", "prefetch.albumin.query: names no code"),
        (ALBUMIN, "code:in=http://example.org/ValueSet/albumin", "names a set of codes"),
        ("http://loinc.org|98979-8,", "http://loinc.org|48642-3,", "48642-3 is only shown"),
        ("Condition?patient={{context.patientId}}&clinical-status=active",
         "Observation?patient={{context.patientId}}&category=laboratory",
         "prefetch.conditions.query: brings Observation, and Condition is"),
        ("query: \"Patient/", "query: \"Encounter/", "prefetch.patient.query: brings Encounter, and Patient is"),
        ("intent=order,plan", "intent=order,proposal", "the intent 'proposal', which is not used"),
        ("intent=order,plan&status=active", "intent=order&status=on-hold", "the status 'on-hold', which is not used"),
        ("clinical-status=active", "clinical-status=resolved", "the clinical-status 'resolved', which is not used"),
        ("pth]\n\nservices", "pth, otc]\n\nservices", "combined.labs.stands_for: what 'otc' brings is not read here"),
    ],
)  # fmt: skip
def test_a_query_for_what_is_not_read_is_refused(
    tmp_path: Path, rulebook: Rulebook, old: str, new: str, fault: str
) -> None:
    """Each is what 2.0.1 allows, and would bring what is left out as soon as it comes. With file and line."""
    line = change(tmp_path, "services", old, new)
    load_hooks(tmp_path)
    with pytest.raises(KnowledgeError) as caught:
        load_hooks(tmp_path, rulebook.vocabulary)
    (found,) = caught.value.faults
    assert fault in found.message
    assert (found.file, found.line) == ("fhir/services.yaml", line)


@pytest.mark.parametrize(
    ("file", "old", "new", "faults"),
    [
        # A key of services.yaml that nothing reads, and one that is read and that nobody asks for.
        ("observations", "  phosphate: [phosphate]\n", "", ["prefetch.phosphate: is not a key that is read"]),
        ("observations", "  pth: [pth]\n", "  pth: [pth]\n  potassium: [potassium]\n",
         ["prefetch: 'potassium' is read, and nothing asks for it"]),
        ("observations", "every_lab: [labs]", "every_lab: []", ["combined.labs: is not a key that is read"]),
        ("resources", f"  {OTC}\n", "", ["prefetch.otc: is not a key that is read"]),
        ("resources", OTC, f"{OTC}\n  therapy: [MedicationRequest]",
         ["prefetch: 'therapy' is read, and nothing asks for it"]),
        ("resources", OTC, "otc: [MedicationRequest]", ["brings MedicationStatement, and MedicationRequest is read"]),
        # What was read under a key no longer is.
        ("observations", "  albumin: [albumin]\n", "  albumin: [cystatin_c]\n",
         ["1751-7 is not a code that observations.yaml reads under this key"]),
        ("resources", "used: [order, plan, original-order", "used: [order, original-order",
         ["asks for the intent 'plan', which is not used"]),
        # Words of cards.yaml.
        ("cards", "reported_with: {egfr: creatinine}", "reported_with: {egfr: kreatinin}",
         ["laboratory_order.reported_with: 'kreatinin' is no lab"]),
        ("cards", "  ecg: ECG\n", "  ekg: ECG\n", ["lab_names: 'ekg' is no lab"]),
        ("cards", "beside: [potassium,", "beside: [kalium,",
         ["results_of_interest.magnesium.beside: 'kalium' is no lab"]),
        ("cards", "not_laboratory: [ecg]", "not_laboratory: [ekg]",
         ["laboratory_order.not_laboratory: 'ekg' is no lab"]),
        ("cards", "vitamin_d: [plain_vitamin_d,", "vitamin_d: [vitamin_d,",
         ["agents.vitamin_d: 'vitamin_d' is no drug class"]),
        ("cards", "code_system: http://loinc.org", "code_system: https://loinc.org",
         ["laboratory_order.code_system: is not the address that resources.yaml gives loinc"]),
        ("cards", "code_system: http://www.nlm", "code_system: https://www.nlm", ["gives rxnorm"]),
        ("cards", "system: 'http://snomed.info/sct'", "system: 'http://snomed.info/sct/x'", ["gives snomed"]),
        ("cards", "  refuted: refuted\n", "", ["has no words for 'refuted'"]),
    ],
)  # fmt: skip
def test_the_files_have_to_agree(tmp_path: Path, file: str, old: str, new: str, faults: list[str]) -> None:
    """The same through the reading of all rules: a change to one file that another one does not follow."""
    shutil.copytree(Settings().rules, tmp_path / "rules")
    shutil.rmtree(tmp_path / "rules" / "fhir")
    change(tmp_path / "rules", file, old, new)
    if (file, old) == ("cards", "  refuted: refuted\n"):
        quiet = tmp_path / "rules" / "fhir" / "cards.yaml"
        quiet.write_text(quiet.read_text(encoding="utf-8").replace("not_ordered, refuted,", "not_ordered,"), "utf-8")
    with pytest.raises(KnowledgeError) as caught:
        load_hooks(tmp_path / "rules", load_rulebook(tmp_path / "rules").vocabulary)
    assert {one.file for one in caught.value.faults} <= {"fhir/services.yaml", "fhir/cards.yaml"}
    for fault in faults:
        assert any(fault in one.message for one in caught.value.faults), str(caught.value)


def test_the_check_command_reads_what_is_offered_to_ehrs(tmp_path: Path) -> None:
    """It counts the services, and a fault in them is a fault of the rules."""
    for name in ("service", "rules"):
        shutil.copytree(
            Path(__file__).parent.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    command = [sys.executable, "-m", "service", "check"]
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert re.search(r"cases, 3 hook services, 13 queries, \d+ LOINC codes, 0 faults; sha256:", good.stdout)
    shutil.rmtree(tmp_path / "rules" / "fhir")
    line = change(tmp_path / "rules", "services", ALBUMIN, "code=http://loinc.org|2823-3")
    bad = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert bad.stderr.startswith(f"rules/fhir/services.yaml:{line}: prefetch.albumin.query: 2823-3 is not a code")
    assert bad.stdout == ""


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    """Both at once."""
    with pytest.raises(KnowledgeError) as caught:
        load_hooks(tmp_path)
    assert [one.file for one in caught.value.faults] == ["fhir/cards.yaml", "fhir/services.yaml"]


def test_the_vocabulary_shows_what_is_read_from_fhir(client: FlaskClient) -> None:
    """Codes with their property, in order of preference; those that are only shown; units; keys."""
    written = yaml.safe_load((Settings().rules / "fhir" / "observations.yaml").read_text(encoding="utf-8"))
    shown = {one["key"]: one["fhir"] for one in json.loads(client.get("/v1/vocabulary").data)["labs"]}
    for lab, codes in written["observations"].items():
        used = [one for one in shown[lab]["codes"] if one["used"]]
        assert [(one["loinc"], one["property"]) for one in used[: len(codes)]] == [
            (one["loinc"], one["property"]) for one in codes
        ]
    obsolete = [one["loinc"] for one in shown["egfr"]["codes"] if not one["used"]]
    assert obsolete == [one["loinc"] for one in written["only_shown"]["egfr"]]
    assert shown["vitamin_d_25oh"]["prefetch"] == ["vitd25oh", "labs"]
    assert shown["potassium"]["prefetch"] == ["labs"]
    assert {one["unit"]: one["property"] for one in shown["magnesium"]["units"]} == {
        "mmol/L": "molar",
        "mg/dL": "mass",
        "meq/L": "molar",
    }
    assert shown["ecg"] == {"codes": [], "units": [], "prefetch": []}
    counted = json.loads(client.get("/v1/knowledge").data)["counts"]["fhir_codes"]
    assert counted == sum(len(one["codes"]) for one in shown.values()) > 40
