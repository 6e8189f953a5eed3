"""What CDS Hooks 2.0.1 says that goes in and out: requests of each hook, responses, feedback.

What comes in is read as the specification and real clients write it: members that are not known are passed over, in
the request, its context, its authorisation and in feedback. What goes out has nothing that is not declared here.
No fault repeats a value that was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from marshmallow import Schema, fields, validate, validates_schema

from service.hooks.fields import (
    Closed,
    Fault,
    InvalidResponse,
    Json,
    Lenient,
    Refused,
    Resource,
    Truth,
    WholeNumber,
    clash,
    load,
    text,
    word,
)
from service.knowledge.hooks_file import HOOKS, INDICATORS, LONGEST_SUMMARY, LONGEST_TOPIC, SELECTIONS

UUID = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
ABSOLUTE_URL = r"^https?://[^\s]+$"
ABSOLUTE_URI = r"^[a-z][a-z0-9+.\-]*:[^\s]+$"
RESOURCE_ID = r"^[A-Za-z]+/[A-Za-z0-9.\-]{1,255}$"
USER_ID = r"^(?:Practitioner|PractitionerRole|Patient|RelatedPerson)/\S+$"
TIMESTAMP = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$"
MOST_OPINIONS = 1000


# What comes in.


class Context(Lenient):
    """patient-view."""

    userId = text()
    patientId = text()
    encounterId = text(required=False)


class PatientViewContext(Context):
    """patient-view: whose chart is opened, and by whom."""

    userId = text(USER_ID)


class OrderSignContext(Context):
    """order-sign: the orders that are about to be signed."""

    draftOrders = Resource("Bundle", required=True)


class OrderSelectContext(OrderSignContext):
    """order-select: all drafts, and which of them are being selected."""

    selections = fields.List(text(RESOURCE_ID), required=True)


class Authorization(Lenient):
    """A token for the FHIR server of the client."""

    access_token = text()
    token_type = word("Bearer")
    expires_in = WholeNumber(required=True)
    scope = text()
    subject = text()
    patient = text(required=False)


class HookRequest(Lenient):
    """The call of a service."""

    hook_name: ClassVar[str] = ""

    hook = text()
    hookInstance = text(UUID)
    fhirServer = text(ABSOLUTE_URL, required=False)
    fhirAuthorization = fields.Nested(Authorization)
    prefetch = fields.Dict(keys=fields.String(), values=Resource(allow_none=True))

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def belongs_together(self, _: Json, original: object, **__: Any) -> None:
        """The hook is the one of the address, and a token names its server (cds-r-1)."""
        if not isinstance(original, Mapping):
            return
        hook = original.get("hook")
        if isinstance(hook, str) and hook.strip() and hook != self.hook_name:
            clash(f"This service is for {self.hook_name}.", "hook")
        if "fhirAuthorization" in original and "fhirServer" not in original:
            clash("Is needed where fhirAuthorization is given.", "fhirServer")


class PatientViewRequest(HookRequest):
    """POST of patient-view."""

    hook_name = "patient-view"
    context = fields.Nested(PatientViewContext, required=True)


class OrderSelectRequest(HookRequest):
    """POST of order-select."""

    hook_name = "order-select"
    context = fields.Nested(OrderSelectContext, required=True)


class OrderSignRequest(HookRequest):
    """POST of order-sign."""

    hook_name = "order-sign"
    context = fields.Nested(OrderSignContext, required=True)


REQUESTS: Mapping[str, type[HookRequest]] = {
    one.hook_name: one for one in (PatientViewRequest, OrderSelectRequest, OrderSignRequest)
}
assert tuple(REQUESTS) == HOOKS


class ReasonCoding(Lenient):
    """An override reason that was chosen; `display` may be missing."""

    code = text()
    system = text()


class OverrideReason(Lenient):
    """Why a card was overridden."""

    reason = fields.Nested(ReasonCoding)
    userComment = text(required=False, about="Not kept.")

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def says_something(self, _: Json, original: object, **__: Any) -> None:
        """A reason, a comment, or both (cds-fb-3); Epic gives an extension instead."""
        if isinstance(original, Mapping) and not {"reason", "userComment", "extension"} & set(original):
            clash("Needs reason, userComment or both.")


class AcceptedSuggestion(Lenient):
    """A suggestion that was taken."""

    id = text()


class OneOrMany(fields.Field[Any]):
    """Epic's plural: an object, or an array of objects."""

    def __init__(self, inner: type[Schema], **options: Any) -> None:
        super().__init__(**options)
        self.inner = inner()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Json]:
        many = isinstance(value, list)
        loaded = self.inner.load(value, many=many)
        return list(loaded) if many else [dict(loaded)]


class Opinion(Lenient):
    """What became of one card."""

    card = text(about="The `uuid` of the card.")
    outcome = word("accepted", "overridden")
    acceptedSuggestions = fields.List(fields.Nested(AcceptedSuggestion), validate=validate.Length(min=1))
    overrideReason = fields.Nested(OverrideReason)
    overrideReasons = OneOrMany(OverrideReason, metadata={"description": "As one vendor writes overrideReason."})
    outcomeTimestamp = text(TIMESTAMP)

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def fits(self, _: Json, original: object, **__: Any) -> None:
        """What was accepted is named (cds-fb-2), and the time is one."""
        if not isinstance(original, Mapping):
            return
        if original.get("outcome") == "accepted" and "acceptedSuggestions" not in original:
            clash("Is needed where the outcome is accepted.", "acceptedSuggestions")
        time = original.get("outcomeTimestamp")
        if isinstance(time, str) and re.search(TIMESTAMP, time) and not _is_time(time.strip()):
            clash("There is no such time.", "outcomeTimestamp")


