"""A planner that is killed at a place: python -m tests.support.dying_planner PLACE --socket PATH.

packet N     when it is about to send its packet N
sent N       when it has sent it
call N       at its N-th call of a Python function of ours, in the thread that answers (sys.setprofile)
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from pilot.planner import caller, main


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at_packet(number: int, *, sent: bool) -> None:
    send = caller.Caller._send
    count = itertools.count(1)

    def dying(self: caller.Caller, packet: bytes, fds: Sequence[int] = ()) -> None:
        is_now = next(count) == number
        if is_now and not sent:
            _die()
        send(self, packet, fds)
        if is_now:
            _die()

    caller.Caller._send = dying  # type: ignore[method-assign]


def _at_call(number: int) -> None:
    count = itertools.count(1)

    def profile(frame: FrameType, event: str, _: object) -> None:
        if (
            event == "call"
            and "/pilot/" in frame.f_code.co_filename
            and threading.current_thread().name == "pilot-plan"
            and next(count) == number
        ):
            _die()

    threading.setprofile(profile)


PLACES: dict[str, Callable[[int], None]] = {
    "packet": lambda number: _at_packet(number, sent=False),
    "sent": lambda number: _at_packet(number, sent=True),
    "call": _at_call,
}

if __name__ == "__main__":
    PLACES[sys.argv[1]](int(sys.argv[2]))
    sys.exit(main.main(sys.argv[3:]))
