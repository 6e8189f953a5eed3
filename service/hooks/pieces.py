"""Which parts of an answer become a card on which hook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.clinical.outcome import SEVERITIES
from service.fhir.chart import Chart
from service.hooks.escape import markdown
from service.hooks.ids import RuleMark
from service.hooks.report import Order
from service.hooks.resources import Subject, laboratory_order, medication_order
from service.hooks.wording import Wording
from service.knowledge.rulebook import Rulebook

Item = Mapping[str, Any]
"""A caution, a question or a suggestion of an answer."""


@dataclass(frozen=True)
class Proposal:
    """Something that can be done with a click."""

    label: str
    actions: Sequence[Mapping[str, Any]]
    rules: Sequence[RuleMark]
    recommended: bool = False


@dataclass
class Piece:
    """What will be a card."""

    severity: str
    summary: str
    lines: list[str]
    rules: list[RuleMark]
    reasons: str
    """Which override reasons: of `caution`, `labs` or `forms`."""
    evidence: list[Mapping[str, Any]] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    any_of_them: bool = False

    @property
    def markdown_summary(self) -> str:
        """The summary within a detail."""
        return markdown(self.summary)


class Scene:
    """One answer, with the drafts that are looked at, and what was said of it on cards."""

    def __init__(
        self,
        rulebook: Rulebook,
        words: Mapping[str, Any],
        wording: Wording,
        hook: str,
        answer: Mapping[str, Any],
        chart: Chart,
        considered: Sequence[Order],
        subject: Subject,
        together: bool,
    ) -> None:
        self.rulebook = rulebook
        self.words = words
        self.wording = wording
        self.hook = hook
        self.answer = answer
        self.chart = chart
        self.considered = considered
        self.subject = subject
        self.together = together
        """Whether a suggestion may have several actions."""
        self._said: set[int] = set()

    def touches(self, item: Item, order: Order) -> bool:
        """Whether the item rests on the order."""
        place = f"/medications/{order.draft.medication_index}"
        return any(pointer == place or pointer.startswith(f"{place}/") for pointer in _pointers(item))

    def touched(self, item: Item) -> bool:
        """Whether the item rests on any draft that is looked at."""
        return any(self.touches(item, one) for one in self.considered)

    def say(self, items: Iterable[Item]) -> None:
        """Remember that the items are on a card."""
        self._said.update(id(one) for one in items)

    def said(self, item: Item) -> bool:
        """Whether the item is on a card."""
        return id(item) in self._said

    def urgent(self, caution: Item) -> bool:
        """Whether an urgent rule says it."""
        return any(self.rulebook.rules[one.id].kind == "urgent" for one in marks_of([caution]))

    def questions(self) -> list[Item]:
        """What to ask, for the cards there are: about the drafts, or about what is not known."""
        rules = {mark for one in self._shown() for mark in marks_of([one])}
        asked = [
            one
            for one in self.answer["follow_up_questions"]
            if (self.touched(one) if self.considered else bool(rules & set(marks_of([one]))))
        ]
        self.say(asked)
        return asked

    def _shown(self) -> list[Item]:
        return [one for one in self.answer["cautions"] if self.said(one)]


def marks_of(items: Iterable[Item]) -> list[RuleMark]:
    """The rules of the items, each once, in their order."""
    grounds = (ground["rule"] for item in items for ground in item["grounds"])
    return list(dict.fromkeys(RuleMark(one["id"], one["version"]) for one in grounds))


def compose(scene: Scene) -> list[Piece]:
    """The pieces in the order in which they matter."""
    if scene.answer["disposition"] == "out_of_scope":
        return _out_of_scope(scene)
    if scene.hook == "patient-view":
        return _patient_view(scene)
    pieces = [*_urgent(scene), *_per_draft(scene)]
    pieces += _cautions(scene)
    if scene.hook == "order-select":
        pieces += _forms(scene)
    pieces += _labs(scene)
    return pieces or _missing(scene)


def _out_of_scope(scene: Scene) -> list[Piece]:
    found = [one for one in scene.answer["cautions"] if scene.touched(one)]
    if not found:
        return []
    scene.say(found)
    lines = [line for one in found for line in scene.wording.caution(one, nested=False)]
    summary = scene.wording.summary("out_of_scope")
    return [Piece("none", summary, lines, marks_of(found), "caution", _evidence(found))]


def _urgent(scene: Scene) -> list[Piece]:
    """What cannot wait is said whatever the order is."""
    found = [one for one in scene.answer["cautions"] if scene.urgent(one)]
    if scene.answer["disposition"] != "urgent" or not found:
        return []
    message = scene.answer["message"]
    labs = [one for one in scene.answer["lab_questions"] if one["priority"] == "urgent"]
    piece = _of_cautions(scene, found, found[0]["summary"], found[0]["agent"])
    if message:
        piece.lines = [scene.wording.detail("held", text=message), "", *piece.lines]
    _add_labs(scene, piece, labs)
    return [piece]


def _per_draft(scene: Scene) -> Iterator[Piece]:
    """One card for each draft that a contraindication hits."""
    for order in scene.considered:
        found = [
            one
            for one in scene.answer["cautions"]
            if one["severity"] == "contraindicated" and scene.touches(one, order) and not scene.urgent(one)
        ]
        if not found:
            continue
        # What forbids the order itself leads; an interaction that adds to it follows.
        found.sort(key=lambda one: one["category"] == "drug_interaction")
        piece = _of_cautions(scene, found, found[0]["summary"], found[0]["agent"])
        if order.removable:
            label = scene.wording.label("remove", summary=found[0]["summary"])
            removal = {"type": "delete", "description": label, "resourceId": order.draft.resource_id}
            piece.proposals = [
                Proposal(label, [removal], marks_of(found)),
                *_alternatives(scene, order, removal),
            ]
        yield piece


def _alternatives(scene: Scene, order: Order, removal: Mapping[str, Any]) -> Iterator[Proposal]:
    if "magnesium" not in order.agents or scene.subject.patient is None:
        return
    for one in scene.answer["form_suggestions"][: scene.words["most_alternatives"]]:
        scene.say([one])
        label = scene.wording.label("replace" if scene.together else "alternative", form=one["display"])
        creation = {"type": "create", "description": label, "resource": _medication(scene, one)}
        yield Proposal(label, [removal, creation] if scene.together else [creation], marks_of([one]))


def _cautions(scene: Scene) -> list[Piece]:
    """All other cautions that touch a draft, and doubts about the values they rest on, on one card."""
    found = [one for one in scene.answer["cautions"] if scene.touched(one) and not scene.said(one)]
    seen = {pointer for one in scene.answer["cautions"] if scene.touched(one) for pointer in _pointers(one)}
    found += [
        one
        for one in scene.answer["cautions"]
        if one["category"] == "data_quality" and one not in found and not scene.said(one) and seen & set(_pointers(one))
    ]
    refused = list(_refused(scene))
    if not found and not refused:
        return []
    if not found:
        piece = Piece(
            "moderate",
            scene.wording.summary("forms"),
            [],
            marks_of(refused),
            "caution",
            _evidence(refused),
        )
    elif len(found) == 1:
        piece = _of_cautions(scene, found, found[0]["summary"], found[0]["agent"])
    else:
        piece = _of_cautions(scene, found, None, found[0]["agent"], "order_cautions")
    for one in refused:
        piece.lines.append("- " + scene.wording.detail("form_refused", form=one["display"], text=one["reason"]))
    return [piece]


def _refused(scene: Scene) -> Iterator[Item]:
    """The drafted form, where it is one to keep away from."""
    drafted = frozenset[str]().union(*(one.forms for one in scene.considered))
    for one in scene.answer["forms_not_suggested"]:
        if one["form"] in drafted and one["standing"] == "avoid":
            yield one


def _forms(scene: Scene) -> list[Piece]:
    found = [one for one in scene.answer["form_suggestions"] if scene.touched(one)]
    if not found or any(scene.said(one) for one in found):
        return []
    scene.say(found)
    piece = Piece(
        "none",
        scene.wording.summary("forms"),
        [line for one in found for line in scene.wording.form(one)],
        marks_of(found),
        "forms",
        _evidence(found),
    )
    if scene.subject.patient is not None:
        sure = set(scene.words["recommend_when_certainty"])
        for at, one in enumerate(found):
            label = scene.wording.label("form", form=one["display"])
            creation = {"type": "create", "description": label, "resource": _medication(scene, one)}
            graded = {source["certainty"] for source in _evidence([one])}
            piece.proposals.append(Proposal(label, [creation], marks_of([one]), at == 0 and graded <= sure))
    return [piece]


def _medication(scene: Scene, suggestion: Item) -> dict[str, Any]:
    form = scene.rulebook.vocabulary.forms[suggestion["form"]]
    return medication_order(scene.words["medication_order"], form, scene.wording.dose(suggestion), scene.subject)


def _labs(scene: Scene) -> list[Piece]:
    found = [one for one in scene.answer["lab_questions"] if scene.touched(one) and not scene.said(one)]
    if not found:
        return []
    one_only = len(found) == 1
    summary = (
        scene.wording.summary("one_lab", lab=found[0]["display"])
        if one_only
        else scene.wording.summary("labs", count=len(found))
    )
    piece = Piece("none", summary, [], [], "labs", any_of_them=True)
    _add_labs(scene, piece, found)
    return [piece]


def _add_labs(scene: Scene, piece: Piece, questions: Sequence[Item]) -> None:
    scene.say(questions)
    piece.lines += [f"- {scene.wording.lab(one)}" for one in questions]
    piece.rules += marks_of(questions)
    piece.evidence += _evidence(questions)
    piece.any_of_them = True
    if scene.subject.patient is None:
        return
    for one in questions:
        if one["loinc"] is not None:
            label = scene.wording.label("lab", lab=one["display"])
            order = laboratory_order(scene.words["laboratory_order"], one, scene.subject)
            action = {"type": "create", "description": label, "resource": order}
            piece.proposals.append(Proposal(label, [action], marks_of([one])))


def _missing(scene: Scene) -> list[Piece]:
    """An order that rules speak of, where nothing could be said for want of data."""
    answer = scene.answer
    held = [one for one in answer["held_back"] if one["outcome"] == "not_evaluated"]
    about = [one for key in ("follow_up_questions", "advice") for one in answer[key] if scene.touched(one)]
    ours = about or [one for one in scene.considered if one.agents]
    if not held or not ours:
        return []
    rules = [RuleMark(one["id"], one["version"]) for hold in held for one in hold["rules"]]
    return [Piece("none", scene.wording.summary("missing"), [], list(dict.fromkeys(rules)), "caution")]


def _patient_view(scene: Scene) -> list[Piece]:
    """At most one: something urgent, a high-risk combination, or an abnormal result; otherwise silence."""
    urgent = _urgent(scene)
    if urgent:
        return urgent
    speaks = scene.words["patient_view"]
    found = [
        one
        for one in scene.answer["cautions"]
        if one["severity"] in speaks["severities"] or one["category"] in speaks["categories"]
    ]
    if not found:
        return []
    if len(found) == 1:
        piece = _of_cautions(scene, found, found[0]["summary"], found[0]["agent"])
    else:
        piece = _of_cautions(scene, found, None, found[0]["agent"], "chart_cautions")
    rules = set(marks_of(found))
    labs = [one for one in scene.answer["lab_questions"] if one["priority"] == "urgent" or rules & set(marks_of([one]))]
    _add_labs(scene, piece, labs)
    return [piece]


def _of_cautions(scene: Scene, found: Sequence[Item], summary: str | None, agent: str, template: str = "") -> Piece:
    scene.say(found)
    shown = scene.wording.fitting(summary, agent) if summary is not None else scene.wording.several(template, found)
    several = len(found) > 1 or shown != found[0]["summary"]
    return Piece(
        min((one["severity"] for one in found), key=SEVERITIES.index),
        shown,
        [line for one in found for line in scene.wording.caution(one, nested=several)],
        marks_of(found),
        "caution",
        _evidence(found),
    )


def _evidence(items: Iterable[Item]) -> list[Mapping[str, Any]]:
    return [one for item in items for ground in item["grounds"] for one in ground["evidence"]]


def _pointers(item: Item) -> list[str]:
    own = [one["pointer"] for one in item.get("triggered_by", ())]
    return own + [one["pointer"] for ground in item["grounds"] for one in ground["triggered_by"]]
