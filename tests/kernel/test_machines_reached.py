"""Services of Machines: reached by host name and by port, started for who comes, balanced, and put to rest."""

from __future__ import annotations

import concurrent.futures
import errno
import re
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import flyapi, images, wire
from tests.support.flyapi import Fly
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

# Says which Machine it is, and what it was asked.
_SAID = r"""#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
env
if [ "$QUERY_STRING" = hold ]; then touch /www/came; while [ ! -e /www/go ]; do sleep 0.1; done
else sleep ${QUERY_STRING:-0}; fi
"""
_SERVER = f"""mkdir -p /www/cgi-bin; cd /www; echo $FLY_MACHINE_ID > index.html
cat > cgi-bin/said <<'END'
{_SAID}END
chmod 755 cgi-bin/said; trap 'exit 0' INT TERM; nc -ll -p 9000 -e cat & httpd -f -p 8000 -h /www & wait"""
_WEB = {"port": 80, "handlers": ["http"]}


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("reached") / "state", extra=("--autostop-after", "1")).running() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": ["sh", "-c", _SERVER]})
    with images.serve(made) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    name = request.node.originalname.removeprefix("test_").replace("_", "-")[:50].strip("-")
    with flyapi.app(pilotd, name) as app:
        yield app


def _config(image: str, **service: Any) -> dict[str, object]:
    return {"image": image, "services": [{"internal_port": 8000, "ports": [_WEB], **service}]}


def _get(pilotd: Pilotd, fly: Fly, path: str = "/", **headers: str) -> httpx.Response:
    host = {"Host": f"{fly.app}.localhost:{pilotd.port}"}
    return httpx.get(pilotd.url + path, headers=host | headers, timeout=60, follow_redirects=False)


def _state(fly: Fly, id: str) -> str:
    return str(fly.get(id)["state"])


def test_reached_by_name(pilotd: Pilotd, fly: Fly, image: str) -> None:
    assert _get(pilotd, fly).status_code == 404
    id = fly.create(_config(image))["id"]
    answer = _get(pilotd, fly)
    assert (answer.status_code, answer.text) == (200, f"{id}\n")
    said = _get(pilotd, fly, "/cgi-bin/said", **{"Fly-Client-IP": "10.9.9.9", "X-Forwarded-For": "10.9.9.9"}).text
    assert "HTTP_FLY_CLIENT_IP=127.0.0.1\n" in said
    assert "10.9.9.9" not in said
    token = _get(pilotd, fly, "/cgi-bin/said", Authorization=f"Bearer {pilotd.token()}")
    assert pilotd.token() not in token.text


def test_started_for_who_comes(pilotd: Pilotd, fly: Fly, image: str) -> None:
    """All who come while it starts are answered, by one start; one that may not be started is not."""
    id = fly.create(_config(image))["id"]
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _get(pilotd, fly), range(8)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, f"{id}\n")}
    events = fly.call("GET", f"/{id}/events")
    assert [(event["type"], event["status"], event["source"]) for event in events][:2] == [
        ("start", "started", "flyd"), ("start", "starting", "flyd"),
    ]  # fmt: skip
    fly.call("POST", f"/{id}/suspend")
    fly.wait(id, "suspended")
    assert _get(pilotd, fly).text == f"{id}\n"
    fly.call("POST", f"/{id}", {"config": _config(image, autostart=False)})
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    refused = _get(pilotd, fly)
    assert refused.status_code == 503
    assert "no machine takes connections at port 80" in refused.text
    assert _state(fly, id) == "stopped"


