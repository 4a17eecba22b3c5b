"""When a sprite rests and when it ends: decided of values, carried out on fake machines, by the test's clock."""

from __future__ import annotations

import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import store, wire
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.operations import rest
from pilot.host.services import retention
from pilot.host.services.holding import MOST_HOLDS
from pilot.host.services.idle import Due, Duty, Seen, Timing, Watch, decide
from pilot.host.services.wanted import LifecycleChanges, SpriteChanges
from pilot.host.store.journal import now_us
from pilot.host.store.sprites import Config, Lifecycle, Rested, Sprite, UrlSettings
from pilot.ids import SpriteName, VolumeId

NOW_US = 10**15
PLAIN = Lifecycle()
TIMING = Timing(30.0, 300.0)


def _row(lifecycle: Lifecycle = PLAIN, rested: Rested | None = None, phase: str = "live") -> Sprite:
    return Sprite(
        "sprite-a", "org", SpriteName("a"), "0", None, VolumeId("v"), phase, (), UrlSettings(), {}, Config(),
        None, 0, 0, None, None, lifecycle, rested,
    )  # fmt: skip


def _since(seconds: float) -> Rested:
    return Rested("warm", NOW_US - round(seconds * 1e6), "unused")


def test_a_sprites_own_times_are_taken_and_0_is_one() -> None:
    host = Timing(30.0, 300.0, 900.0)
    assert host.of(_row()) == host
    assert host.of(_row(Lifecycle(terminal_idle_s=0))) == Timing(30.0, 300.0, 0)
    assert host.of(_row(Lifecycle(terminal_idle_s=60, warm_after_s=0))) == Timing(0, 300.0, 60)


UNUSED = Due(Duty.SLEEP, "unused for 30 s")
PASSED = "its deadline has passed"


@pytest.mark.parametrize(
    ("seen", "due"),
    [
        (Seen(_row(), "running", False, 29.9), None),
        (Seen(_row(), "running", False, 30.0), UNUSED),
        (Seen(_row(phase="creating"), "running", False, 99.0), None),
        (Seen(_row(phase="destroying"), "running", False, 99.0), None),
        (Seen(_row(Lifecycle(warm_after_s=0)), "running", False, 1e9), None),
        (Seen(_row(Lifecycle(warm_after_s=5)), "running", False, 6), Due(Duty.SLEEP, "unused for 5 s")),
        (Seen(_row(rested=_since(299)), "warm", True, 0), None),
        (Seen(_row(rested=_since(300)), "warm", True, 0), Due(Duty.STOP, "warm for 300 s")),
        (Seen(_row(rested=_since(-299)), "warm", True, 0), None),
        (Seen(_row(rested=_since(-1e6)), "warm", True, 0), Due(Duty.STOP, "warm for 300 s")),  # the clock was set back
        (Seen(_row(rested=_since(300)), "warm", False, 0), None),  # it runs, and nobody knows its world: not at rest
        (Seen(_row(rested=_since(300)), "running", False, 1), None),
        (Seen(_row(), "warm", True, 0), None),  # pilotd died before it could say since when: the next wake tells
        (Seen(_row(Lifecycle(cold_after_s=0), _since(1e6)), "warm", True, 0), None),
        (Seen(_row(Lifecycle(expires_us=NOW_US + 1)), "running", False, 1), None),
        (Seen(_row(Lifecycle(expires_us=NOW_US)), "running", False, 0), Due(Duty.DELETE, PASSED, True)),
        (Seen(_row(Lifecycle(expires_us=1)), "cold", False, 0), Due(Duty.DELETE, PASSED, True)),
        (Seen(_row(Lifecycle(expires_us=1, protected=True)), "cold", False, 0), None),
        (Seen(_row(Lifecycle(expires_us=1, on_expiry="stop")), "warm", True, 0), Due(Duty.STOP, PASSED, True)),
        (Seen(_row(Lifecycle(expires_us=1, on_expiry="stop")), "cold", False, 0), None),
        (Seen(_row(Lifecycle(expires_us=1, on_expiry="suspend")), "running", False, 0), Due(Duty.SLEEP, PASSED, True)),
        (Seen(_row(Lifecycle(expires_us=1, on_expiry="suspend")), "warm", True, 0), None),
    ],
)
def test_what_is_due(seen: Seen, due: Due | None) -> None:
    assert decide(seen, TIMING, NOW_US) == due


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock()


@pytest.fixture
def host(tmp_path: pathlib.Path, clock: Clock) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path, now_s=clock)
    yield under_test
    under_test.close()


def _round(host: HostUnderTest, at_us: int | None = None) -> None:
    """One of the watch's, and all that it began done."""
    Watch(host.sprites, TIMING).round(now_us() if at_us is None else at_us)
    for run in host.engine.active():
        if (ended := host.engine.waiting_for(run.id)) is not None:
            ended.result(WAIT_S)


