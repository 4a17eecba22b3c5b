"""What one sprite, `mallory`, is made to do, and what is done to it, beside a neighbour: one table, `ATTACKS`.

Each takes some seconds. What becomes of mallory meanwhile is nobody's concern; afterwards it must be usable, if need be
after a restart. That is seen by `Attacker.recover`.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures

import httpx
from tests.adversary import out_of_bounds
from tests.faults import chaos
from tests.support.pilotd import Pilotd

from pilot import errors
from pilot.volume import messages
from pilot.volume.requests import to_worker

NAME = "mallory"
SECONDS = 8.0
CALL_S = 120.0
RECOVER_S = 180.0
RAM_MB = 512
_ANSWERS = (httpx.HTTPError, httpx.StreamError)


class Attacker:
    """Mallory, and what attacks need to reach it and its processes."""

    def __init__(self, pilotd: Pilotd, seed: int) -> None:
        self.pilotd = pilotd
        self.random = random.Random(seed)
        self.token = pilotd.token()
        headers = {"Authorization": f"Bearer {self.token}"}
        self.http = httpx.Client(base_url=pilotd.url, headers=headers, timeout=CALL_S)
        self.wrong: list[str] = []
        self.killed: dict[str, int] = {}

    def create(self) -> None:
        """Small, so that it is soon full."""
        wanted = {"name": NAME, "config": {"ram_mb": RAM_MB, "cpus": 2}}
        self.http.post("/v1/sprites", json=wanted).raise_for_status()
        self.http.post(f"/v1/sprites/{NAME}/checkpoint").raise_for_status()

    def recover(self) -> None:
        """Restored to its first checkpoint, and usable: else it is told, and another is made."""
        deadline = time.monotonic() + RECOVER_S
        said = ""
        while time.monotonic() < deadline:
            try:
                answer = self.http.post(f"/v1/sprites/{NAME}/checkpoints/v1/restore")
                said = answer.text.strip().splitlines()[-1]
                if '"complete"' in said and self.run("echo", "there") == b"\x01there\n\x03\x00":
                    return
            except _ANSWERS as error:
                said = repr(error)
            time.sleep(0.5)
        self.wrong.append(f"mallory is not usable: {said}")
        self.http.delete(f"/v1/sprites/{NAME}").raise_for_status()
        self.create()

    def run(self, *words: str) -> bytes:
        """The frames of what it said."""
        return self.http.post(f"/v1/sprites/{NAME}/exec", params={"cmd": list(words)}).content

    def run_anyhow(self, *words: str) -> None:
        """What becomes of the call is mallory's own concern."""
        with contextlib.suppress(*_ANSWERS):
            self.run(*words)

    def kill(self, kind: str, pids: set[int]) -> None:
        """One of them, SIGKILL."""
        if not pids:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(sorted(pids)), signal.SIGKILL)
            self.killed[kind] = self.killed.get(kind, 0) + 1

    def own(self, kind: str) -> set[int]:
        """Processes of mallory's machine, or its worker."""
        with contextlib.closing(sqlite3.connect(f"file:{self.pilotd.state}/state.db?mode=ro", uri=True)) as database:
            machine, volume = database.execute("SELECT machine, volume FROM sprites WHERE name = ?", (NAME,)).fetchone()
        if kind == "worker":
            return self._worker(volume)
        return {pid for pid in chaos.processes(kind) if f"/machines/{machine}" in _cgroups(pid)}

    def _worker(self, volume: str) -> set[int]:
        disk = (self.pilotd.state / "volumes" / "names" / volume).resolve()
        try:
            with contextlib.closing(messages.connect(str(disk / "worker.sock"), 5)) as connection:
                return {connection.call(to_worker.Ping())[0].pid}
        except (OSError, errors.PeerError):
            return set()


