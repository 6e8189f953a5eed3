"""CDS Hooks in openapi.yaml: it says what the validators say and what the specification says, and the service does it.

Three judges are held against each other: the published schemas, the validators of the service, and
cds_hooks.schema.json, which was read from the specification by itself.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.validators import extend
from schemathesis.openapi.checks import RejectedPositiveData

from service.api import contract, outcomes
from service.app import create_app
from service.hooks.discovery import discovery
from service.hooks.schema import InvalidResponse, Refused, check_response, read_feedback_body, read_request
from service.knowledge.hooks_file import HOOKS, Hooks, load_hooks
from service.settings import HookSettings, Settings
from tests.conftest import TODAY
from tests.contract_run import run

Json = dict[str, Any]

DOCUMENT: Json = yaml.safe_load(Settings().contract.read_text(encoding="utf-8"))
SPECIFICATION: Json = json.loads(Path(__file__).with_name("cds_hooks.schema.json").read_text(encoding="utf-8"))
EXAMPLES: Json = contract.load(contract.HOOK_EXAMPLES)
ROOT = "/cds-services"
FEEDBACK = f"{ROOT}/{{id}}/feedback"
ASSESSMENT = "org.cofactor.assessment"
EXAMPLES_EACH = 75
ALL_ON = HookSettings(hooks=HOOKS, anyone=True, public_url="https://cofactor.example")


# The judges.


def find_as_published(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Any]:
    """Patterns as ECMA-262 reads them: `$` is the end, and a line break before it is none."""
    if isinstance(instance, str) and re.search(re.sub(r"\$$", r"\\Z", pattern), instance) is None:
        yield SchemaError(f"{pattern!r} is not found")


JsonSchema = extend(Draft202012Validator, {"pattern": find_as_published})
formats = FormatChecker(formats=())


@formats.checks("date-time")
def is_date_time(text: object) -> bool:
    """By another reader than the service has; a leap second is one at the end of a day of UTC."""
    if not isinstance(text, str):
        return True
    plain = re.sub(r"\.\d+", "", text.upper()).replace("23:59:60Z", "23:59:59Z").replace("00:59:60+01", "00:59:59+01")
    try:
        datetime.strptime(plain, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return False
    return True


def judge(schema: Json) -> Callable[[Any], bool]:
    """Whether a value fits a schema."""
    return JsonSchema(schema, format_checker=formats).is_valid


def published(media: Json) -> Callable[[Any], bool]:
    """Whether a value fits what the contract says at a place."""
    return judge({**media["schema"], "components": DOCUMENT["components"]})


def path_of(hook: str) -> str:
    """The path of the service of a hook."""
    return f"{ROOT}/mgvd-{hook}"


def operation(path: str) -> Json:
    """The POST at a path."""
    return DOCUMENT["paths"][path]["post"]


def body_of(path: str) -> Json:
    """What the contract says of the body of a path."""
    return operation(path)["requestBody"]["content"]["application/json"]


def answer_of(path: str, status: str = "200") -> Json:
    """What the contract says of an answer."""
    return operation(path)["responses"][status]["content"]["application/json"]


def is_read(read: Callable[[Any], Any]) -> Callable[[Any], bool]:
    """Whether the service takes a body; numbers come to it as they are written."""

    def takes(body: Any) -> bool:
        try:
            read(json.loads(json.dumps(body), parse_float=Decimal))
        except Refused:
            return False
        return True

    return takes


PUBLISHED = {hook: published(body_of(path_of(hook))) for hook in HOOKS} | {"feedback": published(body_of(FEEDBACK))}
TAKEN = {
    **{hook: is_read(lambda body, hook=hook: read_request(hook, body)) for hook in HOOKS},
    "feedback": is_read(read_feedback_body),
}
SPECIFIED = {key: judge({**SPECIFICATION, "$ref": f"#/$defs/{key}"}) for key in (*HOOKS, "feedback")}


def requests_of(key: str) -> dict[str, Json]:
    """The bodies that the contract shows for a hook, or for feedback."""
    return {name: example["value"] for name, example in EXAMPLES[key]["requests"].items()}


REMOVED = object()


def changed(body: Any, place: str, value: Any) -> Any:
    """The body with one thing else at a place, named by keys and dots."""
    if not place:
        return value
    made = copy.deepcopy(body)
    *way, last = place.split(".")
    node = made
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if value is REMOVED:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return made


# Requests: one change to a call that is right.

UUID = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
TOKEN = {"access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read", "subject": "client"}
BASE = {
    **{hook: next(iter(requests_of(hook).values())) for hook in HOOKS},
    "feedback": requests_of("feedback")["overridden_and_accepted"],
}
AUTHORISED = {**BASE["order-sign"], "fhirAuthorization": TOKEN}

TAKEN_IN_ALL: list[tuple[str, Json, str, Any]] = [
    ("no prefetch", BASE["order-sign"], "prefetch", REMOVED),
    ("empty prefetch", BASE["order-sign"], "prefetch", {}),
    ("a key that is null", BASE["order-sign"], "prefetch.patient", None),
    ("a key with an OperationOutcome", BASE["order-sign"], "prefetch.egfr", {"resourceType": "OperationOutcome"}),
    ("a key that nobody asked for", BASE["order-sign"], "prefetch.more", {"resourceType": "Basic"}),
    ("a member of later times", BASE["order-sign"], "later", {"a": None}),
    ("an extension", BASE["order-sign"], "extension", {"com.example.x": {"a": 1}}),
    ("a context with more", BASE["order-sign"], "context.later", []),
    ("no encounter", BASE["order-sign"], "context.encounterId", REMOVED),
    ("an id in capitals", BASE["order-sign"], "hookInstance", UUID.upper()),
    ("no draft at all", BASE["order-sign"], "context.draftOrders", {"resourceType": "Bundle"}),
    ("nothing selected", BASE["order-select"], "context.selections", []),
    ("several selected", BASE["order-select"], "context.selections", ["MedicationRequest/1", "ServiceRequest/a-b.c"]),
    ("a related person", BASE["patient-view"], "context.userId", "RelatedPerson/1"),
    ("a token", AUTHORISED, "fhirAuthorization.patient", "example"),
    ("seconds with a point", AUTHORISED, "fhirAuthorization.expires_in", 300.0),
    ("another member of a token", AUTHORISED, "fhirAuthorization.more", 1),
    ("no opinion", BASE["feedback"], "feedback", []),
    ("a comment alone", BASE["feedback"], "feedback.0.overrideReason", {"userComment": "no"}),
    ("no reason", BASE["feedback"], "feedback.0.overrideReason", REMOVED),
    ("no display", BASE["feedback"], "feedback.0.overrideReason.reason.display", REMOVED),
    ("an id that is no UUID", BASE["feedback"], "feedback.0.card", "urn:oid:1.2.3"),
    ("accepted and overridden", BASE["feedback"], "feedback.0.acceptedSuggestions", [{"id": "1"}]),
    ("a fraction and a zone", BASE["feedback"], "feedback.0.outcomeTimestamp", "2026-11-20T10:05:31.123456789+05:30"),
    ("small letters", BASE["feedback"], "feedback.0.outcomeTimestamp", "2026-11-20t10:05:31z"),
    ("a leap second", BASE["feedback"], "feedback.0.outcomeTimestamp", "2016-12-31T23:59:60Z"),
    ("a leap second elsewhere", BASE["feedback"], "feedback.0.outcomeTimestamp", "2017-01-01T00:59:60.5+01:00"),
    ("29 February", BASE["feedback"], "feedback.0.outcomeTimestamp", "2028-02-29T00:00:00-00:00"),
]
"""What the specification allows, the contract publishes and the service reads."""

REFUSED_IN_ALL: list[tuple[str, Json, str, Any]] = [
    ("an array", BASE["order-sign"], "", []),
    ("null", BASE["order-sign"], "", None),
    ("nothing", BASE["order-sign"], "", {}),
    *(
        (f"no {place}", BASE["order-select"], place, REMOVED)
        for place in ("hook", "hookInstance", "context", "context.userId", "context.patientId", "context.draftOrders")
    ),
    *(
        (f"{place} null", BASE["order-select"], place, None)
        for place in ("hook", "hookInstance", "context", "context.encounterId", "prefetch")
    ),
    ("another hook", BASE["order-sign"], "hook", "order-select"),
    ("the hook in capitals", BASE["order-sign"], "hook", "Order-Sign"),
    ("a hook that is a list", BASE["order-sign"], "hook", ["order-sign"]),
    ("no UUID", BASE["order-sign"], "hookInstance", "1"),
    ("a UUID in braces", BASE["order-sign"], "hookInstance", f"{{{UUID}}}"),
    ("a UUID and a line break", BASE["order-sign"], "hookInstance", f"{UUID}\n"),
    ("an empty patient", BASE["order-sign"], "context.patientId", ""),
    ("a blank patient", BASE["order-sign"], "context.patientId", " \t"),
    ("a patient that is a number", BASE["order-sign"], "context.patientId", 1),
    ("no selections", BASE["order-select"], "context.selections", REMOVED),
    ("selections that are one", BASE["order-select"], "context.selections", "MedicationRequest/1"),
    ("a selection without a type", BASE["order-select"], "context.selections", ["1"]),
    ("a selection with an address", BASE["order-select"], "context.selections", ["https://x.example/Basic/1"]),
    ("drafts that are no Bundle", BASE["order-sign"], "context.draftOrders", {"resourceType": "MedicationRequest"}),
    ("drafts without a type", BASE["order-sign"], "context.draftOrders", {"entry": []}),
    ("drafts that are an array", BASE["order-sign"], "context.draftOrders", []),
    ("a user without a type", BASE["patient-view"], "context.userId", "1"),
    ("a user of another type", BASE["patient-view"], "context.userId", "Device/1"),
    ("a server without a scheme", BASE["order-sign"], "fhirServer", "fhir.example"),
    ("a server that is a file", BASE["order-sign"], "fhirServer", "file:///etc"),
    ("a server with a blank", BASE["order-sign"], "fhirServer", "https://fhir.example/r 4"),
    ("a token without a server", AUTHORISED, "fhirServer", REMOVED),
    ("an empty token", AUTHORISED, "fhirAuthorization", {}),
    ("a token of another kind", AUTHORISED, "fhirAuthorization.token_type", "bearer"),
    *((f"a token without {key}", AUTHORISED, f"fhirAuthorization.{key}", REMOVED) for key in TOKEN),
    ("seconds in words", AUTHORISED, "fhirAuthorization.expires_in", "300"),
    ("parts of a second", AUTHORISED, "fhirAuthorization.expires_in", 300.5),
    ("seconds that are true", AUTHORISED, "fhirAuthorization.expires_in", True),
    ("prefetch that is an array", BASE["order-sign"], "prefetch", []),
    ("a key with a string", BASE["order-sign"], "prefetch.patient", "Patient/1"),
    ("a key with an array", BASE["order-sign"], "prefetch.patient", [{"resourceType": "Patient"}]),
    ("a resource without a type", BASE["order-sign"], "prefetch.patient", {"id": "1"}),
    ("a type that is null", BASE["order-sign"], "prefetch.patient", {"resourceType": None}),
    ("a type that is none", BASE["order-sign"], "prefetch.patient", {"resourceType": "patient 1"}),
    ("feedback that is one opinion", BASE["feedback"], "feedback", {}),
    ("no feedback", BASE["feedback"], "feedback", REMOVED),
    ("an opinion that is a string", BASE["feedback"], "feedback", ["accepted"]),
    ("no card", BASE["feedback"], "feedback.0.card", REMOVED),
    ("an empty card", BASE["feedback"], "feedback.0.card", ""),
    ("another outcome", BASE["feedback"], "feedback.0.outcome", "ignored"),
    ("accepted, and not what", BASE["feedback"], "feedback.1.acceptedSuggestions", REMOVED),
    ("accepted, and nothing", BASE["feedback"], "feedback.1.acceptedSuggestions", []),
    ("a suggestion without id", BASE["feedback"], "feedback.1.acceptedSuggestions", [{}]),
    ("a reason that says nothing", BASE["feedback"], "feedback.0.overrideReason", {}),
    ("a reason without code", BASE["feedback"], "feedback.0.overrideReason.reason.code", REMOVED),
    ("a reason without system", BASE["feedback"], "feedback.0.overrideReason.reason.system", REMOVED),
    ("an empty comment", BASE["feedback"], "feedback.0.overrideReason", {"userComment": ""}),
    ("no time", BASE["feedback"], "feedback.0.outcomeTimestamp", REMOVED),
    *(
        (f"the time {time}", BASE["feedback"], "feedback.0.outcomeTimestamp", time)
        for time in (
            "yesterday",
            "2026-11-20",
            "2026-11-20T10:05:31",
            "2026-11-20 10:05:31Z",
            "2026-02-30T10:05:31Z",
            "2026-13-01T10:05:31Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T10:60:00Z",
            "2026-11-20T10:05:60Z",
            "2026-11-20T10:05:31+24:00",
            "２０２６-11-20T10:05:31Z",
            "2026-11-20T10:05:31Z\n",
            1763632800,
        )
    ),
]
"""What none of the three allows."""

OF_CLIENTS: list[tuple[str, Json, str, Any]] = [
    ("a user without a type, where nothing hangs on it", BASE["order-sign"], "context.userId", "practitioner 1"),
    ("an extension in the place of a reason", BASE["feedback"], "feedback.0.overrideReason", {"extension": {"a": 1}}),
]
"""What the specification does not allow, and real clients send."""

OURS: list[tuple[str, Json, str, Any]] = [
    ("more opinions than are read", BASE["feedback"], "feedback", BASE["feedback"]["feedback"] * 501),
    ("a plural that says nothing", BASE["feedback"], "feedback.0.overrideReasons", [{}]),
    ("a plural that is a string", BASE["feedback"], "feedback.0.overrideReasons", "no"),
]
"""What is refused, and the specification does not speak of."""


def named(rows: list[tuple[str, Json, str, Any]]) -> pytest.MarkDecorator:
    """A test for each row."""
    return pytest.mark.parametrize(("body", "place", "value"), [row[1:] for row in rows], ids=[row[0] for row in rows])


def verdicts(body: Json, place: str, value: Any) -> tuple[bool, bool, bool]:
    """What the contract, the service and the specification say."""
    key = str(body.get("hook", "feedback"))
    made = changed(body, place, value)
    return PUBLISHED[key](made), TAKEN[key](made), SPECIFIED[key](made)


@named(TAKEN_IN_ALL)
def test_what_the_specification_allows_is_published_and_taken(body: Json, place: str, value: Any) -> None:
    """By all three alike."""
    assert verdicts(body, place, value) == (True, True, True)


@named(REFUSED_IN_ALL)
def test_what_the_specification_refuses_is_published_and_refused(body: Json, place: str, value: Any) -> None:
    """By all three alike."""
    assert verdicts(body, place, value) == (False, False, False)


@named(OF_CLIENTS)
def test_what_clients_do_is_published_and_taken(body: Json, place: str, value: Any) -> None:
    """Also where the specification has it otherwise."""
    assert verdicts(body, place, value) == (True, True, False)


@named(OURS)
def test_what_is_refused_beyond_the_specification_is_published(body: Json, place: str, value: Any) -> None:
    """So that nobody has to try."""
    assert verdicts(body, place, value) == (False, False, True)


@pytest.mark.parametrize("reasons", [{"userComment": "x"}, [{"userComment": "x"}, {"extension": {}}], []])
def test_the_plural_of_one_vendor_is_an_object_or_an_array(reasons: Any) -> None:
    """The specification has no such member, and lets it pass."""
    assert verdicts(BASE["feedback"], "feedback.0.overrideReasons", reasons) == (True, True, True)


def test_a_whole_number_is_one_however_it_is_written() -> None:
    """Also one that there is no room for; what is done with it is for whoever uses it."""
    for seconds in ("300", "300.0", "3e2"):
        read = read_request("order-sign", changed(AUTHORISED, "fhirAuthorization.expires_in", Decimal(seconds)))
        assert (type(read["fhirAuthorization"]["expires_in"]), read["fhirAuthorization"]["expires_in"]) == (int, 300)
    read_request("order-sign", changed(AUTHORISED, "fhirAuthorization.expires_in", Decimal("1e999999999999999999")))


# Any other change: the contract and the validators must still agree.

ODD = (
    None, "", " ", "\n", "\u00a0", "\u0085", "\ufeff", "x", "x\n", "a b", [], {}, 0, -1, 1.5, 7.0, True, False, [{}],
    [None], [""], {"a": None}, {"a.b": {}}, {"resourceType": "Bundle"}, {"resourceType": "bundle"}, "Bundle", UUID,
    UUID.upper(), f"{UUID}\n", "accepted", "overridden", "any", "at-most-one", "create", "delete", "order-sign",
    "Practitioner/1", "Practitioner/\u0085", "https://x.example/ä", "https://x.example", "urn:x:y",
    "2026-11-20T10:05:31Z", "2026-11-20",
)  # fmt: skip
NAMES = ("extension", "resource", "resourceId", "isRecommended", "a.b", "a b", "", "ä", "x" * 65)


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a value."""
    yield way
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*way, key))


