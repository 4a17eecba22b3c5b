"""Connectors of a sprite, with pilotd as a process: curl, git, pip and Python use a credential for an HTTPS server that
wants one, and it is nowhere in the sprite."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from sprites import Sprite
from tests.support import internet as nets
from tests.support import leftovers, lookfor, mirror, tlssite
from tests.support.internet import WEB, Internet
from tests.support.pilotd import Pilotd
from tests.support.tlssite import Site

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft")

SECRET, PLACEHOLDER = "tok-5f1d0c3b7a9e8642", "not-a-secret-at-all"
API = "api.test"


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        made.records[API, "A"] = (60, [WEB])
        yield made


@pytest.fixture(scope="module")
def site(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What is there for clients, for whoever shows the secret."""
    directory = tmp_path_factory.mktemp("site")
    mirror.write_repository(directory)
    mirror.write_python(directory)
    authority = tlssite.Authority(tmp_path_factory.mktemp("authority"))
    with tlssite.serving(internet.bound(socket.SOCK_STREAM, WEB, 443), authority.context(API)) as made:
        made.answer = tlssite.guarded(directory, SECRET)
        os.environ["SSL_CERT_FILE"] = str(authority.path)  # pilotd's system believes it
        yield made
        del os.environ["SSL_CERT_FILE"]


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory, internet: Internet, site: Site) -> Iterator[Pilotd]:
    with (
        leftovers.nothing(),
        Pilotd(tmp_path_factory.mktemp("connectors") / "state", extra=("--resolver", nets.DNS)).running() as made,
    ):
        yield made


@pytest.fixture
def sprite(pilotd: Pilotd) -> Iterator[Sprite]:
    with pilotd.client() as client:
        made = client.create_sprite("uses")
        yield made
        leftovers.note()
        made.destroy()


