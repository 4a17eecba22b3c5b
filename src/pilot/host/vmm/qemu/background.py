"""The two processes of a virtual machine, QEMU and its mux: nobody's children, ended through their pid files."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace

from .... import errors
from ....kernel import fds
from . import command as qemu_command
from . import mux, pidfile, qmp

MUX_LOG = "mux.log"
QEMU_LOG = "qemu.log"
_QEMU_SETUP_S = 30.0
_MUX_SETUP_S = 20.0
_KILL_S = 10.0
_QMP_S = 5.0
_HALF_MADE = frozenset({"prelaunch", "inmigrate", "paused"})


def start_qemu(machine: qemu_command.Machine) -> None:
    """Run QEMU in the background until its control socket answers; `HostError` with its words when it does not.

    The descriptors of `machine` stay the caller's: QEMU has its own.
    """
    directory, log = machine.directory, os.path.join(machine.directory, QEMU_LOG)
    if shutil.which(qemu_command.PROGRAM) is None:
        raise errors.HostError(f"run {qemu_command.PROGRAM}: no such program", hint="apt-get install qemu-system-x86")
    with (
        _listening(os.path.join(directory, qemu_command.QMP_SOCKET)) as control,
        _listening(os.path.join(directory, qemu_command.PORT_SOCKET)) as port,
        open(log, "wb") as log_file,
    ):
        whole = replace(machine, qmp_fd=control.fileno(), port_fd=port.fileno())
        command = ["setsid", "--fork", *qemu_command.command_line(whole)]
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=whole.inherited,
            cwd="/",
            check=True,
        )
    try:
        # QEMU alone holds the sockets now: it answers, or its end is seen.
        with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _QEMU_SETUP_S):
            pass
    except errors.PeerError as error:
        raise errors.HostError(f"run QEMU: {said(directory) or error}") from error


def said(directory: str) -> str:
    """What QEMU had to say since it was started last."""
    with open(os.path.join(directory, QEMU_LOG), errors="replace") as file:
        return file.read().strip()


def _listening(path: str) -> socket.socket:
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(path)
    listener.listen()
    return listener


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
        fds.readable([starter.stdout.fileno()], _MUX_SETUP_S)
    if pidfile.find(os.path.join(directory, mux.PID)) is None:
        raise errors.HostError(f"start the mux in {directory}: it did not stay", hint=f"see {log}")


def runs(directory: str) -> bool:
    """Whether QEMU runs."""
    return pidfile.find(os.path.join(directory, qemu_command.PID)) is not None


def is_half_made(directory: str) -> bool:
    """Whether QEMU is there but never got as far as running: whoever was starting it has died."""
    try:
        with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _QMP_S) as control:
            return control.execute("query-status")["status"] in _HALF_MADE
    except errors.PeerError:
        # It is there, and stuck; that is not for a question about its status to decide.
        return False


def pids(directory: str) -> list[int]:
    """The processes of the machine that run."""
    found = (pidfile.find(os.path.join(directory, name)) for name in (qemu_command.PID, mux.PID))
    return [pid for pid in found if pid is not None]


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
