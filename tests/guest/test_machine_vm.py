"""Machines of images, each in a virtual machine of its own, whose drives are roots of containers and volumes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
from tests.support import flyapi, images, pythonimage, virtual
from tests.support.flyapi import Fly
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "busybox", "fuse", "loop", "space")

_FOREVER = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _FOREVER})) as served:
        yield f"{served.domain}/box:1"


# By UDP: what it was sent, once more.
_ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("fly-global-services", 5300))
print("bound", flush=True)
while True: server.sendto(*server.recvfrom(65535))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    layers = [images.busybox_layer(), pythonimage.layer()]
    made = images.make_layout(tmp_path_factory.mktemp("python"), layers, {"Cmd": ["python3", "-c", _ECHO]})
    with images.serve(made) as served:
        yield f"{served.domain}/python:1"


@pytest.fixture(scope="module")
def fly(pilotd: Pilotd) -> Iterator[Fly]:
    with flyapi.app(pilotd, "virtual") as app:
        yield app


def _wait(fly: Fly, id: str, state: str) -> None:
    """As long as a template's boot may take: under a translator on a busy host that is minutes."""
    path = f"/v1/apps/{fly.app}/machines/{id}/wait?state={state}&timeout=60"
    answers = (fly.raw("GET", path).status_code for _ in range(4))
    assert 200 in answers, fly.get(id)


def test_from_create_to_destroy(pilotd: Pilotd, fly: Fly, image: str) -> None:
    """Another kernel; two containers, one with a volume, which becomes larger; suspended to disk, and on with what was
    in its memory and the right time, by another pilotd; stopped, and anew."""
    volume = fly.raw("POST", f"/v1/apps/{fly.app}/volumes", {"name": "data", "size_gb": 1}).json()["id"]
    config = {
        "guest": {"memory_mb": 512}, "mounts": [{"volume": volume, "name": "data"}],
        "containers": [
            {"name": "first", "image": image, "mounts": [{"name": "data", "path": "/data"}]},
            {"name": "second", "image": image, "depends_on": [{"name": "first", "condition": "started"}]},
        ],
    }  # fmt: skip
    id = fly.create(config, wait=None)["id"]
    _wait(fly, id, "started")
    code, release = fly.run(id, "uname", "-r")
    assert (code, release.strip() != os.uname().release) == (0, True)
    assert fly.run(id, "sh", "-c", "echo kept > /data/file; echo gone > /left; sync") == (0, "")
    assert fly.run(id, "sh", "-c", "exit 3", container="second")[0] == 3
    assert fly.run(id, "sh", "-c", "echo remembered > /dev/shm/word") == (0, "")
    fly.call("POST", f"/{id}/suspend")
    _wait(fly, id, "suspended")
    assert virtual.processes_naming(f"{pilotd.state}/machines/{id}") == [], "its memory is given back"
    pilotd.kill()
    pilotd.start()
    fly.call("POST", f"/{id}/start")
    _wait(fly, id, "started")
    assert fly.run(id, "cat", "/left", "/dev/shm/word") == (0, "gone\nremembered\n"), pilotd.tail()
    seen_s = float(fly.run(id, "date", "+%s")[1])
    assert abs(seen_s - time.time()) < 30
    grown = fly.raw("PUT", f"/v1/apps/{fly.app}/volumes/{volume}/extend", {"size_gb": 2}).json()
    assert (grown["needs_restart"], grown["volume"]["size_gb"]) == (False, 2)
    assert int(fly.run(id, "sh", "-c", "df -k /data | tail -1")[1].split()[1]) > 1 << 20
    fly.call("POST", f"/{id}/stop")
    _wait(fly, id, "stopped")
    fly.call("POST", f"/{id}/start")
    _wait(fly, id, "started")
    assert fly.run(id, "sh", "-c", "cat /data/file; ls /left") == (1, "kept\n")
    assert fly.raw("DELETE", f"/v1/apps/{fly.app}/machines/{id}?force=true").status_code == 200


def test_datagrams_by_its_agent(fly: Fly, python: str) -> None:
    """To its loopback, at the name that upstream has programs bind to; and what it wrote is told when it is stopped."""
    service = {"protocol": "udp", "internal_port": 5300, "ports": [{"port": 53}]}
    id = fly.create({"image": python, "guest": {"memory_mb": 512}, "services": [service]}, wait=None)["id"]
    _wait(fly, id, "started")
    [row] = fly.raw("GET", f"/v1/apps/{fly.app}/ip_assignments").json()["ips"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((row["ip"], 53))
        client.settimeout(1.0)
        assert _echoed(client, b"hello") == b"hello"
        assert _echoed(client, bytes(20000)) == bytes(20000)
        logs = f"/v1/apps/{fly.app}/machines/{id}/logs"
        assert '"text":"bound\\n"' in fly.raw_text(logs)
        fly.call("POST", f"/{id}/stop")
        _wait(fly, id, "stopped")
        assert '"text":"bound\\n"' in fly.raw_text(logs)
        assert _echoed(client, b"again") == b"again"  # which starts it
    assert fly.raw("DELETE", f"/v1/apps/{fly.app}/machines/{id}?force=true").status_code == 200


def _echoed(client: socket.socket, data: bytes) -> bytes:
    """Said again until it comes back: datagrams may be lost."""
    end_s = time.monotonic() + 240
    while time.monotonic() < end_s:
        try:
            client.send(data)
            while (answer := client.recv(65535)) != data:
                pass  # of one before
        except (TimeoutError, ConnectionRefusedError):
            continue
        return answer
    raise AssertionError("no answer")