def _pass(host: HostUnderTest, clock: Clock, seconds: float) -> None:
    _round(host)
    clock.now_s += seconds
    _round(host)


def _use(host: HostUnderTest, http: httpx.Client) -> None:
    """A call, whose use ends a moment after its answer is there."""
    assert http.get("/v1/sprites/web/exec").status_code == 200
    sprite = host.sprites.find(host.organisation.id, "web").id
    store.wait_for(lambda: not host.host.uses.open_connections(sprite))


def _status(http: httpx.Client) -> str:
    return str(http.get("/v1/sprites/web").json()["status"])


def _why(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/v1/sprites/web/why").json()
    return found


def test_running_warm_cold_and_a_use_wakes_it(host: HostUnderTest, http: httpx.Client, clock: Clock) -> None:
    _pass(host, clock, 29)
    assert _status(http) == "running"
    _pass(host, clock, 1)
    assert (_status(http), len(host.vmm.frozen)) == ("warm", 1)
    assert _why(http)["rested"]["why"] == "unused for 30 s"
    _use(host, http)  # wakes it
    assert (_status(http), host.vmm.frozen) == ("running", set())
    _pass(host, clock, 30)
    assert _status(http) == "warm"
    _round(host, now_us() + 301 * 10**6)
    assert _status(http) == "cold"
    assert _why(http) == _why(http) | {"status": "cold", "held_by": [], "idle_s": None}
    assert _why(http)["rested"]["why"] == "warm for 300 s"
    assert http.post("/v1/sprites/web/wake").json()["status"] == "running"


def test_an_open_connection_a_hold_and_a_task_keep_it_awake(
    host: HostUnderTest, http: httpx.Client, clock: Clock
) -> None:
    with host.sprites.uses.using(host.sprites.find(host.organisation.id, "web").id):
        _pass(host, clock, 1000)
        assert (_status(http), _why(http)["held_by"]) == ("running", ["1 open connection"])
    assert http.put("/v1/sprites/web/holds/build", json={"expire": 60}).json()["name"] == "build"
    _pass(host, clock, 1000)
    assert (_status(http), _why(http)["held_by"]) == ("running", ["held by build"])
    assert [each["name"] for each in http.get("/v1/sprites/web/holds").json()["holds"]] == ["build"]
    assert http.delete("/v1/sprites/web/holds/build").status_code == 204
    assert http.delete("/v1/sprites/web/holds/build").status_code == 404
    task = {"name": "train", "started_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T01:00:00Z"}
    host.machine("web").tasks = [task]
    _pass(host, clock, 1000)
    assert (_status(http), _why(http)["held_by"]) == ("running", ["task train"])
    host.machine("web").tasks = []
    _pass(host, clock, 1000)
    assert _status(http) == "warm"


def test_a_machine_that_cannot_be_frozen_runs_on(host: HostUnderTest, http: httpx.Client, clock: Clock) -> None:
    host.vmm.fail_freeze = 1
    _pass(host, clock, 30)
    assert (_status(http), _why(http)["rested"]) == ("running", None)
    _use(host, http)
    _pass(host, clock, 30)
    assert _status(http) == "warm"


def test_sleep_breaks_off_what_uses_it(host: HostUnderTest, http: httpx.Client) -> None:
    with wire.connected(host.url) as client:
        client.sendall(
            b"GET /v1/sprites/web/exec?cmd=cat&stdin=true HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Authorization: Bearer " + host.token.encode() + b"\r\n\r\n"
        )
        assert b"101" in client.recv(4096)
        assert _why(http)["held_by"] == ["1 open connection"]
        assert http.post("/v1/sprites/web/sleep").json()["status"] == "warm"
        assert _ends(client)
    assert _status(http) == "warm"


def _ends(client: socket.socket) -> bool:
    client.settimeout(WAIT_S)
    try:
        while client.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return True


def test_what_is_cold_does_not_sleep(http: httpx.Client) -> None:
    assert http.post("/v1/sprites/web/stop").json()["status"] == "cold"
    answer = http.post("/v1/sprites/web/sleep")
    assert (answer.status_code, answer.json()["error"]) == (409, "sprite web does not run")


@pytest.mark.parametrize("path", ["stop", "restart", "checkpoint", "checkpoints/v1/restore"])
def test_what_may_be_done_to_one_that_is_warm(host: HostUnderTest, http: httpx.Client, path: str) -> None:
    assert http.post("/v1/sprites/web/checkpoint", json={}).status_code == 200
    assert http.post("/v1/sprites/web/sleep").json()["status"] == "warm"
    answer = http.post(f"/v1/sprites/web/{path}", json={})
    assert answer.status_code == 200
    assert '"type": "error"' not in answer.text
    assert http.get("/v1/sprites/web/exec").status_code == 200
    assert host.vmm.frozen == set()


def test_a_new_pilotd_finds_it_warm(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.post("/v1/sprites/web/sleep").json()["status"] == "warm"
    http.close()
    host.restart()
    row = host.sprites.find(host.organisation.id, "web")
    assert not host.sprites.adopt(row), "it cannot be asked, and is not waited for"
    assert (host.sprites.status(row), host.sprites.is_frozen(row)) == ("warm", True)
    assert host.sprites.wake(row).result(WAIT_S).done
    assert host.sprites.status(row) == "running"


def test_deadlines(host: HostUnderTest, http: httpx.Client) -> None:
    def put(**lifecycle: Any) -> dict[str, Any]:
        answer = http.put("/v1/sprites/web", json={"lifecycle": lifecycle})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["lifecycle"]
        return found

    assert put(expires_in_s=60, on_expiry="suspend")["on_expiry"] == "suspend"
    later = now_us() + 61 * 10**6
    _round(host)
    assert _status(http) == "running"
    _round(host, later)
    assert _status(http) == "warm"
    put(on_expiry="stop")
    _round(host, later)
    assert _status(http) == "cold"
    assert put(on_expiry="delete", protected=True)["expires_at"] is not None
    _round(host, later)
    assert _status(http) == "cold"
    answer = http.delete("/v1/sprites/web")
    assert (answer.status_code, answer.json()["error"]) == (409, "sprite web is protected")
    assert put(protected=False, expires_at=None)["expires_at"] is None
    _round(host, later)
    assert _status(http) == "cold"
    put(expires_at="2001-01-01T00:00:00Z")
    _round(host)
    assert http.get("/v1/sprites/web").status_code == 404


@pytest.mark.parametrize(("on_expiry", "status"), [("stop", "cold"), ("suspend", "warm")])
def test_what_its_deadline_has_put_to_rest_stays_so_until_it_has_another(
    host: HostUnderTest, http: httpx.Client, on_expiry: str, status: str
) -> None:
    """A use does not wake it for a second, to be put down again: whoever comes is told why, and what to do."""
    lifecycle = {"expires_at": "2001-01-01T00:00:00Z", "on_expiry": on_expiry}
    assert http.put("/v1/sprites/web", json={"lifecycle": lifecycle}).status_code == 200
    _round(host)
    assert _status(http) == status
    for method, path in (("POST", "wake"), ("POST", "restart"), ("GET", "exec"), ("GET", "fs/list?path=/")):
        answer = http.request(method, f"/v1/sprites/web/{path}")
        assert answer.status_code == 409, path
        assert "its deadline has passed (expires_at 2001-01-01T00:00:00" in answer.json()["error"]
        assert "expires_in_s" in answer.json()["message"]
    assert _status(http) == status
    assert http.put("/v1/sprites/web", json={"lifecycle": {"expires_in_s": 600}}).status_code == 200
    assert http.get("/v1/sprites/web/exec").status_code == 200
    _round(host)
    assert _status(http) == "running"


def test_one_that_its_deadline_may_not_destroy_is_used_as_before(host: HostUnderTest, http: httpx.Client) -> None:
    lifecycle = {"expires_at": "2001-01-01T00:00:00Z", "protected": True}
    assert http.put("/v1/sprites/web", json={"lifecycle": lifecycle}).status_code == 200
    _round(host)
    assert http.post("/v1/sprites/web/stop").json()["status"] == "cold"
    assert http.post("/v1/sprites/web/wake").json()["status"] == "running"


@pytest.mark.parametrize(
    "wanted",
    [
        {"warm_after_s": -1}, {"expires_at": "soon"}, {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": None, "expires_in_s": 1}, {"on_expiry": "explode"}, {"protected": 1}, {"expires_in_s": 0},
        {"expires_at": "9999-12-31T23:59:59-12:00"}, {"expires_at": "0001-01-01T00:00:00+12:00"},
    ],
)  # fmt: skip
def test_a_lifecycle_that_cannot_be_meant(http: httpx.Client, wanted: dict[str, Any]) -> None:
    assert http.put("/v1/sprites/web", json={"lifecycle": wanted}).status_code == 400
    assert http.get("/v1/sprites").status_code == 200, "nothing was stored that no answer can tell"


def test_changes_of_two_clients_at_once_are_both_kept(host: HostUnderTest, http: httpx.Client) -> None:
    """Both have read the sprite before either has written."""
    seen = host.sprites.find(host.organisation.id, "web")
    host.sprites.update(seen, SpriteChanges(lifecycle=LifecycleChanges(protected=True)))
    host.sprites.update(seen, SpriteChanges(lifecycle=LifecycleChanges(warm_after_s=5)))
    host.sprites.update(seen, SpriteChanges(url_settings=UrlSettings("public", "admins")))
    host.sprites.update(seen, SpriteChanges(url_settings=UrlSettings("public")))
    now = http.get("/v1/sprites/web").json()
    assert (now["lifecycle"]["protected"], now["lifecycle"]["warm_after_s"]) == (True, 5)
    assert now["url_settings"]["private_access"] == "admins"


def test_one_that_was_protected_meanwhile_is_not_destroyed(host: HostUnderTest, http: httpx.Client) -> None:
    """Whoever destroys it has read it before."""
    seen = host.sprites.find(host.organisation.id, "web")
    assert http.put("/v1/sprites/web", json={"lifecycle": {"protected": True}}).status_code == 200
    with pytest.raises(errors.Conflict, match="sprite web is protected"):
        host.sprites.destroy(seen)
    assert http.get("/v1/sprites/web").status_code == 200


def test_what_is_held_is_left_alone(host: HostUnderTest, http: httpx.Client, clock: Clock) -> None:
    """Not begun to be put to rest again and again, for whose time nobody could use it."""
    assert http.put("/v1/sprites/web/holds/build", json={}).status_code == 200
    _pass(host, clock, 1000)
    assert host.database.query("SELECT id FROM runs WHERE action = 'sleep'") == []


def test_a_sprite_has_so_many_holds_and_no_more(host: HostUnderTest, http: httpx.Client) -> None:
    row = host.sprites.find(host.organisation.id, "web")
    for number in range(MOST_HOLDS):
        host.sprites.holding.hold(row, f"h{number}", now_us() + 10**9)
    answer = http.put("/v1/sprites/web/holds/more", json={})
    assert (answer.status_code, answer.json()["error"]) == (409, "hold more: sprite web has 64")
    assert http.put("/v1/sprites/web/holds/h7", json={}).status_code == 200, "one that it has"
    host.sprites.holding.hold(row, "h8", now_us() - 1)
    assert http.put("/v1/sprites/web/holds/more", json={}).status_code == 200, "one has run out"


def test_a_forced_sleep_follows_one_that_is_not(
    host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not end as that does, which finds it in use."""
    row = host.sprites.find(host.organisation.id, "web")
    host.sprites.holding.hold(row, "build", None)
    entered, gate, look = threading.Event(), threading.Event(), rest.what_holds

    def slow(*asked: Any) -> list[str]:
        entered.set()
        assert gate.wait(WAIT_S)
        return look(*asked)

    monkeypatch.setattr(rest, "what_holds", slow)
    idle_sleep = host.sprites.sleep(row, "unused")
    assert entered.wait(WAIT_S)
    forced = host.sprites.sleep(row, "asked for", force=True)
    gate.set()
    assert idle_sleep.result(WAIT_S).error == "sprite web is in use: held by build"
    assert forced.result(WAIT_S).done
    assert host.sprites.status(row) == "warm"


def test_a_hold_that_has_run_out_is_over(host: HostUnderTest, http: httpx.Client) -> None:
    row = host.sprites.find(host.organisation.id, "web")
    first = host.sprites.holding.hold(row, "build", now_us() - 1)
    assert http.get("/v1/sprites/web/holds").json()["holds"] == []
    again = host.sprites.holding.hold(row, "build", None)
    assert again.since_us > first.since_us, "another one of the same name"
    assert host.sprites.holding.hold(row, "build", now_us() + 10**9).since_us == again.since_us
    host.sprites.holding.hold(row, "short", now_us() - 1)
    retention.forget(host.database, now_us())
    assert [each["name"] for each in host.database.query("SELECT name FROM holds")] == ["build"]


def test_what_has_a_task_is_ready_all_the_time(
    host: HostUnderTest, http: httpx.Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it is looked whether it may rest: else whoever comes then would wait for a wake."""
    task = {"name": "train", "started_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T01:00:00Z"}
    host.machine("web").tasks = [task]
    dropped: list[str] = []
    monkeypatch.setattr(host.host.worlds, "drop", dropped.append)
    _pass(host, clock, 1000)
    assert (_status(http), dropped) == ("running", [])


def test_one_that_cannot_be_looked_at_holds_up_no_other(
    host: HostUnderTest, http: httpx.Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert http.post("/v1/sprites", json={"name": "broken"}).status_code == 201
    status = host.sprites.status

    def broken(row: Sprite) -> str:
        if row.name == "broken":
            raise errors.HostError("ask the kernel: input/output error")
        return status(row)

    monkeypatch.setattr(host.sprites, "status", broken)
    _pass(host, clock, 30)
    monkeypatch.undo()
    assert _status(http) == "warm"