class Feedback(Lenient):
    """POST of feedback."""

    feedback = fields.List(fields.Nested(Opinion), required=True, validate=validate.Length(max=MOST_OPINIONS))


def _is_time(text: str) -> bool:
    whole, _, rest = text.upper().partition(".")
    zone = re.search(r"(Z|[+-]\d{2}:\d{2})$", rest or whole)
    assert zone is not None
    # A leap second is a time, and datetime has none.
    bare = re.sub(r":60$", ":59", whole.removesuffix(zone[1]))
    try:
        datetime.fromisoformat(bare + zone[1].replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


# What goes out.


class Coding(Closed):
    """A code."""

    code = text()
    system = text(ABSOLUTE_URI)
    display = text()


class Topic(Coding):
    """What a card is about; the same for the same rules."""

    code = text(r"^[A-Za-z0-9]+$", longest=LONGEST_TOPIC)
    display = text(required=False)


class Source(Closed):
    """Whose advice it is."""

    label = text()
    url = text(ABSOLUTE_URL)
    topic = fields.Nested(Topic, required=True)


class Action(Closed):
    """What happens when a suggestion is taken."""

    type = word("create", "delete")
    description = text()
    resource = Resource()
    resourceId = text(RESOURCE_ID, required=False)

    @validates_schema
    def complete(self, data: Json, **_: Any) -> None:
        """A deletion names what goes, a creation has what comes (cds-resp-2)."""
        if (data["type"] == "create") != ("resource" in data) or (data["type"] == "delete") != ("resourceId" in data):
            clash("create needs resource and delete needs resourceId.")


class Suggestion(Closed):
    """Something that can be done with a click."""

    label = text()
    uuid = text(UUID)
    isRecommended = Truth()
    actions = fields.List(fields.Nested(Action), required=True, validate=validate.Length(min=1))


class Link(Closed):
    """A page without anything about the patient."""

    label = text()
    url = text(ABSOLUTE_URL)
    type = word("absolute")


class Card(Closed):
    """A card."""

    uuid = text(UUID)
    summary = text(longest=LONGEST_SUMMARY)
    detail = text()
    indicator = word(*INDICATORS)
    source = fields.Nested(Source, required=True)
    suggestions = fields.List(fields.Nested(Suggestion), validate=validate.Length(min=1))
    selectionBehavior = word(*SELECTIONS, required=False)
    overrideReasons = fields.List(fields.Nested(Coding), validate=validate.Length(min=1))
    links = fields.List(fields.Nested(Link), validate=validate.Length(min=1))
    extension = fields.Dict(keys=text(r"^[^\s]+$"), values=fields.Raw(), validate=validate.Length(min=1))

    @validates_schema
    def chooses(self, data: Json, **_: Any) -> None:
        """Suggestions say how to choose (cds-resp-6); where one is taken, one may be recommended (cds-resp-1)."""
        if ("suggestions" in data) != ("selectionBehavior" in data):
            clash("suggestions and selectionBehavior belong together.")
        recommended = sum(one.get("isRecommended", False) for one in data.get("suggestions", ()))
        if recommended > 1 and data["selectionBehavior"] == "at-most-one":
            clash("At most one suggestion may be recommended.", "suggestions")


class Response(Closed):
    """The answer of a service; what was assessed is always said in `extension`."""

    cards = fields.List(fields.Nested(Card), required=True)
    extension = fields.Dict(keys=text(r"^[^\s]+$"), values=fields.Raw(), required=True, validate=validate.Length(min=1))

    @validates_schema
    def ids_differ(self, data: Json, **_: Any) -> None:
        """No id stands for two things."""
        ids = [one["uuid"] for card in data["cards"] for one in (card, *card.get("suggestions", ()))]
        if len(set(ids)) != len(ids):
            clash("Two cards or suggestions have one id.", "cards")


_REQUESTS = {hook: schema() for hook, schema in REQUESTS.items()}
_FEEDBACK = Feedback()
_RESPONSE = Response()


def read_request(hook: str, body: Any) -> Json:
    """The members of a hook call that are known. Raises Refused with everything that is wrong with it."""
    return load(_REQUESTS[hook], body, Refused)


def read_feedback_body(body: Any) -> list[Json]:
    """The opinions of a feedback call. Raises Refused."""
    found: list[Json] = load(_FEEDBACK, body, Refused)["feedback"]
    return found


def check_response(body: Json, most_cards: int) -> Json:
    """The body, when it may leave. Raises InvalidResponse."""
    load(_RESPONSE, body, InvalidResponse)
    if len(body["cards"]) > most_cards:
        raise InvalidResponse((Fault("/cards", "invariant", f"More than {most_cards} cards."),))
    empty = tuple(Fault(one, "value", "Nothing may be null or empty.") for one in _empty(body, ""))
    if empty:
        raise InvalidResponse(empty)
    return body


def without_empty(value: Any) -> Any:
    """The value without members that are null or empty, in all depths."""
    if isinstance(value, dict):
        kept = {key: without_empty(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if not _is_empty(one)}
    if isinstance(value, list | tuple):
        return [one for one in map(without_empty, value) if not _is_empty(one)]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and len(value) == 0)


def _empty(value: Any, at: str) -> Iterator[str]:
    if _is_empty(value):
        if at != "/cards":
            yield at
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _empty(one, f"{at}/{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _empty(one, f"{at}/{index}")
