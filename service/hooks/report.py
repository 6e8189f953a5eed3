"""What was assessed and what was not: for the `extension` of every response, and for the details of cards.

The states of the prefetch keys stay apart: only an empty search says that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from service.fhir.chart import Chart, Draft, Note, State
from service.hooks.escape import plain
from service.hooks.resources import is_reference
from service.knowledge.hooks_file import Hooks, Service
from service.knowledge.vocabulary import Lab

_KEY = re.compile(r"[A-Za-z0-9_\-]{1,64}")


@dataclass(frozen=True)
class Order:
    """A draft order that may bring cards, and what it is of."""

    draft: Draft
    recognised: bool = False
    """Whether any ingredient of it is known."""
    agents: frozenset[str] = frozenset()
    """`magnesium`, `vitamin_d`."""
    forms: frozenset[str] = frozenset()
    """Keys of forms of magnesium."""

    @property
    def removable(self) -> bool:
        """Whether a suggestion can name it."""
        return self.draft.resource_id is not None and is_reference(self.draft.resource_id)


class Reporter:
    """Words for the states of a call."""

    def __init__(self, hooks: Hooks, labs: Mapping[str, Lab]) -> None:
        self._hooks = hooks
        self._labs = {key: one.display for key, one in labs.items()}
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

    def remarks(self, chart: Chart) -> list[str]:
        """What of it a reader of a card has to know."""
        quiet = self._words["quiet_notes"]
        noted = [one for one in chart.notes if one.code not in quiet]
        return [self._note(one) + (f" ({one.count})" if one.count > 1 else "") for one in noted]

    def _note(self, note: Note) -> str:
        reason = self._words["notes"].get(note.code, note.code.replace("_", " "))
        about = self._labs.get(note.detail_code, "")
        return f"{self._what(note.key)}{f' ({about})' if about else ''}: {reason}"

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
