"""One machine, three containers of a Debian, by the pilot API alone, and what may happen to them in one life."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
import pytest
from tests.kernel.test_upgrade import lay_out
from tests.support import agents

from pilot import errors, image
from pilot.bare import main
from pilot.machine import lines, web_socket
from pilot.machine.pilot_api import PilotApi
from pilot.wire import events, exec_frames, graph, operations, schema, websocket

pytestmark = pytest.mark.requires("root", "private", "userns", "space")

_Line = TypeVar("_Line")
NAMES = ("db", "app", "tail")
NEWER = "99.1.2"
QUICK = {"interval_s": 0.2, "timeout_s": 20}
SERVE = "import http.server as h; h.HTTPServer(('127.0.0.1', {}), h.SimpleHTTPRequestHandler).serve_forever()"
COUNT = "import itertools, time\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.05)"
# The first start fails; the volume remembers.
CRASH_ONCE = f'[ -e once ] || {{ touch once; exit 3; }}; exec python3 -c "{SERVE.format(8092)}"'


def wanted(root: str) -> graph.GraphRequest:
    def container(name: str, *command: str, needs: str = "", **more: object) -> dict[str, object]:
        depends_on = [{"name": needs, "condition": "healthy"}] if needs else []
        return {
            "name": name, "command": command, "depends_on": depends_on, "cwd": "/shared", "stop": {"signal": "KILL"},
            "root": {"path": root, "readonly": True}, "mounts": [{"path": "/shared", "volume": "data"}],
            **more,
        }  # fmt: skip

    debian = {"name": "release", "exec": {"command": ["grep", "-q", "ID=debian", "/etc/os-release"]}, **QUICK}
    containers = [
        container("db", "python3", "-c", SERVE.format(8091), checks=[{"name": "port", "tcp": {"port": 8091}, **QUICK}]),
        container("app", "sh", "-c", CRASH_ONCE, needs="db", restart={"first_delay_s": 0.05, "most_delay_s": 0.05},
                  checks=[{"name": "http", "http": {"port": 8092}, **QUICK}]),
        container("tail", "python3", "-c", COUNT, needs="app", checks=[debian]),
    ]  # fmt: skip
    return msgspec.convert({"containers": containers, "volumes": [{"name": "data"}]}, graph.GraphRequest)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Directories of its own; the files are those of the image, which nobody writes: the roots are read-only."""
    place = tmp_path_factory.mktemp("roots") / "debian"
    root = image.ensure_guest_root()
    if subprocess.run(["cp", "-al", root, place], capture_output=True, check=False).returncode != 0:
        subprocess.run(["rm", "-rf", "--one-file-system", place], check=True)
        subprocess.run(["cp", "-a", root, place], check=True)
    return place


class Told:
    """What a client has heard of a machine over the deaths of its agents: each event and each line once."""

    def __init__(self, dial: str) -> None:
        self.events: list[events.Event] = []
        self.text = b""
        self._dial = dial

    def more(self) -> None:
        """Go on from where it was; an agent that is being started is asked again."""
        since = self.events[-1].seq if self.events else 0
        query = [("since", str(since))]
        self.events += patiently(lambda: list(lines.read(self._dial, operations.WATCH_EVENTS, query=query)))
        place = [("stdout", str(len(self.text)))]
        read = operations.CONTAINER_LOGS
        pieces = patiently(lambda: list(lines.read(self._dial, read, query=place, name="tail")))
        self.text += b"".join(piece.data for piece in pieces if piece.stream == "stdout")

    def until(self, count: int) -> None:
        """So many lines more."""
        enough = self.text.count(b"\n") + count
        while self.text.count(b"\n") < enough:
            self.more()


def patiently(ask: Callable[[], list[_Line]]) -> list[_Line]:
    while True:
        try:
            return ask()
        except errors.PeerError:
            continue  # the agent was killed in the middle of it


@pytest.fixture
def machine(tmp_path: pathlib.Path, debian: pathlib.Path) -> Iterator[str]:
    place = tmp_path / "machine"
    newer = lay_out(tmp_path / "newer", NEWER, main=None)
    try:
        assert main.main(["start", str(place), "--root", f"debian={debian}", "--root", f"newer={newer}"]) == 0
        yield str(place / "dial.sock")
    finally:
        print((place / "machines" / "machine" / "console.log").read_text())
        assert main.main(["stop", str(place)]) == 0
        assert os.listdir(place) == []


