"""Creators at the same time: nobody takes another's unfinished directory for an abandoned one."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from pilot import errors
from pilot.ids import ContainerId
from pilot.runtime.store import Record, Store


def _record(id: str) -> Record:
    return Record(id=id, bundle="/", created="", owner="", cgroup={})


def test_a_directory_that_is_not_locked_yet_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock
    others = iter(["second"])

    def lock_while_another_creates(fd: int, operation: int) -> None:
        for id in others:
            with Store(str(tmp_path)).added(_record(id), b"{}"):
                pass
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", lock_while_another_creates)
    with Store(str(tmp_path)).added(_record("first"), b"{}"):
        assert Store(str(tmp_path)).read(ContainerId("first")).id == "first"
    assert Store(str(tmp_path)).ids() == ["first", "second"]


def test_an_abandoned_directory_is_removed_by_the_next_creator(tmp_path: Path) -> None:
    abandoned = tmp_path / "~new-0123"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    with Store(str(tmp_path)).added(_record("next"), b"{}"):
        assert not abandoned.exists()


def test_the_record_of_a_later_build_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with store.added(_record("web"), b"{}"):
        path = tmp_path / "web/state.json"
        path.write_text(path.read_text().replace('"id"', '"format":2,"id"', 1))
        with pytest.raises(errors.StateError, match=r"state.json of web is of format 2, this program knows 1"):
            store.read(ContainerId("web"))
