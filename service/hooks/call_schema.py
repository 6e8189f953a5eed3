"""What CDS Hooks 2.0.1 says that comes in: the call of each hook, and feedback.

It is read as the specification and real clients write it: members that are not known are passed over, in the request,
its context, its authorisation and in feedback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import fields, validates_schema

from service.hooks.fields import (
    Json,
    Lenient,
    OneOrMany,
    UpTo,
    UpToKeys,
    Whole,
    WholeNumber,
    clash,
    moment,
    one,
    only,
    some,
    text,
    word,
)
from service.knowledge.hooks_file import HOOKS

UUID = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
ABSOLUTE_URL = r"^https?://[!-~]+$"
RESOURCE_TYPE = r"^[A-Z][A-Za-z]+$"
SELECTION = r"^[A-Za-z]+/[A-Za-z0-9.\-]{1,255}$"
USER_ID = r"^(?:Practitioner|PractitionerRole|Patient|RelatedPerson)/[!-~]+$"
MOST_OPINIONS = 1000
MOST_DRAFTS = 1000
MOST_KEYS = 100


class FhirResource(Whole):
    """A FHIR R4 resource. What is in it is read leniently; what cannot be used is said in the answer."""

    resourceType = text(RESOURCE_TYPE)


class DraftEntry(Whole):
    """An entry of a Bundle of drafts."""

    resource = one(FhirResource, required=False)


class FhirBundle(Whole):
    """A FHIR R4 Bundle of drafts. What is in them is read leniently; what cannot be used is said in the answer."""

    resourceType = word("Bundle")
    entry = UpTo(MOST_DRAFTS, DraftEntry)


class Context(Lenient):
    """For whom, and by whom."""

    userId = text(about="Type and id, as `Practitioner/123`.")
    patientId = text(about="The FHIR `Patient.id`.")
    encounterId = text(required=False, about="The FHIR `Encounter.id`.")


class PatientViewContext(Context):
    """Whose chart is opened, and by whom."""

    userId = text(USER_ID, about="Type and id, as `Practitioner/123`.")


class OrderSignContext(Context):
    """The orders that are about to be signed, for whom and by whom."""

    draftOrders = one(FhirBundle, about="All drafts of the session. Only medication orders are assessed.")


class OrderSelectContext(OrderSignContext):
    """All drafts, and which of them are being selected, for whom and by whom."""

    selections = UpTo(
        MOST_DRAFTS,
        text(SELECTION),
        required=True,
        metadata={
            "description": "The drafts that are being selected, as `MedicationRequest/123`. Only these bring cards."
        },
    )


class FhirAuthorization(Lenient):
    """A token for the FHIR server of the client. Used where the installation lists that server, and never kept."""

    access_token = text()
    token_type = word("Bearer")
    expires_in = WholeNumber(required=True, metadata={"description": "In seconds."})
    scope = text()
    subject = text()
    patient = text(required=False)


class HookRequest(Lenient):
    """The call of a service."""

    hook_name: ClassVar[str] = ""

    hook = text()
    hookInstance = text(UUID, about="A new one for each time that the hook fires.")
    context = one(Context)
    fhirServer = text(ABSOLUTE_URL, required=False, about="The base address of the FHIR server of the client.")
    fhirAuthorization = one(FhirAuthorization, required=False)
    prefetch = UpToKeys(
        MOST_KEYS,
        fields.Nested(FhirResource, allow_none=True),
        metadata={
            "description": (
                "By the keys of the discovery document. Four states are kept apart: a key that is left out or null was "
                "not supplied, an empty Bundle says that there is none, and an OperationOutcome says that it could not "
                "be had."
            )
        },
    )

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def belongs_together(self, _: Json, original: object, **__: Any) -> None:
        """A token names its server (cds-r-1)."""
        if isinstance(original, Mapping) and "fhirAuthorization" in original and "fhirServer" not in original:
            clash("Is needed where fhirAuthorization is given.", "fhirServer")

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        return {"dependentRequired": {"fhirAuthorization": ["fhirServer"]}}


def _hook(name: str) -> fields.String:
    return only(name, f"This service is for {name}.")


class PatientViewRequest(HookRequest):
    """A chart is opened."""

    hook_name = "patient-view"
    hook = _hook(hook_name)
    context = one(PatientViewContext)


class OrderSelectRequest(HookRequest):
    """An order is being chosen."""

    hook_name = "order-select"
    hook = _hook(hook_name)
    context = one(OrderSelectContext)


class OrderSignRequest(HookRequest):
    """Orders are about to be signed."""

    hook_name = "order-sign"
    hook = _hook(hook_name)
    context = one(OrderSignContext)


REQUESTS: Mapping[str, type[HookRequest]] = {
    request.hook_name: request for request in (PatientViewRequest, OrderSelectRequest, OrderSignRequest)
}
assert tuple(REQUESTS) == HOOKS


class ChosenReason(Lenient):
    """An override reason that was chosen; `display` may be missing."""

    code = text()
    system = text()


class OverrideReason(Lenient):
    """Why a card was overridden: a reason, a comment or both; one vendor gives an extension instead."""

    says: ClassVar[tuple[str, ...]] = ("reason", "userComment", "extension")

    reason = one(ChosenReason, required=False)
    userComment = text(required=False, about="Not kept.")

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def says_something(self, _: Json, original: object, **__: Any) -> None:
        """Something has to be there (cds-fb-3)."""
        if isinstance(original, Mapping) and not set(self.says) & set(original):
            clash("Needs reason, userComment or both.")

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        return {"anyOf": [{"required": [member]} for member in self.says]}


class AcceptedSuggestion(Lenient):
    """A suggestion that was taken."""

    id = text(about="The `uuid` of the suggestion.")


class CardFeedback(Lenient):
    """What became of one card."""

    card = text(about="The `uuid` of the card.")
    outcome = word("accepted", "overridden")
    acceptedSuggestions = some(AcceptedSuggestion, about="Needed where the outcome is `accepted`.")
    overrideReason = one(OverrideReason, required=False)
    overrideReasons = OneOrMany(OverrideReason, metadata={"description": "As one vendor writes `overrideReason`."})
    outcomeTimestamp = moment(about="When, as RFC 3339 writes it.")

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def names_what_was_accepted(self, _: Json, original: object, **__: Any) -> None:
        """What was accepted is named (cds-fb-2)."""
        if not isinstance(original, Mapping) or "acceptedSuggestions" in original:
            return
        if original.get("outcome") == "accepted":
            clash("Is needed where the outcome is accepted.", "acceptedSuggestions")

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        accepted = {"properties": {"outcome": {"const": "accepted"}}, "required": ["outcome"]}
        return {"if": accepted, "then": {"required": ["acceptedSuggestions"]}}


class FeedbackRequest(Lenient):
    """What became of cards, of one or of several calls."""

    feedback = UpTo(MOST_OPINIONS, CardFeedback, required=True)
