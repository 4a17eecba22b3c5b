"""Every row of the clients' matrix, asked by sprites-py as it is published, of sprites that are virtual machines.

Emulated ones are slow, so it is asked for (`make vm-tests`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import matrix
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "fuse", "space", "vm-tests")


@pytest.fixture(scope="module")
def bed() -> Iterator[matrix.Bed]:
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as directory:
        daemon = Pilotd(Path(directory, "s"), isolation="vm")
        daemon.stop_machines_on_exit = True
        daemon.start()
        try:
            with daemon.client() as client:
                yield matrix.Bed(daemon, client, client.create_sprite("matrix"))
        finally:
            daemon.stop()


@pytest.mark.parametrize("row", matrix.ROWS)
def test_row(bed: matrix.Bed, row: str) -> None:
    matrix.ROWS[row](bed)
