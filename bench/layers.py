"""Where the time of one evaluation goes, layer by layer, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from service.api.decode import decode
from service.api.schemas import RequestReader
from service.assessment import Assessor
from service.knowledge import load_rulebook
from service.settings import Settings

ROUNDS = 15
REPEATS = 60


def measure(path: Path) -> dict[str, float]:
    """Microseconds of each layer for one request body."""
    rulebook = load_rulebook(Settings().rules)
    assessor = Assessor(rulebook)
    reader = RequestReader(rulebook.vocabulary)
    body = path.read_bytes()
    parsed = decode(body)
    today = date(2026, 11, 21)
    request = reader.read(parsed, today)
    picture = assessor.painter.paint(request)
    outcomes = assessor.outcomes(picture)
    answer = assessor.compose(picture, outcomes)
    layers: dict[str, Callable[[], Any]] = {
        "parse": lambda: decode(body),
        "validate": lambda: reader.read(parsed, today),
        "picture": lambda: assessor.painter.paint(request),
        "engine": lambda: assessor.engine.evaluate(picture.low, picture.high),
        "second evaluator": lambda: assessor.second(picture.low, picture.high),
        "answer": lambda: assessor.compose(picture, outcomes),
        "encode": lambda: orjson.dumps(answer),
    }
    return fastest(layers)


def fastest(layers: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Microseconds of each: the fastest of several interleaved rounds."""
    best = dict.fromkeys(layers, float("inf"))
    for _ in range(ROUNDS):
        for name, call in layers.items():
            start = time.perf_counter()
            for _ in range(REPEATS):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / REPEATS * 1e6)
    return best
