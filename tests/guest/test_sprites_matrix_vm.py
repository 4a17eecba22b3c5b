"""Every row of the clients' matrix, asked by sprites-py as it is published, of sprites that are virtual machines.

Emulated ones are slow, so it is asked for (`make vm-clients`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import matrix, pilotd

pytestmark = [
    pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "fuse", "space", "vm-tests"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def bed() -> Iterator[matrix.Bed]:
    with pilotd.serving(isolation="vm") as daemon, daemon.client() as client:
        yield matrix.Bed(daemon, client, client.create_sprite("matrix"))


@pytest.mark.parametrize("row", matrix.ROWS)
def test_row(bed: matrix.Bed, row: str) -> None:
    matrix.ROWS[row](bed)
