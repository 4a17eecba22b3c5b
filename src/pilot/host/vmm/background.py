"""The two processes of a virtual machine, QEMU and its mux: nobody's children, ended through their pid files."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys

from ... import errors
from . import mux, pidfile, qemu_command

MUX_LOG = "mux.log"
_QEMU_SETUP_S = 30.0
_MUX_SETUP_S = 20.0
_KILL_S = 10.0


def start_qemu(machine: qemu_command.Machine) -> None:
    """Run QEMU until it has gone to the background; `HostError` with its words when it cannot be set up.

    `machine.disk_fd` stays the caller's: QEMU has its own.
    """
    command = qemu_command.command_line(machine)
    if shutil.which(command[0]) is None:
        raise errors.HostError(f"run {command[0]}: no such program", hint="apt-get install qemu-system-x86")
    fds = () if machine.disk_fd is None else (machine.disk_fd,)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=fds, timeout=_QEMU_SETUP_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise errors.HostError(f"run QEMU: not set up after {_QEMU_SETUP_S:.0f} s") from error
    if done.returncode != 0:
        raise errors.HostError(f"run QEMU: {done.stderr.decode(errors='replace').strip()}")


def start_mux(directory: str) -> None:
    """Start the mux of the machine in `directory` if it does not run; returns when dial.sock is served."""
    if pidfile.find(os.path.join(directory, mux.PID)) is not None:
        return
    log = os.path.join(directory, MUX_LOG)
    command = ["setsid", "--fork", sys.executable, "-P", "-m", mux.__name__, directory]
    with open(log, "ab") as log_file:
        starter = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log_file)
    with starter:
        assert starter.stdout is not None
        # `ready`, or the end of file: it could not serve, or another one serves already.
        select.select([starter.stdout], [], [], _MUX_SETUP_S)
    if pidfile.find(os.path.join(directory, mux.PID)) is None:
        raise errors.HostError(f"start the mux in {directory}: it did not stay", hint=f"see {log}")


def runs(directory: str) -> bool:
    """Whether QEMU runs."""
    return pidfile.find(os.path.join(directory, qemu_command.PID)) is not None


def wait_ended(directory: str, timeout_s: float) -> bool:
    """Wait for QEMU's end; whether it has ended."""
    return pidfile.wait(os.path.join(directory, qemu_command.PID), timeout_s)


def kill(directory: str) -> None:
    """End both, whatever they do; `HostError` when QEMU does not even die, as when its disk does not answer."""
    if not pidfile.end(os.path.join(directory, qemu_command.PID), signal.SIGKILL, _KILL_S):
        raise errors.HostError(f"kill the machine in {directory}: QEMU is still there after {_KILL_S:.0f} s")
    # The mux ends by itself when QEMU closes the port; one that does not is killed.
    path = os.path.join(directory, mux.PID)
    if not pidfile.wait(path, _KILL_S):
        pidfile.end(path, signal.SIGKILL, _KILL_S)
