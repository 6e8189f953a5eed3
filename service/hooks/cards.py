"""The answer of an evaluation as CDS Hooks cards: few, short, and each with what can be done about it.

On order hooks only what touches a draft speaks, on order-select only what touches a selected one; the rest is named in
`extension`, never dropped without a word. Nothing that an EHR sent stands in a summary or a label, and it is escaped in
a detail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from service.assessment.medications import BY_MOUTH
from service.clinical.outcome import SEVERITIES
from service.fhir.chart import Chart, Draft
from service.hooks.detail import Written, write_detail
from service.hooks.escape import plain
from service.hooks.ids import Ids, RuleMark
from service.hooks.listed import Agents
from service.hooks.pieces import Piece, compose
from service.hooks.report import Order, Reporter
from service.hooks.resources import Subject
from service.hooks.scene import Scene, marks_of
from service.hooks.schema import check_response, without_empty
from service.hooks.wording import Wording, bullets
from service.knowledge.hooks_file import INDICATORS, PROFILES, Hooks, Service
from service.knowledge.rulebook import Rulebook
from service.terminology import Recogniser


@dataclass(frozen=True)
class Call:
    """What of a hook call the cards depend on besides the chart."""

    service: Service
    context: Mapping[str, Any]


class CardWriter:
    """Writes responses for one installation; made once, shared by all threads.

    ``public_url`` is where the pages of this service are.
    """

    def __init__(
        self,
        rulebook: Rulebook,
        hooks: Hooks,
        recogniser: Recogniser,
        ids: Ids,
        public_url: str,
        profile: str = "generic",
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"no such profile: {profile}; there are: {', '.join(PROFILES)}")
        self._rulebook = rulebook
        self._hooks = hooks
        self._words = hooks.cards
        self._profile = hooks.cards["profiles"][profile]
        self._recogniser = recogniser
        self._ids = ids
        self._url = public_url.rstrip("/")
        self._wording = Wording(hooks)
        self._reporter = Reporter(hooks, self._wording, rulebook.vocabulary)
        self._agents = Agents(rulebook, recogniser, hooks.cards["agents"])

    def response(self, call: Call, answer: Mapping[str, Any], chart: Chart) -> dict[str, Any]:
        """The body of the response, checked. Raises InvalidResponse."""
        service = call.service
        considered = self._considered(service.hook, chart)
        scene = Scene(
            self._rulebook,
            self._words,
            self._wording,
            service.hook,
            answer,
            chart,
            considered,
            Subject.of(call.context),
            self._profile["actions_together"],
            self._agents.listed(chart),
        )
        pieces = _at_most(compose(scene), service.most_cards)
        data = self._reporter.data(service, chart)
        drafted = [f"/medications/{one.medication_index}" for one in chart.drafts]
        longest: int = self._words["longest_detail"]
        made = 0
        cards = []
        details = []
        elsewhere: set[int] = set()
        for number, piece in enumerate(pieces):
            if chart.deceased:
                piece.parts.before.insert(0, self._wording.detail("deceased"))
            tail = [*(self._not_assessed(scene, data, chart) if number == 0 else ()), "", self._footer(answer)]
            details.append(write_detail(self._wording, piece.parts, drafted, elsewhere, tail, longest))
            elsewhere |= {id(one) for one in piece.parts.cautions}
            cards.append(without_empty(self._card(service, piece, details[-1].text, number, made)))
            made += len(piece.proposals)
        assessment = self._assessment(scene, data, pieces, details)
        body = {"cards": cards, "extension": {self._words["extension"]: without_empty(assessment)}}
        return check_response(body, service.most_cards)

    def _considered(self, hook: str, chart: Chart) -> list[Order]:
        """The drafts that may bring cards."""
        if hook == "patient-view":
            return []
        drafts = [one for one in chart.drafts if hook == "order-sign" or one.selected]
        return [self._order(one, chart) for one in drafts]

    def _order(self, draft: Draft, chart: Chart) -> Order:
        if draft.medication_index is None:
            return Order(draft)
        read = self._recogniser.recognise(chart.body["medications"][draft.medication_index])
        contains = self._agents.of(read.ingredients)
        order = Order(draft, bool(read.ingredients), contains, self._agents.name(read.ingredients))
        if (read.route or BY_MOUTH) != BY_MOUTH:
            return order
        return replace(order, agents=contains, forms=read.ingredients & frozenset(self._rulebook.vocabulary.forms))

    def _not_assessed(self, scene: Scene, data: Mapping[str, Mapping[str, Any]], chart: Chart) -> list[str]:
        """What a reader of the cards has to know was not looked at."""
        wording, answer = self._wording, scene.answer
        asked = [wording.detail("question", text=one["question"]) for one in scene.questions()]
        wanted = scene.wanted_labs()
        data = {key: one for key, one in data.items() if self._reporter.concerns(key, wanted)}
        lines = self._states(data, ("absent", "null"), "not_supplied")
        lines += self._states(data, ("failed",), "failed") + self._states(data, ("incomplete",), "incomplete")
        lines += self._reporter.remarks(chart, data, wanted)
        held = scene.unchecked()
        if held:
            missing = ", ".join(scene.places({pointer for one in held for pointer in one["missing"]}))
            lines.append(wording.detail("unchecked", list=missing, count=sum(len(one["rules"]) for one in held)))
        lines += self._reporter.not_understood(chart, answer)
        searched = self._states(data, ("none_found",), "none_found")
        return [
            *(["", *bullets(asked)] if asked else []),
            *(["", wording.detail("not_assessed"), "", *bullets(lines)] if lines else []),
            *(["", *bullets(searched)] if searched else []),
        ]

    def _states(self, data: Mapping[str, Mapping[str, Any]], states: Sequence[str], template: str) -> list[str]:
        """The keys that are in one of some states, in one line."""
        found = [self._hooks.what(key) for key, one in data.items() if one["state"] in states]
        return [self._wording.detail(template, list=", ".join(found))] if found else []

    def _card(self, service: Service, piece: Piece, detail: str, number: int, made: int) -> dict[str, Any]:
        rules = list(dict.fromkeys(piece.rules))
        suggestions = [
            {
                "label": one.label,
                "uuid": self._ids.make(service.id, "suggestion", made + at, one.rules),
                "isRecommended": True if one.recommended and self._profile["recommended"] else None,
                "actions": [dict(action) for action in one.actions],
            }
            for at, one in enumerate(piece.proposals)
        ]
        together = "any" if piece.any_of_them else self._profile["selection"]
        override = self._words["override"]
        return {
            "uuid": self._ids.make(service.id, "card", number, rules),
            "summary": piece.summary,
            "detail": detail,
            "indicator": self._indicator(service.hook, piece, rules),
            "source": {
                "label": self._words["source_label"],
                "url": f"{self._url}{self._words['source_path']}",
                "topic": self._topic(rules),
            },
            "suggestions": suggestions,
            "selectionBehavior": together if suggestions else None,
            "overrideReasons": [
                {"code": code, "system": override["system"], "display": override["reasons"][code]}
                for code in override[piece.reasons]
            ],
            "links": self._links(piece, rules),
            "extension": {self._words["rules_extension"]: [{"id": one.id, "version": one.version} for one in rules]},
        }

    def _footer(self, answer: Mapping[str, Any]) -> str:
        knowledge = answer["knowledge"]
        footer = self._wording.detail("assessed_on", version=knowledge["version"], date=answer["as_of"])
        return f"{footer} {self._wording.detail('unsigned')}" if knowledge["sign_off"] != "signed" else footer

    def _indicator(self, hook: str, piece: Piece, rules: Sequence[RuleMark]) -> str:
        wanted: str = self._words["indicators"][piece.severity][hook]
        if piece.quiet:
            wanted = min(wanted, self._words["quiet_at_most"], key=INDICATORS.index)
        # What no clinician has signed does not interrupt as what one has.
        if all(self._rulebook.rules[one.id].source.get("sign_off") == "signed" for one in rules):
            return wanted
        milder: str = min(wanted, self._words["unsigned_at_most"], key=INDICATORS.index)
        return milder

    def _topic(self, rules: Sequence[RuleMark]) -> dict[str, str | None]:
        """The same for the same rules. What a site learned to pass over for one rule is not passed over for another."""
        names = sorted({one.id for one in rules})
        digest = sha256("\n".join(names).encode()).hexdigest()[:24]
        code = _alphanumeric(names[0]) if len(names) == 1 else f"set{len(names)}{digest}"
        title = plain(self._rulebook.rules[rules[0].id].title)
        # The title of an interaction leaves a place for the medicine, and the topic has none to put there.
        shown = title if "{" not in title else None
        return {"system": self._words["topic_system"], "code": code, "display": shown}

    def _links(self, piece: Piece, rules: Sequence[RuleMark]) -> list[dict[str, str]]:
        most: int = self._words["most_links"]
        # What was cut of a caution stands with its rule.
        leading = list(dict.fromkeys(marks_of([one])[0] for one in piece.parts.cautions)) or rules[:1]
        own = {
            f"{self._url}{self._words['rule_path']}{one.id}": self._wording.label(
                "rule_link", rule=one.id, version=one.version
            )
            for one in leading[: self._words["most_rule_links"]]
        }
        sources = {
            one["url"]: self._wording.label("source_link", citation=one["citation"])
            for one in piece.evidence
            if one["url"] is not None
        }
        listed = [*own.items(), *sources.items()][:most]
        return [{"label": label, "url": url, "type": "absolute"} for url, label in listed]

    def _assessment(
        self,
        scene: Scene,
        data: Mapping[str, Mapping[str, Any]],
        pieces: Sequence[Piece],
        details: Sequence[Written],
    ) -> dict[str, Any]:
        answer, chart = scene.answer, scene.chart
        knowledge = answer["knowledge"]
        out_of_scope = answer["disposition"] == "out_of_scope"
        said = "out_of_scope" if out_of_scope else "with_cards" if pieces else "assessed"
        if scene.hook != "patient-view" and not scene.considered and not pieces:
            said = "none_selected" if chart.drafts else "no_orders"
        if scene.hook == "patient-view" and chart.deceased:
            said = "deceased"
        return {
            "hook": scene.hook,
            "asOf": answer["as_of"],
            "statement": self._words["statements"][said],
            "disposition": answer["disposition"],
            "message": answer["message"],
            "deceased": True if chart.deceased else None,
            "knowledge": {key: knowledge[key] for key in ("version", "digest", "sign_off")},
            "terminology": knowledge["terminology"]["release"],
            "data": data,
            "orders": self._reporter.orders(chart, scene.considered, answer),
            "notes": self._reporter.notes(chart),
            "shownOnly": self._reporter.shown(chart),
            "notRecognised": len(answer["unrecognised"]),
            "notEvaluated": [
                {"missing": one["missing"], "rules": len(one["rules"])} for one in answer["not_evaluated"]
            ],
            "heldBack": [
                {
                    "holdsBack": one["holds_back"],
                    "outcome": one["outcome"],
                    "reason": plain(one["reason"]),
                    "rules": one["rules"],
                    "missing": one["missing"],
                }
                for one in answer["held_back"]
            ],
            "shortened": [
                *({"caution": one["code"], "leftOut": list(cut)} for written in details for one, cut in written.cut),
                *({"labQuestion": lab, "leftOut": list(cut)} for one in details for lab, cut in one.cut_tests),
            ],
            "notOnACard": {
                "cautions": [one["code"] for one in answer["cautions"] if not scene.said(one)],
                "labQuestions": [one["lab"] for one in answer["lab_questions"] if not scene.said(one)],
                "forms": [one["form"] for one in answer["form_suggestions"] if not scene.said(one)],
                "followUpQuestions": sum(not scene.said(one) for one in answer["follow_up_questions"]),
            },
        }


def _at_most(pieces: list[Piece], most: int) -> list[Piece]:
    """Merge cautions until there is room; what cannot be merged was never more than that."""
    while len(pieces) > most:
        cautions = [at for at, one in enumerate(pieces) if one.reasons == "caution"]
        at = cautions[-1] if len(cautions) > 1 else len(pieces) - 1
        pieces[at - 1 : at + 1] = [_merged(pieces[at - 1], pieces[at])]
    return pieces


def _merged(first: Piece, second: Piece) -> Piece:
    return Piece(
        severity=min(first.severity, second.severity, key=(*SEVERITIES, "none").index),
        summary=first.summary,
        rules=[*dict.fromkeys((*first.rules, *second.rules))],
        reasons=first.reasons,
        parts=first.parts.joined(second.parts),
        evidence=[*first.evidence, *second.evidence],
        proposals=[*first.proposals, *second.proposals],
        any_of_them=True,
        quiet=first.quiet and second.quiet,
    )


def _alphanumeric(text: str) -> str:
    return "".join(one for one in text if one.isalnum())
