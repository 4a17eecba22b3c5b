"""What the kernel counts per user is each machine's own: who takes all of it leaves its neighbour's, and root's."""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
import platform
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


# Takes so many, however few a process may have, holds them in children that end with it, and prints how many it got.
TAKE_MANY = r"""
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
libc = ctypes.CDLL(None, use_errno=True)
def terminal():
    return os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
def events():
    context = ctypes.c_ulong()
    if libc.syscall(ctypes.c_long(206), ctypes.c_uint(30000), ctypes.byref(context)) < 0:
        raise OSError(ctypes.get_errno(), "io_setup")
take = {"terminals": terminal, "events": events}[sys.argv[1]]
wanted, each = int(sys.argv[2]), int(sys.argv[3])
got = 0
pipes = []
while got < wanted:
    ours, theirs = os.pipe()
    if os.fork() == 0:
        held, why = 0, ""
        try:
            while held < min(each, wanted - got):
                take()
                held += 1
        except OSError as error:
            why = f"{error.strerror}: "
        os.write(theirs, f"{why}{held}".encode())
        os.close(theirs)
        if sys.argv[4] == "keep":
            for fd in range(3):
                os.close(fd)
            __import__("signal").pause()
        os._exit(0)
    os.close(theirs)
    said = os.read(ours, 200).decode()
    got += int(said.rpartition(":")[2])
    if ":" in said:
        print(said)
        break
print(got)
"""


@pytest.fixture(scope="module")
def sprites(pilotd: Pilotd) -> Iterator[tuple[Any, Any]]:
    """A greedy one, and another."""
    with pilotd.client() as client:
        yield client.create_sprite("greedy"), client.create_sprite("other")


def _take_all(sprite: Any, kind: str, call: str, *arguments: str) -> tuple[int, int]:
    """How many it got until the kernel refused, and with which errno."""
    command = ["sudo", "python3", "-c", HOLD_ALL, call, kind, *arguments]
    done = sprite.run(*command, capture_output=True)
    held, number = map(int, done.stdout.split())
    return held, number


def _take_many(sprite: Any, kind: str, wanted: int, each: int, then: str) -> str:
    done = sprite.run("sudo", "python3", "-c", TAKE_MANY, kind, str(wanted), str(each), then, capture_output=True)
    assert done.returncode == 0, done.stderr
    return bytes(done.stdout).decode().strip()


@pytest.mark.alone
@pytest.mark.parametrize(("call", "arguments"), [("inotify_init1", ["0"])])
def test_a_machine_that_takes_all_leaves_the_others_theirs(
    sprites: tuple[Any, Any], call: str, arguments: list[str]
) -> None:
    greedy, other = sprites
    held, number = _take_all(greedy, "keep", call, *arguments)
    assert (held > 0, number) == (True, errno.EMFILE)
    assert _take_all(greedy, "drop", call, *arguments)[0] < held, "it has them still"
    assert _take_all(other, "drop", call, *arguments)[0] >= held - 8
    own = [_inotify_fd() for _ in range(64)]
    for fd in own:
        os.close(fd)


# What the host counts once: more than any host has without pilotd (4096 terminals, 65536 events).
@pytest.mark.alone
@pytest.mark.skipif(platform.machine() != "x86_64", reason="io_setup by its number")
@pytest.mark.parametrize(
    ("kind", "sysctl", "wanted", "each", "some"),
    [("terminals", "kernel/pty/max", 5000, 1000, 64), ("events", "fs/aio-max-nr", 8, 8, 2)],
)
def test_more_than_a_host_has_of_one_number_for_all_leaves_the_others_theirs(
    pilotd: Pilotd, sprites: tuple[Any, Any], kind: str, sysctl: str, wanted: int, each: int, some: int
) -> None:
    greedy, other = sprites
    needed = {"terminals": 1, "events": 30000}[kind] * (wanted + some)
    if int(pathlib.Path("/proc/sys", sysctl).read_text()) < needed:
        assert "limit not raised" in pilotd.log.read_text(), "it could not be raised, and nobody said so"
        return
    assert _take_many(greedy, kind, wanted, each, "keep") == str(wanted)
    assert _take_many(other, kind, some, some, "drop") == str(some)
    if kind == "terminals":
        for fd in [os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY) for _ in range(64)]:
            os.close(fd)


def _inotify_fd() -> int:
    """Of the host's root."""
    fd = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return int(fd)