def at(node: Any, way: tuple[Any, ...]) -> Any:
    """What is there."""
    for key in way:
        node = node[key]
    return node


def single_changes(body: Any) -> Iterator[Any]:
    """The body with everything lost, made odd, or given one member more, one after the other."""
    for way in places(body):
        for odd in ODD:
            yield placed(body, way, odd)
        if way:
            yield placed(body, way, REMOVED)
        if isinstance(at(body, way), dict):
            for name in NAMES:
                for value in ("x", None, *list(at(body, way).values())[:1]):
                    yield placed(body, (*way, name), value)
        elif isinstance(at(body, way), list):
            yield placed(body, way, at(body, way) * 2)


def placed(body: Any, way: tuple[Any, ...], value: Any) -> Any:
    """The body with something else there."""
    if not way:
        return value
    key, *rest = way
    made = dict(body) if isinstance(body, dict) else list(body)
    if not rest and value is REMOVED:
        del made[key]
    else:
        made[key] = value if not rest else placed(made[key], tuple(rest), value)
    return made


@st.composite
def mishaps(draw: st.DrawFn, body: Json) -> Any:
    """The body with two or three things lost, made odd, or put where something else was."""
    made = body
    for _ in range(draw(st.integers(2, 3))):
        way = draw(st.sampled_from([one for one in places(made) if one] or [()]))
        other = at(made, draw(st.sampled_from(list(places(made)))))
        what = draw(st.sampled_from([REMOVED, other, *ODD]))
        made = placed(made, way, what if way or what is not REMOVED else None)
    return made


