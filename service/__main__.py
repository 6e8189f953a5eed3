"""What ``python -m service`` can do: check, openapi, integrating, terminology build, terminology import."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.knowledge import KnowledgeError, Rulebook, load_rulebook
from service.knowledge.hooks_file import Hooks, load_hooks
from service.settings import HOME, Settings, from_environment
from service.terminology import TerminologyError

INTEGRATING = HOME / "docs" / "integrating.md"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 only when there is nothing to mend."""
    parser = argparse.ArgumentParser(
        prog="cofactor", description="Check the rules, write the API contract, or build the table of medications."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="read the rules, run every worked case")
    openapi = commands.add_parser("openapi", help="write openapi.yaml from the schemas")
    openapi.add_argument("--check", action="store_true", help="only compare; fail when it would change")
    integrating = commands.add_parser("integrating", help="write what follows the rules in docs/integrating.md")
    integrating.add_argument("--check", action="store_true", help="only compare; fail when it would change")
    terminology = commands.add_parser("terminology", help="the table of medications").add_subparsers(
        dest="action", required=True
    )
    terminology.add_parser("build", help="build the table of the rules, unless it is there")
    importing = terminology.add_parser("import", help="build the full table from an official RxNorm release")
    importing.add_argument("release", type=Path, help="the folder with RXNCONSO.RRF, RXNREL.RRF and RXNSAT.RRF")
    importing.add_argument("--output", type=Path, help="where to write it; TERMINOLOGY, or var/rxnorm.sqlite")
    options = parser.parse_args(arguments)
    settings = from_environment()
    try:
        rulebook = load_rulebook(settings.rules)
        hooks = load_hooks(settings.rules, rulebook.vocabulary)
    except KnowledgeError as error:
        for fault in error.faults:
            print(f"{settings.rules.name}/{fault}", file=sys.stderr)
        print(f"{len(error.faults)} faults", file=sys.stderr)
        return 1
    if options.command == "check":
        return _check(rulebook, hooks)
    if options.command == "terminology":
        release = options.release if options.action == "import" else None
        return _terminology(rulebook, settings, release, getattr(options, "output", None))
    if options.command == "integrating":
        return _integrating(rulebook, hooks, INTEGRATING, options.check)
    return _openapi(rulebook, settings.contract, options.check)


def _check(rulebook: Rulebook, hooks: Hooks) -> int:
    from service.api.schemas import refused_cases
    from service.assessment.cases import check_cases

    try:
        faults = [*refused_cases(rulebook), *check_cases(rulebook)]
    except TerminologyError as error:
        print(f"rules/terminology/{error}", file=sys.stderr)
        return 1
    for fault in faults:
        print(f"rules/{fault}", file=sys.stderr)
    cases = sum(len(rule.cases) for rule in rulebook.rules.values())
    offered = f"{len(hooks.services)} hook services, {len(hooks.prefetch) + len(hooks.combined)} queries"
    codes = f"{len(rulebook.vocabulary.fhir.results)} LOINC codes"
    print(f"{len(rulebook.rules)} rules, {cases} cases, {offered}, {codes}, {len(faults)} faults; {rulebook.digest}")
    return 1 if faults else 0


def _terminology(rulebook: Rulebook, settings: Settings, release: Path | None, output: Path | None) -> int:
    from service.terminology import import_release, open_terminology

    try:
        if release is None:
            store = open_terminology(rulebook, settings.terminology_directory)
        else:
            path = output or settings.terminology or settings.terminology_directory / "rxnorm.sqlite"
            store = import_release(rulebook, release, path, sys.stderr)
    except (TerminologyError, OSError) as error:
        print(f"terminology: {error}", file=sys.stderr)
        return 1
    print(f"{store.path}: {store.release.release}, {store.release.source}; {store.release.digest}")
    return 0


def _openapi(rulebook: Rulebook, path: Path, only_compare: bool) -> int:
    from service.api.contract import render

    return _written(path, render(rulebook), only_compare, "is not what the schemas say; run: make openapi")


def _integrating(rulebook: Rulebook, hooks: Hooks, path: Path, only_compare: bool) -> int:
    from service.hooks.sheet import render

    try:
        text = render(path.read_text(encoding="utf-8"), hooks, rulebook.vocabulary)
    except ValueError as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return 1
    return _written(path, text, only_compare, "is not what the rules say; run: make docs")


def _written(path: Path, text: str, only_compare: bool, complaint: str) -> int:
    if not only_compare:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.read_text(encoding="utf-8") != text:
        print(f"{path.name} {complaint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
