"""The daemons of networks (the resolver, the connectors), kept running (`supervised`).

One that was started with other options is ended and started anew: what it knows is in files, and what it has pinned is
in the kernel. Each has a cgroup of its own, `pilot-<tag>/<name>`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from ... import errors
from .. import supervised
from . import control

_MODULES = {
    control.RESOLVER: "pilot.host.network.resolver.main",
    control.CONNECTORS: "pilot.host.network.connectors.main",
}


class Supervisor(supervised.Supervised):
    """Of one directory of what machines have; `group` is its cgroup, `who` one of `control`'s."""

    def __init__(
        self, directory: str, options: Sequence[str], log_path: str, group: str, who: str = control.RESOLVER
    ) -> None:
        super().__init__(who, control.socket_path(directory, who), log_path)
        self._who = who
        self._directory = directory
        self._group = group
        self._arguments = ["--directory", directory, *options]

    def _launch(self, log_fd: int) -> subprocess.Popen[bytes]:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with supervised.joining(self._group) as (joins, environment):
            return subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULES[self._who], *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
                pass_fds=joins,
                env=environment,
            )

    def stop(self) -> None:
        """Stop watching, end it, remove its cgroup."""
        super().stop()
        supervised.remove_group(self._group)

    def _why_not(self, pid: int) -> str | None:
        try:
            answer = control.ask(self._directory, control.Question("settings"), self._who)
            is_same = msgspec.json.decode(answer, type=list[str]) == self._arguments
        except (errors.PilotError, *errors.UNREADABLE):
            return "it does not say with which options it was started"  # of another version, or on its way out
        return None if is_same else "it was started with other options"
