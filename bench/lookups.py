"""How fast medications are looked up, and what a worker needs for it: the built-in table, and one of full size."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from service.knowledge import Rulebook, load_rulebook
from service.settings import Settings
from service.terminology import MedicationSearch, Recogniser, Store, import_release, open_terminology
from service.terminology.rrf import COLUMNS, CONSO, REL, SAT

SECONDS = 0.5
ROUNDS = 5
INGREDIENTS, BRANDS, PRODUCTS = 14_000, 10_000, 96_000
"""Of a release of full size: about 120,000 concepts."""

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def main() -> None:
    """Measure both tables, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_release(folder)
        rulebook = load_rulebook(Settings().rules)
        start = time.perf_counter()
        import_release(rulebook, folder, folder / "full.sqlite", sys.stderr)
        print(f"full-size import: {time.perf_counter() - start:.1f} s")
        for title, path in (("built-in", ""), ("full size", str(folder / "full.sqlite"))):
            run = subprocess.run(
                [sys.executable, "-m", "bench.lookups", "measure", path], check=True, capture_output=True, text=True
            )
            _show(title, json.loads(run.stdout))


def _show(title: str, found: dict[str, float]) -> None:
    print(f"\n{title}: {found['mebibytes']:.1f} MiB on disk, opened in {found['open_ms']:.1f} ms")
    print(f"  resident per worker {found['resident_kib'] / 1024:8.1f} MiB more than without it")
    for name in ("name", "code", "unrecognised", "type-ahead"):
        print(f"  {name:19}{found[name]:9.0f} /s{1e6 / found[name]:9.1f} us")


def measure(chosen: str) -> dict[str, float]:
    """Look-ups per second, the median of some rounds, and memory of this process."""
    rulebook = load_rulebook(Settings().rules)
    open_terminology(rulebook, Settings().terminology_directory)
    before = _resident()
    start = time.perf_counter()
    recogniser = Recogniser.of(rulebook, Settings().terminology_directory, Path(chosen) if chosen else None)
    opened = time.perf_counter() - start
    search = MedicationSearch(recogniser.store, rulebook)
    names = [{"name": f"{one} 50 mg oral tablet"} for one in _names(rulebook, recogniser.store)]
    codes = [
        {"code": {"system": RXNORM, "code": drug.rxnorm}} for drug in rulebook.vocabulary.drugs.values() if drug.rxnorm
    ]
    wrong = [{"name": one["name"][1:3] + one["name"][0] + one["name"][3:]} for one in names]
    typed = [one["name"][:3] for one in names]
    result = {
        "name": _rate([lambda one=one: recogniser.recognise(one) for one in names]),
        "code": _rate([lambda one=one: recogniser.recognise(one) for one in codes]),
        "unrecognised": _rate([lambda one=one: recogniser.recognise(one) for one in wrong]),
        "type-ahead": _rate([lambda one=one: search.find(one) for one in typed]),
    }
    size = recogniser.store.path.stat().st_size / (1 << 20)
    return {**result, "resident_kib": _resident() - before, "mebibytes": size, "open_ms": 1e3 * opened}


def _names(rulebook: Rulebook, store: Store) -> list[str]:
    known = [drug.display for drug in rulebook.vocabulary.drugs.values()]
    known += [one.shown for one in store.names(6)][:: max(1, len(store.names(6)) // 500)]
    random.Random(1).shuffle(known)
    return known[:1000]


def _rate(calls: list[Callable[[], object]]) -> float:
    """Calls per second."""
    rates = []
    for _ in range(ROUNDS):
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS / ROUNDS:
            calls[done % len(calls)]()
            done += 1
        rates.append(done / (time.perf_counter() - start))
    return statistics.median(rates)


def _resident() -> int:
    """Resident memory of this process in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise OSError("no VmRSS")


def write_release(folder: Path) -> None:
    """Three files in the shape of a release, with made-up names."""
    dice = random.Random(1)
    syllables = [a + b for a in "bcdfglmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "ol", "ir")]

    def word() -> str:
        return "".join(dice.choice(syllables) for _ in range(dice.randint(3, 6)))

    def rows() -> Iterator[tuple[str, str, str]]:
        for number in range(INGREDIENTS):
            yield str(5_000_000 + number), "IN", word()
        for number in range(BRANDS):
            yield str(6_000_000 + number), "BN", word().title()
        for number in range(PRODUCTS):
            yield str(7_000_000 + number), "SCD", f"{word()} {number} MG Oral Tablet"
        yield "317541", "DF", "Oral Tablet"

    def line(name: str, cells: dict[int, str]) -> str:
        return "|".join(cells.get(place, "") for place in range(COLUMNS[name])) + "|\n"

    with (folder / CONSO).open("w", encoding="utf-8") as file:
        for code, kind, name in rows():
            file.write(line(CONSO, {0: code, 1: "ENG", 11: "RXNORM", 12: kind, 13: code, 14: name, 16: "N"}))
    with (folder / REL).open("w", encoding="utf-8") as file:
        for number in range(BRANDS + PRODUCTS):
            code = str(6_000_000 + number if number < BRANDS else 7_000_000 + number - BRANDS)
            ingredient = str(5_000_000 + number % INGREDIENTS)
            relation = "tradename_of" if number < BRANDS else "has_ingredient"
            file.write(line(REL, {0: ingredient, 3: "RO", 4: code, 7: relation, 10: "RXNORM"}))
            if number >= BRANDS:
                file.write(line(REL, {0: "317541", 3: "RO", 4: code, 7: "has_dose_form", 10: "RXNORM"}))
    with (folder / SAT).open("w", encoding="utf-8") as file:
        file.write(line(SAT, {0: "5000000", 8: "RXN_HUMAN_DRUG", 9: "RXNORM", 10: "US"}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main()
