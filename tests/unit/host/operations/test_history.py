"""What pilotd keeps by itself: a checkpoint before each restore, the latest few; and how long it remembers runs."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.host.operations import automatic
from pilot.host.services import retention
from pilot.host.store import checkpoints, journal
from pilot.host.store.checkpoints import Checkpoint
from pilot.host.store.database import Database
from pilot.ids import CheckpointId, VolumeId


def _write(http: httpx.Client, text: str) -> None:
    assert http.put("/v1/sprites/web/fs/write?path=/keep", content=text).status_code == 200


def _read(http: httpx.Client) -> str:
    return http.get("/v1/sprites/web/fs/read?path=/keep").text


def _run(http: httpx.Client, path: str) -> str:
    answer = http.post(f"/v1/sprites/web/{path}")
    return str(json.loads(answer.text.splitlines()[-1])["type"])


def _points(http: httpx.Client, query: str = "") -> list[str]:
    return [point["id"] for point in http.get(f"/v1/sprites/web/checkpoints{query}").json()]


def test_a_restore_can_be_taken_back(http: httpx.Client) -> None:
    _write(http, "first")
    assert _run(http, "checkpoint") == "complete"
    _write(http, "second")
    assert _run(http, "checkpoints/v1/restore") == "complete"
    assert _read(http) == "first"
    assert _points(http) == ["Current", "v1"]
    _, auto, _ = _points(http, "?includeAuto=true")
    point = http.get(f"/v1/sprites/web/checkpoints/{auto}").json()
    assert (point["is_auto"], point["comment"]) == (True, "before the restore of v1")
    assert _run(http, f"checkpoints/{auto}/restore") == "complete"
    assert _read(http) == "second"


def test_only_the_latest_are_kept_and_never_the_one_in_use_is_dropped(http: httpx.Client) -> None:
    _write(http, "0")
    assert _run(http, "checkpoint") == "complete"
    for _ in range(automatic.KEPT + 2):
        assert _run(http, "checkpoints/v1/restore") == "complete"
    kept = _points(http, "?includeAuto=true")[1:-1]
    assert len(kept) == automatic.KEPT
    oldest = kept[-1]
    assert _run(http, f"checkpoints/{oldest}/restore") == "complete"
    assert oldest in _points(http, "?includeAuto=true")


def test_one_that_is_named_while_others_are_dropped_stays(
    host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(http, "checkpoint") == "complete"
    _write(http, "kept")
    for _ in range(automatic.KEPT):
        assert _run(http, "checkpoints/v1/restore") == "complete"
    oldest = _points(http, "?includeAuto=true")[-2]
    sprite, every = host.sprites.find(host.organisation.id, "web"), checkpoints.every

    def named_meanwhile(database: Database, id: str) -> list[Checkpoint]:
        found = every(database, id)
        with database.transaction() as tx:
            checkpoints.rename(tx, id, oldest, "template")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "every", named_meanwhile)
        assert _run(http, "checkpoints/v1/restore") == "complete"
    assert oldest in _points(http, "?includeAuto=true")
    assert oldest in [point.id for point in host.volumes.checkpoints(sprite.volume)]
    assert _run(http, "checkpoints/template/restore") == "complete"
    assert _read(http) == "kept"


def test_what_a_pilotd_that_died_has_dropped_by_half_is_dropped(host: HostUnderTest, http: httpx.Client) -> None:
    assert _run(http, "checkpoint") == "complete"
    assert _run(http, "checkpoints/v1/restore") == "complete"
    sprite, auto = host.sprites.find(host.organisation.id, "web"), CheckpointId(_points(http, "?includeAuto=true")[1])
    with host.database.transaction() as tx:
        checkpoints.delete(tx, sprite.id, auto)
    assert _run(http, "checkpoints/v1/restore") == "complete"
    left = [point.id for point in host.volumes.checkpoints(sprite.volume)]
    assert (auto in left, len(left)) == (False, 2)


def test_the_newest_is_the_newest_also_when_the_clock_was_set_back(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would have been dropped as the oldest is what a restore is to be taken back by."""
    _write(http, "0")
    assert _run(http, "checkpoint") == "complete"
    for _ in range(automatic.KEPT):
        assert _run(http, "checkpoints/v1/restore") == "complete"
    before = _points(http, "?includeAuto=true")
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10 * 31_556_952 * 10**9)
    _write(http, "kept")
    assert _run(http, "checkpoints/v1/restore") == "complete"
    assert _run(http, "checkpoint") == "complete"
    after = _points(http, "?includeAuto=true")
    assert after[1] == "v2"
    assert after[2] not in before
    assert _run(http, f"checkpoints/{after[2]}/restore") == "complete"
    assert _read(http) == "kept"


def test_a_restore_does_not_need_it(host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(http, "first")
    assert _run(http, "checkpoint") == "complete"
    _write(http, "second")

    def refuse(volume: VolumeId, comment: str | None = None, checkpoint: CheckpointId | None = None) -> None:
        raise errors.HostError("checkpoint: no space left on device")

    monkeypatch.setattr(host.volumes, "checkpoint", refuse)
    assert _run(http, "checkpoints/v1/restore") == "complete"
    assert _read(http) == "first"
    assert _points(http, "?includeAuto=true") == ["Current", "v1"]


def test_runs_and_events_are_forgotten_in_time(host: HostUnderTest, http: httpx.Client) -> None:
    def counts() -> tuple[int, ...]:
        tables = ("runs", "transitions", "events")
        return tuple(host.database.query(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables)

    before = counts()
    retention.forget(host.database, journal.now_us())
    assert counts() == before
    retention.forget(host.database, journal.now_us() + (retention.RUNS_S + 60) * 1_000_000)
    assert counts() == (0, 0, before[2])
    retention.forget(host.database, journal.now_us() + (retention.EVENTS_S + 60) * 1_000_000)
    assert counts() == (0, 0, 0)
    assert http.get("/v1/sprites/web").status_code == 200
