"""Processes in the machine's own namespaces, beside the agent: for operators, who see there what no container sees.

They have the agent's privileges and its cgroup, where the kernel ends them first when memory is short, and none of its
descriptors. Only the host may ask for one (`openMachineSession`): what runs here sees the agent's memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..runtime.values import Spawned, Stdio, Terminal
from ..spec import capability_names
from ..spec.process import Capabilities, Process
from .machine import WorldRuntime
from .world_spec import PATH

_ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "USER": "root"}
_FIRST_TO_GO = 1000  # oom_score_adj


@dataclasses.dataclass(frozen=True)
class Beside:
    """As a container, where a process is started in one."""

    runtime: WorldRuntime

    def exec(
        self,
        process: Process,
        stdio: Stdio,
        *,
        terminal: Terminal | None = None,
        before_start: Callable[[Spawned], None] | None = None,
        executable: str | None = None,
    ) -> Spawned:
        return self.runtime.exec_here(
            process, stdio, terminal=terminal, before_start=before_start, executable=executable
        )


def process(arguments: Sequence[str], env: Sequence[str], cwd: str, *, tty: bool, status: str) -> Process:
    """Root with all that the agent may do. `status`: text of /proc/self/status."""
    given = dict(item.split("=", 1) for item in env)
    capabilities = _permitted(status)
    return Process(
        args=tuple(arguments),
        cwd=cwd or "/",
        env=tuple(f"{name}={value}" for name, value in (_ENVIRONMENT | given).items()),
        terminal=tty,
        capabilities=Capabilities(bounding=capabilities, effective=capabilities, permitted=capabilities),
        oom_score_adj=_FIRST_TO_GO,
    )


def _permitted(status: str) -> tuple[str, ...]:
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    bits = int(fields["CapPrm"], 16)
    return tuple(name for name, number in capability_names.NUMBERS.items() if bits >> number & 1)
