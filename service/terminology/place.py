"""Where the built table lies: found by its digest, built where it is missing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TextIO

from service.knowledge import Rulebook
from service.terminology.build import build_built_in, build_imported, vocabulary_digest
from service.terminology.errors import TerminologyError
from service.terminology.progress import Bar
from service.terminology.store import Store


def open_terminology(rulebook: Rulebook, directory: Path | None = None, chosen: Path | None = None) -> Store:
    """The imported table that was ``chosen``, else the one of the rules, built now unless it is there.

    Raises TerminologyError.
    """
    folder = rulebook.folder / "terminology"
    wanted = vocabulary_digest(rulebook.vocabulary, folder)
    if chosen is not None:
        if not chosen.is_file():
            raise TerminologyError(f"{chosen}: there is no such file; make it with: cofactor terminology import")
        store = Store(chosen)
        if store.vocabulary != wanted:
            raise TerminologyError(f"{chosen}: was imported for other rules; import it again")
        return store
    name = f"terminology-{_edition(wanted)}.sqlite"
    place = directory or rulebook.folder.parent / "var"
    # A directory that can only be read may hold one that was built before.
    if not (place / name).is_file() and not _writable(place):
        place = _private_directory()
    path = place / name
    if path.is_file():
        try:
            return Store(path)
        except TerminologyError:
            pass  # left by something that is not us: made anew below
    build_built_in(rulebook.vocabulary, folder, path)
    return Store(path)


def import_release(rulebook: Rulebook, release: Path, path: Path, stream: TextIO) -> Store:
    """Build the full table at ``path`` from an official release, and open it. Raises TerminologyError."""
    build_imported(rulebook.vocabulary, rulebook.folder / "terminology", release, path, Bar(stream))
    return Store(path)


def _edition(vocabulary: str) -> str:
    """Of what it is built from and of what builds it."""
    total = hashlib.sha256(vocabulary.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:32]


def _writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK)


def _private_directory() -> Path:
    """A directory for temporary files that nobody else can put anything into."""
    place = Path(tempfile.gettempdir()) / f"cofactor-{os.getuid()}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
        if found.st_uid == os.getuid() and not found.st_mode & 0o077 and place.is_dir() and not place.is_symlink():
            return place
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="cofactor-"))
