"""A sprite on the network, with pilotd as a process: what programs inside reach, and what is left afterwards."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

import httpx
import pytest
from sprites import NetworkPolicy, PolicyRule, Sprite
from tests.support import internet as nets
from tests.support import leftovers, mirror
from tests.support.internet import OTHER, PORT, WEB, Internet, wait_until
from tests.support.pilotd import Pilotd
from websockets.sync.client import connect

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft")


@pytest.fixture
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        made.serve_tcp(WEB)
        made.serve_tcp(OTHER)
        made.records |= {("web.test", "A"): (60, [WEB]), ("other.test", "A"): (60, [OTHER])}
        yield made


@pytest.fixture
def pilotd(tmp_path: pathlib.Path, internet: Internet) -> Iterator[Pilotd]:
    """Stopped with its machines whatever happens, and nothing is left of it."""
    with leftovers.nothing(), Pilotd(tmp_path / "state", extra=("--resolver", nets.DNS)).running() as made:
        yield made


def fetch(sprite: Sprite, name: str) -> tuple[bytes, bytes]:
    """What a program in the world reads from there, and what it complains of: the C library resolves, the kernel
    connects."""
    done = sprite.run("bash", "-c", f"exec 3<>/dev/tcp/{name}/{PORT} && head -n1 <&3", capture_output=True)
    return bytes(done.stdout), bytes(done.stderr)


def told(sprite: Sprite) -> object:
    """The policy as a program in the world reads it."""
    return json.loads(sprite.run("cat", "/.sprite/policy/network.json", capture_output=True).stdout)


def reached(address: str) -> tuple[bytes, bytes]:
    """What `fetch` gives when the right server has answered."""
    return address.encode() + b"\n", b""


def fails(sprite: Sprite, name: str, why: bytes) -> bool:
    """Whether nothing is read from there, for that reason."""
    said, complaint = fetch(sprite, name)
    assert why in complaint, complaint
    return said == b""


def test_a_world_reaches_the_outside_by_name_and_nothing_is_left(pilotd: Pilotd) -> None:
    """Also beside somebody who has the first numbers of the range."""
    before = set(os.listdir("/sys/class/net"))
    nets.command("ip", "link", "add", "name", "rival", "type", "veth", "peer", "name", "lairv")
    try:
        nets.command("ip", "link", "set", "rival", "up")
        nets.command("ip", "addr", "add", "198.18.0.4/31", "dev", "rival")
        with pilotd.client() as client:
            sprite = client.create_sprite("web")
            resolver = sprite.run("cat", "/etc/resolv.conf", capture_output=True).stdout
            assert resolver == b"nameserver 198.18.0.1\n"
            assert fetch(sprite, "web.test") == reached(WEB)
            leftovers.note()
            sprite.destroy()
    finally:
        nets.command("ip", "link", "del", "rival")
    assert set(os.listdir("/sys/class/net")) == before


def test_a_policy_set_by_the_official_client_is_in_force_at_once(pilotd: Pilotd) -> None:
    """And outlives pilotd, its resolver and the machine."""
    with pilotd.client() as client:
        sprite = client.create_sprite("obeys")
        assert sprite.get_network_policy().rules == []
        assert told(sprite) == {"rules": []}
        sprite.update_network_policy(NetworkPolicy(rules=[PolicyRule(domain="web.test", action="allow")]))
        assert told(sprite) == {"rules": [{"domain": "web.test", "action": "allow"}]}
        assert sprite.run("sudo", "sh", "-c", "echo > /.sprite/policy/network.json").returncode != 0
        assert fetch(sprite, "web.test") == reached(WEB)
        assert fails(sprite, "other.test", b"resolution")
        assert fails(sprite, OTHER, b"refused")
        _nonsense_changes_nothing(pilotd)
        report = httpx.get(f"{pilotd.url}/v1/sprites/obeys/network", headers=_headers(pilotd)).json()
        assert report["questions"]["deny"] >= 1
        assert {"address": OTHER, "protocol": "tcp", "port": PORT} in report["refused"]
        leftovers.note()
    pilotd.kill()
    pilotd.start()
    with pilotd.client() as client:
        sprite = client.get_sprite("obeys")
        assert [(rule.domain, rule.action) for rule in sprite.get_network_policy().rules] == [("web.test", "allow")]
        assert fetch(sprite, "web.test") == reached(WEB)
        assert fails(sprite, "other.test", b"resolution")
        sprite.update_network_policy(NetworkPolicy(rules=[]))
        assert fetch(sprite, "other.test") == reached(OTHER)
        leftovers.note()
        sprite.destroy()


def test_a_server_in_a_world_answers_at_its_address_and_through_the_proxy(pilotd: Pilotd) -> None:
    """It listens in the network of the world, which pilotd, and the agent, make their sockets in."""
    with pilotd.client() as client:
        sprite = client.create_sprite("served")
        sprite.run(
            "sh", "-c", "echo hello >/tmp/hello && cd /tmp && nohup python3 -m http.server 8080 >/dev/null 2>&1 &"
        )
        shown = httpx.get(f"{pilotd.url}/v1/sprites/served", headers=_headers(pilotd)).json()
        host = urllib.parse.urlsplit(shown["url"]).netloc

        def answered() -> bool:
            return httpx.get(f"{pilotd.url}/hello", headers=_headers(pilotd) | {"Host": host}).text == "hello\n"

        wait_until(answered, "the server answers")
        proxied = f"{pilotd.url.replace('http', 'ws')}/v1/sprites/served/proxy"
        with connect(proxied, additional_headers=_headers(pilotd)) as stream:
            stream.send(json.dumps({"host": "localhost", "port": 8080}))
            assert json.loads(stream.recv())["status"] == "connected"
            stream.send(b"GET /hello HTTP/1.0\r\n\r\n")
            assert b"200 OK" in stream.recv()
        sprite.destroy()


def test_apt_pip_and_git_work_under_a_policy(tmp_path: pathlib.Path, internet: Internet, pilotd: Pilotd) -> None:
    """Their one host is allowed, and nothing else. npm, which the small image lacks: `make outside-tests`."""
    site = tmp_path / "site"
    site.mkdir()
    mirror.write_repository(site)
    mirror.write_debian(site)
    mirror.write_python(site)
    with mirror.served(internet, WEB, site), pilotd.client() as client:
        sprite = client.create_sprite("clients")
        sprite.update_network_policy(NetworkPolicy(rules=[PolicyRule(domain="web.test", action="allow")]))

        def said(command: str) -> bytes:
            done = sprite.run("sudo", "sh", "-c", command, capture_output=True)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            return bytes(done.stdout)

        assert said("git clone -q http://web.test/code.git /tmp/code && cat /tmp/code/README") == b"cloned\n"
        said("rm -r /etc/apt/sources.list*; echo 'deb [trusted=yes] http://web.test/debian ./' > /etc/apt/sources.list")
        said("apt-get -q update && apt-get -qy install hello-sprite")
        assert said("/usr/bin/hello-sprite") == b"installed\n"
        said("curl -sSfo /tmp/pip.whl http://web.test/pip.whl")
        options = "--break-system-packages --index-url http://web.test/simple --trusted-host web.test"
        said(f"python3 /tmp/pip.whl/pip -q install {options} hello-sprite")
        assert said("/usr/local/bin/hello-sprite") == b"installed\n"
        sprite.destroy()


def test_sprites_in_one_private_network_see_each_other_by_name(tmp_path: pathlib.Path, pilotd: Pilotd) -> None:
    """Also when pilotd was killed; who is not in it sees nobody, and who was destroyed is not named any more."""

    def private(name: str, *words: str) -> list[str]:
        environment = {
            **os.environ, "HOME": str(tmp_path), "SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token(),
        }  # fmt: skip
        command = [sys.executable, "-m", "pilot.client.main", "network", "private", name, *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()

    def hello(sprite: Sprite) -> bytes:
        command = "for _ in $(seq 300); do curl -sf http://db.internal:8000/hello && exit; sleep 0.1; done"
        return bytes(sprite.run("bash", "-c", command, capture_output=True).stdout)

    with pilotd.client() as client:
        db, app, stranger = (client.create_sprite(name) for name in ("db", "app", "stranger"))
        db.run("sh", "-c", "echo hello >/tmp/hello && cd /tmp && setsid python3 -m http.server >/dev/null 2>&1 &")
        assert private("db", "--join", "shop") == ["network:", "shop"]
        assert private("app", "--join", "shop") == ["network:", "shop", "db.internal"]
        assert private("db") == ["network:", "shop", "app.internal"]
        assert hello(app) == b"hello\n"
        asked = stranger.run("curl", "-sS", "http://db.internal:8000/hello", capture_output=True)
        assert b"Could not resolve" in asked.stderr
        leftovers.note()
    pilotd.kill()
    pilotd.start()
    with pilotd.client() as client:
        db, app, stranger = (client.get_sprite(name) for name in ("db", "app", "stranger"))
        assert hello(app) == b"hello\n"
        leftovers.note()
        db.destroy()
        assert private("app") == ["network:", "shop"]
        asked = app.run("curl", "-sS", "http://db.internal:8000/hello", capture_output=True)
        assert b"Could not resolve" in asked.stderr
        assert private("app", "--leave") == ["network:", "none"]
        app.destroy()
        stranger.destroy()


def test_the_sprite_command_sets_rules_and_shows_what_became_of_them(tmp_path: pathlib.Path, pilotd: Pilotd) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token()}

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "pilot.client.main", "network", *words]
        return subprocess.run(
            command, env=environment | {"COLUMNS": "200"}, check=True, capture_output=True
        ).stdout.decode()

    with pilotd.client() as client:
        sprite = client.create_sprite("told")
        shown = said("policy", "told", "--allow", "web.test", "--deny", "*.web.test", "--defaults")
        assert [line.split() for line in shown.splitlines()[1:]] == [
            ["allow", "web.test"],
            ["deny", "*.web.test"],
            ["include", "defaults"],
        ]
        assert fetch(sprite, "web.test") == reached(WEB)
        assert fails(sprite, "x.web.test", b"resolution")
        lines = said("log", "told")
        assert f"allow  A  web.test  {WEB}  (rule web.test)" in lines
        assert "deny  A  x.web.test  (rule *.web.test)" in lines
        assert said("policy", "told", "--clear").split() == ["ACTION", "DOMAIN"]
        sprite.destroy()


def _headers(pilotd: Pilotd) -> dict[str, str]:
    return {"Authorization": f"Bearer {pilotd.token()}"}


def _nonsense_changes_nothing(pilotd: Pilotd) -> None:
    url = f"{pilotd.url}/v1/sprites/obeys/policy/network"
    for body, place in ((b"{", "body"), (b'{"rules": [{"domain": "a b", "action": "allow"}]}', "$.rules[0].domain")):
        answer = httpx.post(url, content=body, headers=_headers(pilotd))
        assert answer.status_code == 400
        assert place in answer.json()["error"]
    rules = httpx.get(url, headers=_headers(pilotd)).json()["rules"]
    assert rules == [{"domain": "web.test", "action": "allow"}]
