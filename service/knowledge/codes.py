"""Whether a code can be one of its system: shape and check digit. Whether it is the right one no program can say."""

from __future__ import annotations

import re
from collections.abc import Callable

from marshmallow import ValidationError

_LOINC = re.compile(r"[1-9][0-9]{0,6}-[0-9]")
_SNOMED = re.compile(r"[1-9][0-9]{5,17}")
_ICD10CM = re.compile(r"[A-Z][0-9][0-9AB](\.[0-9A-Z]{1,4})?")


def loinc(code: str) -> None:
    """Raises ValidationError unless it is a LOINC number: mod-10 check digit (LOINC Users' Guide, appendix C)."""
    if _LOINC.fullmatch(code) is None or _luhn(code.replace("-", "")) != 0:
        raise ValidationError(f"{code!r} is no LOINC number: a digit is wrong")


def snomed(code: str) -> None:
    """Raises ValidationError unless it is a SNOMED CT concept identifier: partition 0, Verhoeff check digit."""
    if _SNOMED.fullmatch(code) is None or code[-3:-1] not in ("00", "10") or _verhoeff(code) != 0:
        raise ValidationError(f"{code!r} is no SNOMED CT concept identifier: a digit is wrong")


def icd10cm(code: str) -> None:
    """Raises ValidationError unless it has the shape of an ICD-10-CM code; these have no check digit."""
    if _ICD10CM.fullmatch(code) is None:
        raise ValidationError(f"{code!r} is no ICD-10-CM code")


def each(check: Callable[[str], None]) -> Callable[[list[str]], None]:
    """The check of a whole list."""

    def checked(codes: list[str]) -> None:
        for code in codes:
            check(code)

    return checked


def _luhn(digits: str) -> int:
    """0 for a number that ends with its check digit (ISO/IEC 7812-1)."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number // 10 + number % 10 for number in doubled) % 10


def _dihedral(left: int, right: int) -> int:
    """Multiplication in the dihedral group of order ten."""
    turn, flip = left % 5, left >= 5
    mirrored = right >= 5
    turned = (turn - right % 5 if flip else turn + right % 5) % 5
    return turned + 5 * (flip != mirrored)


_SHIFT = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _verhoeff(digits: str) -> int:
    """0 for a number that ends with its Verhoeff check digit."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit)
        for _ in range(place % 8):
            number = _SHIFT[number]
        check = _dihedral(check, number)
    return check
