"""A machine that is a VM gets a tap in its gateway: the same rules, for frames instead of a veth's other end."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest
from tests.support.internet import PORT, WEB, Internet, wait_until
from tests.support.netsprite import Sprite, internet, networks

from pilot.host.network.service import Networks

__all__ = ["internet", "networks"]  # fixtures

pytestmark = pytest.mark.requires("root", "private", "veth", "nft", "tun")

MAC, EVERYBODY = bytes.fromhex("02000000aa01"), b"\xff" * 6
ME, GATEWAY = "198.18.0.2", "198.18.0.1"
ARP, IPV4 = 0x0806, 0x0800
WAIT_S = 15.0


class Guest:
    """A network card without a guest: frames in and out, behind the header of virtio. Close it."""

    def __init__(self, sprite: Sprite) -> None:
        self._tap_fd = sprite.networks.connect_tap(sprite.member)
        self._gateway_mac = self._find_gateway()

    def close(self) -> None:
        os.close(self._tap_fd)

    def _find_gateway(self) -> bytes:
        ends = MAC + socket.inet_aton(ME) + bytes(6) + socket.inet_aton(GATEWAY)
        self._send(EVERYBODY, ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + ends)
        while True:
            kind, content = self._receive()
            if kind == ARP and content[6:8] == b"\0\2" and content[14:18] == socket.inet_aton(GATEWAY):
                return content[8:14]

    def datagram(self, source: str, target: str, port: int, data: bytes) -> None:
        """One, with a sum of its own where IPv4 wants it; UDP can do without."""
        udp = struct.pack("!HHHH", 4242, port, 8 + len(data), 0) + data
        ends = socket.inet_aton(source) + socket.inet_aton(target)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + ends
        head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
        self._send(self._gateway_mac, IPV4, head + udp)

    def answer(self, port: int) -> bytes:
        """The next datagram from that port."""
        while True:
            kind, content = self._receive()
            if kind == IPV4 and content[9] == 17 and content[20:22] == struct.pack("!H", port):
                return content[28:]

    def _send(self, target: bytes, kind: int, content: bytes) -> None:
        os.write(self._tap_fd, bytes(10) + target + MAC + struct.pack("!H", kind) + content)

    def _receive(self) -> tuple[int, bytes]:
        assert select.select([self._tap_fd], [], [], WAIT_S)[0], "no frame"
        frame = os.read(self._tap_fd, 65536)[10:]
        return int.from_bytes(frame[12:14], "big"), frame[14:]


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.fixture
def sprite(networks: Networks) -> Iterator[Sprite]:
    made = Sprite(networks)
    yield made
    made.close()


@pytest.fixture
def guest(sprite: Sprite) -> Iterator[Guest]:
    made = Guest(sprite)
    yield made
    made.close()


def test_a_guest_behind_a_tap_obeys_its_policy(internet: Internet, sprite: Sprite, guest: Guest) -> None:
    sprite.obey("web.test")
    for name, rcode in (("other.test", dns.rcode.REFUSED), ("web.test", dns.rcode.NOERROR)):
        guest.datagram(ME, "8.8.8.8", 53, dns.message.make_query(name, "A").to_wire())
        assert dns.message.from_wire(guest.answer(53)).rcode() == rcode
    guest.datagram(ME, WEB, PORT, b"hello")
    assert guest.answer(PORT) == WEB.encode() + b" hello"


def test_a_guest_behind_a_tap_has_one_address(internet: Internet, sprite: Sprite, guest: Guest) -> None:
    before = sprite.networks.report(sprite.member.machine).packets["spoofed"]
    guest.datagram("203.0.113.77", WEB, PORT, b"x")
    wait_until(
        lambda: sprite.networks.report(sprite.member.machine).packets["spoofed"] > before, "it is dropped and counted"
    )


def test_nothing_is_left_of_a_tap(networks: Networks) -> None:
    made = Sprite(networks)
    guest = Guest(made)
    guest.close()
    path = made.path
    made.close()
    assert not os.path.exists(path)
