"""Frames that no honest program sends, from root of a world by its own card. Runs in the sprite, by its Python.

Prints how many of them have a source that is not the machine's, and how many are of no kind that may leave.
"""

from __future__ import annotations

import socket
import struct
import time

ME, GATEWAY, TARGET = "198.18.0.2", "198.18.0.1", "192.0.2.1"
ME6, TARGET6 = "fd70:696c:6f74::2", "2001:db8::1"
OTHERS = ("203.0.113.77", "198.18.0.5", "198.18.0.7", "127.0.0.1", "10.0.0.1")
OTHERS6 = ("2001:db8:77::1", "fd70:696c:6f74::5", "::1")
UDP, GRE, SCTP = 17, 47, 132
IPV4, IPV6, VLAN = 0x0800, 0x86DD, 0x8100
LOOSE_SOURCE_ROUTE = struct.pack("BBB4sx", 131, 7, 4, socket.inet_aton(GATEWAY))


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, protocol: int = UDP, options: bytes = b"") -> bytes:
    content = struct.pack("!HHHH", 4242, 9, 12, 0) + b"mine"
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(content), 0, 0, 64, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(TARGET) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + content


def ipv6(source: str) -> bytes:
    content = struct.pack("!HHHH", 4242, 9, 12, 1) + b"mine"
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, TARGET6)
    return struct.pack("!IHBB", 6 << 28, len(content), UDP, 64) + ends + content


def gateway_mac() -> bytes:
    """Once it has been asked something."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.sendto(b"", (GATEWAY, 9))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open("/proc/net/arp") as lines:
            for line in lines:
                words = line.split()
                if words[0] == GATEWAY and words[3] != "00:00:00:00:00:00":
                    return bytes.fromhex(words[3].replace(":", ""))
        time.sleep(0.05)
    raise TimeoutError("the gateway does not say who it is")


def main() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind(("eth0", 0))
        own, ends = card.getsockname()[4], gateway_mac()

        def send(kind: int, content: bytes) -> None:
            card.send(ends + own + struct.pack("!H", kind) + content)

        for source in OTHERS:
            send(IPV4, ipv4(source))
        for source in OTHERS6:
            send(IPV6, ipv6(source))
        send(IPV4, ipv4(ME, options=LOOSE_SOURCE_ROUTE))
        send(VLAN, struct.pack("!HH", 7, IPV4) + ipv4(OTHERS[0]))  # no such network here: nobody takes it
        for protocol in (GRE, SCTP):
            send(IPV4, ipv4(ME, protocol))
    print(len(OTHERS) + len(OTHERS6) - 2, 2)  # loopback's sources are dropped as martians, before anybody counts


if __name__ == "__main__":
    main()
