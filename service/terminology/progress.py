"""A progress bar on a terminal; nothing where nobody is watching."""

from __future__ import annotations

from typing import TextIO

_WIDTH = 30


class Bar:
    """Draws how much of a file was read; a new line when it is done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._watched = stream.isatty()
        self._drawn: tuple[str, int] | None = None

    def __call__(self, name: str, done: int, total: int) -> None:
        """So much of the file is done."""
        percent = 100 * done // max(total, 1)
        if not self._watched or self._drawn == (name, percent):
            return
        self._drawn = (name, percent)
        filled = _WIDTH * percent // 100
        self._stream.write(f"\r{name:14}[{'#' * filled}{'.' * (_WIDTH - filled)}] {percent:3} %")
        if percent == 100:
            self._stream.write("\n")
        self._stream.flush()
