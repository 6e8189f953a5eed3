"""The table of names: how it is built from the rules, found again, and made from an official release."""

import io
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from service.__main__ import main
from service.knowledge import Rulebook, load_rulebook
from service.settings import Settings, from_environment
from service.terminology import Recogniser, Store, TerminologyError, import_release, open_terminology
from service.terminology.rrf import COLUMNS, CONSO, REL, SAT

RULES = Settings().rules
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def test_the_tables_are_small_and_say_where_they_come_from() -> None:
    folder = RULES / "terminology"
    assert sum(path.stat().st_size for path in folder.glob("*.tsv")) < 2_000_000
    for name in ("ingredients", "brands", "combinations", "products"):
        head = "".join((folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[:2])
        assert "RxNorm" in head, name
        assert "public domain" in head, name
    synonyms = [line.split("\t") for line in (folder / "synonyms.tsv").read_text(encoding="utf-8").splitlines()]
    assert sum(row[1:2] == ["synonym"] for row in synonyms) >= 150


@pytest.fixture
def changed(rulebook: Rulebook, tmp_path: Path) -> Rulebook:
    """The same rules, with tables of names that a test may change."""
    folder = tmp_path / "rules"
    shutil.copytree(RULES / "terminology", folder / "terminology")
    return replace(rulebook, folder=folder)


def test_it_is_built_once_and_found_again(rulebook: Rulebook, tmp_path: Path) -> None:
    store = open_terminology(rulebook, tmp_path / "var")
    (path,) = (tmp_path / "var").iterdir()
    assert path == store.path
    written = path.stat().st_mtime_ns
    assert open_terminology(rulebook, tmp_path / "var").path.stat().st_mtime_ns == written


def _open(folder: Path) -> str:
    return open_terminology(load_rulebook(RULES), folder).release.digest


def test_several_processes_may_build_it_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        digests = pool.map(_open, [tmp_path] * 4)
    assert len(set(digests)) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".sqlite"]


def test_a_directory_that_cannot_be_written(
    rulebook: Rulebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a private one for temporary files; and a planted one is not used."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    store = open_terminology(rulebook, tmp_path / "file" / "var")
    assert store.path.parent == tmp_path / f"cofactor-{os.getuid()}"
    assert store.path.parent.stat().st_mode & 0o077 == 0
    store.path.parent.chmod(0o777)
    other = open_terminology(rulebook, tmp_path / "file" / "var")
    assert other.path.parent != store.path.parent


def test_a_file_that_is_none_of_ours_is_replaced(rulebook: Rulebook, tmp_path: Path) -> None:
    path = open_terminology(rulebook, tmp_path).path
    path.write_bytes(b"this is no database, but it is long enough to look like one" * 100)
    assert open_terminology(rulebook, tmp_path).name("levothyroxine") is not None


def test_it_is_read_only_and_each_thread_and_process_has_its_own(rulebook: Rulebook, tmp_path: Path) -> None:
    store = open_terminology(rulebook, tmp_path)
    first = store._connection()
    assert store._connection() is first
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        first.execute("DELETE FROM name")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            same = store._connection() is first
            found = store.name("levothyroxine") is not None
            os.write(writer, b"shared" if same else b"own" if found else b"nothing")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 100) == b"own"
    os.close(reader)
    os.waitpid(child, 0)


