"""Who may say that a machine is dead: the kernel, or a long silence of the machine while it is asked again and again.

A machine that is busy answers late, refuses connections (its backlog is full) or ends them (it takes no more of them).
To start such a one anew would kill what it is busy with. So a question without an answer is not counted by itself: they
have to be many, over a long time, with no answer and no long pause between, for nobody knows what it did in a pause.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

from ...ids import MachineId

LONG_S = 60.0
# Of an agent whose init says that the machine is well: it may be stopped, or busy for long; one that ends, init starts
# anew by itself.
AGENT_LONG_S = 600.0
PAUSE_S = 30.0
QUESTIONS = 6


@dataclasses.dataclass
class _Silence:
    since_s: float
    last_s: float
    questions: int = 0


class Silences:
    """Of the machines of this pilotd, as long as it runs: the next one begins to count anew. Safe on any thread."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._silent: dict[MachineId, _Silence] = {}
        self._lock = threading.Lock()

    def end(self, machine: MachineId) -> None:
        """It has said something; or it is another machine from here on."""
        with self._lock:
            self._silent.pop(machine, None)

    def note(self, machine: MachineId, long_s: float) -> bool:
        """One more question without an answer. Whether that is enough, when `long_s` is."""
        now_s = self._now_s()
        with self._lock:
            silence = self._silent.get(machine)
            if silence is None or now_s - silence.last_s > PAUSE_S:
                silence = self._silent[machine] = _Silence(now_s, now_s)
            silence.last_s = now_s
            silence.questions += 1
            return silence.questions >= QUESTIONS and now_s - silence.since_s >= long_s
