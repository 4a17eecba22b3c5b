"""What tests of virtual machines begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import virtual
from tests.support.pilotd import Pilotd


@pytest.fixture(scope="module")
def pilotd() -> Iterator[Pilotd]:
    with virtual.serving() as daemon:
        yield daemon
