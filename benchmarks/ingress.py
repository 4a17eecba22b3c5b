"""Relaying 1 KB answers: pilotd beside haproxy and nginx, before the same server, by the same load; plain and TLS.

    wrk ─► pilotd's relay, haproxy, nginx, or nobody ─► nginx (1 KB from memory)

All on loopback of this host. The relay's way to the server is that to a `container`: a socket of the machine's network.
Between 16 connections and two cores the load generator competes with what it measures, for all alike. Every front has
one thread that relays (haproxy `nbthread 1`, nginx one process), so that ratios are between like and like; the time of
the processor that a front takes for a request says the same where the machine has other work, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.fake_vmm import FakeVmm
from tests.support.host import HostUnderTest
from tests.support.pilotd import free_port
from tests.support.site import Front, Served

from pilot.host.ingress import certificates
from pilot.host.ingress.certificates import Authority
from pilot.host.relay import server
from pilot.host.services.addresses import Domain

from . import harness
from .harness import Contender, Sample, Table

_BYTES = 1024
_CONNECTIONS = 16
_SECONDS = 1
_OURS = "pilotd"

_SERVER = """
daemon off; master_process off; pid {directory}/{name}.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/{name}-body; proxy_temp_path {directory}/{name}-proxy;
  fastcgi_temp_path {directory}/{name}-f; uwsgi_temp_path {directory}/{name}-u; scgi_temp_path {directory}/{name}-s;
  {rest}
}}
"""
_BACKEND = 'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{body}"; }} }}'
_PROXY = """
  upstream behind {{ server 127.0.0.1:{backend}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
    location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""
_HAPROXY = """
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  http-reuse always
frontend in
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {pem}
  default_backend behind
backend behind
  server one 127.0.0.1:{backend}
"""


class _Vmm(FakeVmm):
    """Its machines' loopback is ours, and reached as a container's is."""

    def tcp_socket(self, machine: object, family: socket.AddressFamily) -> socket.socket | None:
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP)
        made.setblocking(False)
        return made


class Place:
    """Of one front: its process, its ports, and the Host that it is asked by."""

    def __init__(self, name: str, plain: int, tls: int, host: str, pid: int) -> None:
        self.pid = pid
        self.name = name
        self.plain = plain
        self.tls = tls
        self.host = host


def run(rounds: int) -> Sequence[Table]:
    """A second of load for each front and round."""
    with tempfile.TemporaryDirectory(prefix="pilot-bench-") as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        authority = Authority(str(directory / "ca"), Domain("localhost"))
        pem = _pem(directory, authority)
        backend = free_port()
        body = "x" * _BYTES
        served_by = stack.enter_context(_nginx(directory, "backend", _BACKEND.format(port=backend, body=body), backend))
        places = [stack.enter_context(_pilotd(directory, authority, backend))]
        places += [stack.enter_context(make(directory, pem, backend)) for make in (_haproxy_front, _nginx_front)]
        direct = Place("no front", backend, 0, "localhost", served_by)
        plain = [_contender(place, f"http://127.0.0.1:{place.plain}/") for place in [direct, *places]]
        tls = [_contender(place, f"https://127.0.0.1:{place.tls}/") for place in places]
        return [_table("1 KB answers", plain, rounds, ["no front"]), _table("1 KB answers over TLS", tls, rounds, [])]


def _table(title: str, contenders: Sequence[Contender], rounds: int, more: Sequence[str]) -> Table:
    samples = harness.interleave(list(contenders), rounds)
    return harness.make_table(title, samples, ["haproxy", "nginx", *more], "requests_per_s")


def _contender(place: Place, url: str) -> Contender:
    return Contender(place.name, lambda: _load(place, url))


def _load(place: Place, url: str) -> Sample:
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "--latency", "-H", f"Host: {place.host}", url]
    before_s = _processor_s(place.pid)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took_s = _processor_s(place.pid) - before_s
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{place.name}: {said}")
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    count = re.search(r"([0-9]+) requests in", said)
    half = re.search(r"50%\s+([0-9.]+)(us|ms|s)", said)
    most = re.search(r"99%\s+([0-9.]+)(us|ms|s)", said)
    if not (rate and count and half and most):
        raise RuntimeError(f"{place.name}: {said}")
    return {
        "requests_per_s": float(rate[1]),
        "processor_us": took_s / int(count[1]) * 1e6,
        "p50_ms": _ms(half),
        "p99_ms": _ms(most),
    }


def _processor_s(pid: int) -> float:
    """What a process has taken of the processor, in its own code and in the kernel's for it (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ms(found: re.Match[str]) -> float:
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def _pem(directory: Path, authority: Authority) -> Path:
    path = directory / "pair.pem"
    path.write_bytes(authority.pair("localhost"))
    return path


@contextlib.contextmanager
def _pilotd(directory: Path, authority: Authority, backend: int) -> Iterator[Place]:
    """In a process of its own, as it would be."""
    command = [sys.executable, "-m", "benchmarks.ingress", str(directory), str(backend)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        plain, tls, host = process.stdout.readline().split()
        try:
            yield Place(_OURS, int(plain), int(tls), host, process.pid)
        finally:
            process.stdin.close()
            process.wait(60)


def _haproxy_front(directory: Path, pem: Path, backend: int) -> contextlib.AbstractContextManager[Place]:
    plain, tls = free_port(), free_port()
    path = directory / "haproxy.cfg"
    path.write_text(_HAPROXY.format(plain=plain, tls=tls, pem=pem, backend=backend))
    return _front("haproxy", plain, tls, ["haproxy", "-db", "-f", str(path)])


def _nginx_front(directory: Path, pem: Path, backend: int) -> contextlib.AbstractContextManager[Place]:
    plain, tls = free_port(), free_port()
    rest = _PROXY.format(plain=plain, tls=tls, pem=pem, backend=backend)
    return _front("nginx", plain, tls, _nginx_command(directory, "front", rest))


@contextlib.contextmanager
def _front(name: str, plain: int, tls: int, command: Sequence[str]) -> Iterator[Place]:
    with _running(command, plain) as pid:
        yield Place(name, plain, tls, "localhost", pid)


def _nginx(directory: Path, name: str, rest: str, port: int) -> contextlib.AbstractContextManager[int]:
    return _running(_nginx_command(directory, name, rest), port)


def _nginx_command(directory: Path, name: str, rest: str) -> list[str]:
    path = directory / f"{name}.conf"
    path.write_text(_SERVER.format(directory=directory, name=name, rest=rest))
    return ["nginx", "-c", str(path)]


@contextlib.contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[int]:
    """Its process, until the block ends; it listens when the block begins."""
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"{command[0]} is not installed: apt-get install haproxy nginx-light wrk")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")


def main(directory: str, backend: str) -> int:
    """The relay, until stdin ends."""
    front = Front()
    front.web_port = int(backend)
    under_test = HostUnderTest(Path(directory) / "host", front=front, vmm=_Vmm)
    authority = Authority(os.path.join(directory, "ca"), Domain("localhost"))
    tls: ssl.SSLContext = certificates.server_context(authority)
    listener = server.listen("127.0.0.1", 0)
    serving = server.Server(under_test.route())
    thread = threading.Thread(target=serving.serve_on, args=(server.Door(listener, tls),), name="relay-tls")
    thread.start()
    site = Served(under_test, "web")
    print(under_test.url.rpartition(":")[2], listener.getsockname()[1], site.host, flush=True)
    sys.stdin.read()
    serving.stop()
    thread.join(30)
    listener.close()
    under_test.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
