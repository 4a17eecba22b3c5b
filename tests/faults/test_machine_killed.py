"""kill -9 of each process that the making of a machine starts, as soon as it is there: init, agent, the launcher's
children, the world's first process. The create goes on to its end all the same; nothing is left of what was lost."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import httpx
import pytest
from tests.support import leftovers
from tests.support.pilotd import Pilotd

from pilot.host import daemon
from pilot.kernel import hierarchies

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space"),
    pytest.mark.slow,
]

# A machine in which the world runs has seven or so; all of them in `make adversary`.
NUMBERS = range(1, 9) if os.environ.get("PILOT_ADVERSARY") else (2, 5)


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with leftovers.nothing(), Pilotd(tmp_path_factory.mktemp("machine-killed") / "state").running() as daemon:
        yield daemon


class Killer:
    """Ends the process that comes into being as the `number`-th in any machine of this pilotd; once."""

    def __init__(self, pilotd: Pilotd, number: int) -> None:
        tag = daemon.Settings(state_dir=str(pilotd.state)).tag
        self._root = hierarchies.probe_hierarchies().paths(f"/pilot-{tag}/machines")["pids"]
        self._number = number
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")
        self.killed = ""

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        seen: dict[int, None] = {}
        while not self._over.is_set():
            seen |= dict.fromkeys(self._pids())
            if len(seen) >= self._number:
                pid = list(seen)[self._number - 1]
                with contextlib.suppress(OSError):  # it has ended by itself
                    self.killed = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
                    os.kill(pid, signal.SIGKILL)
                return

    def _pids(self) -> Iterator[int]:
        for directory, _, _ in os.walk(self._root):
            with contextlib.suppress(OSError):  # it went while it was walked
                yield from map(int, pathlib.Path(directory, "cgroup.procs").read_text().split())


@pytest.mark.parametrize("number", NUMBERS)
def test_a_create_whose_process_is_killed_goes_on(pilotd: Pilotd, number: int) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(base_url=f"{pilotd.url}/v1", headers=headers, timeout=120) as http:
        name = f"killed-{number}"
        with Killer(pilotd, number) as killer:
            answer = http.post("/sprites", json={"name": name})
        assert answer.status_code == 201, (killer.killed, answer.text)
        done = http.post(f"/sprites/{name}/exec", params={"cmd": ["sh", "-c", "echo said > ~/file && cat ~/file"]})
        assert (done.status_code, done.content) == (200, b"\x01said\n\x03\x00"), (killer.killed, done.text)
        leftovers.note()
        assert http.delete(f"/sprites/{name}").status_code == 204
    assert list((pilotd.state / "machines").iterdir()) == []
