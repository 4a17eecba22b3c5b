"""What pilotd makes of requests that nobody should send: refused with a reason, bounded, never a 500."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host import main
from pilot.host.api.sprites import bodies
from pilot.host.operations import requests
from pilot.host.relay import auditing, edge, server
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.vmm import MachineSpec


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


@pytest.fixture(scope="module")
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=60) as client:
        assert client.post("/v1/sprites", json={"name": "web"}).status_code == 201
        yield client


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"environment": {"A=B": "x"}}, "environment"),
        ({"environment": {"": "x"}}, "environment"),
        ({"environment": {"A": "x\0y"}}, "environment"),
        ({"config": {"ram_mb": "much"}}, "$.config.ram_mb"),
        ({"config": {"ram_mb": 1}}, "$.config.ram_mb"),
        ({"config": {"ram_mb": 1 << 40}}, "$.config.ram_mb"),
        ({"config": {"cpus": -1}}, "$.config.cpus"),
        ({"config": {"cpus": 0.5}}, "$.config.cpus"),
        ({"config": {"storage_gb": -1}}, "$.config.storage_gb"),
        ({"config": {"storage_gb": 10**30}}, "$.config.storage_gb"),
        ({"url_settings": {"auth": "nobody"}}, "$.url_settings.auth"),
        ({"name": "n" * 5000}, "name"),
    ],
)
def test_a_create_that_cannot_be_meant(http: httpx.Client, wanted: dict[str, Any], told: str) -> None:
    answer = http.post("/v1/sprites", json={"name": "never", **wanted})
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert len(answer.content) < 1000
    assert http.get("/v1/sprites/never").status_code == 404


@pytest.mark.parametrize("body", [b'{"name": "\xff"}', b'{"labels": ' + b"[" * 20_000, b"\xff", b'{"name": "\\ud800"}'])
@pytest.mark.parametrize("path", ["/v1/sprites", "/v1/sprites/web/policy/network"])
def test_a_body_that_nobody_can_read(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("body: ")


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/sprites"), ("POST", "/v1/sprites/web/checkpoint")])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_end(http: httpx.Client, method: str, path: str, chunked: bool) -> None:
    document = json.dumps({"name": "big", "comment": "x" * bodies.MAX_BYTES}).encode()
    answer = http.request(method, path, content=iter([document]) if chunked else document)
    assert answer.status_code == 413
    assert http.get("/v1/sprites/big").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/sprites/web%2Fexec/world"),
        ("GET", "/v1/sprites/web%2Ffs/read?path=/nope"),
        ("GET", "/v1%2Fsprites%2Fweb%2Ffs%2Fread?path=/nope"),
        ("POST", "/v1/sprites%2Fweb/exec/..%2Fworld/kill"),
    ],
)
def test_an_encoded_slash_leads_nowhere_else(host: HostUnderTest, http: httpx.Client, method: str, path: str) -> None:
    before = len(host.machine("web").requests)
    assert http.request(method, path).status_code in (200, 404)
    asked = {urlsplit(target).path for _, target, _ in host.machine("web").requests[before:]}
    assert asked <= {"/v1/fs/read", "/v1/exec/world"}
    assert host.machine("web").world == "running"


@pytest.mark.parametrize(
    "query", ["max_results=²", "max_results=-1", "max_results=" + "9" * 5000, "prefix=%ff", "prefix=%00"]
)
def test_a_page_size_that_is_none(http: httpx.Client, query: str) -> None:
    assert http.get(f"/v1/sprites?{query}").status_code == 200


def test_an_upgrade_by_another_method(host: HostUnderTest) -> None:
    request = (
        f"POST /v1/sprites/web/exec?cmd=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.token}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    with _connect(host) as stream:
        stream.sendall(request.encode())
        assert stream.recv(1000).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("start", [b"", b"GET /v1/sp", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
def test_a_head_that_does_not_come(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(edge, "HEAD_S", 0.2)
    with _connect(host) as stream:
        stream.sendall(start)
        while stream.recv(1000):  # ends: the connection is closed
            continue


def test_a_body_that_does_not_come(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.2)
    monkeypatch.setattr(auditing, "PATIENCE_S", 0.2)
    request = (
        f"POST /v1/sprites HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.token}\r\nContent-Length: 9\r\n\r\n{{"
    )
    with _connect(host) as stream:
        stream.sendall(request.encode())
        assert stream.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_method_that_is_none_names_those_that_are(http: httpx.Client) -> None:
    answer = http.patch("/v1/sprites/web")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PUT")
    assert httpx.get(f"{http.base_url}/v1/sprites").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["current", "authenticate", "authorize"])
def test_a_word_that_is_another_call_on_tokens_is_no_token(http: httpx.Client, name: str) -> None:
    answer = http.delete(f"/v1/tokens/{name}")
    assert (answer.status_code, "DELETE" in answer.headers["allow"]) == (405, False)
    assert http.post("/v1/tokens", json={"name": name}).status_code == 400
    assert http.post("/v1/tokens", json={"name": f"{name}-one"}).status_code == 201


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_a_limit_that_is_not_said_changes_none(http: httpx.Client, content: bytes) -> None:
    path = "/v1/sprites/web/policy/resources"
    assert http.post(path, json={"memory": {"limit_mb": 512}}).status_code == 204
    answer = http.post(path, content=content)
    assert (answer.status_code, "memory" in answer.json()["error"]) == (400, True)
    assert http.get(path).json()["memory"]["limit_mb"] == 512
    assert http.delete(path).status_code == 204


def test_an_access_that_is_null_is_as_if_it_was_not_said(http: httpx.Client) -> None:
    changed = {"url_settings": {"auth": "sprite", "private_access": "admins"}}
    assert http.put("/v1/sprites/web", json=changed).status_code == 200
    unsaid = {"url_settings": {"auth": "sprite", "private_access": None}}
    answer = http.put("/v1/sprites/web", json=unsaid)
    assert (answer.status_code, answer.json()["url_settings"]) == (200, changed["url_settings"])


def test_a_change_that_a_destroy_gives_up_is_a_conflict(
    host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not 503, which has clients come again for what is no more."""
    entered, gate, resize = threading.Event(), threading.Event(), host.vmm.resize

    def slow(spec: MachineSpec) -> bool:
        entered.set()
        assert gate.wait(WAIT_S)
        return resize(spec)

    assert http.post("/v1/sprites", json={"name": "going"}).status_code == 201
    monkeypatch.setattr(host.vmm, "resize", slow)
    with concurrent.futures.ThreadPoolExecutor() as clients:
        changed = clients.submit(http.put, "/v1/sprites/going", json={"config": {"ram_mb": 512}})
        assert entered.wait(WAIT_S)
        destroyed = clients.submit(http.delete, "/v1/sprites/going")
        while not any(run.action == requests.DESTROY.name for run in host.engine.active()):
            assert not destroyed.done()
        gate.set()
        answer = changed.result(WAIT_S)
        assert (answer.status_code, answer.json()["error"]) == (409, "given up: it is being destroyed")
        assert destroyed.result(WAIT_S).status_code == 204


