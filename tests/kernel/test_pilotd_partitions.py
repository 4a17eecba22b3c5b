"""What the kernel counts per user is each machine's own: who takes all of it leaves its neighbour's, and root's."""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

# Prints how many it got. With "keep" a child of it goes on to hold them.
HOLD_ALL = r"""
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
call = getattr(libc, sys.argv[1])
held = 0
while call(*map(int, sys.argv[3:])) >= 0:
    held += 1
print(held, ctypes.get_errno(), flush=True)
if sys.argv[2] == "keep" and os.fork() == 0:
    for fd in range(3):
        os.close(fd)
    signal.pause()
"""


@pytest.fixture
def pilotd(tmp_path: pathlib.Path) -> Iterator[Pilotd]:
    made = Pilotd(tmp_path / "state")
    made.stop_machines_on_exit = True
    made.start()
    yield made
    made.stop()


def _take_all(sprite: Any, kind: str, call: str, *arguments: str) -> tuple[int, int]:
    """How many it got until the kernel refused, and with which errno."""
    command = ["sudo", "python3", "-c", HOLD_ALL, call, kind, *arguments]
    done = sprite.run(*command, capture_output=True)
    held, number = map(int, done.stdout.split())
    return held, number


@pytest.mark.alone
@pytest.mark.parametrize(("call", "arguments"), [("inotify_init1", ["0"])])
def test_a_machine_that_takes_all_leaves_the_others_theirs(pilotd: Pilotd, call: str, arguments: list[str]) -> None:
    with pilotd.client() as client:
        greedy, other = client.create_sprite("greedy"), client.create_sprite("other")
        held, number = _take_all(greedy, "keep", call, *arguments)
        assert (held > 0, number) == (True, errno.EMFILE)
        assert _take_all(greedy, "drop", call, *arguments)[0] < held, "it has them still"
        assert _take_all(other, "drop", call, *arguments)[0] >= held - 8
        own = [_inotify_fd() for _ in range(64)]
        for fd in own:
            os.close(fd)


def _inotify_fd() -> int:
    """Of the host's root."""
    fd = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return int(fd)