FULL = {
    **{
        hook: {
            **body,
            "fhirServer": "https://fhir.example/r4",
            "fhirAuthorization": {**TOKEN, "patient": "example"},
            "context": {**body["context"], "encounterId": "1"},
            "prefetch": {"patient": {"resourceType": "Patient", "id": "example"}, "otc": None},
        }
        for hook, body in BASE.items()
        if hook in HOOKS
    },
    "feedback": {
        "feedback": [
            {
                **opinion,
                "overrideReason": {"reason": {"code": "a", "system": "b", "display": "c"}, "userComment": "d"},
                "overrideReasons": [{"extension": {}}, {"userComment": "e"}],
            }
            for opinion in BASE["feedback"]["feedback"]
        ]
    },
}
"""With everything that can be said."""


@pytest.mark.parametrize("key", [*HOOKS, "feedback"])
def test_contract_and_service_agree_on_whatever_is_sent(key: str) -> None:
    """Neither takes what the other refuses: with any one thing changed, and with a few."""
    body = FULL[key]
    drafts = body.get("context", {}).get("draftOrders")
    if drafts is not None:
        body = changed(body, "context.draftOrders", {"resourceType": "Bundle", "entry": []})
    assert PUBLISHED[key](body)
    differ = [made for made in single_changes(body) if TAKEN[key](made) != PUBLISHED[key](made)]
    assert differ == []

    @settings(max_examples=200, derandomize=True, database=None, deadline=None)
    @given(mishaps(body))
    def agree(made: Any) -> None:
        assert TAKEN[key](made) == PUBLISHED[key](made)

    agree()


