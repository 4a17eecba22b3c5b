"""A sprite's web server at its printed address: pilotd as a process, a real sprite, clients that are not ours."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sprites.types import URLSettings
from tests.support import leftovers, smuggling, wire
from tests.support.pilotd import Pilotd, free_port

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft")

# Runs in the sprite: it notes all that comes, and tells who it is and what it was asked.
_SERVER = r"""
import os, signal, socket, sys
host, port = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64)
while True:
    client, _ = listening.accept()
    if os.fork():
        client.close()
        continue
    head = b""
    while data := client.recv(65536):
        with open(f"/tmp/seen-{port}", "ab", buffering=0) as seen:
            seen.write(data)
        head += data
        if b"\r\n\r\n" in head and b"/wait" not in head:
            told = f"{os.getppid()} {head.split()[1].decode()}".encode()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
            head = b""
    os._exit(0)
"""


# Likewise: what it is sent, back.
_ECHO = """
import socket
bound = socket.socket(type=socket.SOCK_DGRAM)
bound.bind(('127.0.0.1', 5300))
while True:
    bound.sendto(*bound.recvfrom(99))
"""


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path_factory.mktemp("ingress") / "state")
    daemon.tls_port = free_port()
    daemon.extra = ("--tls-listen", f"127.0.0.1:{daemon.tls_port}")
    with leftovers.nothing(), daemon.running():
        yield daemon


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("web")
        client.update_url_settings("web", URLSettings(auth="public"))
        made.run("sh", "-c", "cat > /tmp/server.py <<'end'" + _SERVER + "end")
        serve(made, "0.0.0.0", 8080)
        leftovers.note()
        yield client.get_sprite("web")
        made.destroy()


def serve(sprite: Any, host: str, port: int) -> None:
    """It listens when this returns."""
    sprite.run("sh", "-c", f"setsid python3 /tmp/server.py {host} {port} >/tmp/server.log 2>&1 &")
    listens = f"grep -q ':{port:04X} ' /proc/net/tcp /proc/net/tcp6"
    waited = sprite.run("sh", "-c", f"for _ in $(seq 400); do {listens} && exit; sleep 0.05; done; exit 1")
    assert waited.returncode == 0, sprite.run("cat", "/tmp/server.log", capture_output=True).stdout


def curl(*words: str) -> str:
    done = subprocess.run(["curl", "-sS", "--max-time", "60", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def datagrams_come_back(host: str, port: int) -> bool:
    """As soon as somebody listens: one before that is lost."""
    with socket.socket(type=socket.SOCK_DGRAM) as ours:
        ours.connect((host, port))
        ours.settimeout(1)
        for number in range(60):
            ours.send(b"%d" % number)
            try:
                return ours.recv(99) in [b"%d" % each for each in range(number + 1)]
            except TimeoutError:
                continue
    return False


def host_of(sprite: Any) -> str:
    return httpx.URL(sprite.url).host


def test_the_printed_address_works_in_curl_as_it_stands(pilotd: Pilotd, sprite: Any) -> None:
    assert sprite.url.endswith(f".localhost:{pilotd.port}")
    assert curl(f"{sprite.url}/x?y=1").split()[1] == "/x?y=1"


def test_another_port_and_another_loopback_address(pilotd: Pilotd, sprite: Any) -> None:
    serve(sprite, "::1", 3000)
    assert curl(f"http://3000-{host_of(sprite)}:{pilotd.port}/there").split()[1] == "/there"
    refused = httpx.get(f"{pilotd.url}/", headers={"Host": f"3001-{host_of(sprite)}"})
    assert (refused.status_code, refused.text.split(" (")[0]) == (502, "nothing listens on port 3001 of sprite web")


def test_tls_by_our_own_authority(pilotd: Pilotd, sprite: Any) -> None:
    words = [str(Path(sys.executable).with_name("pilotd")), "ca", "--state-dir", str(pilotd.state)]
    authority = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]
    assert curl("--cacert", authority, f"https://{host_of(sprite)}:{pilotd.tls_port}/x").split()[1] == "/x"
    context = ssl.create_default_context(cafile=authority)
    answer = httpx.get(f"https://127.0.0.1:{pilotd.tls_port}/healthz", verify=context)
    assert answer.text == "ok\n"


def test_a_sprite_that_was_frozen_is_woken_and_its_server_goes_on(pilotd: Pilotd, sprite: Any) -> None:
    before = curl(sprite.url).split()[0]
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    assert httpx.post(f"{pilotd.url}/v1/sprites/web/sleep", headers=headers, timeout=60).status_code == 200
    assert httpx.get(f"{pilotd.url}/v1/sprites/web", headers=headers).json()["status"] == "warm"
    assert curl(sprite.url).split()[0] == before


def test_the_address_answers_again_when_pilotd_was_killed(pilotd: Pilotd, sprite: Any) -> None:
    before = curl(sprite.url).split()[0]
    pilotd.kill()
    pilotd.start()
    assert curl(sprite.url).split()[0] == before


def test_the_address_leads_to_the_http_service_and_starts_it(pilotd: Pilotd, sprite: Any) -> None:
    services = f"{pilotd.url}/v1/sprites/web/services/site"
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    wanted = {"cmd": "python3", "args": ["/tmp/server.py", "127.0.0.1", "9000"], "http_port": 9000}
    before = curl(sprite.url).split()[0]
    assert httpx.put(services, params={"duration": "1s"}, json=wanted, headers=headers, timeout=60).status_code == 200
    wire.wait_until(lambda: curl(sprite.url).split()[0] != before)
    assert httpx.post(f"{services}/stop", headers=headers, timeout=60).status_code == 200
    assert curl(f"{sprite.url}/started").split()[1] == "/started"
    assert httpx.delete(services, headers=headers, timeout=60).status_code == 204
    wire.wait_until(lambda: curl(sprite.url).split()[0] == before)


def test_nothing_of_what_two_servers_could_read_differently_gets_in(pilotd: Pilotd, sprite: Any) -> None:
    sprite.run("sh", "-c", ": > /tmp/seen-8080")
    for name in smuggling.REFUSED:
        said = wire.exchange(pilotd.url, smuggling.of(smuggling.REFUSED, name, host_of(sprite)))
        assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), (name, said)
    seen = sprite.run("cat", "/tmp/seen-8080", capture_output=True).stdout
    assert b"smuggled" not in seen
    assert smuggling.requests_in([bytearray(b"POST " + piece) for piece in seen.split(b"POST ")[1:]]) == []


def test_a_flood_of_one_sprite_leaves_another_alone(pilotd: Pilotd, sprite: Any) -> None:
    """As many connections as it may have, and more, that are not answered; the other one is answered meanwhile."""
    with pilotd.client() as client, contextlib.ExitStack() as stack:
        other = client.create_sprite("other")
        stack.callback(other.destroy)
        client.update_url_settings("other", URLSettings(auth="public"))
        other.run("sh", "-c", "cat > /tmp/server.py <<'end'" + _SERVER + "end")
        serve(other, "127.0.0.1", 8080)
        request = f"GET /wait HTTP/1.1\r\nHost: {host_of(sprite)}\r\n\r\n".encode()
        for _ in range(600):
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", pilotd.port), wire.WAIT_S))
            stream.sendall(request)
        deadline = time.monotonic() + 60
        while httpx.get(pilotd.url, headers={"Host": host_of(sprite)}, timeout=60).status_code != 503:
            assert time.monotonic() < deadline
        assert curl(client.get_sprite("other").url).split()[1] == "/"


def test_a_port_of_the_sprite_as_one_of_ours(pilotd: Pilotd, sprite: Any) -> None:
    command = [str(Path(sys.executable).with_name("sprite")), "--api", pilotd.url, "--token", pilotd.token()]
    words = ["proxy", "-s", "web", "0:8080"]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            address = proxy.stdout.readline().split()[0]
            assert curl(f"http://{address}/through").split()[1] == "/through"
        finally:
            proxy.terminate()
    sprite.run("sh", "-c", f'setsid python3 -c "{_ECHO}" >/dev/null 2>&1 &')
    words = ["proxy", "-s", "web", "0:5300/udp"]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            host, _, port = proxy.stdout.readline().split()[0].rpartition(":")
            assert datagrams_come_back(host, int(port))
        finally:
            proxy.terminate()
    words = ["proxy", "-s", "web", "-W", "127.0.0.1:8080"]
    with subprocess.Popen([*command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as proxy:
        try:
            assert proxy.stdin is not None
            assert proxy.stdout is not None
            proxy.stdin.write(b"GET /stdio HTTP/1.1\r\n\r\n")
            said = b""
            while not said.endswith(b" /stdio"):
                said += proxy.stdout.read(1)
        finally:
            proxy.terminate()
    assert said.startswith(b"HTTP/1.1 200 OK")


def test_a_port_that_is_opened_while_a_terminal_is_open_is_one_of_ours(pilotd: Pilotd, sprite: Any) -> None:
    command = [str(Path(sys.executable).with_name("sprite")), "--api", pilotd.url, "--token", pilotd.token()]
    words = ["exec", "-t", "-s", "web", "--", "python3", "/tmp/server.py", "127.0.0.1", "4000"]
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            [*command, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        ) as run:
            said = b""
            while not (told := re.search(rb"port 4000 of web is (http://[0-9.:]+)\r", said)):
                said += os.read(ours, 4096)
            assert curl(f"{told[1].decode()}/forwarded").split()[1] == "/forwarded"
            os.write(ours, b"\x03")
            run.wait(60)
        with pytest.raises(AssertionError, match="curl"):
            curl(told[1].decode())
    finally:
        os.close(ours)
        os.close(theirs)
