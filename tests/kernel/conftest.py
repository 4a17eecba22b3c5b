"""What most tests of the runtime begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import bundles

from pilot.runtime import Runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime; whatever the test left is removed."""
    made = Runtime(str(tmp_path / "root"))
    yield made
    for container in made.list():
        container.delete(force=True)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with a busybox rootfs."""
    return bundles.make_bundle(tmp_path / "bundle")