# What goes out.


@pytest.fixture(scope="module")
def all_on() -> Flask:
    """With all services, and without looking at callers."""
    return create_app(Settings(log_level="critical", hooks=ALL_ON), clock=lambda: TODAY)


@pytest.fixture(scope="module")
def hooks() -> Hooks:
    """As it is in the checkout."""
    return load_hooks(Settings().rules)


@pytest.fixture(scope="module")
def answers(all_on: Flask) -> dict[tuple[str, str], Json]:
    """What the service answers to each example, by hook and name."""
    found = {}
    for hook in HOOKS:
        for name, body in requests_of(hook).items():
            response = all_on.test_client().post(path_of(hook), json=body)
            assert response.status_code == 200, (hook, name, response.text)
            found[hook, name] = json.loads(response.data)
    return found


def leaves(body: Any, most: int) -> bool:
    """Whether the service would let an answer out. Ids that stand twice are not for JSON Schema to find."""
    try:
        check_response(json.loads(json.dumps(body), parse_float=Decimal), most)
    except InvalidResponse as invalid:
        return [one.detail for one in invalid.faults] == ["Two cards or suggestions have one id."]
    return True


RESPONSES = {hook: published(answer_of(path_of(hook))) for hook in HOOKS}
RESPONSE_SPECIFIED = judge({**SPECIFICATION, "$ref": "#/$defs/response"})


