"""`python -m tests.faults.agent_kills`: mixed operations on a machine whose agent is killed meanwhile.

The machine is bare, a container of this host, and its agent is killed by SIGKILL; or (`--isolation vm`) it is that of a
sprite, with an agent that dies by itself (`tests.support.mortal`). It is driven by the contract alone. Each operation
says what has to be so when it is answered; one that finds no agent is asked again with the same request id. Wrong is:

    a container that runs without end was started twice, or is another process at the end
    a line of its log is missing, or is there twice
    an end of a container is not told, told twice, or with another exit status; a line of its output is missing
    a session that was acknowledged tells other output, or another exit status, than it had
    an event is missing, or is there twice
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import h11
import msgspec
from tests.support import agents, busybox, mortal
from tests.support.pilotd import Pilotd

from pilot import errors
from pilot.agent.containers import naming
from pilot.bare import main as bare
from pilot.machine import lines, web_socket
from pilot.machine.pilot_api import PilotApi
from pilot.wire import events, exec_frames, faults, graph, operations, websocket

PATIENCE_S = 120.0
ROOT = "/run/disks/root"
COUNT = "n=0; while :; do echo $n; n=$((n+1)); sleep {pause_s}; done"
WORDS = "i=0; while [ $i -lt 40 ]; do echo {tag} $i; i=$((i+1)); sleep 0.005; done; echo {tag} >&2; exit {code}"
VERSION, MEAN_S = "99.3.1", 1.0  # of the agent that dies by itself: how soon
_T = TypeVar("_T")
_GONE = (errors.PeerError, faults.Unavailable, OSError, h11.ProtocolError)


@dataclasses.dataclass
class Result:
    """What was done, and what was wrong with it."""

    operations: Counter[str] = dataclasses.field(default_factory=Counter)
    kills: int = 0
    asked_again: int = 0
    never_acknowledged: int = 0
    lines: int = 0
    events: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)

    def expect(self, so: bool, what: str) -> None:
        if not so:
            self.wrong.append(what)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A machine: `root` is what containers are of, as its agent sees it; without `kill` it dies when told."""

    dial: str
    root: str = ROOT
    pause_s: float = 0.02
    kill: Callable[[], bool] | None = agents.kill_agent


