"""pilotd has no memory for threads while eight clients ask: it answers again when it has, and stops when it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures

import httpx
import pytest

from tests.support import starved
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

MIB = 1 << 20
SPARE_BYTES = (MIB, 4 * MIB, 9 * MIB)  # a thread maps more than 8 MiB
CLIENTS = 8


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("short") / "state").running() as made:
        yield made


def test_without_memory_for_threads_it_goes_on_and_stops(daemon: Pilotd) -> None:
    assert daemon.process is not None
    for number, spare_bytes in enumerate(SPARE_BYTES):
        names = [f"starved-{number}-{client}" for client in range(CLIENTS)]
        with starved.of_memory(daemon.process.pid, spare_bytes), futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda name: _try(daemon, name), names))
        with _http(daemon, 120) as http:
            for name in names:
                assert http.delete(f"/sprites/{name}").status_code in (204, 404)
            _live(http, f"after-{number}").raise_for_status()


def _try(daemon: Pilotd, name: str) -> None:
    with contextlib.suppress(httpx.TransportError), _http(daemon, 3) as http:
        _live(http, name)


def _live(http: httpx.Client, name: str) -> httpx.Response:
    """A sprite is made, does something, and goes: the last answer."""
    http.post("/sprites", json={"name": name})
    http.post(f"/sprites/{name}/exec", params={"cmd": ["true"]})
    http.post(f"/sprites/{name}/checkpoint")
    return http.delete(f"/sprites/{name}")


def _http(daemon: Pilotd, timeout_s: float) -> httpx.Client:
    headers = {"Authorization": f"Bearer {daemon.token()}"}
    return httpx.Client(base_url=f"{daemon.url}/v1", headers=headers, timeout=timeout_s)
