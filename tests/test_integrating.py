"""docs/integrating.md: what follows the rules is theirs, and what is written by hand is so as well."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.__main__ import INTEGRATING, main
from service.api import outcomes
from service.app import create_app
from service.fhir.limits import MOST_CONDITIONS, MOST_MEDICATIONS
from service.hooks import keys, trust
from service.hooks.replay import FileReplay
from service.hooks.schema import MOST_OPINIONS
from service.hooks.sheet import render
from service.hooks.trust_file import load_trust
from service.knowledge import Rulebook
from service.knowledge.hooks_file import HOOKS, Hooks, load_hooks
from service.settings import HookSettings, Settings
from tests.conftest import TODAY

ROOT = Path(__file__).resolve().parent.parent
PAGE = INTEGRATING.read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "cds-hooks" / "order-sign.json"
QUERY = re.compile(r"\*\*`([a-z0-9]+)`\*\* .*\n\n```text\n(.*)\n```\n")
ASSESSMENT = "org.cofactor.assessment"


@pytest.fixture(scope="module")
def hooks(rulebook: Rulebook) -> Hooks:
    """As it is in the checkout."""
    return load_hooks(Settings().rules, rulebook.vocabulary)


@pytest.fixture(scope="module")
def served() -> FlaskClient:
    """A service with all hooks."""
    return create_app(Settings(hooks=HookSettings(hooks=HOOKS)), clock=lambda: TODAY).test_client()


@pytest.fixture(scope="module")
def discovered(served: FlaskClient) -> list[dict[str, Any]]:
    """The services as an EHR finds them."""
    listed: list[dict[str, Any]] = json.loads(served.get("/cds-services").data)["services"]
    return listed


def section(title: str) -> str:
    """What stands below a heading, up to the next one of its rank."""
    marks, _, _ = title.partition(" ")
    found = re.search(rf"(?ms)^{re.escape(title)}\n(.*?)(?=^#{{2,{len(marks)}}} |\Z)", PAGE)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines[2:]]


# What is generated.


def test_the_page_is_what_the_rules_say() -> None:
    """`make docs` would change nothing."""
    assert main(["integrating", "--check"]) == 0


def test_every_query_is_the_one_of_discovery(discovered: list[dict[str, Any]], hooks: Hooks) -> None:
    """All of them, letter for letter, and no other."""
    queries = QUERY.findall(PAGE)
    shown = dict(queries)
    assert len(shown) == len(queries)
    for one in hooks.combined.values():
        assert shown.pop(one.key) == one.query
    assert shown == {key: query for one in discovered for key, query in one["prefetch"].items()}
    for one in discovered:
        assert one["prefetch"].items() <= shown.items()


def test_every_service_is_on_the_sheet(discovered: list[dict[str, Any]], hooks: Hooks) -> None:
    """With hook, address, keys, and which of them are required."""
    for one in discovered:
        text = section(f"### `{one['id']}`")
        said = dict(row[:2] for row in [line.strip("| ").split(" | ") for line in text.splitlines()] if len(row) == 2)
        assert said["Hook"] == f"`{one['hook']}` {one['hookVersion']}"
        assert said["Address"] == f"`POST {{base}}/cds-services/{one['id']}`"
        assert re.findall(r"`(\w+)`", said["All prefetch keys"]) == list(one["prefetch"])
        assert re.findall(r"`(\w+)`", said["Required prefetch keys"]) == list(hooks.services[one["id"]].required)
        assert said["What it does"] == one["description"]
        assert said["Needs"] == one["usageRequirements"]


def test_every_reason_that_a_card_offers_is_on_the_sheet(served: FlaskClient) -> None:
    """With the display that it has on cards."""
    shown = {code.strip("`"): display for code, display, _ in rows(section("### Override reasons"))}
    answer = json.loads(served.post("/cds-services/mgvd-order-sign", json=json.loads(EXAMPLE.read_text())).data)
    offered = {one["code"]: one["display"] for card in answer["cards"] for one in card["overrideReasons"]}
    assert len(offered) > 6
    assert offered.items() <= shown.items()


def test_every_code_that_is_read_is_on_the_sheet(rulebook: Rulebook) -> None:
    """In the column that says whether it is used."""
    table = rows(section("### Results"))
    used = {code for row in table for code in re.findall(r"\d+-\d", row[2])}
    shown = {code for row in table for code in re.findall(r"\d+-\d", row[3])}
    results = rulebook.vocabulary.fhir.results.values()
    assert used == {one.loinc for one in results if not one.only_shown}
    assert shown == {one.loinc for one in results if one.only_shown}
    assert shown


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the command needs, to be changed."""
    for name in ("service", "rules", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def command(checkout: Path, *options: str) -> tuple[int, str]:
    """`python -m service integrating`, its status and what it complains of."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "integrating", *options],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_changed_query_has_to_be_written_anew(checkout: Path) -> None:
    """The check fails until it is, and then the page has the new one. What is written by hand stays."""
    services = checkout / "rules" / "fhir" / "services.yaml"
    text = services.read_text(encoding="utf-8")
    services.write_text(text.replace("2601-3&_sort=-date&_count=5", "2601-3&_sort=-date&_count=6"), encoding="utf-8")
    page = checkout / "docs" / "integrating.md"
    page.write_text(PAGE.replace("# Connecting an EHR", "# Connecting an EHR, in our hospital", 1), encoding="utf-8")
    assert command(checkout, "--check") == (1, "integrating.md is not what the rules say; run: make docs\n")
    assert command(checkout) == (0, "")
    assert command(checkout, "--check") == (0, "")
    written = page.read_text(encoding="utf-8")
    assert written.startswith("# Connecting an EHR, in our hospital\n")
    assert dict(QUERY.findall(written))["magnesium"].endswith("&_count=6")


def test_what_is_generated_cannot_be_changed_by_hand(checkout: Path) -> None:
    """Nor may a part go missing."""
    page = checkout / "docs" / "integrating.md"
    page.write_text(PAGE.replace("| not a final result |", "| a preliminary result |"), encoding="utf-8")
    assert command(checkout, "--check")[0] == 1
    page.write_text(PAGE.replace("<!-- generated: queries -->\n", ""), encoding="utf-8")
    status, said = command(checkout)
    assert status == 1
    assert said.startswith("integrating.md: the page must have each of these parts once")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<!-- generated: notes -->", "<!-- generated: remarks -->"),
        ("<!-- generated: notes -->", "<!-- generated: states -->"),
        ("<!-- end -->\n\n## The answer", "## The answer"),
        ("## The answer", "<!-- end -->\n\n## The answer"),
        ("## The answer", "<!-- generated: notes -->\n<!-- end -->\n\n## The answer"),
    ],
)
def test_markers_that_do_not_fit_are_refused(hooks: Hooks, rulebook: Rulebook, old: str, new: str) -> None:
    """Rather than that a part of the page is lost."""
    assert render(PAGE, hooks, rulebook.vocabulary) == PAGE
    assert old in PAGE
    with pytest.raises(ValueError, match="each of these parts once"):
        render(PAGE.replace(old, new, 1), hooks, rulebook.vocabulary)


# What is written by hand.


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    """Limits, times and sizes."""
    for phrase in (
        f"clocks may differ by {trust.LEEWAY_SECONDS} s",
        f"{trust.LONGEST_LIFETIME} if it is not said",
        f"at most {trust.LARGEST_TOKEN // 1024} KiB",
        f"at most {keys.LARGEST // 1024} KiB in {keys.FETCH_SECONDS} s",
        f"kept for {keys.FRESH_SECONDS // 60} minutes",
        f"at most once in {keys.PAUSE_SECONDS} s",
        f"Bodies up to {outcomes.LARGEST_CALL // 1024 // 1024} MiB",
        f"{outcomes.DEEPEST_CALL} levels deep",
        f"{MOST_MEDICATIONS} medicines and {MOST_CONDITIONS} conditions",
        f"{MOST_OPINIONS} opinions in one call",
    ):
        assert phrase in " ".join(PAGE.split()), phrase
    assert keys.STALE_SECONDS == 24 * 3600
    assert "the last set counts for a day" in " ".join(PAGE.split())


def test_every_status_is_explained() -> None:
    """Those of refusals, and those of answers."""
    listed = {int(row[0]) for row in rows(section("## Every status and what it means"))}
    assert listed == {200, 204, 304, 500} | {int(status) for status in outcomes.ISSUES}


def test_every_reason_of_the_log_is_explained() -> None:
    """Whoever looks for why a token was refused finds it on the page."""
    listed = {word for row in rows(section("## What is logged")) for word in re.findall(r"`([a-z_]+)`", row[0])}
    assert listed == {one.value for one in trust.Reason} | {"not_verified_and_not_local"}


def test_the_list_of_issuers_on_the_page_is_understood(tmp_path: Path) -> None:
    """As a whole, with every key that there is."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "issuers.toml").write_text(example, encoding="utf-8")
    (tmp_path / "clinic-keys.json").write_text('{"keys": []}', encoding="utf-8")
    (tmp_path / "hospital-ca.pem").write_text("", encoding="utf-8")
    found = load_trust(tmp_path / "issuers.toml", FileReplay(tmp_path / "replay.sqlite"))
    assert found.public_url == "https://advice.hospital.example"
    assert f"`{found.public_url}/cds-services/mgvd-order-sign`" in PAGE
    source = (ROOT / "service" / "hooks" / "trust_file.py").read_text(encoding="utf-8")
    read = set(re.findall(r"\.(?:take|texts|addresses)\(\"(\w+)\"", source))
    assert read == set(re.findall(r"^\[*(?:issuer\.)?(\w+)", example, re.MULTILINE)) | {"test_issuer"}
    assert "`test_issuer = true`" in PAGE


def test_what_is_assessed_is_explained(served: FlaskClient) -> None:
    """Every member that an answer has, and the example says what the page says of it."""
    listed = {word for row in rows(section("### What was assessed")) for word in re.findall(r"`(\w+)`", row[0])}
    sent = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    for change in ({}, {"deceasedBoolean": True}, {"birthDate": "2020-01-01"}):
        call = {**sent, "prefetch": {**sent["prefetch"], "patient": {**sent["prefetch"]["patient"], **change}}}
        answer = json.loads(served.post("/cds-services/mgvd-order-sign", json=call).data)
        assert set(answer["extension"][ASSESSMENT]) <= listed
    text = json.dumps(answer["extension"][ASSESSMENT]["data"])
    assert "none found" in text
    assert "not supplied" in text


def test_what_is_shown_to_be_typed_in_works(served: FlaskClient) -> None:
    """The example is answered, and its first card can be overridden, with the bodies that the page makes of it."""
    assert "-d @examples/cds-hooks/order-sign.json" in PAGE
    answer = json.loads(
        served.post("/cds-services/mgvd-order-sign", data=EXAMPLE.read_bytes(), content_type="application/json").data
    )
    card = answer["cards"][0]
    opinion = {
        "card": card["uuid"],
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-21T10:05:31Z",
        "overrideReason": {"reason": card["overrideReasons"][0]},
    }
    heard = json.loads(served.post("/cds-services/mgvd-order-sign/feedback", json={"feedback": [opinion]}).data)
    assert heard == {"extension": {"org.cofactor.feedback": {"received": 1, "ofUnknownCards": 0}}}


def variables() -> set[str]:
    """The variables of the environment that the service reads."""
    settings = (ROOT / "service" / "settings.py").read_text(encoding="utf-8")
    server = (ROOT / "deploy" / "gunicorn.conf.py").read_text(encoding="utf-8")
    called = r"(?:environment\.get\(|_path\(environment, |_list\(environment, )\"([A-Z_]+)\""
    return {*re.findall(called, settings), *re.findall(r"(?:environ\.get|_number)\(\s*\"([A-Z_]+)\"", server)}


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    """In the table of deploy/README.md all of them, on the page those of the hooks."""
    read = variables()
    of_hooks = {one for one in read if one.startswith("CDS_HOOKS")} | {"PUBLIC_URL"}
    assert len(of_hooks) >= 8
    deploy = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    table = {
        word
        for line in deploy.splitlines()
        for word in re.findall(r"`([A-Z_]+)`", line.split("|")[1] if line.startswith("|") else "")
    }
    assert table == read
    assert set(re.findall(r"\b(CDS_HOOKS(?:_[A-Z_]+)?|PUBLIC_URL)\b", PAGE)) == of_hooks


PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("rules/*/README.md"),
    )
)
FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:md|py|yaml|toml|conf|json|tsv|sh))`")


def anchors(text: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", text))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere_and_files_exist(page: Path) -> None:
    """Of every page of the project."""
    here = (ROOT / page).parent
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (here / path).resolve() if path else ROOT / page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target
    for name in FILE.findall(text):
        assert (here / name).exists() or (ROOT / name).exists(), name


def test_the_readme_shows_a_real_answer(served: FlaskClient) -> None:
    """The services that are on unless configured otherwise, and the answer to the example, in short."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## From an EHR", 1)[1]
    listed, shown, *_ = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    default = json.loads(create_app(Settings()).test_client().get("/cds-services").data)["services"]
    assert [json.loads(line) for line in listed.splitlines()] == [
        {"hook": one["hook"], "id": one["id"]} for one in default
    ]
    said = served.post("/cds-services/mgvd-order-sign", data=EXAMPLE.read_bytes(), content_type="application/json")
    answer = json.loads(said.data)
    data = answer["extension"][ASSESSMENT]["data"]
    assert json.loads(shown) == {
        "cards": [
            {
                "indicator": card["indicator"],
                "summary": card["summary"],
                "suggestions": [one["label"] for one in card["suggestions"]],
            }
            for card in answer["cards"]
        ],
        "data": {key: data[key]["text"] for key in ("conditions", "egfr", "otc")},
    }


def magnesium_order(hook: str, prefetch: dict[str, Any]) -> dict[str, Any]:
    """The call of the example with another prefetch; on patient-view as a medicine that is taken."""
    sent: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    draft = sent["context"]["draftOrders"]["entry"][0]["resource"]
    if hook == "patient-view":
        taken = {**draft, "resourceType": "MedicationStatement", "status": "active"}
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": taken}]}
        context = {"userId": "Practitioner/example", "patientId": "example"}
        return {**sent, "hook": hook, "context": context, "prefetch": {**prefetch, "otc": bundle}}
    return {**sent, "prefetch": prefetch}


NONE = {"resourceType": "Bundle", "type": "searchset"}


def test_what_is_said_to_happen_without_data_happens(served: FlaskClient) -> None:
    """The table of what is not supplied, row by row."""
    patient = json.loads(EXAMPLE.read_text(encoding="utf-8"))["prefetch"]["patient"]

    def ask(hook: str, **prefetch: Any) -> tuple[int, str, dict[str, Any]]:
        said = served.post(f"/cds-services/mgvd-{hook}", json=magnesium_order(hook, prefetch))
        answer = json.loads(said.data)
        return said.status_code, json.dumps(answer.get("cards")), answer.get("extension", {}).get(ASSESSMENT, {})

    status, cards, said = ask("order-sign")
    assert status == 200
    assert "Kidney function is not known well enough to give a dose of magnesium" in cards
    assert "How old is the patient?" in cards
    assert "Which conditions does the patient have" in cards
    assert "**Not assessed:**" in cards
    held = {word for one in said["heldBack"] for word in one["holdsBack"]}
    assert "magnesium_dose" in held
    assert {"/patient/age_years", "/conditions"} <= {one["missing"] for one in said["notEvaluated"]}
    for hook, prefetch, shown in (
        ("order-sign", {"patient": patient, "conditions": NONE}, True),
        ("patient-view", {"patient": patient, "conditions": NONE}, False),
    ):
        status, cards, said = ask(hook, **prefetch)
        assert status == 200
        assert ("gate-mg-kidney-function-unknown" in cards) == shown
        assert ("ServiceRequest" in cards) == shown
        assert ("magnesium-kidney-function-unknown" in said["notOnACard"].get("cautions", ())) != shown
    assert ask("patient-view")[0] == 412
    _, _, said = ask("order-sign", patient=patient, medications=NONE)
    assert [one["key"] for one in said["notes"] if one["reason"] == "list_not_whole"] == ["otc"]
    _, _, said = ask("order-sign", patient={**patient, "birthDate": "2020-01-01"})
    assert said["disposition"] == "out_of_scope"
