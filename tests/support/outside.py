"""The way out of the tests' private network: to the package mirrors that this machine itself is configured for.

    sprite ► gateway ► host (the test's namespace) ► internet (the test's) 198.51.100.1xx:80 ═ a thread ═ the mirror

A mirror's name leads, in the test's Internet, to an address of its own, where each connection is taken and made again
from the network namespace that the tests were started from. Only what is listed is reached so. Asked for by
PILOT_OUTSIDE alone: what is far away is slow, and not ours.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator

import httpx

from pilot.kernel import netns

from .internet import Internet

# By `tests.support.private`: the network namespace that it was started in.
FD_VARIABLE = "PILOT_OUTSIDE_NET_FD"
# What this machine believes; whoever stands between it and the registries may have an authority of its own.
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
# Small, without dependencies, and nothing but Python; and the same of npm's.
PYTHON_PROJECT, NODE_PROJECT = "six", "ms"
_PORTS = (80, 443)
_COPY_BYTES = 1 << 16
_WAIT_S = 60.0


def namespace() -> str:
    """Where the network namespace is that the tests were started from. `KeyError` when nobody has said so."""
    return f"/proc/{os.getpid()}/fd/{os.environ[FD_VARIABLE]}"


def debian() -> list[str]:
    """Hosts of Debian's own archives, as apt's sources of this machine have them."""
    texts = [path.read_text() for path in pathlib.Path("/etc/apt").glob("sources.list*/**/*") if path.is_file()]
    with contextlib.suppress(FileNotFoundError):
        texts.append(pathlib.Path("/etc/apt/sources.list").read_text())
    lines = (line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#"))
    urls = (urllib.parse.urlsplit(url) for line in lines for url in re.findall(r"https?://[^\s\]]+", line))
    return sorted({url.hostname for url in urls if url.hostname and re.fullmatch(r"/debian(-security)?/?", url.path)})


def python() -> set[str]:
    """Hosts of the index that pip of this machine asks, and of the files that it leads to."""
    script = (
        "from pip._internal.commands import create_command;"
        "print(create_command('download').parser.get_default_values().index_url)"
    )
    return _linked(f"{_said(sys.executable, '-c', script).rstrip('/')}/{PYTHON_PROJECT}/")


def node() -> set[str]:
    """The host of the registry that npm of this machine asks."""
    return {_host(_said("npm", "config", "get", "registry"))}


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _linked(page: str) -> set[str]:
    context = ssl.create_default_context(cafile=AUTHORITIES)
    text = netns.inside(
        namespace(), lambda: httpx.get(page, verify=context, follow_redirects=True, timeout=_WAIT_S)
    ).text
    links = (urllib.parse.urljoin(page, link) for link in re.findall(r'href="([^"]+)"', text))
    return {_host(page), *map(_host, links)}


def _host(url: str) -> str:
    host = urllib.parse.urlsplit(url).hostname
    assert host is not None, url
    return host


def reaches(host: str, port: int = 80) -> bool:
    """Whether the mirror answers from here."""
    try:
        netns.inside(namespace(), lambda: socket.create_connection((host, port), 10).close())
    except (OSError, KeyError):
        return False
    return True


@contextlib.contextmanager
def led_to(internet: Internet, hosts: list[str]) -> Iterator[None]:
    """For as long as the block, these names lead there, in `internet`."""
    ended = threading.Event()
    for number, host in enumerate(hosts, start=101):
        address = f"198.51.100.{number}"
        internet.add_address(address)
        internet.records[host, "A"] = (60, [address])
        for port in _PORTS:
            listener = internet.bound(socket.SOCK_STREAM, address, port)
            listener.listen(64)
            listener.settimeout(0.5)
            name = f"outside-{host}-{port}"
            threading.Thread(target=_serve, args=(listener, host, port, ended), name=name, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _serve(listener: socket.socket, host: str, port: int, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            taken, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            return  # closed with the Internet
        threading.Thread(target=_relay, args=(taken, host, port), name=f"relay-{host}", daemon=True).start()


def _relay(taken: socket.socket, host: str, port: int) -> None:
    with taken:
        try:
            made = netns.inside(namespace(), lambda: socket.create_connection((host, port), _WAIT_S))
        except OSError:
            return  # who asked sees the end of it
        with made:
            back = threading.Thread(target=_copy, args=(made, taken), name=f"back-{host}", daemon=True)
            back.start()
            _copy(taken, made)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side may go whenever it likes
        source.settimeout(_WAIT_S)
        while data := source.recv(_COPY_BYTES):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
