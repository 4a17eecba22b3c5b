"""Small decisions that `create` and `exec` share: the size of a terminal, and how a missing executable is reported."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from .. import errors
from ..plan.code import EncodeError
from ..plan.steps.process import EXECUTE_ERRORS
from ..spec.process import Process
from .values import Terminal

_FIND = "find executable"
_EXECUTE = "exec "
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def terminal_size(process: Process, terminal: Terminal | None) -> tuple[int, int]:
    """Rows and columns: the caller's, else those of the Spec, else 0."""
    if terminal is not None and (terminal.rows or terminal.cols):
        return terminal.rows, terminal.cols
    size = process.console_size
    return (size.height, size.width) if size else (0, 0)


@contextlib.contextmanager
def named(process: Process, executable: str | None = None) -> Iterator[None]:
    """What was refused of the executable, its search and its execution, in the words that callers of runc look for."""
    try:
        yield
    except EncodeError as error:
        raise errors.SpecError("$", str(error)) from error
    except errors.StepError as error:
        name = executable or process.args[0]
        if str(error).startswith(_EXECUTE):
            reason = EXECUTE_ERRORS.get(error.errno, os.strerror(error.errno))
            raise errors.StepError(error.index, error.total, f"exec {name}", error.errno, reason) from error
        if not str(error).startswith(_FIND):
            raise
        reason = _why_not_found(name, error.errno)
        raise errors.StepError(error.index, error.total, f'exec: "{name}"', error.errno, reason) from error


def _why_not_found(name: str, number: int) -> str:
    if "/" not in name:
        return "executable file not found in $PATH" if number == errno.ENOENT else "permission denied"
    if number in _MISSING:
        return f"stat {name}: {os.strerror(number).lower()}"
    return "is a directory" if number == errno.EISDIR else "permission denied"
