"""The texts of cards: templates of ``cards.yaml`` with what the answer says, escaped on the way in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.hooks.escape import markdown, plain
from service.knowledge.hooks_file import LONGEST_SUMMARY, Hooks

AGENT_WORDS = {"magnesium": "magnesium", "vitamin_d": "vitamin D"}
PARTS = ("why", "action", "spacing", "limits")
"""The parts of a caution after what was seen, in the order in which they stand."""

_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z0-9])")


@dataclass(frozen=True)
class Test:
    """A test that is asked for, as one item of a list."""

    lab: str
    text: str
    short: str
    """Without the question and its reason."""
    cut: Sequence[str]
    """What is not in `text`."""
    together: Sequence[str]
    """Other tests that are reported with it."""


class Wording:
    """Fills the templates of one installation."""

    def __init__(self, hooks: Hooks) -> None:
        self._words = hooks.cards
        self._units = hooks.cards["units"]

    def detail(self, key: str, **values: Any) -> str:
        """A line of a detail; the values are escaped."""
        filled = {name: self.shown(str(value)) for name, value in values.items()}
        return _filled(self._words["details"][key], filled)

    def listed(self, key: str, things: Iterable[str], **values: Any) -> str:
        """A line with a list, whose things are escaped already."""
        filled = {name: self.shown(str(value)) for name, value in values.items()}
        return _filled(self._words["details"][key], {**filled, "list": ", ".join(things)})

    def label(self, key: str, **values: Any) -> str:
        """A label or a description, as plain text."""
        return _filled(self._words["labels"][key], {name: plain(str(value)) for name, value in values.items()})

    def summary(self, key: str, **values: Any) -> str:
        """A summary of our own, as plain text."""
        return _filled(self._words["summaries"][key], {name: plain(str(value)) for name, value in values.items()})

    def fitting(self, summary: str, agent: str) -> str:
        """The summary of a rule, or one that is short enough."""
        text = plain(summary)
        return text if len(text) <= LONGEST_SUMMARY else self.summary("long", agent=AGENT_WORDS[agent])

    def several(self, found: Sequence[Mapping[str, Any]]) -> str:
        """The summary of the first of several cautions, with how many more there are, where there is room."""
        text = self.summary("with_more", summary=found[0]["summary"], count=len(found) - 1)
        return text if len(text) <= LONGEST_SUMMARY else self.fitting(found[0]["summary"], found[0]["agent"])

    def listing(self, key: str, short: str, things: Sequence[str]) -> str:
        """A summary that names things, or one that counts them where they are too many."""
        text = self.summary(key, list=", ".join(things))
        return text if len(text) <= LONGEST_SUMMARY else self.summary(short, count=len(things))

    def units(self, text: str) -> str:
        """Units as people write them."""
        for unit, shown in self._units.items():
            text = text.replace(unit, shown)
        return text

    def shown(self, text: str) -> str:
        """A text of the record, escaped, with units as people write them."""
        return markdown(self.units(text))

    def lab_name(self, lab: str, display: str) -> str:
        """How people call a test in a list."""
        name: str = self._words["lab_names"].get(lab, display)
        return name

    def place(self, pointer: str, labs: Mapping[str, str]) -> str:
        """What stands at a place of a request that is not known."""
        name = pointer.rsplit("/", 1)[-1]
        if pointer.startswith("/labs/") and name in labs:
            return self.lab_name(name, labs[name])
        said: str = self._words["places"].get(pointer, name.replace("_", " "))
        return said

    def caution(self, caution: Mapping[str, Any], drafted: Iterable[str], doubt: str | None) -> dict[str, list[str]]:
        """The parts of a caution, each as lines; `facts` bare, the others as they are written.

        ``drafted`` are the places of medications that are drafts; ``doubt`` names a text on what may not be taken.
        """
        limits = list(caution["limitations"])
        if caution["category"] == "drug_interaction":
            # Those of the row stand behind those of its table.
            limits.reverse()
        most: int = self._words["most_limits"]
        spacing = caution["spacing"]
        parts = {
            "heading": [self.detail("heading", summary=_ended(caution["summary"]))],
            "doubt": [self.detail(doubt, agent=AGENT_WORDS[caution["agent"]])] if doubt is not None else [],
            "facts": self._facts(caution, frozenset(drafted)),
            "why": [self.detail("why", text=caution["detail"])],
            "action": [self.detail("action", text=caution["action"])],
            "spacing": [] if spacing is None else [self._spacing(spacing, caution["agent"])],
            "limits": [self.detail("limits", text=" ".join(limits[:most]))] if limits else [],
        }
        if len(limits) > most:
            parts["more_limits"] = []
        return parts

    def seen(self, facts: Iterable[str]) -> str:
        """What was seen; the facts are escaped already."""
        return _filled(self._words["details"]["facts"], {"facts": "; ".join(facts)})

    def _facts(self, caution: Mapping[str, Any], drafted: frozenset[str]) -> list[str]:
        found = []
        for one in caution["triggered_by"]:
            if one["pointer"].startswith("/goals"):
                continue
            shown = self.shown(one["display"])
            if one["pointer"] in drafted:
                shown = _filled(self._words["details"]["drafted"], {"what": shown})
            found.append(shown)
        return list(dict.fromkeys(found))

    def _spacing(self, spacing: Mapping[str, Any], agent: str) -> str:
        before, after = spacing["hours_before"], spacing["hours_after"]
        return self.detail("spacing", before=before, after=after, agent=AGENT_WORDS[agent])

    def lab(self, question: Mapping[str, Any], together: Sequence[Mapping[str, Any]]) -> Test:
        """A question for a test, with those that are reported with it."""
        most: int = self._words["most_reasons"]
        reasons = _SENTENCE.split(question["reason"])
        timings = question["timing"].split("; ")
        name = " / ".join([question["display"], *(one["display"] for one in together)])
        text = self.detail(
            "lab", lab=name, question=question["question"], reason=" ".join(reasons[:most]), timing=timings[0]
        )
        cut = [*(["reason"] if len(reasons) > most else []), *(["timing"] if len(timings) > 1 else [])]
        others = [one["lab"] for one in together]
        when = timings[0][:1].upper() + timings[0][1:]
        return Test(question["lab"], text, self.detail("lab_short", lab=name, timing=when), cut, others)

    def dose(self, suggestion: Mapping[str, Any]) -> str | None:
        """The dose of a form as plain text, unless none is given."""
        dose = suggestion["dose"]
        if dose is None:
            return None
        span = dose["elemental_mg_per_day"]
        values = {"low": str(span["low"]), "high": str(span["high"]), "schedule": plain(dose["schedule"])}
        return _filled(self._words["details"]["dose"], values)

    def forms(self, suggestions: Sequence[Mapping[str, Any]]) -> list[str]:
        """Forms as items, and once what limits all of them."""
        shared = [
            one
            for one in suggestions[0]["limitations"]
            if all(one in other["limitations"] for other in suggestions) and len(suggestions) > 1
        ]
        lines = [line for one in suggestions for line in self._form(one, shared)]
        return [*lines, *(bullets([self.detail("limits", text=" ".join(shared))]) if shared else [])]

    def _form(self, suggestion: Mapping[str, Any], shared: Sequence[str]) -> list[str]:
        """A form with its reasons, dose and own limits as items."""
        dose = self.dose(suggestion)
        text = " ".join(suggestion["rationale"])
        own = [one for one in suggestion["limitations"] if one not in shared]
        return [
            "- " + self.detail("form", form=suggestion["display"], standing=suggestion["standing"], text=text),
            "  - " + (markdown(dose) if dose is not None else self.detail("no_dose")),
            *(bullets([self.detail("limits", text=" ".join(own))], "  ") if own else []),
        ]


def _ended(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def bullets(lines: Iterable[str], indent: str = "") -> list[str]:
    """The lines as items of a list."""
    return [f"{indent}- {one}" for one in lines]


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill in once: what is put in is not looked through for placeholders."""
    parts: Sequence[str] = template.split("{")
    text = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        text.append(values[name] + rest)
    return "".join(text)