def test_a_changed_name_makes_another_table(changed: Rulebook, tmp_path: Path) -> None:
    before = open_terminology(changed, tmp_path).path
    with (changed.folder / "terminology" / "synonyms.tsv").open("a", encoding="utf-8") as file:
        file.write("Zzyzx\tbrand\tlevothyroxine\n")
    recogniser = Recogniser.of(changed, tmp_path)
    assert recogniser.store.path != before
    assert recogniser.recognise({"name": "Zzyzx 10"}).ingredients == {"levothyroxine"}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("synonyms", "\tfurosemide\n", "\tfurosemyde\n", r"synonyms\.tsv:\d+: .*furosemyde"),
        ("synonyms", "\tgeneral\tlithium carb", "\tgeneral\tlithum carb", r"synonyms\.tsv:\d+: .*lithum"),
        ("brands", "code\tname", "code\tnames", r"brands\.tsv:3: the columns"),
        ("ingredients", "\tIN\t", "\t", r"ingredients\.tsv:4: must have 5 columns"),
    ],
)
def test_a_wrong_table_is_refused(
    changed: Rulebook, tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    path = changed.folder / "terminology" / f"{name}.tsv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TerminologyError, match=message):
        open_terminology(changed, tmp_path)
    assert not list(tmp_path.glob("*.sqlite"))


def test_a_missing_table_is_refused(changed: Rulebook, tmp_path: Path) -> None:
    (changed.folder / "terminology" / "brands.tsv").unlink()
    with pytest.raises(TerminologyError, match=r"brands\.tsv: cannot be read"):
        open_terminology(changed, tmp_path)


def test_settings(tmp_path: Path) -> None:
    found = from_environment({"TERMINOLOGY": "/some/table.sqlite", "TERMINOLOGY_DIR": str(tmp_path)})
    assert (found.terminology, found.terminology_directory) == (Path("/some/table.sqlite"), tmp_path)
    assert from_environment({"TERMINOLOGY": ""}).terminology is None


# An official release, in small: made-up names in the real shape.

CONCEPTS = [
    ("9000001", "IN", "zorbafloxacin"),
    ("9000002", "IN", "quuxapril"),
    ("10582", "IN", "levothyroxine"),
    ("9000003", "PIN", "zorbafloxacin hydrochloride"),
    ("9000004", "BN", "Zorbexia"),
    ("9000005", "SCDC", "zorbafloxacin 100 MG"),
    ("9000006", "SCDF", "zorbafloxacin Oral Tablet"),
    ("9000007", "SCD", "zorbafloxacin 100 MG Oral Tablet"),
    ("9000008", "SBD", "zorbafloxacin 100 MG Oral Tablet [Zorbexia]"),
    ("9000009", "SBDF", "zorbafloxacin Oral Tablet [Zorbexia]"),
    ("9000010", "MIN", "quuxapril / zorbafloxacin"),
    ("9000011", "SCD", "quuxapril 5 MG / zorbafloxacin 1 MG/ML Ophthalmic Solution"),
    ("9000012", "GPCK", "{10 (zorbafloxacin 100 MG Oral Tablet) } Pack"),
    ("9000013", "BPCK", "{10 (zorbafloxacin 100 MG Oral Tablet [Zorbexia]) } Pack [Zorbexia Week]"),
    ("9000014", "SCDG", "zorbafloxacin Oral Product"),
    ("9000015", "IN", "barkomycin"),
    ("317541", "DF", "Oral Tablet"),
    ("7000073", "DF", "Ophthalmic Solution"),
]
RELATIONS = [
    ("9000003", "form_of", "9000001"),
    ("9000004", "tradename_of", "9000001"),
    ("9000005", "has_ingredient", "9000001"),
    ("9000005", "has_precise_ingredient", "9000003"),
    ("9000006", "has_ingredient", "9000001"),
    ("9000007", "consists_of", "9000005"),
    ("9000007", "isa", "9000006"),
    ("9000007", "has_dose_form", "317541"),
    ("9000008", "tradename_of", "9000007"),
    ("9000008", "has_ingredient", "9000004"),
    ("9000008", "has_dose_form", "317541"),
    ("9000009", "tradename_of", "9000006"),
    ("9000010", "has_part", "9000001"),
    ("9000010", "has_part", "9000002"),
    ("9000011", "has_ingredients", "9000010"),
    ("9000011", "has_dose_form", "7000073"),
    ("9000012", "contains", "9000007"),
    ("9000013", "contains", "9000008"),
    ("9000014", "has_ingredient", "9000001"),
    ("9000016", "has_ingredient", "9000002"),
    ("9000016", "has_dose_form", "317541"),
    ("9000017", "has_ingredient", "9000002"),
]
"""The first has this relation to the second."""

INVERSE = {
    "form_of": "has_form", "tradename_of": "has_tradename", "has_ingredient": "ingredient_of", "isa": "inverse_isa",
    "has_precise_ingredient": "precise_ingredient_of", "consists_of": "constitutes", "has_dose_form": "dose_form_of",
    "has_part": "part_of", "has_ingredients": "ingredients_of", "contains": "contained_in",
}  # fmt: skip


def line(name: str, cells: dict[int, str]) -> str:
    return "|".join(cells.get(place, "") for place in range(COLUMNS[name])) + "|\n"


def conso(code: str, kind: str, name: str, source: str = "RXNORM", suppress: str = "N") -> str:
    return line(CONSO, {0: code, 1: "ENG", 11: source, 12: kind, 13: code, 14: name, 16: suppress, 17: "4096"})


def rel(to: str, relation: str, of: str, source: str = "RXNORM") -> str:
    return line(REL, {0: to, 2: "CUI", 3: "RO", 4: of, 6: "CUI", 7: relation, 10: source})


def write_release(folder: Path, both_ways: bool = True) -> Path:
    """A small release. In a real one the row of "A has_ingredient B" has B first; both directions are there."""
    folder.mkdir(parents=True)
    (folder / CONSO).write_text(
        "".join(conso(*one) for one in CONCEPTS)
        + conso("9000001", "PSN", "zorba tablet")
        + conso("9000099", "IN", "someone else's name", source="MTHSPL")
        + conso("9000016", "SCD", "quuxapril 5 MG Oral Tablet", suppress="O")
        + conso("9000017", "SCD", "quuxapril 9 MG Oral Tablet", suppress="Y"),
        encoding="utf-8",
    )
    rows = [rel(second, relation, first) for first, relation, second in RELATIONS] if both_ways else []
    rows += [rel(first, INVERSE[relation], second) for first, relation, second in RELATIONS]
    rows.append(rel("9000002", "has_ingredient", "9000007", source="VANDF"))
    # Relations between atoms have no codes of concepts.
    rows.append(line(REL, {1: "11", 5: "12", 7: "has_ingredient", 10: "RXNORM"}))
    (folder / REL).write_text("".join(rows), encoding="utf-8")
    attributes = [("9000015", "RXN_VET_DRUG"), ("9000001", "RXN_VET_DRUG"), ("9000001", "RXN_HUMAN_DRUG")]
    (folder / SAT).write_text(
        "".join(line(SAT, {0: code, 8: name, 9: "RXNORM", 10: "US"}) for code, name in attributes), encoding="utf-8"
    )
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "RxNorm_full_10062025" / "rrf")


