"""A guest whose disk met no room, from end to end: its kernel's filesystem gives up, it says so, and it is started anew
when there is room, with everything that it was told is on the disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from sprites.exceptions import SpriteError
from tests.support.pilotd import Pilotd

from pilot.host.store.sqlite import SqliteDatabase
from pilot.ids import VolumeId
from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "fuse", "space", "vm-tests")

_PATIENCE_S = 600.0  # a machine is booted meanwhile, perhaps by translation, beside others
_SPARE_BYTES = 8 << 20
_FILL = "dd if=/dev/urandom of=fill.$0 bs=1M count=4 conv=fsync 2>/dev/null || true"
_WRITE = "echo $0 >row.$0 && sync row.$0"


def _run(sprite: Any, *command: str) -> Any:
    """What came of it; None where nothing is executed any more: it is so far gone, or is just being started anew."""
    try:
        return sprite.run(*command, capture_output=True)
    except (SpriteError, OSError):
        return None


def _is_done(sprite: Any, *command: str) -> bool:
    found = _run(sprite, *command)
    return found is not None and found.returncode == 0


def _wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.5)


def _fill(sprite: Any) -> list[int]:
    """Until not even a row can be written; those that were, and that it was told are there."""
    acknowledged: list[int] = []
    for number in range(100):
        _run(sprite, "sh", "-c", _FILL, str(number))
        if not _is_done(sprite, "sh", "-c", _WRITE, str(number)):
            return acknowledged
        acknowledged.append(number)
    raise AssertionError("there was room all the time")


def _gives_up(sprite: Any) -> bool:
    """What is written now does not even begin: its filesystem takes nothing, or reads nothing, either."""
    found = _run(sprite, "sh", "-c", "touch ~/probe && sync ~/probe")
    return found is None or b"Read-only file system" in found.stderr


def test_it_says_so_and_is_started_anew_when_there_is_room(pilotd: Pilotd) -> None:
    with contextlib.ExitStack() as stack:
        sprite = stack.enter_context(pilotd.client()).create_sprite("narrow")
        database = SqliteDatabase(str(pilotd.state / "state.db"))
        stack.callback(database.close)
        volumes = VolumeClient(str(pilotd.state / "volumed.sock"))
        [row] = database.query("SELECT volume FROM sprites WHERE name = 'narrow'")
        volume = VolumeId(row["volume"])
        boot = _run(sprite, "sh", "-c", "sync; cat /proc/sys/kernel/random/boot_id").stdout
        volumes.limit(volume, volumes.stat(volume).allocated_bytes + _SPARE_BYTES)
        # What the checkpoint shares is not written in place: the journal, too, needs new room.
        list(sprite.create_checkpoint())

        acknowledged = _fill(sprite)
        _wait_for(lambda: _gives_up(sprite))
        assert _read_only(database) == [], "there is no room for it yet: it is left alone"
        volumes.limit(volume, None)
        _wait_for(lambda: _read_only(database))
        _wait_for(lambda: _is_done(sprite, "sh", "-c", "echo more >more && sync more"))

        rows = [f"row.{number}" for number in acknowledged]
        assert _run(sprite, "cat", *rows, "more").stdout.decode().split() == [*map(str, acknowledged), "more"]
        assert _run(sprite, "cat", "/proc/sys/kernel/random/boot_id").stdout != boot
        assert len(_read_only(database)) == 1, "once"


def _read_only(database: SqliteDatabase) -> list[object]:
    return list(database.query("SELECT 1 FROM events WHERE kind = 'sprite.read_only' AND sprite = 'narrow'"))
