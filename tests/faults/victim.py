"""The sprite beside the attacks, from outside: what its program (`neighbour_inside`) tells, and how long calls take.

    Victim ── one session for all of the run ──► neighbour_inside: rows, blocks
       └───── exec of `true`, three times a second ──► its agent

Whatever fails is one line in `wrong`. Each wait is kept under the name of the attack that was under way (`phase`).
"""

from __future__ import annotations

import collections
import json
import pathlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from tests.faults import neighbour_inside
from tests.support.pilotd import Pilotd

NAME = "alice"
CALL_S = 90.0
PROBE_EVERY_S = 0.3
SILENCE_S = 120.0

# What is left of the rows once the machine was killed, by an interpreter of its own.
_COUNT = f"""
import sqlite3
database = sqlite3.connect({neighbour_inside.DATABASE!r})
verdict, = database.execute("PRAGMA integrity_check").fetchone()
there, = database.execute("SELECT count(*) FROM rows").fetchone()
print(verdict, there)
"""


class Lines:
    """A file to write to, for sprites-py: whole lines as they come, and when the last came."""

    def __init__(self) -> None:
        self._rest = b""
        self._lock = threading.Lock()
        self._whole: list[bytes] = []
        self.last = time.monotonic()

    def write(self, data: bytes) -> int:
        with self._lock:
            *whole, self._rest = (self._rest + data).split(b"\n")
            self._whole += whole
            self.last = time.monotonic()
        return len(data)

    def flush(self) -> None:
        """There is nothing to be flushed."""

    def taken(self) -> list[bytes]:
        with self._lock:
            whole, self._whole = self._whole, []
        return whole


class Victim:
    """`begin`, then `phase` is set by whoever attacks, then `end`."""

    def __init__(self, pilotd: Pilotd) -> None:
        self._pilotd = pilotd
        self._http = httpx.Client(
            base_url=pilotd.url, headers={"Authorization": f"Bearer {pilotd.token()}"}, timeout=CALL_S
        )
        self.phase = "calm"
        self.wrong: list[str] = []
        self.acknowledged = 0
        self.checks = 0
        self._waits: dict[str, dict[str, list[float]]] = collections.defaultdict(lambda: collections.defaultdict(list))
        self._over = threading.Event()
        self._held = threading.Event()
        self._lines = Lines()
        self._threads = [
            threading.Thread(target=each, name=f"victim-{each.__name__}")
            for each in (self._session, self._probe, self._listen)
        ]

    def begin(self) -> None:
        """Returns once rows are written."""
        self._http.post("/v1/sprites", json={"name": NAME}).raise_for_status()
        for thread in self._threads:
            thread.start()
        while not self.acknowledged and not self.wrong:
            time.sleep(0.1)

    def hold(self) -> None:
        """Nothing happens any more, until `go_on`."""
        self._held.set()
        self._put(neighbour_inside.HOLD)

    def go_on(self) -> None:
        """The other way."""
        self._delete(neighbour_inside.HOLD)
        self._held.clear()

    def end(self) -> None:
        """Nothing is written any more; all that was acknowledged is there, also in a new machine."""
        self._put(neighbour_inside.OVER)
        self._threads[0].join(SILENCE_S)
        self._over.set()
        for thread in self._threads:
            thread.join(SILENCE_S)
            if thread.is_alive():
                self.wrong.append(f"{thread.name} does not end")
        self._take_lines()
        self._http.post(f"/v1/sprites/{NAME}/restart").raise_for_status()
        told = self._exec("python3", "-c", _COUNT)
        if told != f"ok {self.acknowledged}":
            self.wrong.append(f"after a restart there is {told!r}, acknowledged were {self.acknowledged} rows")

    def waits(self) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
        """p50, p99 and the worst, in milliseconds, by attack and by what was waited for; `all` is all of them."""
        everything: dict[str, list[float]] = collections.defaultdict(list)
        for kinds in self._waits.values():
            for kind, found in kinds.items():
                everything[kind] += found
        return {
            phase: {kind: _summary(found) for kind, found in sorted(kinds.items())}
            for phase, kinds in [("all", everything), *sorted(self._waits.items())]
        }

    def _session(self) -> None:
        source = pathlib.Path(neighbour_inside.__file__).read_text()
        with self._pilotd.client() as client:
            command: Any = client.sprite(NAME).command("python3", "-c", source, stdout=self._lines, stderr=self._lines)
            try:
                command.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this run looks for
                said = b"\n".join(self._lines.taken()).decode(errors="replace")
                self.wrong.append(f"{self._under()}the session ended: {error!r}\n{said[-2000:]}")

    def _probe(self) -> None:
        while not self._over.wait(PROBE_EVERY_S):
            if self._held.is_set():
                continue
            began, phase = time.monotonic(), self.phase
            try:
                self._exec("true")
            except (httpx.HTTPError, AssertionError) as error:
                self.wrong.append(f"{self._under()}exec after {time.monotonic() - began:.1f} s: {error!r}")
            self._waits[phase]["exec"].append((time.monotonic() - began) * 1000)

    def _listen(self) -> None:
        while not self._over.wait(0.2):
            self._take_lines()
            if self._held.is_set():
                self._lines.last = time.monotonic()
            if time.monotonic() - self._lines.last > SILENCE_S:
                self.wrong.append(f"{self._under()}the program has said nothing for {SILENCE_S} s")
                return

    def _take_lines(self) -> None:
        for told in self._parsed(self._lines.taken()):
            self.acknowledged, self.checks = told["acknowledged"], told["checks"]
            for kind in ("commit", "sync"):
                self._waits[self.phase][kind] += told[kind]

    def _parsed(self, lines: Sequence[bytes]) -> Iterator[Any]:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                self.wrong.append(f"{self._under()}{line.decode(errors='replace')}")

    def _under(self) -> str:
        return f"{time.strftime('%H:%M:%S')} under {self.phase}: "

    def _exec(self, *words: str) -> str:
        answer = self._http.post(f"/v1/sprites/{NAME}/exec", params={"cmd": list(words)})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        frames, _, code = answer.content.rpartition(b"\x03")
        output = frames.replace(b"\x01", b"").replace(b"\x02", b"").decode(errors="replace").strip()
        assert code == b"\0", f"{words[0]} exits with {code!r}: {output}"
        return output

    def _put(self, path: pathlib.Path) -> None:
        self._http.put(f"/v1/sprites/{NAME}/fs/write?path={path}").raise_for_status()

    def _delete(self, path: pathlib.Path) -> None:
        self._http.delete(f"/v1/sprites/{NAME}/fs/delete?path={path}").raise_for_status()


def _summary(waits: Sequence[float]) -> Mapping[str, float]:
    ordered = sorted(waits)
    parts = {f"p{part}": ordered[len(ordered) * part // 100] for part in (50, 99)}
    return {kind: round(wait, 1) for kind, wait in (parts | {"worst": ordered[-1]}).items()} | {"count": len(ordered)}
