"""JSON text → values of this package. The only place that sees untyped data; errors name the JSON path."""

from __future__ import annotations

import _thread
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from .. import errors
from . import check
from .config import Spec
from .document import Document
from .linux import NamespaceType
from .process import Process
from .resources import Resources

_D = TypeVar("_D", bound=Document)
# msgspec (0.22) builds what it knows of a struct when that is first used, in everybody's sight: another thread that
# meets it half-built crashes the process. So one builds it, with all that it consists of, and the others wait.
_building = _thread.allocate_lock()
_built: set[type[Document]] = set()
_WHERE = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


def parse_spec(text: str | bytes) -> Spec:
    """Text of config.json → Spec, checked for contradictions; `SpecError` names the place."""
    spec = _without_idle_mappings(_parse(text, Spec))
    check.check_spec(spec)
    return spec


def _without_idle_mappings(spec: Spec) -> Spec:
    """Ids are mapped for a user namespace; without one nobody reads the mappings, as in runc and crun."""
    if any(namespace.type is NamespaceType.USER for namespace in spec.linux.namespaces):
        return spec
    return msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, uid_mappings=(), gid_mappings=()))


def parse_process(text: str | bytes) -> Process:
    """Text of process.json (`exec --process`) → Process."""
    process = _parse(text, Process)
    check.check_process(process, "$")
    return process


def parse_resources(text: str | bytes) -> Resources:
    """Text of `update --resources` → Resources."""
    return _parse(text, Resources)


def read_spec(bundle: str | os.PathLike[str], config: str = "config.json") -> Spec:
    """The Spec of a bundle directory, or of a file elsewhere (`config` as an absolute path).

    `NotFound` without it, HostError when it cannot be read; a SpecError names the file.
    """
    path = os.path.join(bundle, config)
    try:
        return parse_spec(_read_file(path))
    except FileNotFoundError as error:
        if not os.path.isdir(bundle):
            raise errors.NotFound(f"bundle {os.fspath(bundle)}: no such file or directory") from error
        raise errors.NotFound(f"JSON specification file {config} not found", hint=f"in {bundle}") from error
    except errors.SpecError as error:
        raise named_after(path, error) from error


def read_process(path: str) -> Process:
    """process.json (`exec --process`). Errors as of `read_spec`."""
    return _read_other(path, parse_process)


def read_resources(path: str) -> Resources:
    """The file of `update --resources`. Errors as of `read_spec`."""
    return _read_other(path, parse_resources)


def _read_other(path: str, parse: Callable[[bytes], _D]) -> _D:
    try:
        return parse(_read_file(path))
    except FileNotFoundError as error:
        raise errors.NotFound(f"read {path}: no such file or directory") from error
    except errors.SpecError as error:
        raise named_after(path, error) from error


def _read_file(path: str) -> bytes:
    """FileNotFoundError, and HostError for all that else is in the way."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise errors.HostError(f"read {path}: {(error.strerror or str(error)).lower()}") from error


def named_after(file: str, error: errors.SpecError) -> errors.SpecError:
    """The same error, with the name of the file that the document came from."""
    return errors.SpecError(error.path, error.problem, hint=error.hint, file=file)


def format_spec(spec: Document) -> bytes:
    """A value as JSON text, without members that have their default."""
    return msgspec.json.encode(spec)


def ensure_built(kind: type[Document]) -> None:
    """Any thread may convert to `kind` from now on; whoever does so without `parse_…` calls this first."""
    with _building:
        if kind not in _built:
            msgspec.json.Decoder(kind)
            _built.add(kind)


def _parse(text: str | bytes, kind: type[_D]) -> _D:
    ensure_built(kind)
    try:
        return msgspec.convert(_checked(_read_json(text), "$"), kind)
    except msgspec.ValidationError as error:
        raise _spec_error(str(error)) from error
    except ValueError as error:
        raise errors.SpecError("$", f"not JSON: {_reason(error)}") from error
    except RecursionError as error:
        raise errors.SpecError("$", "nested too deeply") from error


def _read_json(text: str | bytes) -> Any:
    """By Python's own parser what msgspec's does not take: it takes a little more, and says where a mistake is."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        import json  # with three patterns to compile

        return json.loads(text)


def _reason(error: ValueError) -> str:
    import json

    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    return "not UTF-8" if isinstance(error, UnicodeError) else "a number has too many digits"


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