def test_every_answer_fits_all_three(answers: Mapping[tuple[str, str], Json], hooks: Hooks) -> None:
    """The contract, the check on the way out, and the specification; and what is checked is what they fit."""
    most = {one.hook: one.most_cards for one in hooks.services.values()}
    for (hook, name), answer in answers.items():
        assert RESPONSES[hook](answer), name
        assert leaves(answer, most[hook]), name
        assert RESPONSE_SPECIFIED(answer), name
    assert any(answer["cards"] == [] for answer in answers.values())
    kinds = {action["type"] for answer in answers.values() for action in actions(answer)}
    assert kinds == {"create", "delete"}


def actions(answer: Json) -> Iterator[Json]:
    """All of all suggestions."""
    for card in answer["cards"]:
        for suggestion in card.get("suggestions", ()):
            yield from suggestion["actions"]


SIGNED = ("order-sign", "magnesium_in_kidney_disease")
CARD = "cards.0"
SUGGESTION = f"{CARD}.suggestions.0"
DRAFT = "cards.1.suggestions.0.actions.0"
SAID = f"extension.{ASSESSMENT}"
NEVER_SENT: list[tuple[str, str, Any]] = [
    ("no cards", "cards", REMOVED),
    ("no extension", "extension", REMOVED),
    ("an empty extension", "extension", {}),
    ("system actions", "systemActions", []),
    ("a summary of 140 characters", f"{CARD}.summary", "x" * 140),
    ("a summary of two lines", f"{CARD}.summary", "x\ny"),
    ("a blank summary", f"{CARD}.summary", " "),
    ("another indicator", f"{CARD}.indicator", "hard-stop"),
    ("no source", f"{CARD}.source", REMOVED),
    ("a source without a label", f"{CARD}.source.label", REMOVED),
    ("a topic with a hyphen", f"{CARD}.source.topic.code", "a-b"),
    ("a topic that is too long", f"{CARD}.source.topic.code", "a" * 101),
    ("no detail that is null", f"{CARD}.detail", None),
    ("a member that nobody knows", f"{CARD}.more", "x"),
    ("no links that are empty", f"{CARD}.links", []),
    ("a link that is relative", f"{CARD}.links.0.url", "/docs"),
    ("a link that is a script", f"{CARD}.links.0.url", "javascript:alert(1)"),
    ("a link for an app", f"{CARD}.links.0.type", "smart"),
    ("no way to choose", f"{CARD}.selectionBehavior", REMOVED),
    ("no suggestions that are empty", f"{CARD}.suggestions", []),
    ("no reasons that are empty", f"{CARD}.overrideReasons", []),
    ("a reason without display", f"{CARD}.overrideReasons.0.display", REMOVED),
    ("an id that is none", f"{CARD}.uuid", "1"),
    ("an id in capitals", f"{CARD}.uuid", UUID.upper()),
    ("a name without a domain", f"{CARD}.extension", {"rules": [{"id": "a", "version": 1}]}),
    ("a suggestion without label", f"{SUGGESTION}.label", REMOVED),
    ("a suggestion without actions", f"{SUGGESTION}.actions", REMOVED),
    ("a suggestion with no action", f"{SUGGESTION}.actions", []),
    ("a recommendation in words", f"{SUGGESTION}.isRecommended", "true"),
    ("an action without description", f"{SUGGESTION}.actions.0.description", REMOVED),
    ("an action of another type", f"{SUGGESTION}.actions.0.type", "remove"),
    ("a deletion of nothing", f"{SUGGESTION}.actions.0.resourceId", REMOVED),
    ("a deletion by address", f"{SUGGESTION}.actions.0.resourceId", "https://x.example/Basic/1"),
    ("a deletion with a resource", f"{SUGGESTION}.actions.0.resource", {"resourceType": "ServiceRequest"}),
    ("a creation of nothing", f"{DRAFT}.resource", REMOVED),
    ("a creation with an id", f"{DRAFT}.resourceId", "ServiceRequest/1"),
    ("a creation of anything", f"{DRAFT}.resource.resourceType", "Patient"),
    ("null within a resource", f"{DRAFT}.resource.code.text", None),
    ("nothing within a resource", f"{DRAFT}.resource.code.coding", []),
    ("an empty member of a resource", f"{DRAFT}.resource.note", [{"text": ""}]),
]
"""One change to an answer that is right."""
ONLY_OURS: list[tuple[str, str, Any]] = [
    ("an update", f"{SUGGESTION}.actions.0", {"type": "update", "description": "x", "resource": {"resourceType": "X"}}),
    ("no rules", f"{CARD}.extension", REMOVED),
    ("another statement", "extension", {"org.example.x": {"a": 1}}),
    ("a way to choose from nothing", f"{CARD}.suggestions", REMOVED),
]
"""Of which the specification says nothing, or allows it."""


