"""What a verb is: a module with these names. `main` finds it by name and knows nothing else of it.

SUMMARY    one line                          OPTIONS   table of options
USAGE      arguments after the options       ARGUMENTS how many, (least, most); most None: any number
run(context, arguments) -> exit status
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from .. import errors
from ..runtime import Container, Runtime, Spawned, Stdio
from ..spec.config import Spec
from ..spec.process import Process
from .log import Log
from .options import Arguments, Option

DEFAULT_ROOT = "/run/pilot"
DRIVERS = ("cgroupfs", "systemd", "disabled")


class Described(Protocol):
    """A plan, as far as a log is concerned."""

    def describe(self) -> str: ...


def nothing() -> None:
    """For a Context that has nothing to do at leisure."""


class Context(msgspec.Struct, frozen=True):
    """Global options, ready to use, and what is done with the caller's own process (`pilot.planner` has another)."""

    root: str
    cgroup_driver: str  # of DRIVERS
    debug: bool
    log: Log
    criu: str
    environment: Mapping[str, str]
    at_leisure: Callable[[], None] = nothing  # called once the work is done and only waiting is left
    root_is_named: bool = False  # by --root
    creator: str = ""  # goes into the Record of what is created: whose it is to undo

    def runtime(self) -> Runtime:
        self.require_root()
        return Runtime(
            self.root,
            cgroup_driver=self.cgroup_driver,
            environment=self.environment,
            on_warning=self.log.warning,
        )

    def containers(self) -> list[Container]:
        """All below the root; as in runc one that is damaged is told of, and hides no other."""
        return self.runtime().list(lambda id, error: self.log.warning(f"load container {id}: {error}"))

    def pid(self) -> int:
        """The caller's process."""
        return os.getpid()

    def write(self, text: str) -> None:
        """To the caller's stdout, at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def read_stdin(self) -> bytes:
        """All that the caller's stdin has."""
        return sys.stdin.buffer.read()

    def borrowed(self, numbers: Sequence[int]) -> tuple[int | None, ...]:
        """The caller's descriptors of these numbers; None for one that is not open."""
        return tuple(number if _is_open(number) else None for number in numbers)

    def log_plan(self, plan: Described) -> None:
        """Its steps, as lines of a log that has everything."""
        if self.debug:
            for line in plan.describe().splitlines():
                self.log.debug(f"plan: {line}")

    def require_root(self) -> None:
        """HostError for an ordinary user who has nowhere to keep the state of containers."""
        if self.root == DEFAULT_ROOT and os.geteuid() != 0:
            raise errors.HostError(
                f"user {os.geteuid()} has no run directory: XDG_RUNTIME_DIR is not set", hint="name one by --root"
            )

    def stdio(self, process: Process | None) -> Stdio:
        """The caller's descriptors; a terminal brings its own."""
        return Stdio() if process is not None and process.terminal else Stdio.inherited()

    def examine(self, spec: Spec) -> None:
        """Called with what a container is to be made from, before anything is made."""

    def commit(self) -> None:
        """Called before the process may do what cannot be taken back."""

    def window_size(self) -> tuple[int, int]:
        """Rows and columns of the terminal that the process is to have; zeros when stdin is none."""
        from . import foreground

        return foreground.window_size()

    def signals_held(self) -> AbstractContextManager[None]:
        """Signals wait until there is somebody to forward them to."""
        from . import foreground  # terminals and signals: for those who start something

        return foreground.signals_held()

    def prepare_terminal(self, process: Spawned) -> None:
        """Before it executes; nothing where no terminal is ours."""
        if process.master_fd is not None:
            from . import foreground

            foreground.prepare_terminal(process)

    def attend(self, runtime: Runtime, process: Spawned) -> int:
        """Serve the process in the foreground until it ends; its exit status."""
        from . import foreground

        self.at_leisure()
        return foreground.attend(runtime, process)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise
    return True


class Verb(Protocol):
    """See the module."""

    SUMMARY: str
    USAGE: str
    OPTIONS: tuple[Option, ...]
    ARGUMENTS: tuple[int, int | None]

    def run(self, context: Context, arguments: Arguments) -> int: ...
