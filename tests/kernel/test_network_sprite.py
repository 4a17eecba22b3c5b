"""A sprite on the network, with pilotd as a process: what programs inside reach, and what is left afterwards."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest
from sprites import Sprite
from tests.support import internet as nets
from tests.support import leftovers
from tests.support.internet import PORT, WEB, Internet
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft")


@pytest.fixture
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        made.serve_tcp(WEB)
        made.records |= {("web.test", "A"): (60, [WEB])}
        yield made


def fetch(sprite: Sprite, name: str) -> bytes:
    """What a program in the world reads from there: the C library resolves, the kernel connects."""
    script = f"exec 3<>/dev/tcp/{name}/{PORT} && head -n1 <&3"
    return bytes(sprite.run("bash", "-c", script, capture_output=True).stdout)


def test_a_world_reaches_the_outside_by_name_and_nothing_is_left(tmp_path: pathlib.Path, internet: Internet) -> None:
    before = leftovers.observe()
    pilotd = Pilotd(tmp_path / "state")
    pilotd.stop_machines_on_exit, pilotd.extra = True, ("--resolver", nets.DNS)
    pilotd.start()
    with pilotd.client() as client:
        sprite = client.create_sprite("web")
        assert sprite.run("cat", "/etc/resolv.conf", capture_output=True).stdout == b"nameserver 198.18.0.1\n"
        assert fetch(sprite, "web.test") == WEB.encode() + b"\n"
        leftovers.note()
        sprite.destroy()
        assert not any(name.startswith("pn") for name in os.listdir("/sys/class/net"))
    pilotd.stop()
    assert leftovers.left_since(before) == {}
