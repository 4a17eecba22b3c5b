"""A compose file as values that know their place in it. YAML of version 1.2: `on` is a text, and so is `22:22`."""

from __future__ import annotations

import importlib

from ....errors import HostError, SpecError
from . import interpolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, NoReturn

# Aliases may name what is written once a thousand times over.
MOST_VALUES = 20_000
MOST_DEPTH = 32
MOST_BYTES = 4 << 20
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_NUMBERS = "tag:yaml.org,2002:"


class Item:
    """A value: None, a bool, a text (numbers are as they were written), a list, or a mapping by text."""

    __slots__ = ("file", "line", "path", "value")

    def __init__(self, value: Any, path: str, line: int, file: str) -> None:
        self.value = value
        self.path = path
        self.line = line
        self.file = file

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        raise SpecError(self.path or "$", problem, hint=hint, file=f"{self.file}:{self.line}")

    @property
    def is_nothing(self) -> bool:
        return self.value is None

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    def text(self) -> str:
        """Also of a number or a bool, as it would be written."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if not isinstance(self.value, str):
            self.refuse("a text is wanted")
        return self.value

    def boolean(self) -> bool:
        text = self.text()
        if text not in _TRUE | _FALSE:
            self.refuse(f"{text!r} is neither true nor false")
        return text in _TRUE

    def number(self, least: int, most: int) -> int:
        text = self.text()
        if not (text.isascii() and text.isdecimal() and len(text) < 16 and least <= int(text) <= most):
            self.refuse(f"{text[:50]!r} is no number from {least} to {most}")
        return int(text)

    def items(self) -> list[Item]:
        """Of a list; nothing has none."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.refuse("a list is wanted")
        return list(self.value)

    def mapping(self) -> dict[str, Item]:
        """Nothing has none."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.refuse("a mapping is wanted")
        return dict(self.value)

    def check_keys(self, known: frozenset[str]) -> dict[str, Item]:
        """The mapping; `SpecError` for another key. Those that begin with `x-` are everybody's own."""
        found = {key: each for key, each in self.mapping().items() if not key.startswith("x-")}
        for key, each in found.items():
            if key not in known:
                each.refuse("is not there", hint=f"known: {', '.join(sorted(known))}")
        return found


def read(data: bytes, file: str, environment: Mapping[str, str]) -> Item:
    """`SpecError`. `file` is for what is said of it."""
    yaml = _yaml(file)
    if len(data) > MOST_BYTES:
        raise SpecError("$", f"more than {MOST_BYTES} bytes", file=file)
    try:
        node = yaml.compose(data.decode(), _loader(yaml))
    except UnicodeDecodeError as error:
        raise SpecError("$", "it is no UTF-8", file=file) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{file}:{mark.line + 1}" if mark is not None else file
        raise SpecError("$", f"it is no YAML: {error.problem}", file=place) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError("$", f"it is no YAML: {str(error).splitlines()[0]}", file=file) from error
    if node is None:
        raise SpecError("$", "there is nothing in it", file=file)
    return _Values(yaml, file, environment).item(node, "", 0)


def is_text(text: str) -> bool:
    """Also to others: what is UTF-8, and without NUL. What comes of this host's files and variables may be neither."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _yaml(file: str) -> Any:
    try:
        return importlib.import_module("yaml")
    except ImportError as error:
        raise HostError(f"read {file}: there is no PyYAML here", hint="pip install pyyaml") from error


def _loader(yaml: Any) -> Any:
    """PyYAML's safe one, of whose guesses at plain scalars only null, bools and merges are taken."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012
            "<": [(f"{_NUMBERS}merge", _Merge())],
        }

    return Loader


class _Merge:
    """As a compiled expression, to PyYAML."""

    def match(self, text: str) -> bool:
        return text == "<<"


class _Values:
    """Nodes of one file to values."""

    def __init__(self, yaml: Any, file: str, environment: Mapping[str, str]) -> None:
        self._yaml = yaml
        self._file = file
        self._environment = environment
        self._count = 0

    def item(self, node: Any, path: str, depth: int) -> Item:
        made = Item(None, path, node.start_mark.line + 1, self._file)
        self._count += 1
        if self._count > MOST_VALUES or depth > MOST_DEPTH:
            made.refuse(f"more than {MOST_VALUES} values, or {MOST_DEPTH} of them within each other")
        if isinstance(node, self._yaml.ScalarNode):
            made.value = self._scalar(node, made)
        elif isinstance(node, self._yaml.SequenceNode):
            self._check_tag(node, made, "seq")
            made.value = [self.item(each, f"{path}[{number}]", depth + 1) for number, each in enumerate(node.value)]
        else:
            self._check_tag(node, made, "map")
            made.value = self._mapping(node, made, depth)
        return made

    def _check_tag(self, node: Any, place: Item, *known: str) -> None:
        if node.tag not in {f"{_NUMBERS}{each}" for each in known}:
            place.refuse(f"the tag {node.tag} is not there")

    def _scalar(self, node: Any, place: Item) -> Any:
        self._check_tag(node, place, "str", "null", "bool", "int", "float", "merge")
        if node.style is None and node.tag == f"{_NUMBERS}str":
            if node.value in _NULLS:
                return None
            if node.value in _TRUE | _FALSE:
                return node.value in _TRUE
        try:
            text = interpolation.interpolated(node.value, self._environment)
        except interpolation.Wrong as error:
            place.refuse(str(error))
        if not is_text(text):
            place.refuse("it has a NUL in it, or a variable's bytes that are no UTF-8")
        return text

    def _mapping(self, node: Any, place: Item, depth: int) -> dict[str, Item]:
        found: dict[str, Item] = {}
        merged: list[dict[str, Item]] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_NUMBERS}merge":
                merged += self._merged(value_node, place, depth)
                continue
            if not isinstance(key_node, self._yaml.ScalarNode):
                place.refuse("a key that is no text")
            key = str(key_node.value)
            value = self.item(value_node, f"{place.path}.{key}".lstrip("."), depth + 1)
            value.line = key_node.start_mark.line + 1
            if key in found:
                value.refuse("is said twice")
            found[key] = value
        for each in merged:
            found = {**each, **found}
        return found

    def _merged(self, node: Any, place: Item, depth: int) -> Iterator[dict[str, Item]]:
        nodes = node.value if isinstance(node, self._yaml.SequenceNode) else [node]
        for each in nodes:
            if not isinstance(each, self._yaml.MappingNode):
                place.refuse("<< of what is no mapping")
            yield self.item(each, place.path, depth + 1).mapping()