@pytest.mark.parametrize(("place", "value"), [row[1:] for row in NEVER_SENT], ids=[row[0] for row in NEVER_SENT])
def test_what_may_not_leave_is_not_published(answers: Mapping[tuple[str, str], Json], place: str, value: Any) -> None:
    """All three refuse it."""
    made = altered(answers[SIGNED], place, value)
    assert (RESPONSES["order-sign"](made), leaves(made, 3), RESPONSE_SPECIFIED(made)) == (False, False, False)


def altered(answer: Json, place: str, value: Any) -> Any:
    """As `changed`; the name of the extension has dots of its own."""
    _, dot, tail = place.partition(f"{ASSESSMENT}.")
    if not dot:
        return changed(answer, place, value)
    said = changed(answer["extension"][ASSESSMENT], tail, value)
    return {**answer, "extension": {ASSESSMENT: said}}


@pytest.mark.parametrize(("place", "value"), [row[1:] for row in ONLY_OURS], ids=[row[0] for row in ONLY_OURS])
def test_what_is_never_sent_is_not_published(answers: Mapping[tuple[str, str], Json], place: str, value: Any) -> None:
    """The contract promises no more than the check on the way out lets through, and no less."""
    made = altered(answers[SIGNED], place, value)
    assert (RESPONSES["order-sign"](made), leaves(made, 3)) == (False, False)


def test_how_many_cards_there_may_be_is_published(answers: Mapping[tuple[str, str], Json], hooks: Hooks) -> None:
    """By hook."""
    (card,) = answers["order-select", "antibiotic_beside_magnesium"]["cards"]
    for service in hooks.services.values():
        for more in (0, 1):
            count = service.most_cards + more
            cards = [{**card, "uuid": f"{UUID[:-1]}{place}"} for place in range(count)]
            made = {**answers[SIGNED], "cards": cards}
            assert (RESPONSES[service.hook](made), leaves(made, service.most_cards)) == (not more, not more)


@pytest.mark.parametrize("member", [
    "hook", "asOf", "statement", "disposition", "knowledge", "terminology", "data", "notRecognised", "notOnACard",
])  # fmt: skip
def test_what_was_assessed_is_always_said(answers: Mapping[tuple[str, str], Json], member: str) -> None:
    """Each of these."""
    made = altered(answers[SIGNED], f"{SAID}.{member}", REMOVED)
    assert (RESPONSES["order-sign"](made), leaves(made, 3)) == (False, False)


def test_contract_and_check_agree_on_whatever_leaves(answers: Mapping[tuple[str, str], Json]) -> None:
    """Neither lets through what the other stops: of an answer with everything in it, any one thing changed."""
    full = everything(answers[SIGNED])
    fits = RESPONSES["order-sign"]
    assert fits(full)
    assert RESPONSE_SPECIFIED(full)
    schemas = DOCUMENT["components"]["schemas"]
    assert set(full["cards"][0]) == set(schemas["Card"]["properties"])
    assert set(full["extension"][ASSESSMENT]) == set(schemas["Assessment"]["properties"])
    differ = [made for made in single_changes(full) if leaves(made, 3) != fits(made)]
    assert differ == []


