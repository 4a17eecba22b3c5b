"""Machines of one app reach each other by name; between apps there is nothing, also not by address."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.support import flyapi, images
from tests.support.flyapi import Fly
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space", "veth", "nft")

_SERVER = "mkdir /www; echo $FLY_MACHINE_ID > /www/index.html; trap 'exit 0' INT TERM; httpd -f -p 8000 -h /www & wait"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": ["sh", "-c", _SERVER]})
    with images.serve(made) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture
def apps(pilotd: Pilotd) -> Iterator[tuple[Fly, Fly]]:
    with flyapi.app(pilotd, "front") as front, flyapi.app(pilotd, "other") as other:
        yield front, other


def test_names_within_an_app_and_nothing_between_apps(apps: tuple[Fly, Fly], image: str, pilotd: Pilotd) -> None:
    front, other = apps
    first, second = (front.create({"image": image})["id"] for _ in range(2))
    stranger = other.create({"image": image})["id"]
    for asking, asked in ((first, second), (second, first), (first, first)):
        _until(lambda: _got(front, asking, f"{asked}.vm.front.internal") == asked)  # noqa: B023 - asked at once
    _until(lambda: _addresses(front, first, "front.internal") == 2)
    assert _addresses(front, first, f"{stranger}.vm.other.internal") == 0
    assert _addresses(front, first, "other.internal") == 0
    _until(lambda: _addresses(other, stranger, "other.internal") == 1)
    (address,) = _lookup(front, second, f"{first}.vm.front.internal")
    assert _asked(front, second, address) == first
    assert _asked(other, stranger, address, patience_s=2) == ""
    # What stops is called no more by the app's name; what starts is, and by the next pilotd as well.
    front.call("POST", f"/{first}/stop")
    front.wait(first, "stopped")
    _until(lambda: _addresses(front, second, "front.internal") == 1)
    pilotd.kill()
    pilotd.start()
    front.call("POST", f"/{first}/start")
    front.wait(first, "started")
    _until(lambda: _addresses(front, second, "front.internal") == 2)
    _until(lambda: _got(front, second, f"{first}.vm.front.internal") == first)
    front.call("DELETE", f"/{first}?force=true")
    _until(lambda: _addresses(front, second, f"{first}.vm.front.internal") == 0)


def _lookup(fly: Fly, id: str, name: str) -> list[str]:
    """Its IPv4 addresses, as the Machine's resolver says."""
    _, told = fly.run(id, "nslookup", "-type=a", name)
    answer = told.partition("Name:")[2]
    return [line.split()[-1] for line in answer.splitlines() if line.startswith("Address") and "." in line]


def _addresses(fly: Fly, id: str, name: str) -> int:
    return len(_lookup(fly, id, name))


def _got(fly: Fly, id: str, name: str) -> str:
    """What a web server of that name says to a Machine; "" as long as nobody is called so."""
    found = _lookup(fly, id, name)
    return _asked(fly, id, found[0]) if len(found) == 1 else ""


def _asked(fly: Fly, id: str, address: str, patience_s: int = 20) -> str:
    """What a web server at that address says to a Machine; "" when it says nothing."""
    request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w {patience_s} {address} 8000"
    return fly.run(id, "sh", "-c", request)[1].rpartition("\r\n\r\n")[2].strip()


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
