"""One damaged volume, and one of another build, beside one that is attached: volumed starts, and serves the others."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import VolumeId
from pilot.volume.disk import meta

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")
A, B, C = VolumeId("a"), VolumeId("b"), VolumeId("c")


def test_one_damaged_volume_fails_alone(tmp_path: Path) -> None:
    volumed = Volumed(tmp_path)
    volumed.start()
    try:
        for volume in (A, B, C):
            volumed.client.create(volume, 1 << 30)
        held_fd = volumed.client.attach(A, 0, 1 << 32)
        volumed.kill()
        (volumed.disk(B) / "meta.db").write_bytes(b"no database")
        with sqlite3.connect(volumed.disk(C) / "meta.db") as database:
            database.execute("update fact set value='99', sum=? where key='format'", (meta._sum("format", "99"),))
        database.close()
        volumed.start()
        rows = {row.volume: row for row in volumed.client.list()}
        assert (rows[A].attached, rows[A].damaged) == ("mount", None)
        assert "not a database" in str(rows[B].damaged)
        assert "format 99" in str(rows[C].damaged)
        with pytest.raises(errors.HostError, match="not a database") as told:
            volumed.client.attach(B, 0, 1 << 32)
        assert "pilot volume check" in str(told.value.hint)
        volumed.client.checkpoint(A)
        os.close(held_fd)
        volumed.client.detach(A)
        volumed.client.delete(B)
        assert {row.volume for row in volumed.client.list()} == {A, C}
    finally:
        volumed.stop()