def everything(answer: Json) -> Json:
    """One of each thing that an answer can have: both kinds of actions on one card, and all that may be assessed."""
    removal, order = answer["cards"][0], answer["cards"][1]
    resource = {"resourceType": "ServiceRequest", "status": "draft", "note": [{"text": "x"}], "quantity": 1.5}
    creation = {**order["suggestions"][0], "isRecommended": True}
    creation["actions"] = [{**creation["actions"][0], "resource": resource}]
    card = {
        **removal,
        "suggestions": [removal["suggestions"][0], creation],
        "overrideReasons": removal["overrideReasons"][:1],
        "links": removal["links"][:1],
        "extension": {"org.cofactor.rules": removal["extension"]["org.cofactor.rules"][:1]},
    }
    said = {
        key: value[:1] if isinstance(value, list) else value for key, value in answer["extension"][ASSESSMENT].items()
    }
    said |= {
        "message": "x",
        "deceased": True,
        "data": {"egfr": said["data"]["egfr"]},
        "notes": [{**said["notes"][0], "about": "egfr"}],
        "shownOnly": [
            {"lab": "egfr", "value": 1, "unit": "x", "comparator": "<", "collectedOn": "2026-11-20", "reason": "y"}
        ],
        "heldBack": [{**said["heldBack"][0], "missing": ["/labs/egfr"]}],
        "shortened": [{"caution": "a", "leftOut": ["why"]}, {"labQuestion": "b", "leftOut": ["timing"]}],
        "notOnACard": {"cautions": ["a"], "labQuestions": ["b"], "forms": ["c"], "followUpQuestions": 0},
    }
    return {"cards": [card], "extension": {ASSESSMENT: said}}


@pytest.mark.parametrize(
    ("behaviour", "recommended", "allowed"),
    [
        ("at-most-one", [True, True], False),
        ("at-most-one", [False, True], True),
        ("at-most-one", [False, False], True),
        ("any", [True, True], True),
    ],
)
def test_one_suggestion_at_most_is_recommended_where_one_is_taken(
    answers: Mapping[tuple[str, str], Json], behaviour: str, recommended: list[bool], allowed: bool
) -> None:
    """cds-resp-1, in all three."""
    made = everything(answers[SIGNED])
    (card,) = made["cards"]
    card["selectionBehavior"] = behaviour
    card["suggestions"] = [
        {**one, "isRecommended": said} for one, said in zip(card["suggestions"], recommended, strict=True)
    ]
    said = (RESPONSES["order-sign"](made), leaves(made, 3), RESPONSE_SPECIFIED(made))
    assert said == (allowed, allowed, allowed)


# The document.


