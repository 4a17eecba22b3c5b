"""A sprite on the network, with pilotd as a process: what programs inside reach, and what is left afterwards."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from sprites import NetworkPolicy, PolicyRule, Sprite
from tests.support import internet as nets
from tests.support import leftovers
from tests.support.internet import OTHER, PORT, WEB, Internet
from tests.support.pilotd import Pilotd

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
    before = leftovers.observe()
    made = Pilotd(tmp_path / "state")
    made.stop_machines_on_exit, made.extra = True, ("--resolver", nets.DNS)
    made.start()
    try:
        yield made
    finally:
        if made.process is not None:
            made.stop()
    assert leftovers.left_since(before) == {}


def fetch(sprite: Sprite, name: str) -> tuple[bytes, bytes]:
    """What a program in the world reads from there, and what it complains of: the C library resolves, the kernel
    connects."""
    done = sprite.run("bash", "-c", f"exec 3<>/dev/tcp/{name}/{PORT} && head -n1 <&3", capture_output=True)
    return bytes(done.stdout), bytes(done.stderr)


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
        sprite.update_network_policy(NetworkPolicy(rules=[PolicyRule(domain="web.test", action="allow")]))
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
