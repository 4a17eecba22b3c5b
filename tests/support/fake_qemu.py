"""A QEMU without a machine: its pid file, its control socket, its run states and migrations, as of QEMU 7.2.

    python -m tests.support.fake_qemu DIRECTORY STATE MIGRATES

MIGRATES: `ends` (at once), `hangs` (until it is cancelled, or told to `x-converge`), `fails`, `dies`. What it was
told is in DIRECTORY/told, a word each.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from pilot.host.vmm.qemu import background, command, pidfile, qmp

WAIT_S = 60.0
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class FakeQemu:
    """Of a test: ended by `end`, at the latest."""

    def __init__(self, directory: str, state: str = "running", migrates: str = "ends") -> None:
        self.directory = directory
        arguments = [sys.executable, "-m", "tests.support.fake_qemu", directory, state, migrates]
        with open(os.path.join(directory, background.QEMU_LOG), "wb") as log:
            self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, cwd=_ROOT)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def told(self) -> list[str]:
        with open(os.path.join(self.directory, "told")) as file:
            return file.read().split()

    def state(self) -> str:
        return str(self.tell("query-status")["status"])

    def tell(self, name: str) -> Any:
        with qmp.connect(os.path.join(self.directory, command.QMP_SOCKET), WAIT_S) as control:
            return control.execute(name)

    def runs(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def running(directory: str, migrates: str = "ends") -> Iterator[FakeQemu]:
    made = FakeQemu(directory, migrates=migrates)
    try:
        yield made
    finally:
        made.end()


class _Refused(Exception):
    pass


class _Qemu:
    def __init__(self, state: str, migrates: str) -> None:
        self.state, self.migration = state, "none"
        self.migrates = migrates
        self.fd = -1
        self.events: list[dict[str, object]] = []

    def execute(self, name: str) -> object:
        act = getattr(self, "_" + name.replace("-", "_"), None)
        return act() if act else {}

    def _migrated(self, status: str) -> None:
        self.migration = status
        self.events.append({"event": "MIGRATION", "data": {"status": status}})

    def _query_status(self) -> object:
        return {"status": self.state}

    def _query_migrate(self) -> object:
        return {} if self.migration == "none" else {"status": self.migration}

    def _stop(self) -> object:
        if self.state == "running":
            self.state = "paused"
        return {}

    def _cont(self) -> object:
        self.state = "running"
        return {}

    def _migrate_set_capabilities(self) -> object:
        if self.migration == "active":
            raise _Refused("There's a migration process in progress")
        return {}

    def _migrate(self) -> object:
        os.write(self.fd, b"state")
        self._migrated("active")
        if self.migrates == "fails":
            self._migrated("failed")
        elif self.migrates == "ends":
            self._x_converge()
        return {}

    def _x_converge(self) -> object:
        """All is written, of a migration that is under way: then nothing runs any more."""
        if self.migration == "active":
            self._migrated("completed")
            self.state = "postmigrate"
        return {}

    def _migrate_cancel(self) -> object:
        if self.migration == "active":
            self._migrated("cancelled")
        return {}

    def _migrate_incoming(self) -> object:
        if self.migrates == "dies":
            sys.exit(1)
        if os.read(self.fd, 16) != b"state":
            print("load of migration failed: Invalid argument", file=sys.stderr, flush=True)
            sys.exit(1)
        self._migrated("completed")
        self.state = "paused"
        return {}

    def serve(self, stream: socket.socket, told_fd: int) -> None:
        unread = b""
        stream.sendall(b'{"QMP": {}}\n')
        while True:
            data, fds, _, _ = socket.recv_fds(stream, 65536, 1)
            if not data:
                return
            if fds:
                self.fd = fds[0]
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                name = json.loads(line)["execute"]
                os.write(told_fd, name.encode() + b"\n")
                stream.sendall(self._answer(name))

    def _answer(self, name: str) -> bytes:
        try:
            answer: object = {"return": self.execute(name)}
        except _Refused as error:
            answer = {"error": {"desc": str(error)}}
        events, self.events = self.events, []
        return b"".join(json.dumps(each).encode() + b"\n" for each in (answer, *events))


def main(directory: str, state: str, migrates: str) -> None:
    path = os.path.join(directory, command.QMP_SOCKET)
    if os.path.lexists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert pidfile.hold(os.path.join(directory, command.PID)) is not None
        told_fd = os.open(os.path.join(directory, "told"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fake = _Qemu(state, migrates)
        print("ready", flush=True)
        while True:
            stream, _ = listener.accept()
            with stream, contextlib.suppress(OSError):  # who asked has gone
                fake.serve(stream, told_fd)


if __name__ == "__main__":
    main(*sys.argv[1:])
