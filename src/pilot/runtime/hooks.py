"""Hooks that run in the runtime namespace: prestart, createRuntime, poststart, poststop.

What became of each decides; `hook_process` runs one. createContainer and startContainer run inside and are steps of the
Program.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping

import msgspec

from .. import errors
from ..kernel.waiter import ExitStatus, Waiter
from ..spec.config import Hook

_KEPT_OUTPUT = 4096


class Runner(msgspec.Struct, frozen=True):
    """Who clones and waits for hooks, the environment of those that bring none, and who hears of warnings."""

    waiter: Waiter
    environment: Mapping[str, str]
    on_warning: Callable[[str], None]

    def run_all(self, kind: str, hooks: Iterable[Hook], state: bytes) -> None:
        """Run them in their order; `HostError` at the first that fails or outlives its timeout."""
        for index, hook in enumerate(hooks):
            self._run(f"error running {kind} hook #{index}", hook, state)

    def run_all_and_warn(self, kind: str, hooks: Iterable[Hook], state: bytes) -> None:
        """Run them all, whatever happens to each; what went wrong is told (the specification: log, and continue)."""
        for index, hook in enumerate(hooks):
            try:
                self._run(f"error running {kind} hook #{index}", hook, state)
            except errors.PilotError as error:
                self.on_warning(str(error))

    def _run(self, what: str, hook: Hook, state: bytes) -> None:
        from . import hook_process  # not for those who have no hooks

        try:
            status, stdout, stderr = hook_process.run(hook, state, self.environment, self.waiter)
        except TimeoutError as error:
            raise errors.HostError(
                f"{what}: {hook.path}: hook ran past specified timeout of {hook.timeout:.1f}s"
            ) from error
        except errors.StepError as error:
            raise errors.HostError(f"{what}: {hook.path}: {os.strerror(error.errno).lower()}") from error
        if status.code != 0:
            raise errors.HostError(f"{what}: {_reason(status)}, stdout: {_text(stdout)}, stderr: {_text(stderr)}")


def warn_by_logging(text: str) -> None:
    """For those who have no better place."""
    import logging  # takes longer to load than a container takes to start

    logging.getLogger(__name__).warning("%s", text)


def _reason(status: ExitStatus) -> str:
    if status.code is not None:
        return f"exit status {status.code}"
    return f"signal: {signal.strsignal(status.signal or 0) or status.signal}".lower()


def _text(output: bytes) -> str:
    return output[-_KEPT_OUTPUT:].decode(errors="replace").strip()