def test_the_whole_life_of_a_machine(machine: str, capfd: pytest.CaptureFixture[str]) -> None:
    api = PilotApi(machine)
    api.call(operations.APPLY_GRAPH, wanted("/run/disks/debian"))
    rows = settled(api)
    assert {name: (row.status, row.health) for name, row in rows.items()} == dict.fromkeys(
        NAMES, ("running", "healthy")
    )
    assert {name: row.restarts for name, row in rows.items()} == {"db": 0, "app": 1, "tail": 0}
    for name in NAMES:
        assert in_terminal(machine, name).split() == ["/dev/pts/0", "33", "99", "debian", name]
    # The agent dies, another one takes over, and dies.
    told = Told(machine)
    told.until(20)
    assert agents.kill_agent()
    told.until(20)
    answer = api.call(operations.UPGRADE_AGENT, schema.AgentRequest(directory="/run/disks/newer"))
    assert answer.version == NEWER
    told.until(20)
    assert agents.until_version(api, NEWER) == NEWER
    assert agents.kill_agent(b"/run/pilot-agent/")
    told.until(20)
    assert agents.until_version(api, NEWER) == NEWER
    numbers = [int(line) for line in told.text.split(b"\n")[:-1]]
    assert numbers == list(range(len(numbers))), "no line was lost or told twice"
    assert [event.seq for event in told.events] == list(range(1, len(told.events) + 1))
    assert [event.restarts for event in told.events if event.type == "agent.started"] == [0, 1, 2, 3]
    started = [event.container for event in told.events if event.type == "container.started"]
    assert sorted(filter(None, started)) == ["app", "app", "db", "tail"], "nothing was started anew"
    after = {row.name: row.pid for row in api.call(operations.GET_GRAPH, None).containers}
    assert after == {name: row.pid for name, row in rows.items()}
    assert in_terminal(machine, "tail").split()[-1] == "tail"
    # The end: what has ended is told until it is acknowledged, and then the machine goes.
    assert ends_told(api) == {"db": [(137, 9)], "app": [(3, None), (137, 9)], "tail": [(137, 9)]}
    assert api.call(operations.LIST_CONTAINERS, None).containers == []
    api.call(operations.SHUTDOWN, schema.ShutdownRequest())
    until_gone(api)


def settled(api: PilotApi) -> dict[str, graph.ContainerStatus]:
    """All of them, when nothing is under way any more."""
    for name in NAMES:
        while True:
            row = api.call(operations.GET_CONTAINER, None, query=[("settled", "20")], name=name)
            if row.status == "running" and row.health == "healthy":
                break
            assert row.status in ("waiting", "starting", "backing_off", "running"), row.why
    return {row.name: row for row in api.call(operations.GET_GRAPH, None).containers}


def ends_told(api: PilotApi) -> dict[str, list[tuple[int | None, int | None]]]:
    """All of them are stopped; how each has ended, each time, which is acknowledged."""
    for name in reversed(NAMES):
        api.call(operations.STOP_CONTAINER, graph.StopRequest(), name=name)
        api.call(operations.GET_CONTAINER, None, query=[("settled", "20")], name=name)
    exits = {row.name: row.exits for row in api.call(operations.LIST_CONTAINERS, None).containers}
    for name in NAMES:
        for end in exits[name]:
            api.call(operations.ACKNOWLEDGE_EXIT, None, name=name, seq=str(end.seq))
    return {name: [(end.exit_code, end.signal) for end in exits[name]] for name in NAMES}


def in_terminal(dial: str, name: str) -> str:
    """What a shell with a terminal says there."""
    script = ". /etc/os-release; tty; stty size; echo $ID; hostname"
    query = [("cmd", word) for word in ("sh", "-c", script)]
    query += [("container", name), ("tty", "true"), ("rows", "33"), ("cols", "99")]
    output, code = b"", -1
    with web_socket.open_socket(dial, operations.OPEN_SESSION.target({}, query), 60) as socket:
        while not isinstance(message := socket.receive(), websocket.Closed):
            match exec_frames.parse_server_message(message, tty=True):
                case exec_frames.Output(data=data):
                    output += data
                case exec_frames.Exit(exit_code=told):
                    code = told
    assert code == 0
    return output.decode()


def until_gone(api: PilotApi) -> None:
    while True:
        try:
            api.status()
        except errors.PeerError:
            return
