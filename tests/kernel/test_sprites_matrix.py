"""Every row of the clients' matrix, asked by sprites-py as it is published, of sprites that are containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import matrix
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[matrix.Bed]:
    daemon = Pilotd(tmp_path_factory.mktemp("matrix") / "state")
    daemon.stop_machines_on_exit = True
    daemon.start()
    with daemon.client() as client:
        yield matrix.Bed(daemon, client, client.create_sprite("matrix"))
    daemon.stop()


@pytest.mark.parametrize("row", matrix.ROWS)
def test_row(bed: matrix.Bed, row: str) -> None:
    matrix.ROWS[row](bed)
