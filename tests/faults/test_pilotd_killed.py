"""kill -9 of pilotd between any two transitions of an operation: the next one finishes it, and nothing is left."""

from __future__ import annotations

import pathlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.support import leftovers
from tests.support.pilotd import Pilotd
from tests.support.receiver import receiving, verify

from pilot.host.fsm.operation import Action
from pilot.host.operations import requests, table

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

DEADLINE_S = 60


def _transitions(action: Action[Any]) -> list[str]:
    (row,) = [row for row in table.ROWS if row.action is action]
    return [step.name for step in row.steps]


CREATE = _transitions(requests.CREATE)


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(
        tmp_path_factory.mktemp("killed") / "state", extra=("--allow-webhook", "127.0.0.0/8")
    ).running() as daemon:
        yield daemon


def _kill_after(pilotd: Pilotd, transition: str, act: Callable[[], Any]) -> None:
    """Begin `act` and kill pilotd once `transition` of a run that is new is in the journal."""
    known = _completed(pilotd.state)
    caller = threading.Thread(target=_ignoring_the_break, args=(act,), name="caller")
    caller.start()
    deadline = time.monotonic() + DEADLINE_S
    while not any(name == transition for _, name in _completed(pilotd.state) - known):
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.001)
    pilotd.kill()
    caller.join(DEADLINE_S)
    assert not caller.is_alive()
    pilotd.start()
    _until_no_run_is_active(pilotd)


def _ignoring_the_break(act: Callable[[], Any]) -> None:
    try:
        act()
    except httpx.HTTPError:
        pass  # the connection dies with pilotd, or the answer came first


def _completed(state: pathlib.Path) -> set[tuple[str, str]]:
    with sqlite3.connect(f"file:{state}/state.db?mode=ro", uri=True, timeout=10) as database:
        rows = database.execute("SELECT run, name FROM transitions WHERE completed = 1").fetchall()
    database.close()
    return set(rows)


def _until_no_run_is_active(pilotd: Pilotd) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while "pilotd_active_runs{" in httpx.get(f"{pilotd.url}/metrics").text:
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.01)


def _call(pilotd: Pilotd, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.request(method, f"{pilotd.url}{path}", headers=headers, json=body, timeout=DEADLINE_S)


@pytest.mark.parametrize("transition", CREATE)
def test_create(pilotd: Pilotd, transition: str) -> None:
    before = leftovers.observe().processes if transition == CREATE[-1] else None
    _kill_after(pilotd, transition, lambda: _call(pilotd, "POST", "/v1/sprites", {"name": "made"}))
    with pilotd.client() as client:
        sprite = client.get_sprite("made")
        assert sprite.run("sh", "-c", "echo alive", capture_output=True).stdout == b"alive\n"
        sprite.destroy()
        assert client.list_sprites().sprites == []
    machines = [path.name for path in (pilotd.state / "machines").iterdir()]
    assert machines == []
    if before is not None:
        left = {row for row in leftovers.observe().processes - before if "pilotd" not in row}
        assert left == set()


@pytest.mark.parametrize("transition", _transitions(requests.RESTORE))
def test_restore(pilotd: Pilotd, transition: str) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("restored")
        sprite.run("sh", "-c", "echo good > ~/file; sync", check=True)
        list(sprite.create_checkpoint("c"))
        sprite.run("sh", "-c", "echo bad > ~/file; sync", check=True)
    path = "/v1/sprites/restored/checkpoints/v1/restore"
    _kill_after(pilotd, transition, lambda: _call(pilotd, "POST", path, {}))
    with pilotd.client() as client:
        sprite = client.get_sprite("restored")
        assert sprite.run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"good\n"
        sprite.destroy()


@pytest.mark.parametrize("transition", _transitions(requests.SLEEP))
def test_sleep(pilotd: Pilotd, transition: str) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("sleepy")
        sprite.run("sh", "-c", "echo kept > ~/file; sleep 1000 >/dev/null 2>&1 & echo $! > /tmp/pid", check=True)
    _kill_after(pilotd, transition, lambda: _call(pilotd, "POST", "/v1/sprites/sleepy/sleep"))
    assert _call(pilotd, "GET", "/v1/sprites/sleepy").json()["status"] == "warm"
    with pilotd.client() as client:
        sprite = client.get_sprite("sleepy")
        sprite.run("sh", "-c", "kill -0 $(cat /tmp/pid)", check=True)
        assert sprite.run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"kept\n"
        sprite.destroy()


@pytest.mark.parametrize("transition", _transitions(requests.DESTROY))
def test_destroy(pilotd: Pilotd, transition: str) -> None:
    with pilotd.client() as client:
        client.create_sprite("gone")
    _kill_after(pilotd, transition, lambda: _call(pilotd, "DELETE", "/v1/sprites/gone"))
    assert _call(pilotd, "GET", "/v1/sprites/gone").status_code == 404
    assert list((pilotd.state / "machines").iterdir()) == []


@pytest.mark.parametrize("transition", ["save", "disk"])
def test_several_forks(pilotd: Pilotd, transition: str) -> None:
    """Killed when all begin with the same state, and when the first of them has one."""
    with pilotd.client() as client:
        base = client.create_sprite("base")
        base.run("sh", "-c", "echo one > ~/file; sync", check=True)
        wanted = {"names": ["fork-a", "fork-b", "fork-c"]}
        _kill_after(pilotd, transition, lambda: _call(pilotd, "POST", "/v1/sprites/base/fork", wanted))
        for name in ("fork-a", "fork-b", "fork-c"):
            sprite = client.get_sprite(name)
            assert sprite.run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"one\n"
            sprite.destroy()
        client.get_sprite("base").destroy()
    assert list((pilotd.state / "machines").iterdir()) == []


def test_webhooks(pilotd: Pilotd) -> None:
    """What was not taken when pilotd was killed is told by the next one, which knows the secret, too."""
    with receiving() as receiver:
        receiver.answers = lambda taken: 503 if taken.document["type"] == "checkpoint.published" else 200
        made = _call(pilotd, "POST", "/v1/webhooks", {"url": receiver.url}).json()
        with pilotd.client() as client:
            sprite = client.create_sprite("told")
            list(sprite.create_checkpoint("c"))
            receiver.until_kind("checkpoint.published")
            pilotd.kill()
            receiver.answers = lambda _: 200
            pilotd.start()
            sprite.destroy()
        taken = receiver.until_kind("sprite.destroyed")
    told = [each.document for each in taken]
    assert [each["id"] for each in told] == sorted(each["id"] for each in told), "nothing is left out, nothing is late"
    assert len({each.id for each in taken}) == len({each["id"] for each in told})
    published = [each for each in taken if each.document["type"] == "checkpoint.published"]
    assert len(published) > 1
    assert {each.id for each in published} == {published[0].id}
    assert all(verify(made["secret"], each) for each in taken)
    assert _call(pilotd, "DELETE", f"/v1/webhooks/{made['id']}").status_code == 204