def test_each_service_has_its_path_and_its_words(hooks: Hooks) -> None:
    """From the same file as the discovery document."""
    assert {path for path in DOCUMENT["paths"] if path.startswith(ROOT)} == {
        ROOT,
        FEEDBACK,
        *(f"{ROOT}/{key}" for key in hooks.services),
    }
    for service in hooks.services.values():
        described = operation(f"{ROOT}/{service.id}")
        assert described["summary"] == service.title
        assert service.usage_requirements in described["description"]
        assert ("Off" in described["description"]) != service.on_by_default
        assert ("412" in described["responses"]) == bool(service.required)
        assert described["security"] == [{}, {"cdsHooksToken": []}]
        assert set(described["requestBody"]["content"]) == {"application/json", "application/fhir+json"}
        assert answer_of(f"{ROOT}/{service.id}")["schema"]["properties"] == {"cards": {"maxItems": service.most_cards}}
    ids = operation(FEEDBACK)["parameters"][0]["schema"]["enum"]
    assert ids == list(hooks.services)
    scheme = DOCUMENT["components"]["securitySchemes"]["cdsHooksToken"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")


def test_discovery_fits_the_contract(all_on: Flask, hooks: Hooks) -> None:
    """Whatever is switched on, and the excerpt is of it."""
    media = DOCUMENT["paths"][ROOT]["get"]["responses"]["200"]["content"]["application/json"]
    fits = published(media)
    assert fits(json.loads(all_on.test_client().get(ROOT).data))
    for enabled in ((), *((hook,) for hook in HOOKS), HOOKS):
        assert fits(discovery(hooks, enabled))
    (shown,) = media["examples"]["excerpt"]["value"]["services"]
    (real,) = [one for one in discovery(hooks, HOOKS)["services"] if one["id"] == shown["id"]]
    assert shown["prefetch"].items() <= real["prefetch"].items()
    assert {**shown, "prefetch": None} == {**real, "prefetch": None}


def test_examples_could_have_been_sent(answers: Mapping[tuple[str, str], Json]) -> None:
    """What an excerpt shows, the service says, to the request of the same name."""
    for (hook, name), real in answers.items():
        shown = EXAMPLES[hook]["answers"][name]["value"]
        cards = {card["summary"]: card for card in real["cards"]}
        for card in shown["cards"]:
            of = cards[card["summary"]]
            assert set(card["detail"].splitlines()) <= set(of["detail"].splitlines()), (hook, name)
            for member in ("indicator", "source", "selectionBehavior"):
                assert card.get(member) == of.get(member)
            assert [one["label"] for one in card.get("suggestions", ())] == [
                one["label"] for one in of.get("suggestions", ())
            ]
        assert bool(shown["cards"]) == bool(real["cards"])
        said, really = shown["extension"][ASSESSMENT], real["extension"][ASSESSMENT]
        assert said["data"].items() <= really["data"].items()
        assert {said[member] == really[member] for member in ("statement", "disposition", "notRecognised")} == {True}
    states = {one["state"] for hook in HOOKS for one in states_of(hook)}
    assert states == {"absent", "null", "none_found", "used", "failed"}


def states_of(hook: str) -> Iterator[Json]:
    """The states of keys in the excerpts of a hook."""
    for shown in EXAMPLES[hook]["answers"].values():
        yield from shown["value"]["extension"][ASSESSMENT]["data"].values()


def test_feedback_examples_are_of_this_service(all_on: Flask) -> None:
    """The ids are those that the other examples show."""
    client = all_on.test_client()
    shown = {card["uuid"] for card in EXAMPLES[SIGNED[0]]["answers"][SIGNED[1]]["value"]["cards"]}
    assert {one["card"] for one in BASE["feedback"]["feedback"]} <= shown
    response = client.post(f"{path_of('order-sign')}/feedback", json=BASE["feedback"])
    assert json.loads(response.data) == EXAMPLES["feedback"]["answers"]["received"]["value"]


def shown_refusals(status: int) -> list[Json]:
    """The OperationOutcomes that the contract shows for a status."""
    media = DOCUMENT["components"]["responses"][f"Outcome{status}"]["content"]["application/json"]
    return [one["value"] for one in media["examples"].values()]


def test_refusals_are_as_shown(all_on: Flask, client: FlaskClient) -> None:
    """Letter for letter, with the headers that the contract names."""
    every = all_on.test_client()
    path = path_of("patient-view")
    good = BASE["patient-view"]
    twice = b'{"context": {"patientId": "1", "patientId": "2"}}'
    faulty = {**AUTHORISED, "context": {**AUTHORISED["context"]}}
    del faulty["context"]["patientId"], faulty["fhirServer"]
    sent = [
        every.post(path, data=twice, content_type="application/json"),
        every.post(path_of("order-sign"), json=faulty),
        client.post(path_of("order-sign"), json=BASE["order-sign"], headers={"X-Forwarded-For": "203.0.113.1"}),
        client.post(path, json=good),
        every.put(path, json=good),
        every.post(path, json={**good, "prefetch": {}}),
        every.post(path, data=b" " * (outcomes.LARGEST_CALL + 1), content_type="application/json"),
        every.post(path, data=b"{}", content_type="text/plain"),
    ]
    assert [one.status_code for one in sent] == [400, 400, 401, 404, 405, 412, 413, 415]
    for response in sent:
        assert json.loads(response.data) in shown_refusals(response.status_code)
        assert response.content_type == "application/json; charset=utf-8"
        named = DOCUMENT["components"]["responses"][f"Outcome{response.status_code}"].get("headers", {})
        assert set(named) <= set(response.headers.keys())
    shown = {name for name in DOCUMENT["components"]["responses"] if name.startswith("Outcome")}
    assert shown == {f"Outcome{status}" for status in (400, 401, 403, 404, 405, 412, 413, 415, 500, 503)}


# Schemathesis.


def excused(failure: Any, response: Any) -> bool:
    """Whether a call that fits the schema was refused because the patient was not sent: with CDS Hooks it is not the
    schema that asks for prefetched data, and 412 says so."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 412:
        return False
    return [one["expression"] for one in json.loads(response.content)["issue"]] == [["prefetch.patient"]]


def test_the_service_does_what_the_contract_says() -> None:
    """With every service on, from the committed file against the real application."""
    last_day = create_app(Settings(log_level="critical", hooks=ALL_ON), clock=lambda: date(2099, 12, 31))
    found = run(last_day, f"^{ROOT}", EXAMPLES_EACH, excused)
    assert found.faults == []
    assert {"not_a_server_error", "response_schema_conformance", "negative_data_rejection"} <= found.checks
    answered = found.answered
    for hook in HOOKS:
        assert answered["POST", path_of(hook), 400] > EXAMPLES_EACH
    for hook in ("order-select", "order-sign"):
        assert answered["POST", path_of(hook), 200] > EXAMPLES_EACH
    assert answered["POST", FEEDBACK, 200] > EXAMPLES_EACH
    assert answered["POST", FEEDBACK, 400] > EXAMPLES_EACH
    assert answered["GET", ROOT, 200]
    assert answered["GET", ROOT, 304]