def said(sprite: Sprite, *command: str) -> str:
    done = sprite.run(*command, capture_output=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return bytes(done.stdout).decode()


def connector(pilotd: Pilotd, *words: str, secret: str = "") -> str:
    """`sprite connector …` of that sprite, which says nothing of a secret."""
    environment = {
        **os.environ,
        "HOME": str(pilotd.state),
        "SPRITES_API_URL": pilotd.url,
        "SPRITE_TOKEN": pilotd.token(),
    }
    command = [sys.executable, "-m", "pilot.client.main", "connector", words[0], "-s", "uses", *words[1:]]
    done = subprocess.run(command, check=False, env=environment, input=secret, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout


def test_clients_use_a_credential_that_is_nowhere_in_the_sprite(sprite: Sprite, pilotd: Pilotd, site: Site) -> None:
    assert "who are you?" not in (untouched := said(sprite, "sh", "-c", "env; ls /.sprite/policy"))
    assert "SSL_CERT_FILE" not in untouched
    assert "certificates.pem" not in untouched
    connector(pilotd, "set", "api", "--host", API, "--bearer", secret=SECRET)
    assert said(sprite, "git", "clone", "-q", f"https://{API}/code.git", "/tmp/code") == ""
    assert said(sprite, "cat", "/tmp/code/README") == "cloned\n"
    assert "code.git" in said(sprite, "curl", "-sSf", f"https://{API}/")
    program = f"import urllib.request as r; print(r.urlopen('https://{API}/').status)"
    assert said(sprite, "python3", "-c", program) == "200\n"
    # A program that insists on having a key; pip, which has it in an address, says it as Basic.
    connector(pilotd, "set", "api", "--host", API, "--placeholder", PLACEHOLDER, "--keep")
    assert "who are you?" in said(sprite, "curl", "-sS", f"https://{API}/")
    assert "code.git" in said(sprite, "curl", "-sSf", "-H", f"Authorization: Bearer {PLACEHOLDER}", f"https://{API}/")
    said(sprite, "sh", "-c", f"echo {PLACEHOLDER} >/tmp/kept")
    said(sprite, "curl", "-sSfo", "/tmp/pip.whl", "-u", f"me:{PLACEHOLDER}", f"https://{API}/pip.whl")
    options = f"-q install --break-system-packages --index-url https://me:{PLACEHOLDER}@{API}/simple hello-sprite"
    said(sprite, "sudo", "-E", "sh", "-c", f"python3 /tmp/pip.whl/pip {options}")
    assert said(sprite, "/usr/local/bin/hello-sprite") == "installed\n"
    texts = (SECRET, base64.b64encode(f"me:{SECRET}".encode()).decode(), PLACEHOLDER)
    done = sprite.run("sudo", *lookfor.command(*texts), capture_output=True)
    *found, last = bytes(done.stdout).decode().splitlines()
    assert last.startswith("looked at "), done.stderr
    assert {line.rpartition(" ")[2][::-1] for line in found} == {PLACEHOLDER}, "it looks where that is, too"
    uses = connector(pilotd, "uses", "api")
    assert "GET /code.git/info/refs" in uses
    assert json.loads(connector(pilotd, "list", "--json"))[0]["attach"]["kind"] == "placeholder"


def test_the_api_says_no_secret_and_what_is_none_is_refused_by_its_place(sprite: Sprite, pilotd: Pilotd) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(base_url=f"{pilotd.url}/v1/sprites/uses", headers=headers, timeout=60) as http:
        good = {"hosts": [API], "attach": {"kind": "bearer"}, "secret": SECRET}
        made = http.put("/connectors/api", json=good)
        assert made.status_code == 200
        assert made.json() | {"created_at": "", "updated_at": ""} == {
            "name": "api", "hosts": [API], "attach": {"kind": "bearer"}, "created_at": "", "updated_at": "",
        }  # fmt: skip
        assert SECRET not in http.get("/connectors").text + http.get("/connectors/api").text
        for change, status, place in (
            ({"hosts": []}, 400, "$.hosts"),
            ({"hosts": ["*.test"]}, 400, "$.hosts[0]"),
            ({"hosts": ["10.0.0.1"]}, 400, "$.hosts[0]"),
            ({"hosts": ["db.internal"]}, 400, "$.hosts[0]"),
            ({"secret": "short"}, 400, "$.secret"),
            ({"secret": "line\r\nline: two"}, 400, "$.secret"),
            ({"attach": {"kind": "header", "header": "Host"}}, 400, "$.attach.header"),
            ({"attach": {"kind": "script", "script": "x"}}, 400, "attach"),
            ({"secret": None}, 400, "none yet"),
            ({}, 409, "another connector"),
        ):
            refused = http.put("/connectors/other", json=good | change)
            assert (refused.status_code, place in refused.text) == (status, True), refused.text
            assert SECRET not in refused.text
        elsewhere = {"hosts": [API, "thief.test"], "attach": {"kind": "bearer"}}
        refused = http.put("/connectors/api", json=elsewhere)
        assert (refused.status_code, "say the secret again" in refused.text) == (400, True), refused.text
        assert http.put("/connectors/api", json=elsewhere | {"hosts": [API]}).status_code == 200
        assert [each["name"] for each in http.get("/connectors").json()["connectors"]] == ["api"]
        kinds = [json.loads(line)["type"] for line in _events(pilotd, headers) if "connector" in line]
        assert kinds[-1] == "connector.set"
        assert http.delete("/connectors/api").status_code == 204
        assert http.delete("/connectors/api").status_code == 404


def _events(pilotd: Pilotd, headers: dict[str, str]) -> list[str]:
    with httpx.stream("GET", f"{pilotd.url}/v1/events?after=0", headers=headers, timeout=10) as answer:
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if "connector.set" in line:
                break
        return lines


def test_connectors_outlive_pilotd_and_a_restart_of_the_sprite(sprite: Sprite, pilotd: Pilotd, site: Site) -> None:
    connector(pilotd, "set", "api", "--host", API, "--basic", "git", secret=SECRET)
    pilotd.kill()
    pilotd.start()
    with pilotd.client() as client:
        again = client.get_sprite("uses")
        assert "code.git" in said(again, "curl", "-sSf", f"https://{API}/")
        headers = {"Authorization": f"Bearer {pilotd.token()}"}
        assert httpx.post(f"{pilotd.url}/v1/sprites/uses/restart", headers=headers, timeout=60).status_code == 200
        assert "code.git" in said(again, "curl", "-sSf", f"https://{API}/")
        connector(pilotd, "delete", "api")
        done = again.run("curl", "-sS", f"https://{API}/", capture_output=True)
        assert b"certificate" in done.stderr, "the real host, which nobody in the sprite believes"
        assert "BEGIN CERT" not in said(again, "cat", "/.sprite/policy/authority.pem")
