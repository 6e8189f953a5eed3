"""Bodies of CDS Hooks held against their schemas: what comes in is read, what goes out is checked.

No fault repeats a value that was sent.
"""

from __future__ import annotations

from typing import Any

from service.hooks.call_schema import MOST_OPINIONS, REQUESTS, FeedbackRequest
from service.hooks.card_schema import HookResponse
from service.hooks.fields import Fault, InvalidResponse, Json, Refused, load, without_empty

__all__ = [
    "MOST_OPINIONS",
    "InvalidResponse",
    "Refused",
    "check_response",
    "read_feedback_body",
    "read_request",
    "without_empty",
]

_REQUESTS = {hook: schema() for hook, schema in REQUESTS.items()}
_FEEDBACK = FeedbackRequest()
_RESPONSE = HookResponse()


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
    return body
