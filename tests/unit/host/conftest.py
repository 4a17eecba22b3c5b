"""What most tests of the host begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pilot.host.store.sqlite import SqliteDatabase
from tests.support.host import HostUnderTest


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    made = SqliteDatabase(str(tmp_path / "state.db"))
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostUnderTest]:
    made = HostUnderTest(tmp_path)
    yield made
    made.close()


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    """With everybody's rights, and a sprite `web`."""
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=60) as client:
        assert client.post("/v1/sprites", json={"name": "web"}).status_code == 201
        yield client
