"""The Machines API beside agents that say nothing, or what they like: who asks is answered, with what is known."""

from __future__ import annotations

import pathlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import httpx
import msgspec
import pytest
from tests.support.host import WAIT_S, HostUnderTest
from tests.support.hostile import machine, saying

from pilot.host.api.machines import apps, call
from pilot.host.fly.containers import ImageOf
from pilot.host.store import fly, machines
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId
from pilot.machine import pilot_api
from pilot.wire import graph

CHECKED: dict[str, object] = {"image": "box", "checks": {"web": {"type": "tcp", "port": 80}}}
UNKNOWN = "the machine does not say how it is"


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    for name in ("app", "other"):
        with under_test.database.transaction() as tx:
            fly.add_app(tx, App(name, under_test.organisation.id, name, "default", 0))
    yield under_test
    under_test.close()


def add(host: HostUnderTest, id: str, app: str = "app", *, exists: bool = True) -> pathlib.Path:
    """A started Machine with a check; where its agent is asked."""
    image = ImageOf("app", "box", "sha256:0", "base")
    row = Machine(
        MachineId(id), app, id, "local", "created", "1", CHECKED, {}, (image,), cordoned=False, lease=None,
        created_us=0, updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, row)
        fly.enter(tx, id, "started", "start", "flyd")
        if exists:
            machines.assign(tx, row.id, host.vmm.isolation.value, 256 << 20, 1, 4096)
    path = pathlib.Path(host.vmm.dial_path(row.id))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def ask(host: HostUnderTest, path: str, method: str = "GET", body: object = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {host.token}"}
    return httpx.request(method, f"{host.url}/v1/apps{path}", headers=headers, json=body, timeout=WAIT_S)


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d said\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def graph_of(*names: str, checks: Sequence[graph.CheckStatus] = ()) -> bytes:
    rows = [graph.ContainerStatus(name=name, status="running", why="", checks=list(checks)) for name in names]
    return answer(200, msgspec.json.encode(graph.GraphStatus(generation=1, settled=True, containers=rows)))


class Mute:
    """Says nothing, until the test ends."""

    def __init__(self) -> None:
        self.asked, self.end = threading.Semaphore(0), threading.Event()

    def __call__(self, _stream: socket.socket) -> None:
        self.asked.release()
        self.end.wait(2 * WAIT_S)


@pytest.fixture
def mute() -> Iterator[Mute]:
    made = Mute()
    yield made
    made.end.set()


class InTurn:
    """Says one after the other; `asked`: how often it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self._answers, self.asked = answers, 0

    def __call__(self, stream: socket.socket) -> None:
        self.asked += 1
        stream.sendall(self._answers[min(self.asked, len(self._answers)) - 1])


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 503])
def test_an_agent_that_refuses_is_told_as_unknown(host: HostUnderTest, status: int) -> None:
    with machine(add(host, "m1"), saying(answer(status, b'{"error": "no"}'))):
        [listed] = ask(host, "/app/machines").json()
        shown = ask(host, "/app/machines/m1").json()
    assert [each["output"] for each in (*listed["checks"], *shown["checks"])] == [UNKNOWN, UNKNOWN]


def test_a_machine_that_has_just_gone_is_told_as_unknown(host: HostUnderTest) -> None:
    add(host, "m1", exists=False)
    [listed] = ask(host, "/app/machines").json()
    assert [each["output"] for each in listed["checks"]] == [UNKNOWN]


def test_a_machine_that_says_nothing_holds_up_no_list(
    host: HostUnderTest, mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot_api, "GRACE_S", pilot_api.MAX_S)  # no call of it would end by itself in time
    monkeypatch.setattr(call, "CHECKS_S", 5.0)  # a busy host may need more time for the one that answers
    found = graph.CheckStatus(name="machine/web", kind="readiness", status="passing", message="it is well")
    with machine(add(host, "m1"), mute), machine(add(host, "m2"), saying(graph_of("app", checks=[found]))):
        told = {each["id"]: each["checks"][0]["output"] for each in ask(host, "/app/machines").json()}
        assert told == {"m1": UNKNOWN, "m2": "it is well"}
        mute.end.set()


def test_a_signal_goes_to_the_machines_own_containers(host: HostUnderTest) -> None:
    says = InTurn(graph_of("ghost", "app", *map(str, range(100))), answer(204, b""))
    with machine(add(host, "m1"), says):
        assert ask(host, "/app/machines/m1/signal", "POST", {"signal": "SIGUSR1"}).status_code == 200
    assert says.asked == 2


def test_processes_are_those_of_the_machines_own_containers(host: HostUnderTest) -> None:
    says = InTurn(graph_of("ghost", "app", *map(str, range(100))), answer(200, b'{"processes": []}'))
    with machine(add(host, "m1"), says):
        assert ask(host, "/app/machines/m1/ps").json() == []
    assert says.asked == 2


def test_commands_of_one_app_hold_up_nobody_else(host: HostUnderTest, mute: Mute) -> None:
    """Many more than there are threads for all else that blocks; none of its machine's says anything."""
    first, second = add(host, "m1"), add(host, "m2", "other")
    statuses: list[int] = []

    def execute() -> None:
        statuses.append(ask(host, "/app/machines/m1/exec", "POST", {"cmd": "true", "timeout": 60}).status_code)

    with machine(first, mute), machine(second, saying(answer(409, b'{"error": "as it is"}'))):
        asking = [threading.Thread(target=execute) for _ in range(80)]
        for thread in asking:
            thread.start()
        deadline_s = time.monotonic() + WAIT_S
        while statuses.count(429) < 80 - 32 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert statuses == [429] * (80 - 32)
        assert ask(host, "/other/machines/m2/exec", "POST", {"cmd": "true"}).status_code not in (200, 429)
        assert ask(host, "/other/machines/m2").status_code == 200
        mute.end.set()
        for thread in asking:
            thread.join(WAIT_S)
    assert len(statuses) == 80
    assert 200 not in statuses


def test_a_command_is_a_use_of_its_machine(host: HostUnderTest, mute: Mute) -> None:
    """So that autostop puts none to rest under it."""
    path, body = "/app/machines/m1/exec", {"cmd": "true", "timeout": 60}
    with machine(add(host, "m1"), mute):
        asking = threading.Thread(target=ask, args=(host, path, "POST", body))
        asking.start()
        assert mute.asked.acquire(timeout=WAIT_S)
        assert host.host.uses.open_connections("m1") == 1
        outcome = host.fly.rest(fly.by_id(host.database, "m1"), suspend=False).result(WAIT_S)
        assert outcome.error == "the machine is in use"
        mute.end.set()
        asking.join(WAIT_S)
    assert host.host.uses.open_connections("m1") == 0


def test_a_list_has_what_happened_to_each_that_is_in_it(host: HostUnderTest) -> None:
    """Also of those that were destroyed, where these are asked for."""
    for id in "abcdef":
        add(host, id, exists=False)
    with host.database.transaction() as tx:
        fly.enter(tx, "f", fly.DESTROYED, "destroy", "flyd")
    for query, ids in (("", "abcde"), ("?include_deleted=true", "abcdef")):
        told = {
            row["id"]: [event["status"] for event in row["events"]] for row in ask(host, f"/app/machines{query}").json()
        }
        assert set(told) == set(ids)
        assert all("started" in statuses for statuses in told.values())


@pytest.mark.parametrize("times", [1, apps.MOST_ROUNDS])
def test_an_app_goes_with_what_others_make_meanwhile(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    made = iter(range(times))

    def delete(row: App) -> None:
        if (number := next(made, None)) is not None:
            add(host, f"m{number}", exists=False)
        once(row)

    once = host.fly.delete_app
    monkeypatch.setattr(host.fly, "delete_app", delete)
    answer = ask(host, "/app", "DELETE")
    assert (answer.status_code == 202) == (times == 1), answer.text
    assert (ask(host, "/app").status_code == 404) == (times == 1)
