"""A real pilotd on a state directory of the test's own, and the official client aimed at it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

CACHE = Path(os.environ.get("PILOT_CACHE_DIR", "/var/cache/pilot"))
READY_TIMEOUT_S = 600


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pilotd:
    """`pilotd serve` as a child process. `kill()` is SIGKILL; `start()` again finds the same state."""

    def __init__(
        self, state: Path, *, isolation: str = "container", image: str = "minimal", extra: tuple[str, ...] = ()
    ) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = state.parent / f"{state.name}.log"
        self._options = ["--isolation", isolation, "--image", image, "--cache-dir", str(CACHE)]
        self._options += ["--warm-after", "off"]  # who looks at a machine from behind wakes nobody
        self._options += ["--allow-registry", "127.0.0.0/8"]  # tests' own
        self.stop_machines_on_exit = False
        self.pool = 0
        self.machine_pool = 0
        self.store: str | None = None
        self.tls_port = 0
        self.extra = extra
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start and wait for the ready line; seconds that took."""
        began = time.monotonic()
        command = [
            str(Path(sys.executable).with_name("pilotd")),
            "serve",
            "--state-dir",
            str(self.state),
            "--listen",
            f"127.0.0.1:{self.port}",
            *self._options,
            *(["--stop-machines-on-exit"] if self.stop_machines_on_exit else []),
            *(["--pool", str(self.pool)] if self.pool else []),
            *(["--machine-pool", str(self.machine_pool)] if self.machine_pool else []),
            *(["--store", self.store] if self.store else []),
            *self.extra,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_TIMEOUT_S)
        line = self.process.stdout.readline().decode() if readable else ""
        if "ready" not in line:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"pilotd did not become ready: {line!r}\n{self.tail()}")
        return time.monotonic() - began

    def tail(self, size: int = 6000) -> str:
        """The end of pilotd's log, for a failure's report."""
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else "(no log)"

    def kill(self) -> None:
        """kill -9: nothing is tidied up."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait until it has gone."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """It serves for as long as the block, unless that stops it; its machines end with it."""
        self.stop_machines_on_exit = True
        self.start()
        try:
            yield self
        finally:
            if self.process is not None:
                self.stop()

    def token(self) -> str:
        return (self.state / "token").read_text().strip()

    def client(self) -> Any:
        """sprites-py, unmodified. Close it."""
        from sprites import SpritesClient  # local: tests in virtual machines import this file and have no such library

        return SpritesClient(self.token(), base_url=self.url, timeout=60.0)


@contextlib.contextmanager
def serving(*, isolation: str, image: str = "minimal", extra: tuple[str, ...] = ()) -> Iterator[Pilotd]:
    """One that serves for as long as the block; its machines end with it."""
    with contextlib.ExitStack() as stack:
        # Sockets of virtual machines want a short path.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pd-", dir="/tmp"))
        daemon = Pilotd(Path(directory, "s"), isolation=isolation, image=image, extra=extra)
        yield stack.enter_context(daemon.running())
