"""Read one YAML file strictly, and remember the line of every key.

Numbers become ``int`` or exact ``Decimal``, dates ``date``; only ``true`` and ``false`` are booleans, so that
``no`` or ``on`` stay words. A repeated key, an anchor or a tag is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.composer import Composer

from service.knowledge.errors import Fault, KnowledgeError

KeyPath = tuple[str | int, ...]

_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Document:
    """The content of a file with the line of each key in it."""

    file: str
    data: Any
    lines: dict[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def fault(self, path: KeyPath, message: str) -> Fault:
        """A fault at a key of this document."""
        return Fault(self.file, self.line(path), message)


def read_document(path: Path, name: str) -> Document:
    """Read a file; ``name`` is how messages call it. Raises KnowledgeError."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = str(getattr(error, "problem", error))
        message = problem if isinstance(error, _Refused) else f"not YAML: {problem}"
        raise KnowledgeError([Fault(name, line, message)]) from error
    except UnicodeDecodeError as error:
        raise KnowledgeError([Fault(name, 1, "not UTF-8")]) from error
    if node is None:
        raise KnowledgeError([Fault(name, 1, "the file is empty")])
    reader = _Reader(name)
    data = reader.value(node, ())
    if reader.faults:
        raise KnowledgeError(reader.faults)
    return Document(name, data, reader.lines)


class _Refused(yaml.MarkedYAMLError):
    """YAML that these files do not use."""


class _Loader(Composer, yaml.CSafeLoader):
    """What a reader sees is what counts: nothing stands elsewhere under a name, nothing is read as another type.

    The events come from libyaml, which is eight times as fast as the parser in Python.
    """

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = cast(Any, self).peek_event()
        found = ""
        if isinstance(event, yaml.AliasEvent):
            found = f"an alias is not allowed: *{event.anchor}"
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            found = f"an anchor is not allowed: &{event.anchor}"
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            found = f"a tag is not allowed: {event.tag}"
        if found:
            raise _Refused(problem=found, problem_mark=cast(Any, event.start_mark))
        return super().compose_node(parent, index)


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {}
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(Fault(self.name, line, "a key must be a word"))
                continue
            key = key_node.value
            if key in result:
                self.faults.append(Fault(self.name, line, f"the key {key!r} stands twice"))
            self.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return Decimal(text)
        if _DATE.fullmatch(text):
            try:
                return date.fromisoformat(text)
            except ValueError:
                self.faults.append(Fault(self.name, node.start_mark.line + 1, f"no such day: {text}"))
        return text
