"""What can be wrong with one value of a request: a sentence for people, and a code for programs.

No complaint repeats a value that was sent: it may be about a patient.
"""

from __future__ import annotations

from datetime import date

from marshmallow import ValidationError

EARLIEST = date(1900, 1, 1)
"""No result is older; a date before it is a system's way to say that it has none."""


class Complaint(str):
    """What is wrong with one value: a sentence for people, and a code for programs."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, code: str, detail: str) -> Complaint:
        """Attach the code to the sentence."""
        complaint = super().__new__(cls, detail)
        complaint.code = code
        return complaint


REQUIRED = Complaint("required", "This field is required.")
NULL = Complaint("null", "null is not accepted: leave out what is not known.")
NOT_AN_OBJECT = Complaint("wrong_type", "Must be an object.")
NOT_AN_ARRAY = Complaint("wrong_type", "Must be an array.")
NOT_A_STRING = Complaint("wrong_type", "Must be a string.")
NOT_A_NUMBER = Complaint("wrong_type", "Must be a number, not a string or anything else.")
NOT_AN_INTEGER = Complaint("wrong_type", "Must be a whole number, not a string or anything else.")
NOT_WRITTEN_WHOLE = Complaint("not_an_integer", "Must be a whole number, without a decimal point or an exponent.")
NOT_A_BOOLEAN = Complaint("wrong_type", "Must be true or false.")
NOT_A_DATE = Complaint("not_a_date", f"Must be a date as YYYY-MM-DD, not before {EARLIEST}.")
AFTER_AS_OF = Complaint("date_in_future", "Must not be after as_of.")
AFTER_TODAY = Complaint("date_in_future", "Must not be later than tomorrow (UTC).")
UNKNOWN_FIELD = Complaint("unknown_field", "There is no such field here.")
REPEATED = Complaint("repeated", "Is in the array already.")

GENERAL = {
    "required": REQUIRED,
    "null": NULL,
    "invalid": NOT_AN_ARRAY,
    "type": NOT_AN_OBJECT,
}
"""The complaint for each of marshmallow's own keys."""


def refuse(complaint: Complaint) -> ValidationError:
    """One value's complaint, as marshmallow carries it."""
    return ValidationError([complaint])
