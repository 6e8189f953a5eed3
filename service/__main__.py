"""``python -m service check | openapi [--check]``: what an author or CI asks of the knowledge."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.knowledge import KnowledgeError, Rulebook, load_rulebook
from service.settings import from_environment


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 only when there is nothing to mend."""
    parser = argparse.ArgumentParser(prog="cofactor", description="Check the rules, or write the API contract.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="read the rules, run every worked case")
    openapi = commands.add_parser("openapi", help="write openapi.yaml from the schemas")
    openapi.add_argument("--check", action="store_true", help="only compare; fail when it would change")
    options = parser.parse_args(arguments)
    settings = from_environment()
    try:
        rulebook = load_rulebook(settings.rules)
    except KnowledgeError as error:
        for fault in error.faults:
            print(f"{settings.rules.name}/{fault}", file=sys.stderr)
        print(f"{len(error.faults)} faults", file=sys.stderr)
        return 1
    if options.command == "check":
        return _check(rulebook)
    return _openapi(rulebook, settings.contract, options.check)


def _check(rulebook: Rulebook) -> int:
    from service.assessment.cases import check_cases

    faults = check_cases(rulebook)
    for fault in faults:
        print(f"rules/{fault}", file=sys.stderr)
    cases = sum(len(rule.cases) for rule in rulebook.rules.values())
    print(f"{len(rulebook.rules)} rules, {cases} cases, {len(faults)} faults; {rulebook.digest}")
    return 1 if faults else 0


def _openapi(rulebook: Rulebook, path: Path, only_compare: bool) -> int:
    from service.api.contract import render

    text = render(rulebook)
    if not only_compare:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.read_text(encoding="utf-8") != text:
        print(f"{path.name} is not what the schemas say; run: make openapi", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
