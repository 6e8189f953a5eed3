"""openapi.yaml: written from the schemas, committed, and served as it is.

`render` needs apispec, which is there in development only; serving needs the file alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml
from marshmallow import RAISE, Schema

from service.api import hook_operations, operations
from service.api.answers import evaluation_answer
from service.api.schemas import evaluation_request
from service.api.strict import Items, StrictField, StrictSchema
from service.hooks.fields import Message, Named, OneOrMany, UpTo, UpToKeys
from service.knowledge import Rulebook
from service.knowledge.hooks_file import load_hooks

VERSION = "1.0.0"
HEADER = "# Written by `make openapi` from service/api; edit that, not this.\n"
EXAMPLES = Path(__file__).with_name("examples.yaml")
HOOK_EXAMPLES = Path(__file__).with_name("hook_examples.yaml")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def published(path: Path) -> bytes:
    """The committed contract as JSON."""
    return orjson.dumps(load(path))


def render(rulebook: Rulebook) -> str:
    """The contract as the schemas describe it now."""
    return HEADER + yaml.dump(document(rulebook), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def document(rulebook: Rulebook) -> dict[str, Any]:
    """The contract as data."""
    spec = _specification()
    schemas: Mapping[str, type[Schema]] = {
        "EvaluationRequest": evaluation_request(rulebook.vocabulary),
        "EvaluationAnswer": evaluation_answer(rulebook.vocabulary),
        **operations.SCHEMAS,
        **hook_operations.SCHEMAS,
    }
    for name, schema in schemas.items():
        spec.components.schema(name, schema=schema)
    for name, plain in hook_operations.PLAIN_SCHEMAS.items():
        spec.components.schema(name, dict(plain))
    for name, response in (*operations.problem_responses().items(), *hook_operations.responses().items()):
        spec.components.response(name, response)
    for name, scheme in hook_operations.SECURITY_SCHEMES.items():
        spec.components.security_scheme(name, dict(scheme))
    paths = {
        **operations.paths(load(EXAMPLES)),
        **hook_operations.paths(load_hooks(rulebook.folder, rulebook.vocabulary), load(HOOK_EXAMPLES)),
    }
    for path, methods in paths.items():
        spec.path(path, operations=methods)
    made = dict(spec.to_dict())
    return {"openapi": made.pop("openapi"), **made}


def load(path: Path) -> dict[str, Any]:
    """A YAML file of ours."""
    with path.open(encoding="utf-8") as file:
        loaded: dict[str, Any] = yaml.load(file, Loader=_LOADER)
    return loaded


class _Dumper(yaml.SafeDumper):
    """Writes every value out, however often it occurs, and indents lists."""

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """Paragraphs as a block, as people write them."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(str, _Dumper.represent_text)


def _specification() -> Any:
    from apispec import APISpec
    from apispec.ext.marshmallow import MarshmallowPlugin
    from apispec.ext.marshmallow.openapi import OpenAPIConverter

    class SelfDescribed(OpenAPIConverter):
        """Says of our fields and objects what they say of themselves."""

        def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
            parent: Any = super()  # apispec gives these two no types
            described: dict[str, Any] = parent.schema2jsonschema(schema)
            described["description"] = re.sub(r"\s+", " ", (schema.__doc__ or "").strip())
            if schema.unknown == RAISE:
                described["additionalProperties"] = False
            if isinstance(schema, StrictSchema | Message):
                described |= schema.constraints()
            return described

        def described_by_itself(self, field: Any, **_: Any) -> dict[str, Any]:
            if isinstance(field, StrictField):
                return field.json_schema()
            if isinstance(field, OneOrMany):
                parent: Any = super()
                item = parent.resolve_nested_schema(field.inner)
                return {"anyOf": [item, {"type": "array", "items": item}]}
            return field.limits() if isinstance(field, Items | Named | UpTo | UpToKeys) else {}

        def init_attribute_functions(self) -> None:
            parent: Any = super()
            parent.init_attribute_functions()
            # Ahead of the one for null, which adds to the type that is found here.
            self.attribute_functions.insert(-1, self.described_by_itself)

    class Plugin(MarshmallowPlugin):
        Converter = SelfDescribed

    return APISpec(
        title="Cofactor",
        version=VERSION,
        openapi_version="3.1.0",
        plugins=[Plugin(schema_name_resolver=_component)],
        info=dict(operations.INFO),
        servers=[{"url": "/"}],
        tags=operations.TAGS,
        security=[],
    )


def _component(schema: Any) -> str:
    made = schema if isinstance(schema, type) else type(schema)
    return str(made.__name__).lstrip("_")
