"""What every response says in its `extension`: what was assessed, on which data, and what was not."""

from __future__ import annotations

from typing import Any, get_args

from marshmallow import validates_schema

from service.fhir.chart import Status
from service.hooks.fields import Closed, Json, Named, Number, Truth, clash, count, one, some, text, word
from service.hooks.wording import PARTS
from service.knowledge.hooks_file import HOOKS

_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_PREFETCH_KEY = r"^[A-Za-z0-9_\-]{1,64}$"


class CardRule(Closed):
    """A rule, as `GET /v1/rules/{id}` shows it."""

    id = text()
    version = count()


class AssessmentKnowledge(Closed):
    """The rules that were asked."""

    version = text()
    digest = text()
    sign_off = word("pending", "signed", about="`pending`: no clinician has signed them yet.")


class AssessmentData(Closed):
    """What became of one prefetch key."""

    state = word(*get_args(Status), about="Only `none_found` means that a search was made and found nothing.")
    text = text(about="The same for people.")
    used = count(required=False, about="Resources that were used.")
    leftOut = count(required=False, about="Resources that were not used; `notes` has the reasons.")


class AssessmentOrder(Closed):
    """What became of one draft order."""

    order = text(required=False, about="Its type and id, where it has one.")
    state = word("assessed", "in_part", "not_recognised", "not_selected", "not_read")
    text = text(about="The same for people.")


class AssessmentNote(Closed):
    """Why resources were not used, or what to know of those that were."""

    key = text(about="The prefetch key, or `draftOrders`.")
    reason = text(about="For programs.")
    about = text(required=False, about="A lab of `GET /v1/vocabulary`, or a type of FHIR resource.")
    text = text(about="For people.")
    leftOut = Truth(required=True, metadata={"description": "Whether whole resources were not used for it."})
    count = count(about="How many.")


class AssessmentResult(Closed):
    """A result that may be shown and was not used."""

    lab = text()
    value = Number(required=True)
    unit = text(required=False)
    comparator = word("<", "<=", ">", ">=", required=False, about="There where the value is a limit.")
    collectedOn = text(_DAY)
    reason = text()


class AssessmentGap(Closed):
    """Rules that could not come to an end because something is not known."""

    missing = text(about="A place in a request to `POST /v1/evaluations`, as a JSON Pointer.")
    rules = count(about="How many rules.")


class AssessmentHold(Closed):
    """Advice that was held back."""

    holdsBack = some(text(), required=True)
    outcome = word("fires", "not_evaluated", about="`not_evaluated`: it could not be checked, so it holds.")
    reason = text()
    rules = some(CardRule, required=True)
    missing = some(text(), about="Places in a request to `POST /v1/evaluations` that are not known.")


class AssessmentCut(Closed):
    """What of a caution, or of a question for a test, had no room on its card; the rule has it in full."""

    caution = text(required=False, about="The code of the caution.")
    labQuestion = text(required=False, about="The test.")
    leftOut = some(word(*dict.fromkeys((*PARTS, "question", "reason", "timing"))), required=True)

    @validates_schema
    def is_of_one(self, data: Json, **_: Any) -> None:
        """It is one or the other."""
        if ("caution" in data) == ("labQuestion" in data):
            clash("Needs caution or labQuestion, and not both.")

    def constraints(self) -> Json:
        """The same in JSON Schema."""
        return {"oneOf": [{"required": [member]} for member in ("caution", "labQuestion")]}


class AssessmentRest(Closed):
    """What was found and stands on no card, because it is not about these orders."""

    cautions = some(text())
    labQuestions = some(text())
    forms = some(text())
    followUpQuestions = count()


class Assessment(Closed):
    """What was assessed and what was not; there in every answer, so that no card is never mistaken for no risk."""

    hook = word(*HOOKS)
    asOf = text(_DAY, about="The day of the assessment, in UTC.")
    statement = text(about="In one sentence.")
    disposition = word(
        "routine", "review", "urgent", "out_of_scope", about="As `POST /v1/evaluations` has it for the same patient."
    )
    message = text(required=False, about="What has to be read before anything else.")
    deceased = Truth(metadata={"description": "There, and true, where the patient has died."})
    knowledge = one(AssessmentKnowledge)
    terminology = text(about="The release by which names of medicines were understood.")
    data = Named(_PREFETCH_KEY, AssessmentData, about="By prefetch key.")
    orders = some(AssessmentOrder, about="Every draft order.")
    notes = some(AssessmentNote)
    shownOnly = some(AssessmentResult)
    notRecognised = count(about="Medicines and conditions that were not understood, or only in part.")
    notEvaluated = some(AssessmentGap)
    heldBack = some(AssessmentHold)
    shortened = some(AssessmentCut)
    notOnACard = one(AssessmentRest)
