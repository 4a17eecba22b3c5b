"""volumed, kept running (`supervised`).

It lives in its own cgroup, `pilot-<tag>/volumed`, beside the machines' and under no limit of theirs: a daemon that
serves a filesystem must never wait for memory that only its writers can free. It goes there itself, before it forks
anything. One of another build is replaced, while disks stay attached: their
workers outlive it, and the next one renews them. One that was started with other options is refused: a disk would not
be where the command line says that it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from .. import errors
from ..volume.client import VolumeClient
from . import supervised

_OF = "--state-dir"
_PROGRAM = (sys.executable, "-P", "-m", "pilot.volume.volumed.daemon", _OF)


class Volumed(supervised.Supervised):
    """Of one state directory."""

    def __init__(self, state_dir: str, tag: str, options: Sequence[str] = ()) -> None:
        super().__init__("volumed", os.path.join(state_dir, "volumed.sock"), os.path.join(state_dir, "volumed.log"))
        self._state_dir = state_dir
        self._options = list(options)
        self._group = f"/pilot-{tag}/volumed"
        self._client = VolumeClient(self.socket_path, timeout_s=supervised.READY_TIMEOUT_S)

    def _launch(self, log_fd: int) -> subprocess.Popen[bytes]:
        with supervised.joining(self._group) as (joins, environment):
            return subprocess.Popen(
                [*_PROGRAM, self._state_dir, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
                pass_fds=joins,
                env=environment,
            )

    def _why_not(self, pid: int) -> str | None:
        if self._is_old():
            return "it is of another build"
        if self._differs(pid):
            raise errors.StateError(
                f"use volumed {pid}: it was started with another store, durability or cache size",
                hint=f"start pilotd with the same options, or end volumed first: kill -TERM {pid}; machines run on",
            )
        return None

    def _is_old(self) -> bool:
        try:
            return not self._client.is_of_this_build()
        except errors.PeerError:
            return False  # it is ending, and whoever watches it starts the next one

    def _differs(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="surrogateescape").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            arguments = []
        # None at all: it is ending, and whoever watches it starts the next one.
        return bool(arguments) and options_of(arguments) != self._options

    def stop(self) -> None:
        """Stop watching, end volumed, remove its cgroup. Only when no volume is attached any more."""
        was_running = self.find() is not None
        super().stop()
        if was_running:
            supervised.remove_group(self._group)


def options_of(arguments: Sequence[str]) -> list[str] | None:
    """What comes after the state directory, however Python was told to run it; None for another program."""
    return list(arguments[arguments.index(_OF) + 2 :]) if _OF in arguments else None
