"""Services of Machines by UDP: reached at the app's own address, started for who comes, put to rest, and cut off."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support import flyapi, images, pythonimage
from tests.support.flyapi import Fly
from tests.support.layers import tar
from tests.support.pilotd import Pilotd

from pilot.kernel import process

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

# Says who it is, and what it was sent. A TCP server has the same port.
_SERVER = """
import os, socket, threading
def echo(stream):
    with stream:
        while data := stream.recv(100): stream.sendall(data)
def accept():
    listener = socket.create_server(("", 5300))
    while True: threading.Thread(target=echo, args=listener.accept()[:1]).start()
threading.Thread(target=accept, daemon=True).start()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((os.environ.get("BIND", ""), 5300))
while True:
    data, address = server.recvfrom(65535)
    if data == b"die": os._exit(3)
    if data == b"hush": continue
    server.sendto(os.environ["FLY_MACHINE_ID"].encode() + b" " + data, address)
"""
_UDP = {"protocol": "udp", "internal_port": 5300, "ports": [{"port": 53}]}
_TCP = {"protocol": "tcp", "internal_port": 5300, "ports": [{"port": 53}]}


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("reached") / "state", extra=("--autostop-after", "1")).running() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    layers = [images.busybox_layer(), pythonimage.layer(), tar()]
    made = images.make_layout(tmp_path_factory.mktemp("image"), layers, {"Cmd": ["python3", "-c", _SERVER]})
    with images.serve(made) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    with flyapi.app(pilotd, request.node.originalname.removeprefix("test_").replace("_", "-")[:50].strip("-")) as app:
        yield app


def _address(fly: Fly) -> str:
    [row] = fly.raw("GET", f"/v1/apps/{fly.app}/ip_assignments").json()["ips"]
    return str(row["ip"])


def _until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _client(fly: Fly, port: int = 53) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect((_address(fly), port))
    made.settimeout(0.5)
    return made


def _ask(client: socket.socket, data: bytes) -> str:
    """Again until there is an answer to it: datagrams may be lost."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            client.send(data)
            while not (answer := client.recv(65535)).endswith(data):
                pass  # of an earlier one
        except (TimeoutError, ConnectionRefusedError):
            continue
        return answer.decode().removesuffix(data.decode()).strip()
    raise AssertionError("no answer")


def test_at_the_port_of_its_own_address_beside_tcp(fly: Fly, image: str) -> None:
    id = fly.create({"image": image, "services": [_UDP, _TCP]})["id"]
    with _client(fly) as one, _client(fly) as other:
        assert (_ask(one, b"a"), _ask(other, b"b"), _ask(one, b"c" * 30000)) == (id, id, id)
        with socket.create_connection((_address(fly), 53), 30) as stream:
            stream.sendall(b"hello")
            assert stream.recv(100) == b"hello"
        fly.call("POST", f"/{id}", {"config": {"image": image, "services": [_TCP]}})
        _until(lambda: _is_refused(one))  # the port is given up


def _is_refused(client: socket.socket) -> bool:
    try:
        client.send(b"x")
        client.recv(100)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        pass
    return False


def test_by_the_name_that_upstream_has_programs_bind_to(fly: Fly, image: str) -> None:
    id = fly.create({"image": image, "services": [_UDP], "env": {"BIND": "fly-global-services"}})["id"]
    with _client(fly) as client:
        assert _ask(client, b"a") == id


def test_started_for_who_comes_and_put_to_rest_when_nobody_does(fly: Fly, image: str) -> None:
    service = {**_UDP, "autostop": "stop", "min_machines_running": 0}
    id = fly.create({"image": image, "services": [service]})["id"]
    fly.wait(id, "stopped")  # nobody comes
    with _client(fly) as client:
        assert _ask(client, b"a") == id
        starts = [event for event in fly.call("GET", f"/{id}/events") if event["type"] == "start"]
        assert [(event["status"], event["source"]) for event in starts][:2] == [
            ("started", "flyd"), ("starting", "flyd"),
        ]  # fmt: skip
        fly.call("POST", f"/{id}/stop")
        fly.wait(id, "stopped")
        assert _ask(client, b"b") == id  # by another flow of the same client


def _links(pilotd: Pilotd) -> int:
    """How many sockets pilotd has that send datagrams to programs of Machines."""
    assert pilotd.process is not None
    pid = pilotd.process.pid
    pid_fd = os.pidfd_open(pid)
    try:
        return sum(_is_link(pid, pid_fd, number) for number in os.listdir(f"/proc/{pid}/fd"))
    finally:
        os.close(pid_fd)


def _is_link(pid: int, pid_fd: int, number: str) -> bool:
    try:
        if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
            return False
        with socket.socket(fileno=process.pidfd_getfd(pid_fd, int(number))) as one:
            return one.type == socket.SOCK_DGRAM and one.getpeername() == ("127.0.0.1", 5300)
    except OSError:  # not connected, or gone meanwhile
        return False


@pytest.mark.parametrize("how", ["die", "stop", "suspend"])
def test_what_was_sent_to_one_that_has_gone_is_not_sent_anew(fly: Fly, image: str, how: str) -> None:
    """It was not answered, and may be what ended it. Who comes next has it started, once."""
    id = fly.create({"image": image, "services": [_UDP], "restart": {"policy": "no"}})["id"]
    with _client(fly) as one, _client(fly) as other:
        assert _ask(one, b"a") == id
        if how == "die":
            one.send(b"die")
        else:
            one.send(b"hush")
            fly.call("POST", f"/{id}/{how}")
        fly.wait(id, "suspended" if how == "suspend" else "stopped")
        _until(lambda: _links(fly.pilotd) == 0)
        assert _ask(other, b"b") == id
        assert _ask(one, b"c") == id  # by a flow of its own
        starts = [event for event in fly.call("GET", f"/{id}/events") if event["status"] == "started"]
        assert len(starts) == 2


def test_a_connection_to_one_that_is_suspended_is_broken_off(fly: Fly, image: str) -> None:
    """It would wait for an answer until somebody else comes; who connects anew has it woken."""
    id = fly.create({"image": image, "services": [_TCP]})["id"]
    for word in (b"one", b"two"):
        with socket.create_connection((_address(fly), 53), 30) as stream:
            stream.settimeout(60)
            stream.sendall(word)
            assert stream.recv(100) == word
            if word == b"one":
                fly.call("POST", f"/{id}/suspend")
                with contextlib.suppress(ConnectionResetError):
                    assert stream.recv(100) == b""
                fly.wait(id, "suspended")


def test_each_client_has_one_machine(fly: Fly, image: str) -> None:
    limits = {"type": "connections", "soft_limit": 1, "hard_limit": 1}
    ids = {fly.create({"image": image, "services": [{**_UDP, "concurrency": limits}]})["id"] for _ in range(2)}
    with _client(fly) as one, _client(fly) as other:
        first, second = _ask(one, b"a"), _ask(other, b"b")
        assert {first, second} == ids
        assert [_ask(one, b"%d" % number) for number in range(5)] == [first] * 5


def test_what_is_refused(fly: Fly, image: str) -> None:
    wrong = {**_UDP, "ports": [{"port": 53, "handlers": ["http"]}]}
    said = fly.call("POST", "", {"config": {"image": image, "services": [wrong]}}, status=400)["error"]
    assert "config.services[0].ports[0].handlers: nothing is done to datagrams" in said
    said = fly.call("POST", "", {"config": {"image": image, "services": [{**_UDP, "protocol": "sctp"}]}}, status=400)
    assert "only tcp and udp are possible" in said["error"]
