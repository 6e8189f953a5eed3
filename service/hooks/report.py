"""What was assessed and what was not: for the `extension` of every response, and for the details of cards.

The states of the prefetch keys stay apart: only an empty search says that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from service.assessment.trace import shown_value
from service.fhir.chart import Chart, Draft, Note, Shown, State
from service.hooks.escape import plain
from service.hooks.resources import is_reference
from service.hooks.wording import Wording
from service.knowledge.hooks_file import Hooks, Service
from service.knowledge.vocabulary import Vocabulary

_KEY = re.compile(r"[A-Za-z0-9_\-]{1,64}")


@dataclass(frozen=True)
class Order:
    """A draft order that may bring cards, and what it is of."""

    draft: Draft
    recognised: bool = False
    """Whether any ingredient of it is known."""
    contains: frozenset[str] = frozenset()
    """`magnesium`, `vitamin_d`."""
    name: str = ""
    """Of what it contains of them, in our words."""
    agents: frozenset[str] = frozenset()
    """Those of them that are taken by mouth."""
    forms: frozenset[str] = frozenset()
    """Keys of forms of magnesium."""

    @property
    def removable(self) -> bool:
        """Whether a suggestion can name it."""
        return self.draft.resource_id is not None and is_reference(self.draft.resource_id)


class Reporter:
    """Words for the states of a call."""

    def __init__(self, hooks: Hooks, wording: Wording, vocabulary: Vocabulary) -> None:
        self._hooks = hooks
        self._wording = wording
        self._labs_of_key = vocabulary.fhir.labs_of_key
        self._labs = {key: one.display for key, one in vocabulary.labs.items()}
        # A key for one lab alone has a shorter name for it.
        for key, labs in self._labs_of_key.items():
            if len(labs) == 1:
                self._labs |= {lab: hooks.what(key) for lab in labs}
        self._words = hooks.cards

    def data(self, service: Service, chart: Chart) -> dict[str, dict[str, Any]]:
        """Every key of the service, and what else was sent, with its state in words."""
        # One key that was sent in the place of others speaks for those that are not there.
        replaced = {
            key
            for name, one in self._hooks.combined.items()
            if name in chart.states and chart.states[name].status != "absent"
            for key in one.stands_for
            if key not in chart.states or chart.states[key].status == "absent"
        }
        keys = [key for key in service.prefetch if key not in replaced]
        keys += sorted(key for key in chart.states if key not in keys and key not in replaced and _KEY.fullmatch(key))
        return {
            key: self._state(key, chart.states.get(key))
            for key in keys
            if key in service.prefetch or chart.states[key].status != "absent"
        }

    def _state(self, key: str, state: State | None) -> dict[str, Any]:
        word, used, left_out = (state.status, state.used, state.left_out) if state is not None else ("absent", 0, 0)
        said: str = word
        if word == "used" and left_out:
            said = "used_in_part" if used else "none_usable"
        text: str = self._words["states"][said]
        for name, value in {"used": used, "left_out": left_out, "what": self._hooks.what(key)}.items():
            text = text.replace(f"{{{name}}}", str(value))
        counts = {"used": used, "leftOut": left_out} if word in ("used", "incomplete") else {}
        return {"state": word, "text": text, **counts}

    def notes(self, chart: Chart) -> list[dict[str, Any]]:
        """What was not used, and what to know of what was, by key and reason."""
        return [
            {
                "key": one.key,
                "reason": one.code,
                "about": one.detail_code,
                "text": self._note(one),
                "leftOut": one.left_out,
                "count": one.count,
            }
            for one in chart.notes
        ]

    def remarks(self, chart: Chart, data: Mapping[str, Mapping[str, Any]], wanted: Collection[str]) -> list[str]:
        """What of it a reader of a card has to know, one line for each thing; ``wanted`` are the labs of interest."""
        shown = [one for one in chart.shown if one.lab in wanted]
        said = {(one.lab, one.reason) for one in shown}
        found: dict[str, list[str]] = {}
        for one in chart.notes:
            silent = one.code in self._words["quiet_notes"] or (one.detail_code, one.code) in said
            if silent or not self.concerns(one.key, wanted, one.detail_code):
                continue
            count = f" ({one.count})" if one.count > 1 else ""
            found.setdefault(self._subject(one), []).append(f"{self._reason(one.code)}{count}")
        lines = [self._wording.detail("note", what=what, reasons="; ".join(reasons)) for what, reasons in found.items()]
        useless = [
            self._hooks.what(key)
            for key, one in data.items()
            if one["state"] == "used" and not one["used"] and self.concerns(key, wanted) and self._of_no_use(key, chart)
        ]
        if useless:
            lines.append(self._wording.detail("none_usable", list=", ".join(useless)))
        return lines + [self._shown_line(one) for one in shown]

    def concerns(self, key: str, wanted: Collection[str], lab: str = "") -> bool:
        """Whether what a key brings is of interest: a list always, results where one of their labs is."""
        if lab in self._labs:
            return lab in wanted
        return key not in self._labs_of_key or not self._labs_of_key[key].isdisjoint(wanted)

    def _shown_line(self, one: Shown) -> str:
        return self._wording.detail(
            "shown_only",
            lab=self._labs[one.lab],
            value=f"{one.comparator}{shown_value(one.value)}",
            unit=one.unit,
            date=one.collected_on,
            reason=self._reason(one.reason),
        )

    def _of_no_use(self, key: str, chart: Chart) -> bool:
        """Whether all that came under a key was left out, for reasons that are not worth a line of their own."""
        left_out = {one.code for one in chart.notes if one.key == key and one.left_out}
        return bool(left_out) and left_out <= set(self._words["of_no_use"])

    def not_understood(self, chart: Chart, answer: Mapping[str, Any]) -> list[str]:
        """Medicines and diagnoses that were not recognised, the medicines by name."""
        places = [one["pointer"].split("/") for one in answer["unrecognised"]]
        listed = chart.body.get("medications", ())
        texts = [_name(listed[int(place[2])]) for place in places if place[1] == "medications"]
        others = sum(place[1] == "conditions" for place in places)
        most: int = self._words["most_names"]
        names = [self._wording.shown(_shortened(one, self._words["longest_name"])) for one in dict.fromkeys(texts)]
        if len(names) > most:
            names[most:] = [self._wording.detail("more", count=len(names) - most)]
        lines = [self._wording.listed("not_recognised", names)] if names else []
        return [*lines, *([self._wording.detail("unknown_codes", count=others)] if others else [])]

    def _subject(self, note: Note) -> str:
        """What a note is about: the test, where there is one."""
        return self._labs.get(note.detail_code) or self._what(note.key)

    def _reason(self, code: str) -> str:
        said: str = self._words["notes"].get(code, code.replace("_", " "))
        return said

    def _note(self, note: Note) -> str:
        return f"{self._subject(note)}: {self._reason(note.code)}"

    def _what(self, key: str) -> str:
        said: str = self._words["orders"].get(key) or self._hooks.what(key)
        return said

    def shown(self, chart: Chart) -> list[dict[str, Any]]:
        """Results that may be shown and are not used."""
        return [
            {
                "lab": one.lab,
                "value": float(one.value) if isinstance(one.value, Decimal) else one.value,
                "unit": plain(one.unit),
                "collectedOn": one.collected_on,
                "comparator": one.comparator,
                "reason": one.reason,
            }
            for one in chart.shown
        ]

    def orders(self, chart: Chart, considered: Sequence[Order], answer: Mapping[str, Any]) -> list[Any]:
        """Every draft order, and whether it was assessed."""
        unread = {one["pointer"] for one in answer["unrecognised"]}
        looked_at = {id(one.draft): one for one in considered}
        listed = []
        for draft in chart.drafts:
            at = f"/medications/{draft.medication_index}"
            if id(draft) not in looked_at:
                state = "not_selected"
            elif draft.medication_index is None:
                state = "not_read"
            elif any(one == at or one.startswith(f"{at}/") for one in unread):
                state = "in_part" if looked_at[id(draft)].recognised else "not_recognised"
            else:
                state = "assessed"
            order = draft.resource_id
            known = order is not None and is_reference(order)
            listed.append({"order": order if known else None, "state": state, "text": self._words["orders"][state]})
        return listed


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest].rstrip()} …"


def _name(medication: Mapping[str, Any]) -> str:
    name: str = medication.get("name") or medication["code"].get("display") or medication["code"]["code"]
    return name
