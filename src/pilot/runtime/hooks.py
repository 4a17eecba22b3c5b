"""Hooks that run in the runtime namespace: prestart, createRuntime, poststart, poststop.

Each is a child of ours with the container's state on stdin and nothing else of ours but stdout and stderr, which are
kept for the error text. createContainer and startContainer run inside and are steps of the Program.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from .. import errors
from ..spec.config import Hook

_KEPT_OUTPUT = 4096


def run_all(kind: str, hooks: Iterable[Hook], state: bytes) -> None:
    """Run them in their order; `HostError` at the first that fails or outlives its timeout."""
    for index, hook in enumerate(hooks):
        _run(f"error running {kind} hook #{index}", hook, state)


def run_all_and_collect(kind: str, hooks: Iterable[Hook], state: bytes) -> list[str]:
    """Run them all, whatever happens to each; what went wrong, as texts. For poststart and poststop."""
    problems = []
    for index, hook in enumerate(hooks):
        try:
            _run(f"error running {kind} hook #{index}", hook, state)
        except errors.PilotError as error:
            problems.append(str(error))
    return problems


def warn(problems: list[str]) -> None:
    """The specification: log, and continue."""
    if problems:
        import logging  # takes longer to load than a container takes to start

        for problem in problems:
            logging.getLogger(__name__).warning("%s", problem)


def _run(what: str, hook: Hook, state: bytes) -> None:
    import subprocess  # not for those who have no hooks

    try:
        done = subprocess.run(
            list(hook.args) or [hook.path],
            executable=hook.path,
            # As runc does: a hook without `env` sees the environment of the runtime.
            env=dict(item.partition("=")[::2] for item in hook.env) if hook.env else dict(os.environ),
            input=state,
            capture_output=True,
            timeout=hook.timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise errors.HostError(f"{what}: {hook.path}: not done after {hook.timeout} s") from error
    except OSError as error:
        raise errors.HostError(f"{what}: {hook.path}: {error.strerror}") from error
    if done.returncode != 0:
        raise errors.HostError(
            f"{what}: {_reason(done.returncode)}, stdout: {_text(done.stdout)}, stderr: {_text(done.stderr)}"
        )


def _reason(code: int) -> str:
    return f"exit status {code}" if code > 0 else f"signal {-code}"


def _text(output: bytes) -> str:
    return output[-_KEPT_OUTPUT:].decode(errors="replace").strip()
