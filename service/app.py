"""create_app(): the only place where the parts are wired together."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from flask import Flask

from service.api import contract, cors, docs, hooks, logs, outcomes, problems, transport, views
from service.api.gate import Gate
from service.assessment import Assessor
from service.hooks.discovery import default_hooks
from service.hooks.ids import SHORTEST_KEY
from service.hooks.replay import ReplayUnavailable, open_replay
from service.hooks.trust import Trust
from service.hooks.trust_file import load_trust
from service.knowledge import KnowledgeError, load_rulebook
from service.knowledge.hooks_file import Hooks, load_hooks
from service.settings import HookSettings, Settings, from_environment
from service.terminology import MedicationSearch, Recogniser, TerminologyError

_NO_SECRET = b"cofactor: ids of cards, sealed without a secret"

log = logging.getLogger("service.app")


def today() -> date:
    """The day in UTC; the only look at the clock that can reach an answer."""
    return datetime.now(UTC).date()


def create_app(settings: Settings | None = None, clock: Callable[[], date] = today) -> Flask:
    """The service, ready to answer. A bad rule, or a self-test that fails, stops it here."""
    settings = settings or from_environment()
    logs.configure(settings.log_level)
    # What whoever starts it may have mistyped comes before what takes its time.
    trust = _trust(settings.hooks)
    key = _key(settings.hooks.key_file)
    rulebook = load_rulebook(settings.rules)
    offered = load_hooks(settings.rules, rulebook.vocabulary)
    recogniser = Recogniser.of(rulebook, settings.terminology_directory, settings.terminology)
    assessor = Assessor(rulebook, recogniser)
    assessor.self_test()

    app = Flask("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = problems.LARGEST_BODY
    # A path has one spelling; no redirect, whose body would be HTML.
    app.url_map.merge_slashes = False
    problems.install(app, {hooks.ROOT: outcomes.outcome})
    logs.install(app)
    search = MedicationSearch(recogniser.store, rulebook)
    published = contract.published(settings.contract)
    views.install(app, views.Views(rulebook, assessor, search, published, clock))
    here = _installation(settings, offered, trust, key)
    may_share = cors.allows(settings.hooks.origins, this_machine=trust is None and not settings.hooks.anyone)
    hooks.install(app, hooks.HookViews(rulebook, offered, assessor, here, clock), may_share)
    docs.install(app)
    transport.install(app, {**views.PRODUCES, **docs.PRODUCES}, views.TAKES)
    return app


def _trust(settings: HookSettings) -> Trust | None:
    if settings.trust is None:
        if settings.anyone:
            log.warning("callers of CDS Hooks are not verified")
        return None
    try:
        if settings.replay == HookSettings.replay:
            Path(settings.replay).parent.mkdir(exist_ok=True)
        replay = open_replay(settings.replay)
    except (ReplayUnavailable, OSError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"CDS_HOOKS_REPLAY: the memory of used tokens cannot be opened ({cause})") from None
    trust = load_trust(settings.trust, replay)
    if settings.public_url is not None and settings.public_url != trust.public_url:
        raise ValueError(f"PUBLIC_URL is not the public_url of {settings.trust.name}")
    return trust


def _installation(settings: Settings, offered: Hooks, trust: Trust | None, key: bytes) -> hooks.Installation:
    here = settings.hooks
    own = here.public_url or f"http://127.0.0.1:{settings.port}"
    return hooks.Installation(
        enabled=here.hooks if here.hooks is not None else default_hooks(offered),
        public_url=trust.public_url if trust is not None else own,
        profile=here.profile,
        key=key,
        gate=Gate(trust, here.anyone),
    )


def _key(path: Path | None) -> bytes:
    if path is None:
        return _NO_SECRET
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"CDS_HOOKS_KEY_FILE cannot be read: {error.strerror}") from None
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"CDS_HOOKS_KEY_FILE must hold at least {SHORTEST_KEY} bytes")
    return key


def served() -> Flask:
    """What the server serves. Whoever started it with something amiss is told what, in plain lines."""
    try:
        return create_app()
    except (KnowledgeError, TerminologyError, ValueError) as error:
        sys.exit(f"cofactor: {error}")
