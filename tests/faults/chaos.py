"""A running pilotd under clients, whose processes are killed at random; nothing that was acknowledged may be lost.

    python -m tests.support.private -- python -m tests.faults.chaos [--seconds N] [--seed N] [--isolation container|vm]

    clients ── write, checkpoint, restore, fork, destroy ──► pilotd, volumed, workers, zygote, machines ◄── kill -9
       └─ oracle: the values that each sprite may hold, from what was acknowledged and what was left unanswered

Calls may fail while something is dead. Afterwards every sprite must be usable, hold a value that its oracle allows, and
the end must leave nothing. Prints one JSON object; the exit status is 1 when anything was found wrong.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import httpx
from tests.support import leftovers
from tests.support.pilotd import Pilotd

CALL_S = 90.0
SETTLE_S = 120.0
RETURN_S = 30.0
_BROKEN = (httpx.HTTPError, httpx.StreamError)


class Refused(Exception):
    """The call was answered, with an error; what it was to do may or may not have been done."""


class Client:
    """One sprite and what it may hold. `value` is a number in ~/v, written and synced by each acknowledged write."""

    def __init__(self, pilotd: Pilotd, name: str, seed: int) -> None:
        self.name = name
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._random = random.Random(seed)
        self._pilotd = pilotd
        headers = {"Authorization": f"Bearer {pilotd.token()}"}
        self._http = httpx.Client(base_url=pilotd.url, headers=headers, timeout=CALL_S)
        self._next = 1
        self.possible = {0}
        self._saved: dict[str, set[int]] = {}

    def create(self) -> None:
        self._json("POST", "/v1/sprites", {"name": self.name})
        self._sh("echo 0 > ~/v; sync")

    def run(self, ended: threading.Event) -> None:
        actions: list[Callable[[], None]] = [self._write] * 6 + [self._read] * 3 + [self._checkpoint, self._restore]
        actions += [self._fork_and_destroy]
        while not ended.is_set():
            action = self._random.choice(actions)
            name = action.__name__.strip("_")
            try:
                action()
                self.counts[f"{name} acknowledged"] += 1
            except (*_BROKEN, Refused) as error:
                self.counts[f"{name} failed"] += 1
                self.counts[f"  {type(error).__name__}: {str(error)[:90]}"] += 1
                # A client that is refused at once would only count refusals.
                ended.wait(0.1)

    def _write(self) -> None:
        value, self._next = self._next, self._next + 1
        self.possible.add(value)
        self._sh(f"echo {value} > ~/new && sync ~/new && mv ~/new ~/v && sync ~ && echo done", "done")
        self.possible = {value}

    def _read(self) -> None:
        value = int(self._sh("cat ~/v") or "-1")
        if value not in self.possible:
            self.wrong.append(f"{self.name} holds {value}, allowed are {sorted(self.possible)}")
        self.possible = {value}

    def _checkpoint(self) -> None:
        text = self._stream(f"/v1/sprites/{self.name}/checkpoint")
        self._saved[text.split()[1]] = set(self.possible)

    def _restore(self) -> None:
        if not self._saved:
            return
        point = self._random.choice(sorted(self._saved))
        before = set(self.possible)
        self.possible = before | self._saved[point]
        self._stream(f"/v1/sprites/{self.name}/checkpoints/{point}/restore")
        self.possible = set(self._saved[point])

    def _fork_and_destroy(self) -> None:
        fork = f"{self.name}-{self._next}"
        self._next += 1
        allowed = set(self.possible)
        try:
            self._json("POST", "/v1/sprites", {"name": fork, "from": {"sprite": self.name}})
            held = int(self._sh("cat ~/v", name=fork) or "-1")
            if held not in allowed:
                self.wrong.append(f"the fork {fork} holds {held}, allowed are {sorted(allowed)}")
        finally:
            self.destroy(fork)

    def destroy(self, name: str) -> None:
        """Until it is gone: an acknowledged destroy stays one."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            with contextlib.suppress(*_BROKEN):
                answer = self._http.delete(f"/v1/sprites/{name}")
                if answer.status_code in (204, 404):
                    break
            if time.monotonic() > deadline:
                self.wrong.append(f"{name} cannot be destroyed")
                return
            time.sleep(0.1)
        with contextlib.suppress(*_BROKEN):
            if self._http.get(f"/v1/sprites/{name}").status_code == 200:
                self.wrong.append(f"{name} is there again after it was destroyed")

    def settle(self) -> None:
        """After the last kill: usable in time, with an allowed value, also for writing."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            try:
                self._read()
                self._write()
                self._read()
                return
            except (*_BROKEN, Refused) as error:
                if time.monotonic() > deadline:
                    self.wrong.append(f"{self.name} is not usable: {error}")
                    return
                time.sleep(0.2)

    def _json(self, method: str, path: str, body: object = None) -> None:
        answer = self._http.request(method, path, json=body)
        if answer.status_code >= 300:
            raise Refused(f"{answer.status_code} {answer.text}")

    def _stream(self, path: str) -> str:
        answer = self._http.post(path)
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code} {answer.text}")
        last = json.loads(answer.text.strip().splitlines()[-1])
        if last["type"] != "complete":
            raise Refused(str(last))
        return str(last["data"])

    def _sh(self, script: str, wanted: str | None = None, name: str | None = None) -> str:
        parameters = {"cmd": ["sh", "-c", script]}
        answer = self._http.post(f"/v1/sprites/{name or self.name}/exec", params=parameters)
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code} {answer.text}")
        frames, found, code = answer.content.rpartition(b"\x03")
        output = frames.replace(b"\x01", b"").decode(errors="replace").strip()
        if not found or code != b"\0" or (wanted is not None and output != wanted):
            raise Refused(f"{script}: {answer.content[-80:]!r}")
        return output


class Killer:
    """Ends one process at a time and waits for what replaces it, for only the loss of any *one* is promised."""

    def __init__(self, pilotd: Pilotd, isolation: str, seed: int) -> None:
        self._pilotd = pilotd
        self._random = random.Random(seed)
        self._kinds = ["pilotd", "volumed", "zygote", "worker", "keeper", "agent", "init", "world"]
        if isolation == "vm":
            self._kinds = ["pilotd", "volumed", "zygote", "worker", "keeper", "qemu", "mux"]
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(self._random.uniform(0.2, 2.5)):
            kind = self._random.choice(self._kinds)
            try:
                self._kill(kind)
            except AssertionError as error:
                self.wrong.append(str(error)[:2000])
                return

    def _kill(self, kind: str) -> None:
        if kind == "pilotd":
            self._pilotd.kill()
            self._pilotd.start()
        else:
            pids = sorted(processes(kind))
            if not pids:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._random.choice(pids), signal.SIGKILL)
            if kind in ("volumed", "zygote"):
                self._await_volumed(set(pids))
        self.counts[kind] += 1

    def _await_volumed(self, old: set[int]) -> None:
        end = time.monotonic() + RETURN_S
        while not (processes("volumed") - old and processes("zygote") - old) and time.monotonic() < end:
            if processes("volumed") and processes("zygote") and not old & (processes("volumed") | processes("zygote")):
                return
            time.sleep(0.05)


def processes(kind: str) -> set[int]:
    """The pids of that kind in our pid namespace."""
    return {pid for pid, name, words in _all() if _KINDS[kind](name, words)}


_KINDS: dict[str, Callable[[str, list[str]], bool]] = {
    "volumed": lambda name, words: "pilot.volume.volumed.daemon" in words and not name.startswith("volume-"),
    "zygote": lambda name, words: name == "volume-zygote",
    "worker": lambda name, words: name == "volume-worker",
    "keeper": lambda name, words: name == "volume-keeper",
    "agent": lambda name, words: words[:2] == ["/usr/bin/python3", "-ISE"],
    "init": lambda name, words: words[0].endswith("/pilot-init") and "--reaper" not in words,
    "world": lambda name, words: words[0] == "/.sprite/init",
    "qemu": lambda name, words: name.startswith("qemu-system"),
    "mux": lambda name, words: "pilot.host.vmm.qemu.mux" in words,
}


def _all() -> Iterator[tuple[int, str, list[str]]]:
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            directory = pathlib.Path(f"/proc/{pid}")
            yield pid, (directory / "comm").read_text().strip(), (directory / "cmdline").read_text().split("\0")
        except (OSError, UnicodeDecodeError):  # gone between the listing and the reading, or none of ours
            continue


def main() -> int:
    """One run; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--isolation", choices=("container", "vm"), default="container")
    parser.add_argument("--keep", action="store_true", help="leave the state directory and pilotd's log")
    options = parser.parse_args()
    before = leftovers.observe()
    with contextlib.ExitStack() as stack:
        directory = tempfile.mkdtemp(prefix="chaos-", dir="/var/tmp")
        if not options.keep:
            stack.callback(_remove, directory)
        result = _chaos(options, pathlib.Path(directory))
    result["left"] = leftovers.observe().new_since(before)
    print(json.dumps(result, indent=2))
    return 1 if result["wrong"] or result["left"] else 0