def imported(rulebook: Rulebook, release: Path) -> Store:
    return import_release(rulebook, release, release.parent / "full.sqlite", io.StringIO())


@pytest.mark.parametrize("both_ways", [True, False], ids=["as in a release", "the other direction only"])
def test_import(rulebook: Rulebook, tmp_path: Path, both_ways: bool) -> None:
    store = imported(rulebook, write_release(tmp_path / "RxNorm_full_10062025" / "rrf", both_ways))
    assert (store.release.release, store.release.source) == ("RxNorm 2025-10-06", "imported")
    recogniser = Recogniser.of(rulebook, chosen=store.path)

    def code(number: int) -> tuple[set[str], str | None]:
        found = recogniser.recognise({"code": {"system": RXNORM, "code": str(number)}})
        return set(found.ingredients), found.route

    zorba, quux = "rxnorm:9000001", "rxnorm:9000002"
    assert code(10582) == ({"levothyroxine"}, None)
    for number in (9000001, 9000003, 9000004, 9000005, 9000006, 9000014):
        assert code(number) == ({zorba}, None), number
    for number in (9000007, 9000008, 9000012, 9000013):
        assert code(number) == ({zorba}, "oral"), number
    assert code(9000009) == ({zorba}, None)
    assert code(9000010) == ({zorba, quux}, None)
    assert code(9000011) == ({zorba, quux}, "ophthalmic")
    # Of what is obsolete the ingredients stay known; what the editors suppress is none, nor what is for animals.
    assert code(9000016) == ({quux}, "oral")
    assert code(9000015) == code(9000017) == code(9000099) == (set(), None)
    for text in ("Zorbexia 100 mg", "zorbafloxacin hydrochloride", "ZORBAFLOXACIN tab"):
        assert recogniser.recognise({"name": text}).ingredients == {zorba}
    assert recogniser.recognise({"name": "quuxapril / zorbafloxacin"}).ingredients == {zorba, quux}
    # The rules' own names stay, and what the release does not have.
    assert recogniser.recognise({"name": "Synthroid"}).ingredients == {"levothyroxine"}
    assert recogniser.recognise({"name": "zorbafloxacine"}).unread[0].did_you_mean == ("zorbafloxacin",)
    assert store.ingredient(zorba) == ("zorbafloxacin", "9000001")


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], int]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no names": (lambda folder: (folder / CONSO).unlink(), r"RXNCONSO\.RRF: the file is missing"),
    "no relations": (lambda folder: (folder / REL).unlink(), r"RXNREL\.RRF: the file is missing"),
    "no attributes": (lambda folder: (folder / SAT).unlink(), r"RXNSAT\.RRF: the file is missing"),
    "an empty file": (edit(SAT, lambda data: b""), r"RXNSAT\.RRF:1: the file is empty"),
    "a column too few": (
        edit(CONSO, lambda data: data.replace(b"9000002|ENG|", b"9000002|", 1)),
        r"RXNCONSO\.RRF:2: has 17 columns, not 18",
    ),
    "a column too many": (
        edit(REL, lambda data: data.replace(b"\n", b"|\n", 1)), r"RXNREL\.RRF:1: has 17 columns, not 16",
    ),
    "a torn last line": (edit(REL, lambda data: data[:-9]), r"RXNREL\.RRF:\d+: the line is cut off"),
    "a last line without an end": (edit(CONSO, lambda data: data[:-1]), r"RXNCONSO\.RRF:\d+: the line is cut off"),
    "no rows of RxNorm": (
        edit(CONSO, lambda data: data.replace(b"RXNORM", b"MTHSPL")), r"RXNCONSO\.RRF: no ingredient of RxNorm",
    ),
    "no relations of RxNorm": (
        edit(REL, lambda data: data.replace(b"RXNORM", b"MTHSPL")), r"RXNREL\.RRF: no relation of RxNorm",
    ),
    "a code that is none": (
        edit(CONSO, lambda data: data.replace(b"9000002|", b"C9000002|", 1)),
        r"RXNCONSO\.RRF:2: a row .* without a code",
    ),
    "bytes that are no text": (
        edit(CONSO, lambda data: data.replace(b"quux", b"\xff\xfe", 1)), r"RXNCONSO\.RRF:2: .*UTF-8",
    ),
    "another sort of file": (edit(CONSO, lambda data: b"RXCUI,NAME\n1,2\n"), r"RXNCONSO\.RRF:1: the line is cut off"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_import_refuses(rulebook: Rulebook, release: Path, name: str) -> None:
    """One line, with the file and where in it; and what was there before stays."""
    path = release.parent / "full.sqlite"
    path.write_bytes(b"what was there before")
    change, message = WRONG[name]
    change(release)
    with pytest.raises(TerminologyError, match=message) as refusal:
        imported(rulebook, release)
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == b"what was there before"
    assert [one.name for one in release.parent.iterdir() if one.is_file()] == ["full.sqlite"]


def test_the_command_refuses_in_one_line(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / REL).unlink()
    assert main(["terminology", "import", str(release), "--output", str(release.parent / "other.sqlite")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"terminology: {release / REL}: the file is missing; a release has it in its folder rrf"
    ]


def test_the_progress_bar_is_for_people(rulebook: Rulebook, release: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    import_release(rulebook, release, release.parent / "full.sqlite", terminal)
    import_release(rulebook, release, release.parent / "full.sqlite", pipe)
    assert pipe.getvalue() == ""
    for name in COLUMNS:
        assert f"{name:14}[{'#' * 30}] 100 %\n" in terminal.getvalue()


def test_an_imported_table_of_other_rules_is_refused(rulebook: Rulebook, release: Path, changed: Rulebook) -> None:
    store = imported(rulebook, release)
    with (changed.folder / "terminology" / "words.tsv").open("a", encoding="utf-8") as file:
        file.write("zzz\tmaker\n")
    with pytest.raises(TerminologyError, match="import it again"):
        open_terminology(changed, chosen=store.path)
    with pytest.raises(TerminologyError, match="there is no such file"):
        open_terminology(rulebook, chosen=release / "nowhere.sqlite")
    with pytest.raises(TerminologyError, match="is no terminology"):
        open_terminology(rulebook, chosen=release / CONSO)


def test_the_command(release: Path, tmp_path: Path) -> None:
    """Import, then serve with it."""
    run = [sys.executable, "-m", "service", "terminology"]
    environment = {**os.environ, "TERMINOLOGY": str(tmp_path / "full.sqlite"), "TERMINOLOGY_DIR": str(tmp_path)}
    for command in (["build"], ["import", str(release)]):
        done = subprocess.run([*run, *command], env=environment, check=True, capture_output=True, text=True)
        assert (done.stderr, len(done.stdout.splitlines())) == ("", 1)
    served = (
        "from service.app import create_app;"
        "print(create_app().test_client().get('/v1/knowledge').get_json()['terminology']['source'])"
    )
    environment["LOG_LEVEL"] = "error"
    done = subprocess.run([sys.executable, "-c", served], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "imported\n"


def test_a_word_of_an_unknown_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With file and line, and as a fault of `check`, not as a traceback."""
    rules = Path(shutil.copytree(RULES, tmp_path / "rules"))
    path = rules / "terminology" / "words.tsv"
    lines = path.read_text(encoding="utf-8").count("\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("foozle\tblah\n")
    monkeypatch.setattr("service.__main__.from_environment", lambda: Settings(rules=rules))
    assert main(["check"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"rules/terminology/words.tsv:{lines + 1}: the kind 'blah' is not known")
