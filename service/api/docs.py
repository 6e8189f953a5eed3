"""GET /docs: the contract as a page to read and to try, with every asset served from here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from flask import Flask

from service.api.transport import Resource

_POLICY_HEADER = "Content-Security-Policy"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Cofactor: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui.js" defer></script>
<script src="docs/start.js" defer></script>
</head>
<body>
<main id="page"><noscript>This page needs JavaScript. The contract itself is at
<a href="openapi.json">openapi.json</a>.</noscript></main>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null
});
"""


_ASSETS = {
    "/swagger-ui.js": ("swagger_bundle.js", "text/javascript"),
    "/swagger-ui.css": ("swagger_style.css", "text/css"),
}
PRODUCES: Mapping[str, str] = {
    "docs": "text/html",
    "docs/start.js": "text/javascript",
    **{f"docs{path}": media_type for path, (_, media_type) in _ASSETS.items()},
}


def install(app: Flask) -> None:
    """Add the page and its assets to `app`."""
    pages = {"": Resource(_PAGE.encode(), _typed("text/html"), {_POLICY_HEADER: _POLICY})}
    pages["/start.js"] = Resource(_START.encode(), _typed("text/javascript"))
    for path, (file, media_type) in _ASSETS.items():
        pages[path] = Resource(_asset(file), _typed(media_type))
    for path, page in pages.items():
        app.add_url_rule(f"/docs{path}", f"docs{path}", page.response)


def _typed(media_type: str) -> str:
    return f"{media_type}; charset=utf-8"


def _asset(name: str) -> bytes:
    """A file of the package that ships Swagger UI; importing it would load all it has."""
    return Path(str(distribution("offapi").locate_file(f"offapi/{name}"))).read_bytes()