def test_an_address_that_is_taken_is_told_in_one_line() -> None:
    with server.listen("127.0.0.1", 0) as listener:
        port = int(listener.getsockname()[1])
        with pytest.raises(errors.HostError, match=f"listen on 127.0.0.1 port {port}: address already in use") as told:
            server.listen("127.0.0.1", port)
        assert "--listen" in str(told.value.hint)
    for nowhere in ("192.0.2.1", "no such host"):
        with pytest.raises(errors.HostError, match="listen on"):
            server.listen(nowhere, 0)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_garbled_store_is_told_in_one_line(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(errors.HostError, match=r"state\.db") as told:
        SqliteDatabase(str(tmp_path / "state.db"))
    assert "\n" not in str(told.value)
    assert told.value.hint
    assert (tmp_path / "state.db").read_bytes() == content, "it is left as it was"


@pytest.mark.parametrize(
    "option",
    ["--disk-gib=0", "--disk-gib=-5", "--disk-gib=99999999", "--pool=-1", "--warm-after=-1"],
)
def test_sizes_that_cannot_be_meant(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main.main(["serve", "--state-dir", "/nowhere", option]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pilotd: " + option.partition("=")[0])
    assert told.count("\n") == 1


def _connect(host: HostUnderTest) -> socket.socket:
    where = urlsplit(host.url)
    return socket.create_connection((where.hostname, where.port), timeout=30)