def test_cordoned_and_unhealthy_ones_get_nothing(pilotd: Pilotd, fly: Fly, image: str) -> None:
    check = {"type": "http", "path": "/healthy", "interval": "1s"}
    ids = [fly.create(_config(image, checks=[check]))["id"] for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(_get, pilotd, fly)
        fly.run(ids[0], "touch", "/www/healthy")
        assert held.result().text == f"{ids[0]}\n"
    fly.run(ids[1], "touch", "/www/healthy")
    fly.call("POST", f"/{ids[0]}/cordon")
    _until(lambda: _get(pilotd, fly).text == f"{ids[1]}\n")
    assert {_get(pilotd, fly).text for _ in range(10)} == {f"{ids[1]}\n"}


def test_balanced_by_limits(pilotd: Pilotd, fly: Fly, image: str) -> None:
    """Of two that take one request each, the second is started for the second request; a third one waits for room."""
    limits = {"type": "requests", "soft_limit": 1, "hard_limit": 1}
    ids = [fly.create(_config(image, concurrency=limits))["id"] for _ in range(2)]
    fly.call("POST", f"/{ids[1]}/stop")
    fly.wait(ids[1], "stopped")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [pool.submit(_get, pilotd, fly, "/cgi-bin/said?hold") for _ in range(2)]
        for id in ids:
            _until(lambda id=id: _state(fly, id) == "started" and fly.run(id, "ls", "/www/came")[0] == 0)
        third = pool.submit(_get, pilotd, fly)
        fly.run(ids[0], "touch", "/www/go")
        assert third.result().text.strip() in ids
        fly.run(ids[1], "touch", "/www/go")
        said = [answer.result().text for answer in held]
    assert {line for text in said for line in text.splitlines() if line.startswith("FLY_MACHINE_ID=")} == {
        f"FLY_MACHINE_ID={id}" for id in ids
    }


def test_put_to_rest_when_nobody_needs_it(pilotd: Pilotd, fly: Fly, image: str) -> None:
    """One of two, then the other; who comes wakes one again, and nobody is cut off."""
    config = _config(image, autostop="suspend")
    ids = [fly.create(config)["id"] for _ in range(2)]
    for id in ids:
        fly.wait(id, "suspended")
    assert fly.call("GET", f"/{ids[0]}/events")[0]["source"] == "flyd"
    began_ms = time.time() * 1000
    answer = _get(pilotd, fly, "/cgi-bin/said?4")  # longer than it may be idle
    ended_ms = time.time() * 1000
    assert answer.status_code == 200
    [woken] = [line.partition("=")[2] for line in answer.text.splitlines() if line.startswith("FLY_MACHINE_ID=")]
    fly.wait(woken, "suspended")
    rests = [event["timestamp"] for event in fly.call("GET", f"/{woken}/events") if event["status"] == "suspending"]
    assert [at_ms for at_ms in rests if began_ms <= at_ms <= ended_ms] == []


def test_as_many_run_as_are_to(pilotd: Pilotd, fly: Fly, image: str) -> None:
    config = _config(image, autostop="stop", min_machines_running=1)
    ids = [fly.create(config)["id"] for _ in range(2)]
    assert fly.get(ids[0])["config"]["services"][0]["autostop"] is True
    _until(lambda: sorted(_state(fly, id) for id in ids) == ["started", "stopped"])
    assert _get(pilotd, fly).text.strip() == next(id for id in ids if _state(fly, id) == "started")


def test_the_published_recipe_of_a_pool(pilotd: Pilotd, image: str) -> None:
    """An app for each user, with an address, a volume and a Machine; asked whether it is ready; gone as a whole."""
    fly = Fly(pilotd, "user-1")
    body = {"app_name": fly.app, "org_slug": "personal", "network": "user-1"}
    assert [fly.raw("POST", "/v1/apps", body).status_code for _ in range(2)] == [201, 422]
    path = f"/v1/apps/{fly.app}"
    assert fly.raw("GET", path).json()["network"] == "user-1"
    asked = {"type": "private_v6", "network": "user-1"}
    addresses = {fly.raw("POST", f"{path}/ip_assignments", asked).json()["ip"] for _ in range(2)}
    assert addresses == {_address(fly)}
    volume = fly.raw("POST", f"{path}/volumes", {"name": "data", "size_gb": 1}).json()["id"]
    id = fly.create({"image": image, "mounts": [{"volume": volume, "path": "/data"}]})["id"]
    assert fly.run(id, "sh", "-c", "exit 3")[0] == 3
    assert fly.run(id, "touch", "/data/ready")[0] == 0
    assert fly.raw("DELETE", path).status_code == 202
    assert fly.raw("GET", path).status_code == 404


def _address(fly: Fly) -> str:
    [row] = fly.raw("GET", f"/v1/apps/{fly.app}/ip_assignments").json()["ips"]
    return str(row["ip"])


def test_reached_at_ports_of_its_own_address(pilotd: Pilotd, fly: Fly, image: str) -> None:
    """HTTP, TLS by the authority of this host, bytes, and bytes after a line that says who comes."""
    ports = [
        _WEB | {"force_https": True},
        {"port": 443, "handlers": ["tls", "http"]},
        {"port": 8443, "handlers": ["tls"]},
    ]
    echo = {"internal_port": 9000, "ports": [{"start_port": 9001, "end_port": 9002}]}
    told = {"internal_port": 9000, "ports": [{"port": 9003, "handlers": ["proxy_proto"]}]}
    config = _config(image, ports=ports)
    services: Any = config["services"]
    services += [echo, told]
    id = fly.create(config)["id"]
    address = _address(fly)
    _until(lambda: not _is_refused(address, 443))
    trust = ssl.create_default_context(cafile=str(pilotd.state / "ca/ca.pem"))
    sent = httpx.get(f"http://{address}/a?b", headers={"Host": f"{fly.app}.localhost"})
    assert (sent.status_code, sent.headers["location"]) == (301, f"https://{fly.app}.localhost/a?b")
    for port in (443, 8443):
        plain = socket.create_connection((address, port), 30)
        with trust.wrap_socket(plain, server_hostname=f"{fly.app}.localhost") as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert wire.read_all(stream).endswith(f"\n{id}\n".encode())
    for port in (9001, 9002):
        assert _echoed(address, port, b"hello") == b"hello"
    line, _, rest = _echoed(address, 9003, b"hello").partition(b"\r\n")
    assert re.fullmatch(rb"PROXY TCP4 127\.0\.0\.1 %s \d+ 9003" % address.encode(), line)
    assert rest == b"hello"
    fly.call("POST", f"/{id}", {"config": _config(image)})
    _until(lambda: _is_refused(address, 9001))
    assert httpx.get(f"http://{address}/").text == f"{id}\n"


def _echoed(address: str, port: int, data: bytes) -> bytes:
    """All that comes back, with both ends closed in turn."""
    with socket.create_connection((address, port), 30) as stream:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        return wire.read_all(stream)


def _is_refused(address: str, port: int) -> bool:
    with socket.socket() as stream:
        return stream.connect_ex((address, port)) == errno.ECONNREFUSED


def _until(is_so: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
