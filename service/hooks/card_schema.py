"""What CDS Hooks 2.0.1 says that goes out: cards. Nothing is in them that is not declared here."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validates_schema

from service.hooks.assessment_schema import Assessment, CardRule
from service.hooks.fields import (
    SEEN,
    Closed,
    Json,
    Named,
    Truth,
    Whole,
    clash,
    one,
    some,
    text,
    without_empty,
    word,
)
from service.knowledge.hooks_file import INDICATORS, LONGEST_SUMMARY, LONGEST_TOPIC, SELECTIONS

UUID = r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
ABSOLUTE_URL = r"^https?://[!-~]+$"
ABSOLUTE_URI = r"^[a-z][a-z0-9+.\-]*:[!-~]+$"
REFERENCE = r"^[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}$"
ONE_LINE = rf"^{SEEN}[^\n\r]*$"
EXTENSION = r"^[a-z]+(?:\.[A-Za-z]+)+$"


class OfferedReason(Closed):
    """A reason to override a card, to choose from."""

    code = text()
    system = text(ABSOLUTE_URI)
    display = text()


class CardTopic(Closed):
    """What a card is about; the same for the same rules."""

    code = text(r"^[A-Za-z0-9]+$", longest=LONGEST_TOPIC)
    system = text(ABSOLUTE_URI)
    display = text(required=False)


class CardSource(Closed):
    """Whose advice it is."""

    label = text()
    url = text(ABSOLUTE_URL)
    topic = one(CardTopic)


FILLED = "Filled"
"""The name of the schema of any JSON value that has nothing null or empty in it."""


class DraftOrder(Whole):
    """A FHIR R4 draft: `status` is `draft`, `intent` is `proposal`. Nothing in it is null or empty."""

    resourceType = word("ServiceRequest", "MedicationRequest")

    @validates_schema(pass_original=True)
    def is_filled(self, _: Json, original: Json, **__: Any) -> None:
        """What leaves has nothing null or empty in it, in any depth."""
        if without_empty(original) != original:
            clash("Nothing may be null or empty.")

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        return {"additionalProperties": {"$ref": f"#/components/schemas/{FILLED}"}}


class CardAction(Closed):
    """What happens when a suggestion is taken: a draft is created, or one that was sent is deleted."""

    type = word("create", "delete")
    description = text()
    resource = one(DraftOrder, required=False, about="What is created.")
    resourceId = text(REFERENCE, required=False, about="What is deleted.")

    @validates_schema
    def complete(self, data: Json, **_: Any) -> None:
        """A deletion names what goes, a creation has what comes (cds-resp-2)."""
        if (data["type"] == "create") != ("resource" in data) or (data["type"] == "delete") != ("resourceId" in data):
            clash("create needs resource and delete needs resourceId.")

    def constraints(self) -> Json:
        """The same in JSON Schema."""

        def needs(kind: str, member: str, other: str) -> Json:
            return {"properties": {"type": {"const": kind}}, "required": [member], "not": {"required": [other]}}

        return {"oneOf": [needs("create", "resource", "resourceId"), needs("delete", "resourceId", "resource")]}


class CardSuggestion(Closed):
    """Something that can be done with a click. All its actions belong together."""

    label = text()
    uuid = text(UUID)
    isRecommended = Truth()
    actions = some(CardAction, required=True)


class CardLink(Closed):
    """A page without anything about the patient."""

    label = text()
    url = text(ABSOLUTE_URL)
    type = word("absolute")


class Card(Closed):
    """Advice in the words of CDS Hooks."""

    uuid = text(UUID, about="To name the card in feedback. The same rules at the same place give the same.")
    summary = text(ONE_LINE, longest=LONGEST_SUMMARY, about="Plain text, without a word of the record.")
    detail = text(about="GitHub Markdown without HTML. Text of the record in it is escaped.")
    indicator = word(*INDICATORS)
    source = one(CardSource)
    suggestions = some(CardSuggestion)
    selectionBehavior = word(*SELECTIONS, required=False, about="There where there are suggestions.")
    overrideReasons = some(OfferedReason)
    links = some(CardLink)
    extension = Named(EXTENSION, some(CardRule), about="The rules that the card rests on, the leading one first.")

    @validates_schema
    def chooses(self, data: Json, **_: Any) -> None:
        """Suggestions say how to choose (cds-resp-6); where one is taken, one may be recommended (cds-resp-1)."""
        if ("suggestions" in data) != ("selectionBehavior" in data):
            clash("suggestions and selectionBehavior belong together.")
        recommended = sum(one.get("isRecommended", False) for one in data.get("suggestions", ()))
        if recommended > 1 and data["selectionBehavior"] == "at-most-one":
            clash("At most one suggestion may be recommended.", "suggestions")

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        behaviour = {"selectionBehavior": {"const": "at-most-one"}}
        recommended = {"properties": {"isRecommended": {"const": True}}, "required": ["isRecommended"]}
        return {
            "dependentRequired": {"suggestions": ["selectionBehavior"], "selectionBehavior": ["suggestions"]},
            "if": {"properties": behaviour, "required": ["selectionBehavior"]},
            "then": {"properties": {"suggestions": {"contains": recommended, "minContains": 0, "maxContains": 1}}},
        }


class HookResponse(Closed):
    """Cards, and what was assessed. Nothing in it is null or empty but `cards`, when there is nothing to say."""

    cards = fields.List(fields.Nested(Card), required=True, metadata={"description": "The most pressing first."})
    extension = Named(EXTENSION, Assessment, about="What was assessed and what was not.")

    @validates_schema
    def ids_differ(self, data: Json, **_: Any) -> None:
        """No id stands for two things."""
        ids = [one["uuid"] for card in data["cards"] for one in (card, *card.get("suggestions", ()))]
        if len(set(ids)) != len(ids):
            clash("Two cards or suggestions have one id.", "cards")
