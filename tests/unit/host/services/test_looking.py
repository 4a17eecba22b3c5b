"""Looks at disks leave nothing, whatever becomes of them."""

from __future__ import annotations

import json
import os
import pathlib
import select
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.api import streams
from pilot.host.services import browsing, lending, looking
from pilot.ids import VolumeId
from pilot.wire import faults


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=60) as client:
        assert client.post("/v1/sprites", json={"name": "web"}).status_code == 201
        assert client.post("/v1/sprites/web/checkpoint").status_code == 200
        yield client


def _looks(host: HostUnderTest) -> list[str]:
    return [name for name in host.volumes.names() if name.startswith(looking.PREFIX)]


def test_what_it_took_is_given_back(host: HostUnderTest, http: httpx.Client) -> None:
    answer = http.get("/v1/sprites/web/checkpoints/v1/diff")
    assert json.loads(answer.text.splitlines()[-1])["type"] == "complete"
    assert _looks(host) == []


def test_one_that_fails_says_why(host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_MODULE", "pilot.host.nothing")
    answer = http.get("/v1/sprites/web/checkpoints/v1/diff").json()
    assert (answer["type"], "No module named" in answer["error"]) == ("error", True)
    assert _looks(host) == []


def test_no_more_than_so_many_at_once(host: HostUnderTest, http: httpx.Client) -> None:
    row = host.sprites.find(host.organisation.id, "web")
    for _ in range(looking.AT_ONCE):
        host.sprites._looking._room.acquire()
    with pytest.raises(faults.Exhausted):
        host.sprites.difference(row, "v1", None)
    with pytest.raises(errors.NotFound):
        host.sprites.difference(row, "v9", None)


def test_what_a_pilotd_that_died_has_left_is_taken_away(host: HostUnderTest, http: httpx.Client) -> None:
    row = host.sprites.find(host.organisation.id, "web")
    for name in ("look-attached", "look-only-made"):
        host.volumes.fork(row.volume, VolumeId(name))
    host.volumes.attach(VolumeId("look-attached"), 0, 65536)
    host.sprites.sweep()
    assert _looks(host) == []
    assert row.volume in host.volumes.names()


def test_an_answer_that_is_not_read_keeps_its_place(host: HostUnderTest, http: httpx.Client) -> None:
    row = host.sprites.find(host.organisation.id, "web")
    held = [host.sprites.difference(row, "v1", None) for _ in range(lending.OF_ONE)]
    assert (http.get("/v1/sprites/web/checkpoints/v1/fs/read?path=/etc/os-release")).status_code == 429
    assert "as many answers" in http.get("/v1/sprites/web/checkpoints/v1/diff").json()["error"]
    head = http.head("/v1/sprites/web/checkpoints/v1/fs/read?path=/etc/os-release")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len("ID=fake\n")))
    for file in held:
        file.close()
    assert http.get("/v1/sprites/web/checkpoints/v1/fs/read?path=/etc/os-release").text == "ID=fake\n"


def test_a_difference_that_has_no_room_says_so(
    host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "MOST_DIFFERENCE_BYTES", 10)
    assert "file too large" in http.get("/v1/sprites/web/checkpoints/v1/diff").json()["error"]
    assert _looks(host) == []


def test_who_reads_too_slowly_is_left(host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ANSWER_S", -1000.0)
    for _ in range(lending.OF_ONE + 1):
        with pytest.raises(httpx.RemoteProtocolError):
            http.get("/v1/sprites/web/checkpoints/v1/diff")


def test_what_a_look_has_begun_ends_with_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold the disk, and go on writing."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 1000 &\nwait\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb") as held:
        try:
            with pytest.raises(errors.HostError, match="a look: not done after 1 s"):
                looking.look("module", "a look", 1, [write_fd], [], subprocess.DEVNULL)
        finally:
            os.close(write_fd)
        assert select.select([held], [], [], WAIT_S)[0], "nobody has it any more"
