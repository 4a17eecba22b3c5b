"""What verbs do with the caller's own process, when they are carried out here: see `cli.verb.Context`."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec

from ..cli.verb import Context
from ..kernel import probe
from ..plan.facts import HostFacts
from ..runtime import Runtime, Spawned, Stdio
from ..spec.config import Spec
from ..spec.process import Process
from .caller import Caller
from .messages import Loss

# What these name depends on who looks.
_OWN = ("/proc/self", "/proc/thread-self", "/dev/fd", "/dev/std", "/dev/tty")


@functools.cache
def facts() -> HostFacts:
    """Of where this process is, which does not move once it has asked."""
    return probe.probe_host()


class Cold(Exception):
    """This command line is for the Python command line; nothing of it has been done."""


class CallersContext(Context, frozen=True, kw_only=True):
    """Global options, and the caller. `failure` is what the verb's command exits with when it cannot do it."""

    caller: Caller
    failure: int
    creator: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))
    output: io.StringIO = msgspec.field(default_factory=io.StringIO)

    def runtime(self) -> Runtime:
        self.require_root()
        return Runtime(
            self.root,
            waiter=self.caller,
            cgroup_driver=self.cgroup_driver,
            facts=facts(),
            asker=self.caller.pid,
            environment=self.environment,
            on_warning=self.log.warning,
        )

    def pid(self) -> int:
        return self.caller.pid

    def write(self, text: str) -> None:
        """The caller's process prints it in the end, so that it is printed once and never waits for here."""
        self.output.write(text)

    def read_stdin(self) -> bytes:
        with open(os.dup(self.caller.stdio_fds[0]), "rb") as stdin:
            return stdin.read()

    def borrowed(self, numbers: Sequence[int]) -> tuple[int | None, ...]:
        if not numbers:
            return ()
        try:
            return tuple(self.caller.fetch(numbers[0], len(numbers)))
        except OSError:  # there are holes: which?
            return tuple(self._borrowed(number) for number in numbers)

    def _borrowed(self, number: int) -> int | None:
        try:
            return self.caller.fetch(number, 1)[0]
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return None

    def examine(self, spec: Spec) -> None:
        """Cold for paths that would be another's here."""
        paths = [spec.root.path] if spec.root else []
        paths += [mount.source for mount in spec.mounts]
        paths += [namespace.path for namespace in spec.linux.namespaces]
        if any(map(is_own, paths)):
            raise Cold

    def stdio(self, process: Process | None) -> Stdio:
        return Stdio(*self.caller.stdio_fds)

    def window_size(self) -> tuple[int, int]:
        """Who asks has a terminal to serve, which is the command line's work."""
        raise Cold

    def signals_held(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()  # the caller's process holds them

    def commit(self) -> None:
        self.caller.begin(Loss.GIVE_UP, self.failure)

    def attend(self, runtime: Runtime, process: Spawned) -> int:
        try:
            return self.caller.attend(process).exit_code()
        finally:
            process.close()


def is_own(path: str) -> bool:
    """Whether a path means something else in another process."""
    return os.path.normpath(path).startswith(_OWN)
