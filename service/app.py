"""create_app(): the only place where the parts are wired together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime

from flask import Flask

from service.api import contract, docs, logs, problems, transport, views
from service.assessment import Assessor
from service.knowledge import KnowledgeError, load_rulebook
from service.settings import Settings, from_environment
from service.terminology import MedicationSearch, Recogniser, TerminologyError


def today() -> date:
    """The day in UTC; the only look at the clock that can reach an answer."""
    return datetime.now(UTC).date()


def create_app(settings: Settings | None = None, clock: Callable[[], date] = today) -> Flask:
    """The service, ready to answer. A bad rule, or a self-test that fails, stops it here."""
    settings = settings or from_environment()
    logs.configure(settings.log_level)
    rulebook = load_rulebook(settings.rules)
    recogniser = Recogniser.of(rulebook, settings.terminology_directory, settings.terminology)
    assessor = Assessor(rulebook, recogniser)
    assessor.self_test()

    app = Flask("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = problems.LARGEST_BODY
    # A path has one spelling; no redirect, whose body would be HTML.
    app.url_map.merge_slashes = False
    problems.install(app)
    logs.install(app)
    search = MedicationSearch(recogniser.store, rulebook)
    published = contract.published(settings.contract)
    views.install(app, views.Views(rulebook, assessor, search, published, clock))
    docs.install(app)
    transport.install(app, {**views.PRODUCES, **docs.PRODUCES}, views.TAKES)
    return app


def served() -> Flask:
    """What the server serves. Whoever started it with something amiss is told what, in plain lines."""
    try:
        return create_app()
    except (KnowledgeError, TerminologyError, ValueError) as error:
        sys.exit(f"cofactor: {error}")
