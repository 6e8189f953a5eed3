"""Whether what EHRs are asked for and told in ``fhir/`` is what the rest of the rules can read and knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl

from service.knowledge.errors import Fault
from service.knowledge.fhir_map import FhirMap
from service.knowledge.vocabulary import Vocabulary
from service.knowledge.yaml_file import Document, KeyPath

_STATUSES: Mapping[str, Mapping[str, str]] = {
    "Observation": {"status": "Observation"},
    "MedicationRequest": {"status": "MedicationRequest", "intent": "intent"},
    "MedicationStatement": {"status": "MedicationStatement"},
    "Condition": {"clinical-status": "clinical"},
}
"""By resource type and search parameter: which list of ``resources.yaml`` says what is used."""

_CODE_SYSTEMS: Mapping[KeyPath, str] = {
    ("laboratory_order", "code_system"): "loinc",
    ("laboratory_order", "category", "system"): "snomed",
    ("medication_order", "code_system"): "rxnorm",
}


def service_faults(document: Document, data: Mapping[str, Any], fhir: FhirMap) -> Iterator[Fault]:
    """What ``services.yaml`` asks for and is not read, or would be left out as soon as it came."""
    read = {**fhir.labs_of_key, **fhir.resources_of_key}
    asked = {**data["prefetch"], **data["combined"]}
    for key in sorted(set(read) - set(asked)):
        yield document.fault(("prefetch",), f"prefetch: {key!r} is read, and nothing asks for it")
    for section in ("prefetch", "combined"):
        for key, one in data[section].items():
            if key not in read:
                yield document.fault((section, key), f"{section}.{key}: is not a key that is read")
                continue
            for message in _query_faults(key, one["query"], fhir):
                yield document.fault((section, key, "query"), f"{section}.{key}.query: {message}")
            for word in one.get("stands_for", ()):
                labs = fhir.labs_of_key.get(word)
                if word in data["prefetch"] and (labs is None or not labs <= fhir.labs_of_key.get(key, frozenset())):
                    path: KeyPath = (section, key, "stands_for")
                    yield document.fault(path, f"{section}.{key}.stands_for: what {word!r} brings is not read here")


def _query_faults(key: str, query: str, fhir: FhirMap) -> Iterator[str]:
    searched, _, search = query.partition("?")
    kind = searched.partition("/")[0]
    wanted = fhir.resources_of_key.get(key, frozenset({"Observation"}))
    if kind not in wanted:
        yield f"brings {kind}, and {' or '.join(sorted(wanted))} is read under this key"
        return
    parameters = parse_qsl(search)
    for name, values in parameters:
        table = _STATUSES.get(kind, {}).get(name)
        for value in values.split(",") if table is not None else ():
            if table is not None and value.rpartition("|")[2] not in fhir.statuses[table].used:
                yield f"asks for the {name} {value!r}, which is not used"
    if key in fhir.labs_of_key:
        yield from _code_faults(fhir.labs_of_key[key], parameters, fhir)


def _code_faults(labs: frozenset[str], parameters: list[tuple[str, str]], fhir: FhirMap) -> Iterator[str]:
    """Of a query for results: every code is one that is read under its key, and used."""
    names = [name for name, _ in parameters]
    if not {"code", "code:in"} & set(names) and labs != {one.lab for one in fhir.results.values()}:
        yield "names no code, so results that are not read here could fill the answer"
    if "code:in" in names:
        yield "names a set of codes that nothing here can be held against"
    for coding in ",".join(value for name, value in parameters if name == "code").split(","):
        system, _, code = coding.rpartition("|")
        found = fhir.results.get(code)
        if coding and fhir.systems.get(system) != "loinc":
            yield f"{coding!r} is not a LOINC code with its system"
        elif coding and (found is None or found.lab not in labs):
            yield f"{code} is not a code that observations.yaml reads under this key"
        elif found is not None and found.only_shown:
            yield f"{code} is only shown, and its value is never used"


def card_faults(document: Document, data: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[Fault]:
    """What ``cards.yaml`` names and the vocabulary does not have."""

    def fault(path: KeyPath, message: str) -> Fault:
        return document.fault(path, f"{'.'.join(map(str, path))}: {message}")

    named: Mapping[KeyPath, Iterable[str]] = {
        ("laboratory_order", "not_laboratory"): data["laboratory_order"]["not_laboratory"],
        ("laboratory_order", "reported_with"): chain(*data["laboratory_order"]["reported_with"].items()),
        ("lab_names",): data["lab_names"],
        **{
            ("results_of_interest", agent, place): labs
            for agent, places in data["results_of_interest"].items()
            for place, labs in places.items()
        },
    }
    for path, labs in named.items():
        for lab in labs:
            if lab not in vocabulary.labs:
                yield fault(path, f"{lab!r} is no lab")
    for agent, classes in data["agents"].items():
        for word in classes:
            if word not in vocabulary.drug_classes:
                yield fault(("agents", agent), f"{word!r} is no drug class")
    for path, name in _CODE_SYSTEMS.items():
        value: Any = data
        for part in path:
            value = value[part]
        if value != vocabulary.fhir.addresses[name]:
            yield fault(path, f"is not the address that resources.yaml gives {name}")
    for table in vocabulary.fhir.statuses.values():
        for reason in sorted({*table.out.values(), "status_unknown"} - set(data["notes"])):
            yield fault(("notes",), f"has no words for {reason!r}, which resources.yaml gives as a reason")
