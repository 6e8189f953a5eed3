"""Which parts of an answer become a card on which hook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.clinical.outcome import SEVERITIES
from service.hooks.detail import Item, Parts
from service.hooks.ids import RuleMark
from service.hooks.report import Order
from service.hooks.resources import laboratory_order, medication_order
from service.hooks.scene import Scene, marks_of, pointers_of
from service.hooks.wording import bullets
from service.knowledge.interactions import ACTIONS
from service.knowledge.rule_schema import PRIORITIES


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
    rules: list[RuleMark]
    reasons: str
    """Which override reasons: of `caution`, `labs` or `forms`."""
    parts: Parts = field(default_factory=Parts)
    evidence: list[Mapping[str, Any]] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    any_of_them: bool = False
    quiet: bool = False
    """Whether all of it depends on what nobody has listed as taken, or is only what every such order is told."""


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
    summary = scene.wording.summary("out_of_scope")
    return [Piece("none", summary, marks_of(found), "caution", Parts(cautions=found), _evidence(found))]


def _urgent(scene: Scene) -> list[Piece]:
    """What cannot wait is said whatever the order is."""
    found = [one for one in scene.answer["cautions"] if scene.urgent(one)]
    if scene.answer["disposition"] != "urgent" or not found:
        return []
    message = scene.answer["message"]
    labs = [one for one in scene.answer["lab_questions"] if one["priority"] == "urgent"]
    piece = _of_cautions(scene, [*found, *_doubted_values(scene, found)])
    if message:
        piece.parts.before.append(scene.wording.detail("held", text=message))
    _add_labs(scene, piece, labs)
    return [piece]


def _per_draft(scene: Scene) -> Iterator[Piece]:
    """One card for each draft that a contraindication hits."""
    for order in scene.considered:
        found = [
            one
            for one in scene.answer["cautions"]
            if one["severity"] == "contraindicated"
            and scene.touches(one, order)
            and not scene.urgent(one)
            and not _beside_the_point(scene, one)
        ]
        if all(scene.in_doubt(one) for one in found):
            continue
        found = [*_ranked(scene, found), *_doubted_values(scene, found)]
        piece = _of_cautions(scene, found)
        # A medicine that something else must not be taken with is not the one to go.
        against = [one for one in found if one["agent"] in order.contains and _forbids(scene, one)]
        if order.removable and against:
            label = scene.wording.label("remove", drug=order.name, summary=against[0]["summary"])
            removal = {"type": "delete", "description": label, "resourceId": order.draft.resource_id}
            piece.proposals = [Proposal(label, [removal], marks_of(found))]
            # What no form may be taken with, no other form mends.
            if not any(scene.of_all_forms(one) for one in against):
                piece.proposals += _alternatives(scene, order, removal)
        yield piece


def _forbids(scene: Scene, caution: Item) -> bool:
    """Whether what it warns of is the agent itself, and not a dose or a doubt about something beside it."""
    return caution["category"] != "drug_interaction" or scene.asks(caution) == "avoid"


def _alternatives(scene: Scene, order: Order, removal: Mapping[str, Any]) -> Iterator[Proposal]:
    if "magnesium" not in order.agents or scene.subject.patient is None:
        return
    for one in scene.answer["form_suggestions"][: scene.words["most_alternatives"]]:
        scene.say([one])
        key = "replace" if scene.together else "alternative"
        label = scene.wording.label(key, drug=order.name, form=one["display"])
        creation = {"type": "create", "description": label, "resource": _medication(scene, one)}
        yield Proposal(label, [removal, creation] if scene.together else [creation], marks_of([one]))


def _cautions(scene: Scene) -> list[Piece]:
    """All other cautions that touch a draft, and doubts about the values they rest on, on one card."""
    touched = [one for one in scene.answer["cautions"] if scene.touched(one)]
    found = [one for one in touched if not scene.said(one) and not _beside_the_point(scene, one)]
    if scene.shown():
        # What every such order is told adds nothing to what forbids it, or cannot wait.
        found = [one for one in found if not scene.alone(one)]
    urgent = scene.answer["disposition"] == "urgent"
    found += [one for one in _results(scene, touched) if one not in found and not (urgent and scene.beside(one))]
    found += [one for one in _doubted_values(scene, [*touched, *found]) if one not in found]
    refused = list(_refused(scene))
    if found:
        piece = _of_cautions(scene, _ranked(scene, found))
    elif refused:
        piece = Piece("moderate", scene.wording.summary("forms"), marks_of(refused), "caution")
        piece.evidence = _evidence(refused)
    else:
        return []
    lines = [scene.wording.detail("form_refused", form=one["display"], text=one["reason"]) for one in refused]
    piece.parts.after += bullets(lines)
    return [piece]


def _results(scene: Scene, touched: Sequence[Item]) -> list[Item]:
    """What abnormal results say of what is ordered, or of what the cautions about the orders rest on."""
    labs = {pointer for one in touched for pointer in pointers_of(one) if pointer.startswith("/labs/")}
    labs |= scene.results_of_interest("first") | scene.results_of_interest("beside")
    ordered = scene.ordered()
    return [
        one
        for one in scene.answer["cautions"]
        if one["category"] in ("lab_result", "data_quality")
        and not scene.said(one)
        and (one["agent"] in ordered or labs & set(pointers_of(one)))
    ]


def _beside_the_point(scene: Scene, caution: Item) -> bool:
    """Whether it warns of an order together with the other of the two, which is not listed, and adds little."""
    orders = [one for one in scene.considered if scene.touches(caution, one)]
    return scene.in_doubt(caution) and all(one.contains and _adds_little(scene, caution, one) for one in orders)


def _adds_little(scene: Scene, caution: Item, order: Order) -> bool:
    """Whether it is mild and the other is in no list that was read, or no more severe than what is certain anyway."""
    own = SEVERITIES.index(caution["severity"])
    firm = (one for one in scene.answer["cautions"] if scene.touches(one, order) and not scene.in_doubt(one))
    mild = caution["severity"] in scene.words["mild"] and _not_taken(scene, caution)
    return mild or any(SEVERITIES.index(one["severity"]) <= own for one in firm if not scene.alone(one))


def _ranked(scene: Scene, found: Iterable[Item]) -> list[Item]:
    """What is certain to concern the patient first, then the most severe, then what rests on no other medicine."""

    def rank(one: Item) -> tuple[bool, int, bool, int]:
        interaction = one["category"] == "drug_interaction"
        return (
            scene.in_doubt(one) or scene.alone(one),
            SEVERITIES.index(one["severity"]),
            one["category"] == "data_quality" or scene.beside(one),
            1 + ACTIONS.index(scene.asks(one)) if interaction else 0,
        )

    return sorted(found, key=rank)


def _refused(scene: Scene) -> Iterator[Item]:
    """The drafted form, where it is one to keep away from."""
    drafted = frozenset[str]().union(*(one.forms for one in scene.considered))
    for one in scene.answer["forms_not_suggested"]:
        if one["form"] in drafted and one["standing"] == "avoid":
            yield one


def _forms(scene: Scene) -> list[Piece]:
    """Which forms to consider, where magnesium is being ordered."""
    found = scene.answer["form_suggestions"]
    if not any("magnesium" in one.agents for one in scene.considered) or any(scene.said(one) for one in found):
        return []
    drafted = {form for one in scene.considered for form in one.forms}
    if not found:
        return []
    scene.say(found)
    piece = Piece("none", scene.wording.summary("forms"), marks_of(found), "forms", evidence=_evidence(found))
    piece.parts.after = scene.wording.forms(found)
    if scene.subject.patient is not None:
        sure = set(scene.words["recommend_when_certainty"])
        for at, one in enumerate(found):
            if one["form"] in drafted:
                continue
            label = scene.wording.label("form", form=one["display"])
            creation = {"type": "create", "description": label, "resource": _medication(scene, one)}
            graded = {source["certainty"] for source in _evidence([one])}
            piece.proposals.append(Proposal(label, [creation], marks_of([one]), at == 0 and graded <= sure))
    return [piece]


def _medication(scene: Scene, suggestion: Item) -> dict[str, Any]:
    form = scene.rulebook.vocabulary.forms[suggestion["form"]]
    return medication_order(scene.words["medication_order"], form, scene.wording.dose(suggestion), scene.subject)


def _labs(scene: Scene) -> list[Piece]:
    found = [
        one
        for one in scene.answer["lab_questions"]
        if (scene.touched(one) or _of_result(scene, one)) and not scene.said(one) and not _asked_of_all(scene, one)
    ]
    if not found:
        return []
    # What the cautions are about first.
    watched = {lab for one in scene.shown() for lab in one["monitoring"]}
    found.sort(key=lambda one: (PRIORITIES.index(one["priority"]), one["lab"] not in watched))
    names = [scene.wording.lab_name(one["lab"], one["display"]) for one in found]
    piece = Piece("none", scene.wording.listing("labs", "labs_counted", names), [], "labs")
    _add_labs(scene, piece, found)
    return [piece]


def _of_result(scene: Scene, question: Item) -> bool:
    """Whether the answer to it would change what is said of an abnormal result."""
    leading = (one for one in scene.shown() if one["category"] == "lab_result" and not scene.beside(one))
    codes = {code for one in leading for code in one["codes"]}
    return not codes.isdisjoint(question["would_change"])


def _asked_of_all(scene: Scene, question: Item) -> bool:
    """Whether only a caution asks for it that every such order brings, or one that is beside the point."""
    quiet = [one for one in scene.answer["cautions"] if scene.alone(one) or _beside_the_point(scene, one)]
    return set(marks_of([question])) <= set(marks_of(quiet))


def _add_labs(scene: Scene, piece: Piece, questions: Sequence[Item]) -> None:
    if not questions:
        return
    scene.say(questions)
    words = scene.words["laboratory_order"]
    asked = {one["lab"] for one in questions}
    within = {lab: by for lab, by in words["reported_with"].items() if {lab, by} <= asked}
    for one in questions:
        if one["lab"] in within:
            continue
        together = [other for other in questions if within.get(other["lab"]) == one["lab"]]
        piece.parts.tests.append(scene.wording.lab(one, together))
        if one["loinc"] is not None and scene.subject.patient is not None:
            label = scene.wording.label("lab", lab=one["display"])
            order = laboratory_order(words, one, scene.wording.label("lab_note", timing=one["timing"]), scene.subject)
            action = {"type": "create", "description": label, "resource": order}
            piece.proposals.append(Proposal(label, [action], marks_of([one, *together])))
    piece.rules += marks_of(questions)
    piece.evidence += _evidence(questions)
    piece.any_of_them = True


def _missing(scene: Scene) -> list[Piece]:
    """An order that rules speak of, where nothing could be said for want of data."""
    about = [one for key in ("follow_up_questions", "advice") for one in scene.answer[key] if scene.touched(one)]
    held = scene.unchecked()
    if not held or not (about or any(one.agents for one in scene.considered)):
        return []
    rules = [RuleMark(one["id"], one["version"]) for hold in held for one in hold["rules"]]
    missing = scene.places({pointer for hold in held for pointer in hold["missing"]})
    summary = scene.wording.listing("missing", "missing_counted", missing)
    return [Piece("none", summary, list(dict.fromkeys(rules)), "caution")]


def _patient_view(scene: Scene) -> list[Piece]:
    """At most one: something urgent, a high-risk combination, or an abnormal result; otherwise silence."""
    if scene.chart.deceased:
        return []
    urgent = _urgent(scene)
    if urgent:
        return urgent
    found = [one for one in scene.answer["cautions"] if _speaks(scene, one)]
    if not found:
        return []
    found += _doubted_values(scene, found)
    piece = _of_cautions(scene, _ranked(scene, found))
    rules = set(marks_of(found))
    labs = [
        one
        for one in scene.answer["lab_questions"]
        if one["priority"] == "urgent" or rules & set(marks_of([one])) or _of_result(scene, one)
    ]
    _add_labs(scene, piece, labs)
    return [piece]


def _speaks(scene: Scene, caution: Item) -> bool:
    """Whether it is worth interrupting someone who only opened a chart."""
    words = scene.words["patient_view"]
    severe = caution["severity"] in words["always"]
    if caution["category"] not in words["categories"]:
        # A risk is one of a medicine and a condition, or of two medicines.
        risk = caution["severity"] in words["severities"] and not scene.in_doubt(caution)
        together = caution["category"] == "drug_interaction" or scene.listed.of(caution["agent"]) == "listed"
        if not (risk and (severe or together)):
            return False
    return severe or not scene.old(caution, words["results_within_days"])


def _doubted_values(scene: Scene, found: Sequence[Item]) -> list[Item]:
    """Doubts about the values that some cautions rest on."""
    seen = {pointer for one in found for pointer in pointers_of(one)}
    return [
        one
        for one in scene.answer["cautions"]
        if one["category"] == "data_quality"
        and one not in found
        and not scene.said(one)
        and seen & set(pointers_of(one))
    ]


def _of_cautions(scene: Scene, found: Sequence[Item]) -> Piece:
    scene.say(found)
    wording = scene.wording
    first = found[0]
    firm = [one for one in found if not (_not_taken(scene, one) or scene.alone(one) or _beside_orders(scene, one))]
    shown = wording.several(found) if len(found) > 1 else wording.fitting(first["summary"], first["agent"])
    return Piece(
        min((one["severity"] for one in firm or found), key=SEVERITIES.index),
        shown,
        marks_of(found),
        "caution",
        Parts(
            cautions=list(found),
            doubts={id(one): scene.listed.of(one["agent"]) for one in found if scene.in_doubt(one)},
            headed=not shown.startswith(first["summary"]),
        ),
        _evidence(found),
        quiet=not firm,
    )


def _not_taken(scene: Scene, caution: Item) -> bool:
    """Whether a list of medicines was read, and what it speaks of is not in it."""
    return scene.in_doubt(caution) and scene.listed.of(caution["agent"]) == "not_listed"


def _beside_orders(scene: Scene, caution: Item) -> bool:
    """Whether it is mild and speaks of a result, and not of what is ordered."""
    return bool(scene.considered) and caution["severity"] in scene.words["mild"] and not scene.touched(caution)


def _evidence(items: Iterable[Item]) -> list[Mapping[str, Any]]:
    return [one for item in items for ground in item["grounds"] for one in ground["evidence"]]
