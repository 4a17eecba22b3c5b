"""What is asked of pilotd, as its logs have it: who, what, and what was decided; read back and verified."""

from __future__ import annotations

import json
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.support import wire
from tests.support.host import HostUnderTest

from pilot.host.api.machines import calls as machine_calls
from pilot.host.api.sprites import calls
from pilot.wire import chain
from pilot.wire.audit import Kind

ROWS = (*calls.CALLS, *calls.OPEN, *calls.MACHINE, *machine_calls.CALLS)


class Audited:
    def __init__(self, under_test: HostUnderTest) -> None:
        self.host = under_test
        assert self.call("POST", "/v1/sprites", {"name": "web"}).status_code == 201

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.host.token}"}
        return httpx.request(method, self.host.url + path, json=body, headers=headers, timeout=60)

    def lines(self, path: str = "/v1/sprites/web/audit") -> list[bytes]:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.content.splitlines(keepends=True)

    def records(self, path: str = "/v1/sprites/web/audit") -> list[dict[str, Any]]:
        """Verified as anybody can, by the key that is published."""
        lines = self.lines(path)
        chain.verify(lines, self.check)
        return [json.loads(line) for line in lines[:-1]]

    def last(self, path: str = "/v1/sprites/web/audit") -> dict[str, Any]:
        return self.records(path)[-1]

    def check(self, document: bytes, signature: bytes) -> bool:
        told = httpx.get(f"{self.host.url}/v1/audit/key").json()
        key = serialization.load_pem_public_key(told["public_key"].encode())
        assert isinstance(key, Ed25519PublicKey)
        key.verify(signature, document)
        return True


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield Audited(under_test)
    under_test.close()


def test_whatever_changes_something_or_runs_or_reads_files_is_written_down() -> None:
    """By the tables: a row that is not is one of these."""
    unwritten = {row.id for row in ROWS if row.audited is None and row.method not in ("GET", "HEAD")}
    assert unwritten == {"authenticate", "authorize"}
    unwritten = {row.id for row in ROWS if row.audited is None and row.websocket}
    assert unwritten == {"watchPorts"}
    written = {row.id: row.audited for row in ROWS if row.audited is not None}
    assert written["openSession"] is written["execute"] is Kind.EXEC
    assert written["readFile"] is written["writeFile"] is Kind.FILE
    assert written["setNetworkPolicy"] is written["setResourcesPolicy"] is Kind.POLICY
    assert written["createToken"] is Kind.TOKEN
    assert written["setSecret"] is written["updateSecrets"] is Kind.SECRET
    assert not {"listSessions", "getSprite", "listSprites", "execVersion"} & written.keys()


def test_a_decision_says_who_what_and_from_where(audited: Audited) -> None:
    audited.call("PUT", "/v1/sprites/web", {"labels": ["a"]})
    found = audited.last()
    assert (found["kind"], found["what"], found["decision"]) == ("change", "updateSprite", "allowed")
    assert found["from"] == "127.0.0.1"
    assert found["who"] == {"organisation": "local", "key": audited.host.token.split("/")[2]}
    assert found["detail"] == {"sprite": "web"}
    assert found["at"].endswith("Z")


def test_what_fails_is_told_again_with_its_status(audited: Audited) -> None:
    answer = audited.call("POST", "/v1/sprites/web/policy/network", {"rules": [{"domain": "example.com"}]})
    assert answer.status_code >= 400
    asked, failed = audited.records()[-2:]
    assert (asked["what"], asked["decision"], failed["decision"]) == ("setNetworkPolicy", "allowed", "failed")
    assert (failed["status"], failed["request"]) == (answer.status_code, asked["request"])
    assert "example.com" in asked["detail"]["rules"]


def test_a_refusal_is_in_the_log_of_what_was_asked_for(audited: Audited) -> None:
    made = audited.call("POST", "/v1/tokens", {"role": "read", "name": "looks"}).json()
    assert audited.call("POST", "/v1/sprites/web/exec?cmd=id", token=made["token"]).status_code == 403
    found = audited.last()
    assert (found["what"], found["decision"], found["status"]) == ("execute", "denied", 403)
    assert found["who"] == {"organisation": "local", "key": made["id"], "restricted": True}
    assert found["detail"] == {"sprite": "web", "cmd": ["id"]}
    audited.call("POST", "/v1/sprites", {"name": "another"})
    other = audited.call("POST", "/v1/tokens", {"sprite": "another"}).json()
    assert audited.call("DELETE", "/v1/sprites/web", token=other["token"]).status_code == 404
    found = audited.last()
    assert (found["what"], found["decision"], found["who"]["key"]) == ("destroySprite", "denied", other["id"])


