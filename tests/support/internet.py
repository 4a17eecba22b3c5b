"""An Internet for tests: a network namespace beside the host's, with servers at whatever addresses a test wants.

    host (the namespace of the test) ══ far0=uplink ══ internet     203.0.113.1 ══ 203.0.113.2, 2001:db8::1 ══ ::2

Servers are threads of the test's process with sockets that were made there: TCP and UDP that say an address back, and a
DNS server whose records are a dictionary. A `Machine` is a process in a network namespace of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

from pilot.kernel import netns

_T = TypeVar("_T")

PATH = "/run/netns/test-internet"
DNS = "203.0.113.2"
WEB, WEB6 = "198.51.100.10", "2001:db8:1::10"
OTHER = "198.51.100.20"
PRIVATE, METADATA = "10.99.0.5", "169.254.169.254"
PORT = 8080
WAIT_S = 15.0


def command(*arguments: str) -> None:
    """One that must succeed."""
    subprocess.run(arguments, check=True, capture_output=True)


class Internet:
    """Close it. `records`: (name, type) → (ttl, values), or an rcode; `asked` is what the DNS server was asked."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]] | dns.rcode.Rcode] = {}
        self.asked: list[tuple[str, str]] = []
        self.seen: list[str] = []  # who connected
        self._stop_fd, self._stopping = os.pipe2(os.O_CLOEXEC)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        netns.ensure(PATH)
        command("ip", "link", "add", "name", "far0", "type", "veth", "peer", "name", "uplink", "netns", "test-internet")
        command("ip", "link", "set", "far0", "up")
        command("ip", "addr", "add", "203.0.113.1/24", "dev", "far0")
        command("ip", "addr", "add", "2001:db8::1/64", "dev", "far0", "nodad")
        inside = ("ip", "-n", "test-internet")
        for device in ("lo", "uplink"):
            command(*inside, "link", "set", device, "up")
        command(*inside, "addr", "add", f"{DNS}/24", "dev", "uplink")
        command(*inside, "addr", "add", "2001:db8::2/64", "dev", "uplink", "nodad")
        for address in (WEB, WEB6, OTHER, PRIVATE, METADATA):
            self.add_address(address)
        command("ip", "route", "add", "default", "via", DNS)
        command("ip", "-6", "route", "add", "default", "via", "2001:db8::2")
        self.serve_dns()

    def close(self) -> None:
        os.write(self._stopping, b"x")
        for thread in self._threads:
            thread.join(WAIT_S)
        for each in self._sockets:
            each.close()
        command("ip", "link", "del", "far0")
        netns.remove(PATH)
        os.close(self._stop_fd)
        os.close(self._stopping)

    def add_address(self, address: str) -> None:
        """One more, of its loopback."""
        bits = "128" if ":" in address else "32"
        command("ip", "-n", "test-internet", "addr", "replace", f"{address}/{bits}", "dev", "lo")

    def bound(self, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
        """Bound there; it is closed with everything."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make() -> socket.socket:
            made = socket.socket(family, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            return made

        made = netns.inside(PATH, make)
        self._sockets.append(made)
        return made

    def serve_tcp(self, address: str, port: int = PORT) -> None:
        """Whoever connects is sent `address`, then what it sends."""
        listener = self.bound(socket.SOCK_STREAM, address, port)
        listener.listen(64)

        def serve() -> None:
            connection, peer = listener.accept()
            self.seen.append(peer[0])
            self._sockets.append(connection)
            connection.sendall(address.encode() + b"\n")
            self._run(f"echo-{peer[1]}", connection, lambda: _echo(connection))

        self._run(f"tcp-{address}", listener, serve)

    def serve_udp(self, address: str, port: int = PORT) -> None:
        """Says back what it is sent, behind `address`."""
        datagrams = self.bound(socket.SOCK_DGRAM, address, port)

        def serve() -> None:
            data, peer = datagrams.recvfrom(65535)
            self.seen.append(peer[0])
            datagrams.sendto(address.encode() + b" " + data, peer)

        self._run(f"udp-{address}", datagrams, serve)

    def serve_dns(self, address: str = DNS) -> None:
        """`records`, by UDP and TCP."""
        datagrams = self.bound(socket.SOCK_DGRAM, address, 53)

        def serve() -> None:
            data, peer = datagrams.recvfrom(65535)
            datagrams.sendto(self._answer(data, 1232), peer)

        self._run(f"dns-{address}", datagrams, serve)
        listener = self.bound(socket.SOCK_STREAM, address, 53)
        listener.listen(8)

        def serve_stream() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(WAIT_S)
                size = int.from_bytes(connection.recv(2), "big")
                answer = self._answer(connection.recv(size), 65535)
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

        self._run(f"dns-tcp-{address}", listener, serve_stream)

    def _answer(self, wire: bytes, most: int) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query)
        current = name
        for _ in range(8):
            alias = self.records.get((current, "CNAME"))
            if not isinstance(alias, tuple) or kind == "CNAME":
                break
            response.answer.append(dns.rrset.from_text(f"{current}.", alias[0], "IN", "CNAME", *alias[1]))
            current = alias[1][0].rstrip(".").lower()
        found = self.records.get((current, kind))
        if isinstance(found, tuple):
            owner = question.name if current == name else f"{current}."
            response.answer.append(dns.rrset.from_text(owner, found[0], "IN", kind, *found[1]))
        elif found is not None:
            response.set_rcode(found)
        elif not any(known == current for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire(max_size=most, prefer_truncation=True)

    def _run(self, name: str, source: socket.socket, serve: Callable[[], bool | None]) -> None:
        """`serve` whenever `source` has something, until it says False or everything ends."""

        def loop() -> None:
            while True:
                if self._stop_fd in select.select([source.fileno(), self._stop_fd], [], [])[0]:
                    return
                with contextlib.suppress(OSError):  # who was served has gone
                    if serve() is False:
                        return

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _echo(connection: socket.socket) -> bool:
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(data)
    except OSError:
        return False
    return bool(data)


class Machine:
    """A process in a network namespace of its own, and what it does there. Close it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.pid = self._process.pid

    def close(self) -> None:
        self._process.communicate()

    @property
    def namespace(self) -> str:
        """Where its network namespace is."""
        return f"/proc/{self.pid}/ns/net"

    def inside(self, function: Callable[[], _T]) -> _T:
        """What `function` returns in its network namespace."""
        return netns.inside(self.namespace, function)

    def ip(self, *arguments: str) -> str:
        """ip(8) there."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-n", "ip", *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout

    def make_socket(self, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        """Made there."""
        return self.inside(lambda: socket.socket(family, kind, protocol))

    def connect(self, address: str, port: int = PORT, timeout_s: float = WAIT_S) -> socket.socket:
        """An open connection, or its `OSError`: refused, told by ICMP, timed out."""
        made = self.make_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(timeout_s)
        try:
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def send_each(self, datagrams: socket.socket, messages: Sequence[bytes]) -> None:
        """On a socket of it that is connected, as fast as that goes there."""
        for message in messages:
            datagrams.send(message)

    def begin_connecting(self, address: str, port: int = PORT) -> socket.socket:
        """One that says by POLLOUT when it is connected. Close it."""
        made = self.make_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.connect_ex((address, port))
        return made

    def reaches(self, address: str, port: int = PORT, timeout_s: float = WAIT_S) -> bool:
        """Whether the server there is the one that should be there."""
        try:
            with self.connect(address, port, timeout_s) as connection:
                return connection.recv(64) == address.encode() + b"\n"
        except OSError:
            return False

    def exchange(self, address: str, data: bytes, port: int = PORT, timeout_s: float = WAIT_S) -> bytes | None:
        """A datagram, and what comes back."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.make_socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(timeout_s)
            try:
                datagrams.connect((address, port))
                datagrams.send(data)
                return datagrams.recv(65535)
            except OSError:
                return None

    def ask(
        self, name: str, kind: str = "A", server: str = "198.18.0.1", *, edns: bool = True, stream: bool = False
    ) -> dns.message.Message:
        """What its resolver answers; `TimeoutError` when it says nothing."""
        query = dns.message.make_query(name, kind, use_edns=0 if edns else False)
        return dns.message.from_wire(self.ask_wire(query.to_wire(), server, stream=stream))

    def ask_wire(self, wire: bytes, server: str = "198.18.0.1", *, stream: bool = False) -> bytes:
        """The same, in bytes."""
        if stream:
            with self.connect(server, 53) as connection:
                connection.sendall(len(wire).to_bytes(2, "big") + wire)
                with connection.makefile("rb") as file:
                    size = int.from_bytes(file.read(2), "big")
                    return file.read(size)
        found = self.exchange(server, wire, 53)
        if found is None:
            raise TimeoutError(f"ask {server}: nothing said")
        return found

    def addresses(self, name: str, kind: str = "A") -> list[str]:
        """What `name` leads to, for a program there; [] also when it is refused."""
        answer = self.ask(name, kind)
        found = [rdata.address for rrset in answer.answer if rrset.rdtype in (1, 28) for rdata in rrset]
        return [str(ipaddress.ip_address(address)) for address in found]


@contextlib.contextmanager
def internet() -> Iterator[Internet]:
    """For as long as a test wants it."""
    made = Internet()
    try:
        yield made
    finally:
        made.close()


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Until `holds()`: for what the kernel does in its own time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        time.sleep(0.02)
