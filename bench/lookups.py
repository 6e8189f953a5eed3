"""How fast medications are looked up, and what a worker needs for it: the built-in table beside one of full size."""

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

TURNS = 3
_RSS = ("RssAnon", "RssFile")

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def main() -> None:
    """Measure both tables, each in processes of its own, taking turns; medians, and the ratio between them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_release(folder)
        rulebook = load_rulebook(Settings().rules)
        start = time.perf_counter()
        import_release(rulebook, folder, folder / "full.sqlite", sys.stderr)
        print(f"full-size import: {time.perf_counter() - start:.1f} s")
        built_in, full = [], []
        for _ in range(TURNS):
            built_in.append(_measured(""))
            full.append(_measured(str(folder / "full.sqlite")))
        _show(built_in, full)


def _measured(chosen: str) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, "-m", "bench.lookups", "measure", chosen], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(run.stdout)
    return found


def _show(built_in: list[dict[str, float]], full: list[dict[str, float]]) -> None:
    print(f"\n{'':34}{'built-in':>11}{'full size':>11}{'ratio':>8}")
    for name, digits in (
        ("names /s", 0),
        ("codes /s", 0),
        ("misspelt names /s", 0),
        ("type-ahead /s", 0),
        ("opened in, ms", 1),
        ("on disk, MiB", 1),
        ("own memory per worker, MiB", 1),
        ("file in the page cache, MiB", 1),
    ):
        mine = statistics.median(one[name] for one in built_in)
        theirs = statistics.median(one[name] for one in full)
        ratio = statistics.median(two[name] / one[name] for one, two in zip(built_in, full, strict=True))
        print(f"{name:34}{mine:11.{digits}f}{theirs:11.{digits}f}{ratio:8.2f}")


def measure(chosen: str) -> dict[str, float]:
    """Look-ups per second, the median of some rounds, and memory of this process."""
    rulebook = load_rulebook(Settings().rules)
    open_terminology(rulebook, Settings().terminology_directory)
    before = _memory()
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
        "names /s": _rate([lambda one=one: recogniser.recognise(one) for one in names]),
        "codes /s": _rate([lambda one=one: recogniser.recognise(one) for one in codes]),
        "misspelt names /s": _rate([lambda one=one: recogniser.recognise(one) for one in wrong]),
        "type-ahead /s": _rate([lambda one=one: search.find(one) for one in typed]),
    }
    after = _memory()
    return {
        **result,
        "opened in, ms": 1e3 * opened,
        "on disk, MiB": recogniser.store.path.stat().st_size / (1 << 20),
        "own memory per worker, MiB": (after["RssAnon"] - before["RssAnon"]) / 1024,
        "file in the page cache, MiB": (after["RssFile"] - before["RssFile"]) / 1024,
    }


def _names(rulebook: Rulebook, store: Store) -> list[str]:
    known = [drug.display for drug in rulebook.vocabulary.drugs.values()]
    longer = store.spellings(6)
    known += longer[:: max(1, len(longer) // 500)]
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


def _memory() -> dict[str, int]:
    """Resident memory of this process in KiB: its own, and what it shares with every process that reads the file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if name in _RSS}


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
