"""What several test files share: the rulebook and the application, each built once."""

from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.app import create_app
from service.knowledge import Rulebook, load_rulebook
from service.settings import Settings

TODAY = date(2026, 11, 21)
"""The day that the application under test takes for today."""


@pytest.fixture(scope="session")
def rulebook() -> Rulebook:
    """The knowledge as it is in the checkout."""
    return load_rulebook(Settings().rules)


@pytest.fixture(scope="session")
def app() -> Flask:
    """The service as it is served, on a fixed day."""
    return create_app(Settings(), clock=lambda: TODAY)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Sends requests to the service without a network."""
    return app.test_client()
