"""JSON text → values of this package. The only place that sees untyped data; errors name the JSON path."""

from __future__ import annotations

import json
import os
import re
from typing import Any, TypeVar

import msgspec

from .. import errors
from . import check
from .config import Spec
from .document import Document
from .process import Process
from .resources import Resources

_D = TypeVar("_D", bound=Document)
_WHERE = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


def parse_spec(text: str | bytes) -> Spec:
    """Text of config.json → Spec, checked for contradictions; `SpecError` names the place."""
    spec = _parse(text, Spec)
    check.check_spec(spec)
    return spec


def parse_process(text: str | bytes) -> Process:
    """Text of process.json (`exec --process`) → Process."""
    process = _parse(text, Process)
    check.check_process(process, "$")
    return process


def parse_resources(text: str | bytes) -> Resources:
    """Text of `update --resources` → Resources."""
    return _parse(text, Resources)


def read_spec(bundle: str | os.PathLike[str]) -> Spec:
    """The Spec of a bundle directory; `NotFound` without config.json."""
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            return parse_spec(file.read())
    except FileNotFoundError as error:
        raise errors.NotFound(f"JSON specification file {path} not found") from error


def format_spec(spec: Document) -> bytes:
    """A value as JSON text, without members that have their default."""
    return msgspec.json.encode(spec)


def _parse(text: str | bytes, kind: type[_D]) -> _D:
    try:
        return msgspec.convert(_checked(json.loads(text), "$"), kind)
    except msgspec.ValidationError as error:
        raise _spec_error(str(error)) from error
    except ValueError as error:
        raise errors.SpecError("$", f"not JSON: {error}") from error
    except RecursionError as error:
        raise errors.SpecError("$", "nested too deeply") from error


def _spec_error(text: str) -> errors.SpecError:
    match = _WHERE.match(text)
    assert match is not None  # the pattern matches every text
    problem = match["problem"]
    return errors.SpecError(match["path"] or "$", problem[:1].lower() + problem[1:].replace("`", ""))


def _checked(value: Any, path: str) -> Any:
    """The value without nulls, and with nothing that the kernel could not be told."""
    if isinstance(value, dict):
        return {_checked(k, path): _checked(v, f"{path}.{k}") for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_checked(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise errors.SpecError(path, "not a number of 64 bits")
    return value


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        raise errors.SpecError(path, "contains a NUL byte")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise errors.SpecError(path, "not Unicode") from error
