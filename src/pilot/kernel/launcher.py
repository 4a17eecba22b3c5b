"""Runs a Program in a new process, and speaks with that process until it has executed or was released.

    launch ── clone3 ──► [first process ── Spawn ──►] the process
       ▲   ◄── BARRIER name, pid ───────────────────────┤  runs steps
       │   ─── go, descriptors ────────────────────────►│
       │   ◄── DESCRIPTOR slot ─────────────────────────┤
       │   ◄── FAILED step, errno ─── or ── EXECUTING ──┤
       └── end of file: it has executed                 ▼

The conversation is over a SOCK_SEQPACKET pair that closes on exec. What the process does in between is C
(native/launch); this module must never be needed by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from ..plan.program import Program
from .waiter import Waiter


@dataclasses.dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was launched. The caller owns `pid_fd` and `descriptors` (what SendDescriptor steps gave)."""

    pid: int
    start_time: int  # field 22 of /proc/PID/stat, clock ticks since boot
    pid_fd: int
    descriptors: Mapping[str, int]


# Called at each Barrier with its name and the process; returns descriptors for the slots that it receives. They are
# sent, and stay the callee's.
OnBarrier = Callable[[str, Spawned], Mapping[str, int] | None]


def launch(
    program: Program,
    *,
    descriptors: Mapping[str, int],
    waiter: Waiter,
    on_barrier: OnBarrier | None = None,
    timeout_s: float = 60.0,
) -> Spawned:
    """Clone a process that runs `program`; returns when it has executed, or was released at `steps.Release`.

    `descriptors` are borrowed and bound to the slots of those names. StepError when the kernel refused a step, PeerError
    when the process ended before it could say why, TimeoutError when a step took longer than `timeout_s`; whatever
    on_barrier raises goes through. In all these cases the process is dead and reaped when launch returns.
    """
    raise NotImplementedError
