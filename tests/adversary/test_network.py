"""Root of a world owns its network: the wall is the gateway, which is the host's."""

from __future__ import annotations

import pathlib
from typing import Any

import httpx
import pytest

from tests.adversary import frames
from tests.support.internet import wait_until

_PROGRAM = "/tmp/frames.py"

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")


def _counters(http: httpx.Client) -> dict[str, int]:
    answer = http.get("/v1/sprites/mallory/network")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["packets"])


def test_frames_of_ones_own_making(mallory: Any, http: httpx.Client) -> None:
    source = pathlib.Path(frames.__file__).read_bytes()
    assert http.put(f"/v1/sprites/mallory/fs/write?path={_PROGRAM}", content=source).status_code == 200
    before = _counters(http)
    done = mallory.run("sudo", "python3", _PROGRAM, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    spoofed, refused = map(int, done.stdout.split())
    wait_until(lambda: _counters(http)["spoofed"] >= before["spoofed"] + spoofed, "what is spoofed is dropped")
    wait_until(lambda: _counters(http)["refused"] >= before["refused"] + refused, "what has no business is refused")
    assert _counters(http)["sent"] == before["sent"]


def test_a_network_of_ones_own_taken_apart(client: Any, http: httpx.Client) -> None:
    """And a neighbour sees nothing of it; a restart brings all back."""
    made = client.create_sprite("apart")

    def said(command: str) -> str:
        done = made.run("sudo", "sh", "-c", command, capture_output=True)
        return bytes(done.stdout + done.stderr).decode()

    try:
        as_new = said("ip -o -4 addr show eth0 && ip route")
        assert "198.18.0.2/30" in as_new
        bridge = said("ip link add name br0 type bridge && ip link set br0 up && ip link set eth0 master br0")
        assert bridge == "" or "Unknown device type" in bridge or "not supported" in bridge  # a guest's kernel has none
        said("ip route flush table all; ip link del eth0 || ip link set eth0 down && ip addr flush dev eth0")
        assert "198.18." not in said("ip -o -4 addr show; ip route")
        assert http.post("/v1/sprites/apart/restart").status_code < 300
        assert said("ip -o -4 addr show eth0 && ip route") == as_new
    finally:
        made.destroy()