def _remove(directory: str) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)


def _chaos(options: argparse.Namespace, directory: pathlib.Path) -> dict[str, object]:
    pilotd = Pilotd(directory / "s", isolation=options.isolation)
    pilotd.start()
    clients = [Client(pilotd, f"c{number}", options.seed * 100 + number) for number in range(options.clients)]
    killer = Killer(pilotd, options.isolation, options.seed)
    for client in clients:
        client.create()
    ended = threading.Event()
    calm = threading.Event()
    working = [threading.Thread(target=client.run, args=(calm,), name=client.name) for client in clients]
    killing = threading.Thread(target=killer.run, args=(ended,), name="killer")
    for thread in (*working, killing):
        thread.start()
    ended.wait(options.seconds)
    ended.set()
    killing.join()
    calm.set()
    for thread in working:
        thread.join()
    for client in clients:
        client.settle()
    leftovers.note()
    for client in clients:
        client.destroy(client.name)
    pilotd.stop()
    pilotd.stop_machines_on_exit = True
    pilotd.start()
    pilotd.stop()
    total: collections.Counter[str] = collections.Counter()
    for client in clients:
        total.update(client.counts)
    wrong = [*killer.wrong, *(text for client in clients for text in client.wrong)]
    return {
        "seconds": options.seconds,
        "seed": options.seed,
        "isolation": options.isolation,
        "kills": dict(sorted(killer.counts.items())),
        "calls": dict(sorted(total.items())),
        "wrong": wrong,
    }


if __name__ == "__main__":
    sys.exit(main())
