"""An agent under a real pilot-init that does what a test tells it, over a Unix socket (TEST_SOCKET), in lines of JSON.

On each start it connects and says who it is: `{"inherited": {name: text of the descriptor}, "environment": {...}}`.
Then each `[operation, argument...]` is answered by `{"result": ...}` or `{"error": text}`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import select
import signal
import socket
import stat
import time
from typing import Any

from pilot import errors
from pilot.kernel import initlink

_CLONE_PARENT = 0x00008000
_SYS_CLONE = 56
_libc = ctypes.CDLL(None, use_errno=True)


class Operations:
    def __init__(self, link: initlink.InitLink) -> None:
        self.link = link

    def put(self, name: str, text: str) -> None:
        fd = os.memfd_create(name[:64])
        os.write(fd, text.encode())
        self.link.put(name, fd)
        os.close(fd)

    def put_many(self, prefix: str, count: int, kill_after: int = -1) -> None:
        """At number `kill_after` a child is on its way to kill us, while we go on."""
        fd = os.memfd_create(prefix)
        parent = os.getpid()
        for number in range(count):
            if number == kill_after and os.fork() == 0:
                os.kill(parent, signal.SIGKILL)
                os._exit(0)
            self.link.put(f"{prefix}{number}", fd)
        os.close(fd)

    def drop(self, name: str) -> None:
        self.link.drop(name, wait=True)

    def records(self, wanted: int) -> list[dict[str, int]]:
        """Waits for at least `wanted` records."""
        poll = select.poll()
        poll.register(self.link.fileno(), select.POLLIN)
        found = self.link.read_records()
        while len(found) < wanted:
            if not poll.poll(20_000):
                raise TimeoutError(f"{len(found)} of {wanted} records")
            found += self.link.read_records()
        return [dataclasses.asdict(record) for record in found]

    def acknowledge(self, *seqs: int) -> None:
        for seq in seqs:
            self.link.acknowledge(seq)

    def acknowledge_and_die(self, *seqs: int) -> None:
        self.acknowledge(*seqs)
        os._exit(0)

    def orphans(self, codes: list[int]) -> None:
        """Grandchildren that outlive their parent and exit with these codes (negative: by that signal)."""
        child = os.fork()
        if child == 0:
            for code in codes:
                if os.fork() == 0:
                    _end(code)
            os._exit(0)
        os.waitpid(child, 0)

    def sibling(self, code: int) -> dict[str, int]:
        """A child of init that we clone with CLONE_PARENT; its pid and start time."""
        gate, opener = os.pipe()
        pid = int(_libc.syscall(_SYS_CLONE, ctypes.c_ulong(_CLONE_PARENT), 0, 0, 0, 0))
        if pid == 0:
            os.read(gate, 1)
            _end(code)
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        os.write(opener, b"x")
        os.close(gate)
        os.close(opener)
        return {"pid": pid, "start_time": int(fields[19]), "parent": int(fields[1])}

    def lingering(self, code: int) -> None:
        """A child of init that exits with `code` when we are dead."""
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                os.close(theirs)
                os.read(ours, 1)
                _end(code)
            os._exit(0)
        os.waitpid(child, 0)
        os.close(ours)  # and we keep the write end until we die

    def stubborn(self) -> int:
        """A process, adopted by init, that no SIGTERM ends; its pid."""
        ready, done = os.pipe()
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.write(done, os.getpid().to_bytes(4, "little"))
                while True:
                    signal.pause()
            os._exit(0)
        os.waitpid(child, 0)
        pid = int.from_bytes(os.read(ready, 4), "little")
        os.close(ready)
        os.close(done)
        return pid

    def raw(self, packets: list[str], descriptors: int = 0) -> None:
        """Sends packets as they are (hexadecimal), each with so many descriptors."""
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(descriptors)]
        sock = self.link._socket
        sock.setblocking(True)
        for packet in packets:
            socket.send_fds(sock, [bytes.fromhex(packet)], fds)
        sock.setblocking(False)
        for fd in fds:
            os.close(fd)

    def raw_answer(self, packet: str, descriptors: int = 0) -> list[int]:
        """The same for one packet, and the answer to it: kind, status."""
        self.raw([packet], descriptors)
        answer, _ = self.link._receive_by(_deadline())
        return [answer.kind, answer.status]

    def init(self) -> dict[str, Any]:
        """What init looks like from inside: its descriptors, and the state of each of its children."""
        children = {}
        for name in os.listdir("/proc"):
            if name.isdecimal():
                try:
                    with open(f"/proc/{name}/stat") as stat:
                        state, parent, *_ = stat.read().rpartition(")")[2].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has just been reaped
                if parent == "1":
                    children[int(name)] = state
        return {"fds": len(os.listdir("/proc/1/fd")), "children": children}

    def exit(self, code: int) -> None:
        os._exit(code)

    def shutdown(self, reboot: bool) -> None:
        self.link.shutdown(reboot=reboot)


def _deadline() -> float:
    return time.monotonic() + 20


def _end(code: int) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def _text(fd: int) -> str:
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        return "a socket"
    return os.pread(fd, 4096, 0).decode(errors="replace")


def _serve(connection: socket.socket, operations: Operations) -> None:
    lines = connection.makefile("rw")
    inherited = {name: _text(fd) for name, fd in operations.link.inherited.items()}
    print(json.dumps({"inherited": inherited, "environment": dict(os.environ)}), file=lines, flush=True)
    for line in lines:
        name, *arguments = json.loads(line)
        try:
            answer = {"result": getattr(operations, name)(*arguments)}
        except (errors.PilotError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=lines, flush=True)


def main() -> None:
    """A signal that init passes on is told by the exit status: 40 + its number."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPWR):
        signal.signal(number, lambda got, _: os._exit(40 + got))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["TEST_SOCKET"])
        with initlink.InitLink.from_environment() as link:
            _serve(connection, Operations(link))


if __name__ == "__main__":
    main()
