"""Sprites made before anybody wants one, on the real kernel: a create takes one over, and nothing of them stays."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support import leftovers
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

DEADLINE_S = 150  # a destroy that is tried again waits longer each time


@pytest.fixture
def pilotd(tmp_path: Path) -> Iterator[Pilotd]:
    """With a pool of one, ready."""
    before = leftovers.observe()
    daemon = Pilotd(tmp_path / "state")
    daemon.stop_machines_on_exit = True
    daemon.pool = 1
    daemon.start()
    try:
        _until_ready(daemon)
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.stop()
    assert leftovers.left_since(before) == {}
    assert _rows(daemon, "SELECT id FROM sprites WHERE phase LIKE 'pool%'") == []


def _rows(pilotd: Pilotd, sql: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(f"file:{pilotd.state}/state.db?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def _pooled(pilotd: Pilotd) -> set[str]:
    return {id for (id,) in _rows(pilotd, "SELECT id FROM sprites WHERE phase = 'pooled'")}


def _until_ready(pilotd: Pilotd) -> None:
    """The pool is full, as its metrics say: what is pooled in the database may be a moment from being given away."""
    deadline = time.monotonic() + DEADLINE_S
    while "\npilotd_pool_ready 1.0\n" not in httpx.get(f"{pilotd.url}/metrics", timeout=DEADLINE_S).text:
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.01)


def test_a_create_takes_a_member_over_and_another_one_follows(pilotd: Pilotd) -> None:
    (member,) = _pooled(pilotd)
    with pilotd.client() as client:
        assert list(client.list_all_sprites()) == []
        sprite = client.create_sprite("taken")
        assert sprite.id == member
        done = sprite.run("sh", "-c", "hostname; id -un; echo kept > ~/file", capture_output=True)
        assert done.stdout.split() == [b"taken", b"sprite"]
        named = sprite.run("cat", "/etc/hostname", "/etc/hosts", capture_output=True).stdout
        assert (named.startswith(b"taken\n"), named.endswith(b"\ttaken\n"), b"member" in named) == (True, True, False)
        _until_ready(pilotd)
        assert [other.name for other in client.list_all_sprites()] == ["taken"]
        assert _rows(pilotd, "SELECT count(*) FROM machines") == [(2,)]


def test_a_member_is_not_given_twice(pilotd: Pilotd) -> None:
    (member,) = _pooled(pilotd)
    with pilotd.client() as client:
        ids = {client.create_sprite(f"taken-{number}").id for number in range(3)}
        assert len(ids) == 3
        assert member in ids
        for number in range(3):
            assert client.sprite(f"taken-{number}").run("true").returncode == 0


def test_a_size_or_a_fork_is_made_anew(pilotd: Pilotd) -> None:
    (member,) = _pooled(pilotd)
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    body = {"name": "small", "config": {"ram_mb": 512}}
    httpx.post(f"{pilotd.url}/v1/sprites", headers=headers, json=body, timeout=DEADLINE_S).raise_for_status()
    assert member in _pooled(pilotd)


def test_members_of_a_pilotd_that_was_killed_go_and_sprites_stay(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        client.create_sprite("stays").run("sh", "-c", "echo kept > ~/file", check=True)
    _until_ready(pilotd)
    old = _pooled(pilotd)
    pilotd.kill()
    pilotd.start()
    _until_ready(pilotd)
    deadline = time.monotonic() + DEADLINE_S
    while old & {id for (id,) in _rows(pilotd, "SELECT id FROM sprites")}:
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.01)
    with pilotd.client() as client:
        assert client.sprite("stays").run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"kept\n"


def test_a_member_whose_machine_died_is_started_again(pilotd: Pilotd) -> None:
    (member,) = _pooled(pilotd)
    ((machine,),) = _rows(pilotd, "SELECT id FROM machines")
    _kill_init(machine)
    with pilotd.client() as client:
        sprite = client.create_sprite("taken")
        assert sprite.id == member
        assert sprite.run("echo", "alive", capture_output=True).stdout == b"alive\n"


def _kill_init(machine: str) -> None:
    """PID 1 of that machine, and wait until it has gone."""
    words = b"/usr/lib/pilot/bin/pilot-init\0--\0"
    files = Path("/proc").glob("[0-9]*/cmdline")
    inits = [file.parent for file in files if file.read_bytes().startswith(words)]
    (pid,) = (int(init.name) for init in inits if f"/{machine}\n" in (init / "cgroup").read_text())
    pid_fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
    assert select.select([pid_fd], [], [], DEADLINE_S)[0]
    os.close(pid_fd)


def test_a_member_gets_its_own_environment_and_keeps_it(pilotd: Pilotd) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    wanted = {"name": "taken", "environment": {"GREETING": "hello"}}
    made = httpx.post(f"{pilotd.url}/v1/sprites", headers=headers, json=wanted, timeout=DEADLINE_S)
    assert (made.status_code, made.json()["status"]) == (201, "running")
    with pilotd.client() as client:
        sprite = client.sprite("taken")
        ask = ("sh", "-c", "echo $GREETING $(hostname)")
        assert sprite.run(*ask, capture_output=True).stdout == b"hello taken\n"
        assert httpx.post(f"{pilotd.url}/v1/sprites/taken/stop", headers=headers, timeout=DEADLINE_S).is_success
        assert sprite.run(*ask, capture_output=True).stdout == b"hello taken\n"
