"""The texts of cards: templates of ``cards.yaml`` with what the answer says, escaped on the way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.hooks.escape import markdown, plain
from service.knowledge.hooks_file import LONGEST_SUMMARY, Hooks

AGENT_WORDS = {"magnesium": "magnesium", "vitamin_d": "vitamin D"}


class Wording:
    """Fills the templates of one installation."""

    def __init__(self, hooks: Hooks) -> None:
        self._words = hooks.cards
        self._units = hooks.cards["units"]

    def detail(self, key: str, **values: Any) -> str:
        """A line of a detail; the values are escaped."""
        filled = {name: markdown(self.units(str(value))) for name, value in values.items()}
        return _filled(self._words["details"][key], filled)

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

    def several(self, template: str, found: Sequence[Mapping[str, Any]]) -> str:
        """The summary of the first of several cautions and how many more there are, or only how many there are."""
        text = self.summary("with_more", summary=found[0]["summary"], count=len(found) - 1)
        return text if len(text) <= LONGEST_SUMMARY else self.summary(template, count=len(found))

    def units(self, text: str) -> str:
        """Units as people write them."""
        for unit, shown in self._units.items():
            text = text.replace(unit, shown)
        return text

    def caution(self, caution: Mapping[str, Any], nested: bool) -> list[str]:
        """A caution as list items; ``nested`` below a heading of its own."""
        shown = [one["display"] for one in caution["triggered_by"] if not one["pointer"].startswith("/goals")]
        lines = [
            *([self.detail("facts", facts="; ".join(dict.fromkeys(shown)))] if shown else []),
            self.detail("why", text=caution["detail"]),
            self.detail("action", text=caution["action"]),
            *self._spacing(caution),
            *([self.detail("limits", text=" ".join(caution["limitations"]))] if caution["limitations"] else []),
        ]
        if not nested:
            return bullets(lines)
        return [f"- {self.detail('heading', summary=caution['summary'])}", *bullets(lines, "  ")]

    def _spacing(self, caution: Mapping[str, Any]) -> list[str]:
        spacing = caution["spacing"]
        if spacing is None:
            return []
        before, after = spacing["hours_before"], spacing["hours_after"]
        return [self.detail("spacing", before=before, after=after, agent=AGENT_WORDS[caution["agent"]])]

    def lab(self, question: Mapping[str, Any]) -> str:
        """A question for a test as one item."""
        return self.detail(
            "lab",
            lab=question["display"],
            question=question["question"],
            reason=question["reason"],
            timing=question["timing"],
        )

    def dose(self, suggestion: Mapping[str, Any]) -> str | None:
        """The dose of a form as plain text, unless none is given."""
        dose = suggestion["dose"]
        if dose is None:
            return None
        span = dose["elemental_mg_per_day"]
        values = {"low": str(span["low"]), "high": str(span["high"]), "schedule": plain(dose["schedule"])}
        return _filled(self._words["details"]["dose"], values)

    def form(self, suggestion: Mapping[str, Any]) -> list[str]:
        """A form with its reasons and dose as items."""
        dose = self.dose(suggestion)
        text = " ".join(suggestion["rationale"])
        return [
            "- " + self.detail("form", form=suggestion["display"], standing=suggestion["standing"], text=text),
            "  - " + (markdown(dose) if dose is not None else self.detail("no_dose")),
            *bullets([self.detail("limits", text=" ".join(suggestion["limitations"]))], "  "),
        ]


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
