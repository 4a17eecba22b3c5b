"""The agent of the one machine that there is in a test's pid namespace: its end, and another in its place."""

from __future__ import annotations

import os
import pathlib
import signal

import pilot
from pilot import errors
from pilot.machine.pilot_api import PilotApi
from pilot.wire import operations

BUILT_IN = b"/usr/lib/pilot\0"  # of its command line


def kill_agent(mark: bytes = BUILT_IN, number: signal.Signals = signal.SIGKILL) -> bool:
    """By signal `number`; whether there was one: init may be about to start the next.

    The oldest one of its command line: a process that it is about to start has the same until it executes.
    """
    pids = [int(pid) for pid in filter(str.isdecimal, os.listdir("/proc")) if mark in _command(pid)]
    agents = [pid for pid in pids if b"pilot-init" not in _command(str(pid))]
    try:
        os.kill(min(agents), number)
    except (ValueError, ProcessLookupError):  # of none
        return False
    return True


def until_version(api: PilotApi, version: str) -> str:
    """What it says once it is that one; a machine whose agent never is would be asked for ever."""
    while True:
        try:
            told = api.call(operations.GET_VERSION, None).version
        except errors.PeerError:
            continue
        if told == version:
            return told
        assert told == pilot.__version__


def _command(pid: str) -> bytes:
    try:
        return pathlib.Path("/proc", pid, "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
