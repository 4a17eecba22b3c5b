"""Runs the real pilot-init as PID 1 of a new pid namespace, with `initagent` as its agent, and talks to that agent.

    test ──AF_UNIX──► agent (child of init, one after the other)
      └─ unshare(1) ─ init (pid 1 of the new namespace, its own /proc)

Everything dies with `unshare`, whose --kill-child takes init, and init's end takes the namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "native/init").glob("*.c"))
_STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing", "-D_GNU_SOURCE"]
BUILDS = {
    "static": [os.fspath(ROOT / "native/static-cc"), "-Os", *_STRICT],
    "sanitized": ["gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *_STRICT],
}
TIMEOUT_S = 30.0


def build_init(kind: str, directory: Path) -> Path:
    """Compiles `native/init` in one of the ways of BUILDS."""
    out = directory / f"pilot-init-{kind}"
    subprocess.run([*BUILDS[kind], "-o", out, *SOURCES], check=True, timeout=120)
    return out


def build_init_or_skip(kind: str, directory: Path) -> Path:
    """The same; skips the test where the compiler is missing."""
    compiler = "musl-gcc" if kind == "static" else BUILDS[kind][0]
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} for the {kind} build")
    return build_init(kind, directory)


class Agent:
    """One life of the agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rw")
        self._connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid: int = struct.unpack("3i", credentials)[0]
        hello = json.loads(self._lines.readline())
        self.inherited: dict[str, str] = hello["inherited"]
        self.environment: dict[str, str] = hello["environment"]

    def tell(self, operation: str, *arguments: Any) -> None:
        """Sends a call and does not wait for its answer."""
        print(json.dumps([operation, *arguments]), file=self._lines, flush=True)

    def call(self, operation: str, *arguments: Any) -> Any:
        self.tell(operation, *arguments)
        return self.answer()

    def answer(self) -> Any:
        line = self._lines.readline()
        if not line:
            raise EOFError("the agent is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def kill(self) -> None:
        """kill -9, and then until it is dead."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Until the kernel has closed its end."""
        try:
            while self._connection.recv(4096):
                pass
        except ConnectionResetError:
            pass  # it died with unread calls
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


class UnderInit:
    """A running init; a context manager that leaves nothing."""

    def __init__(
        self,
        init: Path,
        directory: Path,
        *options: str,
        descriptors: Mapping[str, int] | None = None,
        limit: str | None = None,
        command: Sequence[str] = (sys.executable, "-m", "tests.support.initagent"),
        namespace: bool = True,
        junk: Sequence[str] = (),
    ) -> None:
        self.log = directory / "init.log"
        self._agents: list[Agent] = []
        self._namespace = namespace
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(TIMEOUT_S)
        self._listener.bind(str(directory / "agents"))
        self._listener.listen(64)
        given = descriptors or {}
        named = ",".join(f"{name}:{fd}" for name, fd in given.items())
        environment = {
            **os.environ,
            "TEST_SOCKET": str(directory / "agents"),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "ASAN_OPTIONS": "detect_leaks=0",
            "PILOT_FDS": ",".join([named, *junk]),
        }
        limited = [] if limit is None else ["prlimit", f"--nofile={limit}", "--"]
        own = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"] if namespace else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*limited, *own, init, *options, "--", *command],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=list(given.values()),
            )

    def agent(self) -> Agent:
        """The next agent that starts."""
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise AssertionError(f"no agent has come; init said:\n{self.log.read_text()}") from None
        connection.settimeout(TIMEOUT_S)
        self._agents.append(Agent(connection))
        return self._agents[-1]

    def init_pid(self) -> int:
        """Its pid in our pid namespace."""
        if not self._namespace:
            return self.process.pid
        return child_of(self.process.pid)

    def wait(self) -> int:
        """The exit status of init."""
        return self.process.wait(timeout=TIMEOUT_S)

    def __enter__(self) -> UnderInit:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for agent in self._agents:
            agent.close()
        self._listener.close()
        sys.stderr.write(self.log.read_text())  # pytest shows it when the test fails


def child_of(parent: int) -> int:
    """The first child of a process."""
    return next(pid for pid in _pids() if _field(pid, 4) == parent)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _field(pid: int, number: int) -> int:
    """A field of /proc/PID/stat; 0 when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[number - 3])