def _cgroups(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


Attack = Callable[[Attacker], None]


def _out_of_bounds(kind: str) -> Attack:
    return lambda attacker: attacker.run_anyhow(*out_of_bounds.command(kind, SECONDS))


_FILL = "dd if=/dev/zero of=/var/tmp/big bs=1M count=1000 conv=fsync; rm /var/tmp/big; sync"
_NAMES = "mkdir -p /var/tmp/n && cd /var/tmp/n && python3 -c 'for n in range(60000): open(str(n), \"w\").close()'; sync"


def _fill(attacker: Attacker) -> None:
    """A gigabyte, and then gone; or tens of thousands of names."""
    script = attacker.random.choice([_FILL, _NAMES])
    attacker.run_anyhow("sudo", "timeout", "-s", "KILL", str(SECONDS * 2), "sh", "-c", script)


def _for_a_while(act: Callable[[], object], threads: int) -> None:
    end = time.monotonic() + SECONDS

    def go() -> None:
        while time.monotonic() < end:
            with contextlib.suppress(*_ANSWERS):
                act()

    with futures.ThreadPoolExecutor(threads, "attack") as pool:
        for each in [pool.submit(go) for _ in range(threads)]:
            each.result()


def _commands(attacker: Attacker) -> None:
    _for_a_while(lambda: attacker.run("true"), 6)


def _files(attacker: Attacker) -> None:
    """Written, listed and read by six clients."""

    def act() -> None:
        attacker.http.put(f"/v1/sprites/{NAME}/fs/write?path=/home/sprite/f", content=b"x" * (1 << 20))
        attacker.http.get(f"/v1/sprites/{NAME}/fs/list?path=/usr/bin")
        attacker.http.get(f"/v1/sprites/{NAME}/fs/read?path=/home/sprite/f")

    _for_a_while(act, 6)


def _tokens(attacker: Attacker) -> None:
    headers = {"Authorization": "Bearer fm2_" + "A" * 4000}
    _for_a_while(lambda: attacker.http.get("/v1/sprites", headers=headers), 6)


@contextlib.contextmanager
def _connections(attacker: Attacker, count: int) -> Iterator[list[socket.socket]]:
    made = []
    try:
        for _ in range(count):
            with contextlib.suppress(OSError):
                made.append(socket.create_connection(("127.0.0.1", attacker.pilotd.port), 5))
        yield made
    finally:
        for each in made:
            each.close()


def _silence(attacker: Attacker) -> None:
    """Connections that say nothing, and heads that never end."""
    with _connections(attacker, 800) as crowd:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for each in crowd[:400]:
                with contextlib.suppress(OSError):
                    each.sendall(b"G")
            time.sleep(0.2)


def _watchers(attacker: Attacker) -> None:
    """Of all sprites, while one comes and goes."""
    request = "GET /v1/sprites HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n"
    request += f"Authorization: Bearer {attacker.token}\r\n\r\n"
    with _connections(attacker, 400) as crowd:
        for each in crowd:
            with contextlib.suppress(OSError):
                each.sendall(request.encode())
        _fork_and_destroy(attacker)


def _fork_and_destroy(attacker: Attacker) -> None:
    name = f"{NAME}-fork"
    with contextlib.suppress(*_ANSWERS):
        attacker.http.post("/v1/sprites", json={"name": name, "from": {"sprite": NAME}})
    if attacker.http.delete(f"/v1/sprites/{name}").status_code not in (204, 404):
        attacker.wrong.append(f"{name} cannot be destroyed")


def _cut(attacker: Attacker) -> None:
    """Checkpoints, while it writes, and restores, and forks."""
    attacker.run_anyhow("sh", "-c", "(while :; do date >>/home/sprite/dates; sync; done) >/dev/null 2>&1 &")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(*_ANSWERS):
            attacker.http.post(f"/v1/sprites/{NAME}/checkpoint")
            _fork_and_destroy(attacker)
            attacker.http.post(f"/v1/sprites/{NAME}/checkpoints/v1/restore")


def _kill_own(attacker: Attacker) -> None:
    """Its worker, agent, init, first process, one after the other while it writes."""
    end = time.monotonic() + SECONDS
    script = "(while :; do date >>/home/sprite/dates; sync; done) >/dev/null 2>&1 &"
    while time.monotonic() < end:
        attacker.run_anyhow("sh", "-c", script)
        kind = attacker.random.choice(["worker", "agent", "init", "world"])
        attacker.kill(kind, attacker.own(kind))
        time.sleep(attacker.random.uniform(0.1, 1.0))


def _kill_shared(attacker: Attacker) -> None:
    """What serves both disks: volumed, its zygote, the keeper; and the next one is there."""
    kind = attacker.random.choice(["volumed", "zygote", "keeper"])
    old = chaos.processes(kind)
    attacker.kill(kind, old)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        attacker.run_anyhow("sh", "-c", "date >>/home/sprite/dates && sync")


ATTACKS: Mapping[str, Attack] = {
    "calm": lambda attacker: time.sleep(SECONDS / 2),
    **{kind: _out_of_bounds(kind) for kind in out_of_bounds.SCRIPTS},
    "fill": _fill,
    "commands": _commands,
    "files": _files,
    "tokens": _tokens,
    "silence": _silence,
    "watchers": _watchers,
    "checkpoints, restores, forks": _cut,
    "kill its own": _kill_own,
    "kill what both share": _kill_shared,
}