class Run:
    """One machine and its client."""

    def __init__(self, subject: Subject, seed: int) -> None:
        self.result = Result()
        self._subject = subject
        self._dial = subject.dial
        self._api = PilotApi(subject.dial)
        self._random = random.Random(seed)
        self._events: list[events.Event] = []
        self._text = b""
        self._jobs: dict[str, int] = {}
        self._number = 0

    def begin(self) -> None:
        for name in ("count", "rest"):
            script = COUNT.format(pause_s=self._subject.pause_s) if name == "count" else "exec sleep 100000"
            self._put(name, script)
            self._settle(name)
        self._pids = self._running()
        self.follow()
        self._agents_before = self._agents()

    def step(self) -> None:
        """One operation, and often the agent's death in it, or before or after."""
        self._number += 1
        name, act = self._random.choice(_ACTS)
        killer = threading.Timer(min(self._random.expovariate(15), 0.5), self._kill)
        if self._random.random() < 0.6:
            if self._subject.kill is None:
                self._want_death()
            else:
                killer.start()
        try:
            act(self)
        finally:
            if killer.ident is not None:
                killer.join()
        self.result.operations[name] += 1

    def end(self) -> Result:
        """Look at all that was told, once more."""
        self.follow()
        result = self.result
        result.expect(self._running() == self._pids, "a container that nobody touched is another process")
        numbers = [int(line) for line in self._text.split(b"\n")[:-1]]
        result.lines, result.events = len(numbers), len(self._events)
        result.expect(numbers == list(range(len(numbers))), "lines of a log are missing, or there twice")
        result.expect([each.seq for each in self._events] == list(range(1, len(self._events) + 1)), "events")
        ours = [each for each in self._events if each.container != naming.WORLD]
        started = Counter(each.container for each in ours if each.type == "container.started")
        ended = [(each.container, each.exit_code) for each in ours if each.type == "container.ended"]
        result.expect(started == Counter([*self._pids, *self._jobs]), f"started: {started}")
        result.expect(sorted(ended, key=str) == sorted(self._jobs.items(), key=str), f"ended: {ended}")
        deaths = self._agents() - self._agents_before
        if self._subject.kill is None:
            result.kills = deaths
        result.expect(deaths <= result.kills, f"{deaths} more agents for {result.kills} kills")
        return result

    def _agents(self) -> int:
        return sum(each.type == "agent.started" for each in self._events)

    # -- operations

    def job(self) -> None:
        """A container from its beginning to its acknowledged end."""
        name, code = f"job-{self._number}", self._random.randrange(1, 100)
        self._put(name, WORDS.format(tag=name, code=code))
        self._jobs[name] = code
        row = self._settle(name)
        self.result.expect((row.status, row.exit_code) == ("exited", code), f"{name}: {row.status} {row.exit_code}")
        said = self._patiently(lambda: list(lines.read(self._dial, operations.CONTAINER_LOGS, name=name)))
        out, err = (b"".join(each.data for each in said if each.stream == stream) for stream in ("stdout", "stderr"))
        self.result.expect((out, err) == (_words(name), f"{name}\n".encode()), f"{name}: its output: {out!r} {err!r}")
        (found,) = [each for each in self._call(operations.LIST_CONTAINERS, None).containers if each.name == name]
        ends = [(each.seq, each.exit_code) for each in found.exits]
        self.result.expect(ends == [(1, code)], f"{name}: ends {ends}")
        self._call(operations.ACKNOWLEDGE_EXIT, None, name=name, seq="1")
        self._call(operations.DELETE_CONTAINER, None, name=name)
        left = [each.name for each in self._call(operations.LIST_CONTAINERS, None).containers]
        self.result.expect(name not in left, f"{name}: it was acknowledged and deleted, and is there")

    def session(self) -> None:
        """A command whose client comes back until its end was told."""
        tag, code = f"session-{self._number}", self._random.randrange(1, 100)
        words = ("sh", "-c", WORDS.format(tag=tag, code=code))
        query = [("container", "rest"), ("max_run_after_disconnect", "60s"), *(("cmd", word) for word in words)]
        target, session = operations.OPEN_SESSION.target({}, query), ""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            try:
                with web_socket.open_socket(self._dial, target, PATIENCE_S) as socket:
                    told = _Told()
                    for message in _messages(socket):
                        told.hear(message)
                        session = told.session or session
                if told.code is not None:
                    whole = (_words(tag), f"{tag}\n".encode(), code)
                    self.result.expect((told.out, told.err, told.code) == whole, f"{tag}: {told}")
                    return
            except _GONE:
                self.result.asked_again += 1
            except web_socket.Refused as refused:
                if refused.answer.status != 503:
                    self.result.wrong.append(f"{tag}: {refused.answer.body!r}")
                    return
            if session:
                target = operations.ATTACH_SESSION.target({"id": session})
            else:
                self.result.never_acknowledged += 1
                return
        self.result.wrong.append(f"{tag}: its end was never told")

    def same_again(self) -> None:
        """What is wanted already changes nothing."""
        self._put("rest", "exec sleep 100000")

    def pause(self) -> None:
        self._call(operations.PAUSE_CONTAINER, None, name="rest")
        self._call(operations.RESUME_CONTAINER, None, name="rest")

    def look(self) -> None:
        self._call(operations.GET_STATUS, None)
        self._call(operations.LIST_SESSIONS, None)
        self._call(operations.GET_SYSINFO, None)

    def measure(self) -> None:
        self._call(operations.GET_STATS, None, name="count")
        found = self._call(operations.LIST_PROCESSES, None, name="count").processes
        self.result.expect(bool(found), "count: its processes")

    def follow(self) -> None:
        """Go on with events and lines from where it was."""
        since = [("since", str(self._events[-1].seq if self._events else 0))]
        self._events += self._patiently(lambda: list(lines.read(self._dial, operations.WATCH_EVENTS, query=since)))
        place = [("stdout", str(len(self._text)))]
        pieces = self._patiently(
            lambda: list(lines.read(self._dial, operations.CONTAINER_LOGS, query=place, name="count"))
        )
        self._text += b"".join(piece.data for piece in pieces if piece.stream == "stdout")

    # -- pieces

    def _put(self, name: str, script: str) -> None:
        spec = graph.ContainerSpec(
            command=["sh", "-c", script], root=graph.Root(path=self._subject.root), restart=graph.Restart(policy="no"),
            stop=graph.Stop(signal="KILL"),
        )  # fmt: skip
        self._call(operations.PUT_CONTAINER, spec, name=name)

    def _settle(self, name: str) -> graph.ContainerStatus:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            row = self._call(operations.GET_CONTAINER, None, query=[("settled", "20")], name=name)
            if row.status in ("running", "exited") and not (name.startswith("job") and row.status == "running"):
                return row
            if time.monotonic() > end_s:
                return row

    def _running(self) -> dict[str, int | None]:
        return {row.name: row.pid for row in self._call(operations.GET_GRAPH, None).containers if row.pid is not None}

    def _call(
        self, operation: operations.Operation[operations.Asked, operations.Answered], asked: operations.Asked,
        query: list[tuple[str, str]] | None = None, **parameters: str,
    ) -> operations.Answered:  # fmt: skip
        """With one request id, however often it is asked."""
        id = f"{operation.id}-{self._random.getrandbits(64):x}" if operation.method != "GET" else None
        return self._patiently(lambda: self._api.call(operation, asked, query=query or [], request_id=id, **parameters))

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except _GONE:
                if time.monotonic() > end_s:
                    raise
                self.result.asked_again += 1
                time.sleep(0.01)

    def _want_death(self) -> None:
        """Of an agent in the machine, in the middle of what comes next; sometimes of the next one, too."""
        deaths = 1 + (self._random.random() < 0.2)
        try:
            mortal.want(self._api, deaths)
        except _GONE:
            self.result.asked_again += 1  # one is dying: not one more

    def _kill(self) -> None:
        assert self._subject.kill is not None
        self.result.kills += self._subject.kill()


