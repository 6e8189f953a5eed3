"""The parts of ``docs/integrating.md`` that follow the rules: the prefetch sheet, codes, reasons and wordings.

A part stands between a line ``<!-- generated: name -->`` and a line ``<!-- end -->``. The queries are those of the
discovery document itself, so a site whose EHR does not read it can copy them from the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.hooks.discovery import discovery
from service.knowledge.hooks_file import HOOKS, INDICATORS, PROFILES, Hooks, Service
from service.knowledge.vocabulary import Vocabulary

_PART = re.compile(r"(?m)^<!-- generated: ([a-z-]+) -->\n(.*?)^<!-- end -->$", re.DOTALL)
_MARKER = re.compile(r"(?m)^<!-- (?:generated: .*|end) -->$")

_STATUSES: Mapping[str, str] = {
    "Observation": "`Observation.status`",
    "MedicationRequest": "`MedicationRequest.status`",
    "intent": "`MedicationRequest.intent`",
    "draft": "`MedicationRequest.status` of a draft order",
    "MedicationStatement": "`MedicationStatement.status`",
    "Medication": "`Medication.status`",
    "clinical": "`Condition.clinicalStatus`",
    "verification": "`Condition.verificationStatus`",
}


@dataclass(frozen=True)
class _Sheet:
    """What the parts are written from."""

    hooks: Hooks
    vocabulary: Vocabulary

    @cached_property
    def offered(self) -> Sequence[Mapping[str, Any]]:
        """The services as the discovery document has them, all switched on."""
        found: Sequence[Mapping[str, Any]] = discovery(self.hooks, HOOKS)["services"]
        return found

    def services(self) -> Iterator[str]:
        """A section for each service."""
        for one in self.offered:
            service: Service = self.hooks.services[one["id"]]
            keys = ", ".join(f"`{key}`" for key in one["prefetch"])
            required = ", ".join(f"`{key}`" for key in service.required)
            yield f"### `{one['id']}`\n\n"
            yield _table(
                ("", ""),
                [
                    ("Hook", f"`{one['hook']}` {one['hookVersion']}"),
                    ("Address", f"`POST {{base}}/cds-services/{one['id']}`"),
                    ("Feedback", f"`POST {{base}}/cds-services/{one['id']}/feedback`"),
                    ("What it does", one["description"]),
                    ("Needs", one["usageRequirements"]),
                    ("Served unless configured otherwise", "yes" if service.on_by_default else "no"),
                    ("Cards", f"at most {service.most_cards}"),
                    ("Required prefetch keys", required or "none"),
                    ("All prefetch keys", keys),
                ],
            )
            yield "\n"

    def queries(self) -> Iterator[str]:
        """Each prefetch key with what it is for and its query; keys of several services are the same."""
        queries = {key: query for one in self.offered for key, query in one["prefetch"].items()}
        for key, query in queries.items():
            yield from self._query(key, self.hooks.prefetch[key].what, self.hooks.prefetch[key].why, query)
        yield "In the place of single keys:\n\n"
        for key, one in self.hooks.combined.items():
            yield from self._query(key, one.what, one.why, one.query)
            yield f"Stands for {', '.join(f'`{name}`' for name in one.stands_for)}.\n\n"

    def _query(self, key: str, what: str, why: str, query: str) -> Iterator[str]:
        yield f"**`{key}`** {what}. {why}\n\n```text\n{query}\n```\n\n"

    def codes(self) -> Iterator[str]:
        """What is read of Observations."""
        fhir = self.vocabulary.fhir
        rows = []
        for key, lab in self.vocabulary.labs.items():
            codes = sorted((one for one in fhir.results.values() if one.lab == key), key=lambda one: one.rank)
            if not codes:
                continue
            used = [f"{one.loinc} ({_words(one.property)})" for one in codes if not one.only_shown]
            shown = [one.loinc for one in codes if one.only_shown]
            keys = ", ".join(f"`{name}`" for name, labs in fhir.labs_of_key.items() if key in labs)
            rows.append((lab.display, keys, ", ".join(used), ", ".join(shown), _codes(lab.units)))
        yield _table(("Result", "Prefetch keys", "LOINC, the preferred one first", "Shown, never used", "Units"), rows)

    def statuses(self) -> Iterator[str]:
        """Which statuses are used."""
        notes = self.hooks.cards["notes"]
        rows = []
        for key, shown in _STATUSES.items():
            table = self.vocabulary.fhir.statuses[key]
            out: dict[str, list[str]] = {}
            for status, reason in table.out.items():
                out.setdefault(reason, []).append(status)
            said = "; ".join(f"{_codes(listed)}: {notes[reason]}" for reason, listed in out.items())
            rows.append((shown, _codes(sorted(table.used)), said))
        yield _table(("Of", "Used", "Left out"), rows)

    def states(self) -> Iterator[str]:
        """How the state of a prefetch key is worded."""
        rows = []
        for key, text in self.hooks.cards["states"].items():
            filled = text.format(what="eGFR", used=2, left_out=1)
            rows.append((f"`{'used' if key in ('used_in_part', 'none_usable') else key}`", filled))
        yield _table(("`state`", "`text`, for instance"), rows)

    def notes(self) -> Iterator[str]:
        """Why something was left out, or what to know of it."""
        cards = self.hooks.cards
        quiet = cards["quiet_notes"]
        rows = [(f"`{key}`", text, "" if key in quiet else "yes") for key, text in cards["notes"].items()]
        yield _table(("`reason`", "Said as", "On a card too"), rows)

    def orders(self) -> Iterator[str]:
        """What is said of a draft order."""
        words = self.hooks.cards["orders"]
        names = ("assessed", "in_part", "not_recognised", "not_read", "not_selected")
        yield _table(("`state`", "`text`"), [(f"`{name}`", words[name]) for name in names])

    def indicators(self) -> Iterator[str]:
        """Which indicator a card has."""
        table = self.hooks.cards["indicators"]
        rows = [
            ("no caution" if severity == "none" else severity, *(by_hook[hook] for hook in HOOKS))
            for severity, by_hook in table.items()
        ]
        yield _table(("Most severe caution on the card", *(f"`{hook}`" for hook in HOOKS)), rows)
        most = self.hooks.cards["unsigned_at_most"]
        if most != INDICATORS[-1]:
            yield f"\nA card that rests on a rule which no clinician has signed is at most `{most}`.\n"

    def profiles(self) -> Iterator[str]:
        """How cards are cut for clients."""
        profiles = self.hooks.cards["profiles"]

        def row(about: str, say: Callable[[Mapping[str, Any]], str]) -> tuple[str, ...]:
            return (about, *(say(profiles[name]) for name in PROFILES))

        yield _table(
            ("", *(f"`{name}`" for name in PROFILES)),
            [
                row("Actions of a suggestion", lambda one: "one or two" if one["actions_together"] else "one"),
                row("`selectionBehavior`, unless several may be taken", lambda one: f"`{one['selection']}`"),
                row("`isRecommended`", lambda one: "on good evidence" if one["recommended"] else "never"),
            ],
        )

    def overrides(self) -> Iterator[str]:
        """Override reasons, with the cards that offer them."""
        override = self.hooks.cards["override"]
        kinds = {"caution": "cautions", "labs": "tests", "forms": "forms"}
        rows = [
            (f"`{code}`", display, ", ".join(said for kind, said in kinds.items() if code in override[kind]))
            for code, display in override["reasons"].items()
        ]
        yield f"System: `{override['system']}`\n\n"
        yield _table(("Code", "Display", "On cards about"), [row for row in rows if row[2]])


_PARTS: Mapping[str, Callable[[_Sheet], Iterator[str]]] = {
    "services": _Sheet.services,
    "queries": _Sheet.queries,
    "codes": _Sheet.codes,
    "statuses": _Sheet.statuses,
    "states": _Sheet.states,
    "notes": _Sheet.notes,
    "orders": _Sheet.orders,
    "indicators": _Sheet.indicators,
    "profiles": _Sheet.profiles,
    "overrides": _Sheet.overrides,
}


def render(page: str, hooks: Hooks, vocabulary: Vocabulary) -> str:
    """The page with its generated parts written anew.

    Raises ValueError for markers that are not understood, and for a part that is not there exactly once.
    """
    found = [name for name, _ in _PART.findall(page)]
    if sorted(found) != sorted(_PARTS) or len(_MARKER.findall(page)) != 2 * len(found):
        raise ValueError(f"the page must have each of these parts once, with both markers: {', '.join(_PARTS)}")
    sheet = _Sheet(hooks, vocabulary)

    def written(part: re.Match[str]) -> str:
        text = "".join(_PARTS[part[1]](sheet)).strip("\n")
        return f"<!-- generated: {part[1]} -->\n\n{text}\n\n<!-- end -->"

    return _PART.sub(written, page)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in words)


def _words(name: str | None) -> str:
    return name.replace("_", " ") if name is not None else "any"
