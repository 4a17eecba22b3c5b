"""Docker and podman in a sprite, as the standard image has them: a bridge, names, limits, published ports.

No registry is asked: their image is made of the sprite's own root. `make outside-tests`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.outside.conftest import Run
from tests.support import outside
from tests.support.internet import PORT, WEB
from tests.support.pilotd import Pilotd

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "tun", "outside"),
    pytest.mark.timeout(900),  # the disk of the image is made first
]

# Enough of a Debian for Python and a shell, as the tar of an image.
TREE = "bin lib lib64 sbin etc usr/bin usr/sbin usr/lib usr/lib64"
IMAGE = f"tar -C / --exclude=usr/lib/modules --exclude=usr/lib/pilot --exclude=usr/bin/docker* -cf - {TREE}"
FETCH = f"exec 3<>/dev/tcp/web.test/{PORT} && head -n1 <&3"
ENGINES = ("docker", "podman")
# A shell and little else: what has no storage driver of the kernel's copies an image for each container.
SMALL = (
    "cd / && tar -cf - bin lib lib64 usr/lib64 etc/passwd etc/group usr/bin/{bash,id,chown,stat,touch,head}"
    " usr/lib/*-linux-gnu/{ld-*,libc.so*,libtinfo.so*,libselinux.so*,libpcre2-8.so*}"
)
# Who is no root: the sprite's own user, and one whom `useradd` makes as any other.
ORDINARY = ("sprite", "bob")


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd, run: Run) -> Iterator[Any]:
    """With both engines, and an image of their own."""
    with pilotd.client() as client:
        made = client.create_sprite("engines")
        run(made, "setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &")
        run(made, "until docker info >/dev/null 2>&1; do sleep 0.2; done")
        for engine in ENGINES:
            run(made, f"{IMAGE} 2>/dev/null | {engine} import - own")
        yield made
        made.destroy()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_container_reaches_the_outside_by_its_bridge(sprite: Any, run: Run, engine: str) -> None:
    assert run(sprite, f"{engine} run --rm own bash -c '{FETCH}'") == f"{WEB}\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_policy_of_the_sprite_is_that_of_its_containers(sprite: Any, engine: str) -> None:
    from sprites import NetworkPolicy, PolicyRule

    sprite.update_network_policy(NetworkPolicy(rules=[PolicyRule(domain="*", action="deny")]))
    try:
        done = sprite.run("sudo", engine, "run", "--rm", "own", "bash", "-c", FETCH, capture_output=True, timeout=120)
        assert done.returncode != 0
        assert done.stdout == b""
    finally:
        sprite.update_network_policy(NetworkPolicy(rules=[]))


@pytest.mark.parametrize(("engine", "port"), list(zip(ENGINES, (8081, 8082), strict=True)))
def test_a_published_port_is_reached(sprite: Any, run: Run, pilotd: Pilotd, engine: str, port: int) -> None:
    """As any server of the sprite is: from within, and by the sprite's address on the web."""
    run(sprite, f"{engine} run -d --name web{port} -p {port}:80 own python3 -m http.server 80")
    fetched = run(sprite, f"until curl -sf -o /dev/null 127.0.0.1:{port}; do sleep 0.2; done; curl -s 127.0.0.1:{port}")
    assert "Directory listing" in fetched
    address = httpx.URL(sprite.client.get_sprite(sprite.name).url)
    headers = {"Host": f"{port}-{address.host}", "Authorization": f"Bearer {pilotd.token()}"}
    assert "Directory listing" in httpx.get(pilotd.url, headers=headers, timeout=60).text
    run(sprite, f"{engine} rm -f web{port}")


@pytest.fixture(scope="module")
def privileged(sprite: Any, run: Run, pilotd: Pilotd) -> Any:
    """It may make memory cgroups also where they are cgroup v1's (docs/reference/privileges.md)."""
    with httpx.Client(base_url=pilotd.url, headers={"Authorization": f"Bearer {pilotd.token()}"}, timeout=180) as http:
        assert http.post("/v1/sprites/engines/policy/privileges", json={"profile": "privileged"}).status_code == 204
        assert http.post("/v1/sprites/engines/restart").status_code == 200
    run(sprite, "rm -f /var/run/docker.pid; setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &")
    run(sprite, "until docker info >/dev/null 2>&1; do sleep 0.2; done")
    return sprite


@pytest.mark.parametrize("engine", ENGINES)
def test_a_limit_of_memory_holds(privileged: Any, engine: str) -> None:
    """It is the kernel's: a program that wants more is killed."""
    script = "x = bytearray(200 << 20)"
    done = privileged.run(
        "sudo", engine, "run", "--rm", "-m", "64m", "--memory-swap", "64m", "own", "python3", "-c", script, timeout=120
    )
    assert done.returncode == 137


@pytest.fixture(scope="module")
def ordinary(sprite: Any, run: Run) -> Callable[[str, str], str]:
    """A login of one of them, with an image of his own."""
    run(sprite, "useradd --create-home --shell /bin/bash bob")

    def login(user: str, command: str) -> str:
        return run(sprite, f"sudo -iu {user} bash -c {shlex.quote(command)}")

    for user in ORDINARY:
        login(user, f"({SMALL}) | podman import - own")
    return login


@pytest.mark.parametrize("user", ORDINARY)
def test_an_ordinary_user_has_containers_with_users_of_their_own(
    ordinary: Callable[[str, str], str], user: str
) -> None:
    """newuidmap(1) gives him what /etc/subuid says, and the sprite has these ids."""
    made = ordinary(user, "podman run --rm own bash -c 'touch /f && chown 4000:4000 /f && stat -c %u:%g /f'")
    assert made == "4000:4000\n"
    assert ordinary(user, "podman run --rm --user 999 own id -u") == "999\n"


@pytest.mark.parametrize("user", ORDINARY)
def test_an_ordinary_users_container_reaches_the_outside(ordinary: Callable[[str, str], str], user: str) -> None:
    assert ordinary(user, f"podman run --rm own bash -c {shlex.quote(FETCH)}") == f"{WEB}\n"


def test_rules_links_and_tunnels_of_ones_own(sprite: Any, run: Run) -> None:
    """In the sprite's own network; and its gateway knows nothing of them."""
    run(sprite, "nft add table inet mine && iptables -t nat -A OUTPUT -p tcp --dport 9 -j REDIRECT --to-ports 10")
    assert "table inet mine" in run(sprite, "nft list ruleset")
    run(sprite, "ip tuntap add name tun0 mode tun && ip addr add 10.9.9.1/24 dev tun0 && ip link set tun0 up")
    assert "10.9.9.1/24" in run(sprite, "ip addr show dev tun0")
    done = sprite.run("ping", "-c1", "198.18.0.1", capture_output=True)
    assert done.returncode == 0, "and whoever is not root pings, too"


def test_apt_is_behind_the_policy(sprite: Any, run: Run, pilotd: Pilotd) -> None:
    """Only the mirror: what was refused is told."""
    from sprites import NetworkPolicy, PolicyRule

    rules = [PolicyRule(domain=host, action="allow") for host in outside.debian()]
    sprite.update_network_policy(NetworkPolicy(rules=rules))
    run(sprite, "apt-get update && apt-get install -qy --no-install-recommends hello && hello")
    assert sprite.run("bash", "-c", FETCH, capture_output=True).stdout == b""
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    report = httpx.get(f"{pilotd.url}/v1/sprites/engines/network", headers=headers).json()
    assert report["questions"]["deny"] >= 1
    sprite.update_network_policy(NetworkPolicy(rules=[]))