_ACTS: tuple[tuple[str, Callable[[Run], None]], ...] = (
    ("job", Run.job), ("session", Run.session), ("same again", Run.same_again), ("pause", Run.pause),
    ("look", Run.look), ("measure", Run.measure), ("follow", Run.follow),
)  # fmt: skip


def _words(tag: str) -> bytes:
    return "".join(f"{tag} {number}\n" for number in range(40)).encode()


@dataclasses.dataclass
class _Told:
    """What one connection has told of a session; `code` when it has ended."""

    session: str = ""
    out: bytes = b""
    err: bytes = b""
    code: int | None = None

    def hear(self, message: str | bytes) -> None:
        match exec_frames.parse_server_message(message, tty=False):
            case exec_frames.SessionInfo(session_id=id):
                self.session = id
            case exec_frames.Output(stream=exec_frames.Stream.STDOUT, data=data):
                self.out += data
            case exec_frames.Output(data=data):
                self.err += data
            case exec_frames.Exit(exit_code=code):
                self.code = code


def _messages(socket: web_socket.Socket) -> Iterator[str | bytes]:
    while not isinstance(message := socket.receive(), websocket.Closed):
        yield message


def run(directory: pathlib.Path, count: int, seed: int) -> Result:
    """`count` operations on a machine of its own in `directory`, which is gone afterwards."""
    root = busybox.make_rootfs(directory)
    place = str(directory / "machine")
    try:
        assert bare.main(["start", place, "--root", f"root={root}"]) == 0
        return _operate(Subject(f"{place}/dial.sock"), count, seed)
    finally:
        assert bare.main(["stop", place]) == 0


def run_virtual(directory: pathlib.Path, count: int, seed: int) -> Result:
    """The same in a virtual machine, that of a sprite, whose world is the root of its containers."""
    daemon = Pilotd(directory / "s", isolation="vm")
    daemon.stop_machines_on_exit = True
    daemon.start()
    try:
        with daemon.client() as client:
            sprite = client.create_sprite("mortal")
            sprite.run("true", check=True)
            (dial,) = (daemon.state / "machines").glob("*/dial.sock")
            api = PilotApi(str(dial))
            mortal.bring(sprite, api, directory, VERSION, MEAN_S)
            agents.until_version(api, VERSION)
            result = _operate(Subject(str(dial), mortal.ROOT, pause_s=0.2, kill=None), count, seed)
            sprite.destroy()
            return result
    finally:
        daemon.stop()


def _operate(subject: Subject, count: int, seed: int) -> Result:
    under_test = Run(subject, seed)
    under_test.begin()
    for _ in range(count):
        under_test.step()
    return under_test.end()


_RUNS = {"container": run, "vm": run_virtual}


def main(arguments: list[str]) -> int:
    """1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--isolation", choices=sorted(_RUNS), default="container")
    asked = parser.parse_args(arguments)
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as directory:
        result = _RUNS[asked.isolation](pathlib.Path(directory), asked.operations, asked.seed)
    print(msgspec.json.format(msgspec.json.encode(result)).decode())
    told = f"{asked.operations} operations, seed {asked.seed}, {asked.isolation}: {time.monotonic() - begun_s:.0f} s"
    print(told, file=sys.stderr)
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
