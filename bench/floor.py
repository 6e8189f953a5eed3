"""What is measured, and what it is measured against, under one gunicorn: ``/floor`` is an empty Flask endpoint."""

import orjson
from flask import Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from service.app import create_app


def empty_app() -> Flask:
    """JSON in, JSON out, nothing in between."""
    app = Flask("floor", static_folder=None)

    @app.post("/")
    def empty() -> Response:
        orjson.loads(request.get_data())
        return Response(orjson.dumps({"ok": True}), content_type="application/json")

    return app


app = DispatcherMiddleware(create_app(), {"/floor": empty_app()})
