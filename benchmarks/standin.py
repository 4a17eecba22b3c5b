"""What sprites are measured on, and against: a pilotd of our own, and other runtimes with the same Debian as rootfs.

Sprites      pilotd on a state directory that is thrown away, spoken to by sprites-py, unmodified
Yardstick    the Debian that sprites are made of, unpacked once; run by runc, and kept running by podman for exec
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support import clients
from tests.support.pilotd import Pilotd

from pilot.machine import pilot_api

_TIMEOUT_S = 120
_NAME = "bench-exec"


class Sprites:
    """A running pilotd and its client."""

    def __init__(self, daemon: Pilotd, client: Any) -> None:
        self.daemon = daemon
        self._client = client
        self._numbers = itertools.count(1)

    def create(self) -> Any:
        """A new sprite."""
        return self._client.create_sprite(self._name())

    def fork(self, sprite: Any) -> Any:
        """A sprite on a fork of the disk of another, as it is now: our extension of `POST /v1/sprites`."""
        name = self._name()
        self.call("POST", "/v1/sprites", json={"name": name, "from": {"sprite": sprite.name}}).read()
        return self._client.sprite(name)

    def call(self, method: str, path: str, **body: Any) -> Any:
        """A plain request; its answer."""
        import httpx

        headers = {"Authorization": f"Bearer {self.daemon.token()}"}
        answer = httpx.request(method, f"{self.daemon.url}{path}", headers=headers, timeout=_TIMEOUT_S, **body)
        answer.raise_for_status()
        return answer

    def await_pool(self) -> None:
        """Until the pool is full again."""
        deadline = time.monotonic() + _TIMEOUT_S
        while f"\npilotd_pool_ready {float(self.daemon.pool)}\n" not in self.call("GET", "/metrics").text:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the pool is not filled: {self.daemon.tail()}")
            time.sleep(0.05)

    def agent(self) -> pilot_api.PilotApi:
        """The agent of the only machine that there is, asked directly."""
        (machine,) = os.listdir(self.daemon.state / "machines")
        return pilot_api.PilotApi(str(self.daemon.state / "machines" / machine / "dial.sock"))

    def _name(self) -> str:
        return f"bench-{next(self._numbers)}"


@contextlib.contextmanager
def sprites(pool: int = 0) -> Iterator[Sprites]:
    """pilotd with containers as machines and a pool of that size; everything that it started ends with the block."""
    with tempfile.TemporaryDirectory(prefix="pilot-bench-") as directory:
        daemon = Pilotd(Path(directory) / "state")
        daemon.stop_machines_on_exit = True
        daemon.pool = pool
        daemon.start()
        try:
            with daemon.client() as client:
                yield Sprites(daemon, client)
        finally:
            daemon.stop()


class Yardstick:
    """The same Debian, run by others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.rootfs = directory / "rootfs"
        self._runc = ["runc", "--root", str(directory / "runc")]
        self._podman = clients.podman(directory / "podman") if shutil.which("podman") else None

    def runc_run(self, *command: str) -> list[str]:
        """The command line that runs `command` in a container of runc's."""
        return [*self._runc, "run", "--bundle", self._bundle(command), "bench-run"]

    @contextlib.contextmanager
    def runc_exec(self) -> Iterator[list[str]]:
        """How a command in a running container of runc's begins."""
        bundle = self._bundle(("sleep", "100000"))
        # Not a pipe: the container would keep it open.
        _run([*self._runc, "run", "--detach", "--bundle", bundle, _NAME], stdout=subprocess.DEVNULL)
        try:
            yield [*self._runc, "exec", _NAME]
        finally:
            _run([*self._runc, "delete", "--force", _NAME])

    @contextlib.contextmanager
    def podman_exec(self) -> Iterator[list[str] | None]:
        """The same for podman with runc; None where podman is not installed."""
        if self._podman is None:
            yield None
            return
        options = ("--runtime", "runc", "run", "--detach", "--network", "none", "--name", _NAME)
        self._podman.run(*options, "--rootfs", self.rootfs, "sleep", "100000")
        words = [f"{name}={value}" for name, value in self._podman.environment.items()]
        try:
            yield ["env", *words, "podman", "--runtime", "runc", "exec", _NAME]
        finally:
            self._podman.run("--runtime", "runc", "rm", "--force", "--time", "0", _NAME)

    def _bundle(self, command: Sequence[str]) -> str:
        """Its path; written once for each command."""
        bundle = self._directory / f"bundle-{'-'.join(command)}"
        if not bundle.exists():
            self._write_bundle(bundle, command)
        return str(bundle)

    def _write_bundle(self, bundle: Path, command: Sequence[str]) -> None:
        bundle.mkdir()
        _run(["runc", "spec"], cwd=bundle)
        config = json.loads((bundle / "config.json").read_text())
        config["process"].update({"terminal": False, "args": list(command)})
        config["root"] = {"path": str(self.rootfs), "readonly": True}
        (bundle / "config.json").write_text(json.dumps(config))


@contextlib.contextmanager
def yardstick() -> Iterator[Yardstick]:
    """Needs the archive that `make images` leaves."""
    with tempfile.TemporaryDirectory(prefix="pilot-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        made = Yardstick(directory)
        made.rootfs.mkdir()
        _run(["tar", "-C", str(made.rootfs), "-xpf", str(clients.world_tar()), "--numeric-owner"])
        yield made


def _run(command: Sequence[str], **options: Any) -> None:
    subprocess.run(command, check=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL, **options)