def test_keys_are_told_in_the_log_of_the_organisation_and_no_secret_is(audited: Audited) -> None:
    made = audited.call("POST", "/v1/tokens", {"name": "ci", "role": "exec", "sprite": "web"}).json()
    found = audited.last("/v1/audit")
    assert (found["kind"], found["what"], found["decision"]) == ("token", "createToken", "allowed")
    assert found["detail"] == {"name": "ci", "role": "exec", "sprite": "web"}
    audited.call("DELETE", "/v1/tokens/ci")
    assert audited.last("/v1/audit")["what"] == "revokeToken"
    everything = b"".join([*audited.lines("/v1/audit"), *audited.lines()]).decode()
    assert made["token"].rpartition("/")[2] not in everything
    assert audited.host.token.rpartition("/")[2] not in everything


def test_who_shows_no_key_is_told_in_the_log_of_the_host(audited: Audited) -> None:
    assert audited.call("POST", "/v1/sprites/web/exec", token="nobody").status_code == 401
    assert audited.host.auditing is not None
    part = audited.host.auditing.writer.part("host")
    last = json.loads(pathlib.Path(part.paths[-1]).read_bytes().splitlines()[-1])
    assert (last["decision"], last["status"], last.get("who")) == ("denied", 401, None)


def test_a_body_that_is_looked_at_is_passed_on_whole(audited: Audited) -> None:
    """Piece by piece, and only when it is asked for."""
    body = json.dumps({"source": "/a", "dest": "/b"}).encode()
    head = (
        "POST /v1/sprites/web/fs/rename HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
        f"{len(body)}\r\nAuthorization: Bearer {audited.host.token}\r\nConnection: close\r\n\r\n"
    )
    with wire.connected(audited.host.url) as stream:
        stream.sendall(head.encode())
        assert stream.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(body[:5])
        stream.sendall(body[5:])
        stream.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: stream.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 ")
    (found,) = [each for each in audited.records() if each["what"] == "renameFile" and each["decision"] == "allowed"]
    assert found["detail"] == {"sprite": "web", "source": "/a", "dest": "/b"}


def test_machines_have_logs_too_and_no_value_of_a_secret_is_in_any(audited: Audited) -> None:
    assert audited.call("POST", "/v1/apps", {"app_name": "shop", "org_slug": "local"}).status_code == 201
    assert audited.call("POST", "/v1/apps/shop/secrets/KEY", {"value": "hunter2"}).status_code == 201
    found = audited.last("/v1/audit")
    assert (found["kind"], found["what"], found["detail"]) == ("secret", "setSecret", {"app": "shop", "secret": "KEY"})
    audited.call("POST", "/v1/apps/shop/secrets", {"values": {"KEY": "hunter2"}})
    assert audited.last("/v1/audit")["detail"]["values"] == ["KEY"]
    audited.call("POST", "/v1/apps/shop/secretkeys/k/generate", {"type": "hs256"})
    assert audited.call("POST", "/v1/apps/shop/secretkeys/k/sign", {"plaintext": "aHVudGVyMg=="}).status_code == 200
    found = audited.last("/v1/audit")
    assert (found["kind"], found["what"], found["detail"]) == ("secret", "sign", {"app": "shop", "key": "k"})
    everything = b"".join(audited.lines("/v1/audit"))
    assert b"hunter2" not in everything
    assert b"aHVudGVyMg==" not in everything
    assert audited.call("GET", "/v1/apps/shop/machines/nothing/audit").status_code == 404


def test_only_what_follows_a_record_and_what_comes(audited: Audited) -> None:
    last = audited.last()["seq"]
    audited.call("PUT", "/v1/sprites/web", {"labels": ["b"]})
    lines = audited.lines(f"/v1/sprites/web/audit?since={last}")
    assert chain.verify(lines, audited.check, last).first == last + 1
    assert audited.call("GET", "/v1/sprites/web/audit?since=x").status_code == 400
    headers = {"Authorization": f"Bearer {audited.host.token}"}
    url = f"{audited.host.url}/v1/sprites/web/audit?since={last}&follow=true"
    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        told = (json.loads(line) for line in answer.iter_lines() if line)
        assert next(told)["what"] == "updateSprite"
        audited.call("PUT", "/v1/sprites/web", {"labels": ["c"]})
        assert next(told)["what"] == "updateSprite"


def test_only_who_may_read_logs_reads_them(audited: Audited) -> None:
    executes = audited.call("POST", "/v1/tokens", {"role": "exec"}).json()["token"]
    assert audited.call("GET", "/v1/sprites/web/audit", token=executes).status_code == 403
    one = audited.call("POST", "/v1/tokens", {"role": "read", "sprite": "web"}).json()["token"]
    assert audited.call("GET", "/v1/sprites/web/audit", token=one).status_code == 200
    assert audited.call("GET", "/v1/audit", token=one).status_code == 403


def test_a_log_goes_on_with_the_next_pilotd(tmp_path: pathlib.Path) -> None:
    under_test = HostUnderTest(tmp_path)
    try:
        first = Audited(under_test)
        first.call("PUT", "/v1/sprites/web", {"labels": ["a"]})
        before = first.lines()[:-1]
        under_test.restart()
        found = first.records()
        assert first.lines()[: len(before)] == before
        assert [each["what"] for each in found[-2:]] == ["closed", "opened"]
    finally:
        under_test.close()
