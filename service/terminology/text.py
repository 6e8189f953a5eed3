"""Texts as words: lower case, no accents, no punctuation; and which words a strength or a count is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

_WORD = re.compile(r"[a-z0-9]+")
_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}")
_NUMBER = re.compile(r"(\d+)([a-z]*)")
_PARTING = re.compile(r"[/+&;]")
_ORDINAL = ("st", "nd", "rd", "th", "x")


class Words(NamedTuple):
    """The words of a text; for each whether a slash, a plus or the like stands before it, or a comma."""

    words: tuple[str, ...]
    parted: tuple[bool, ...]
    listed: tuple[bool, ...]


def plain(text: str) -> str:
    """Lower case without accents and apostrophes; abbreviations such as p.o. as one word."""
    if text.isascii():
        text = text.lower()
    else:
        decomposed = unicodedata.normalize("NFD", text)
        text = "".join(one for one in decomposed if not unicodedata.combining(one)).casefold().replace("’", "")
    text = text.replace("'", "")
    return _DOTTED.sub(lambda match: match[0].replace(".", ""), text) if "." in text else text


def words(text: str) -> tuple[str, ...]:
    """The words of a name."""
    return tuple(_WORD.findall(plain(text)))


def split(text: str) -> Words:
    """The words of a text, with what parts them."""
    text = plain(text)
    found: list[str] = []
    parted: list[bool] = []
    listed: list[bool] = []
    end = 0
    for match in _WORD.finditer(text):
        found.append(match[0])
        parted.append(_PARTING.search(text, end, match.start()) is not None)
        listed.append("," in text[end : match.start()])
        end = match.end()
    return Words(tuple(found), tuple(parted), tuple(listed))


def is_amount(word: str, units: Collection[str]) -> bool:
    """A number, alone or with its unit: ``75``, ``75mcg``, ``12h``, ``2nd``."""
    match = _NUMBER.fullmatch(word)
    return match is not None and (not match[2] or match[2] in units or match[2] in _ORDINAL)
