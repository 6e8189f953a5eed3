"""Text of an EHR on its way into a card: nothing in it may be read as HTML or Markdown.

``plain`` is for places that show plain text; ``markdown`` for GitHub Markdown, also where a client shows raw HTML.
"""

from __future__ import annotations

import re
import unicodedata

_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Control and format characters (overrides of the writing direction, invisible ones), and what is no character."""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {one: f"\\{one}" for one in "\\`*_[]|~$"})
"""What means something in HTML, or within a line of GitHub Markdown."""
_LINE_START = re.compile(r"(?:[-+=]|#{1,6}|[0-9]+[.)])(?=[\s=\-]|$)")
"""What makes a list or a heading of a line that begins with it."""
_LINKS = re.compile(r"(?i)://|@|\bwww(?=\.)|\b(?:javascript|vbscript|mailto|xmpp)(?=:)|\bdata(?=:\w)")
_BROKEN = {"://": ": //", "@": " at "}
# Clients find links in the text after escapes are resolved, so a link has to be taken apart.


def plain(text: str) -> str:
    """One line without control, direction or invisible characters."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    kept = "".join(one for one in line if unicodedata.category(one) not in _DROPPED)
    return " ".join(kept.split())


def markdown(text: str) -> str:
    """The text as Markdown that shows as it was written, as one line, without a link."""
    clean = plain(text)
    if ":" in clean or "@" in clean or "." in clean:
        clean = _LINKS.sub(lambda found: _BROKEN.get(found[0], f"{found[0]} "), clean)
    escaped = clean.translate(_ESCAPES)
    first = _LINE_START.match(escaped)
    if first is None:
        return escaped
    return f"{escaped[: first.end() - 1]}\\{escaped[first.end() - 1 :]}"
