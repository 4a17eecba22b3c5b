"""apt, pip, npm and git in a fresh sprite of the standard image: from servers of the tests, and from the registries
that this machine is configured for; each time with nothing but their hosts allowed. `make outside-tests`."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from sprites import NetworkPolicy, PolicyRule
from tests.outside.conftest import Run
from tests.support import mirror, outside
from tests.support.internet import WEB, Internet
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside")

SITE = "http://web.test"
# What each says when it has come to its end.
OF_THE_TESTS = {
    "apt": (
        f"rm -r /etc/apt/sources.list*; echo 'deb [trusted=yes] {SITE}/debian ./' >/etc/apt/sources.list;"
        "apt-get -q update >&2 && apt-get -qy install hello-sprite >&2 && /usr/bin/hello-sprite",
        "installed\n",
    ),
    "pip": (
        "python3 -m venv /tmp/pip && /tmp/pip/bin/pip -q install "
        f"--index-url {SITE}/simple --trusted-host web.test hello-sprite && /tmp/pip/bin/hello-sprite",
        "installed\n",
    ),
    "npm": (
        f"npm install --silent --prefix /tmp/npm --registry {SITE}/npm hello-sprite >&2"
        " && /tmp/npm/node_modules/.bin/hello-sprite",
        "installed\n",
    ),
    "git": (f"git clone -q {SITE}/code.git /tmp/code && cat /tmp/code/README", "cloned\n"),
}
OF_THIS_MACHINE = {
    "apt": "apt-get -q update && apt-get install -qy --no-install-recommends hello && hello",
    "pip": f"python3 -m venv /tmp/pip && /tmp/pip/bin/pip install {outside.PYTHON_PROJECT}"
    f" && /tmp/pip/bin/python -c 'import {outside.PYTHON_PROJECT}'",
    "uv": f"uv venv /tmp/uv && SSL_CERT_FILE={outside.AUTHORITIES} uv pip install --python /tmp/uv/bin/python"
    f" {outside.PYTHON_PROJECT} && /tmp/uv/bin/python -c 'import {outside.PYTHON_PROJECT}'",
    "npm": f"npm install --prefix /tmp/npm --cafile {outside.AUTHORITIES} {outside.NODE_PROJECT}"
    f" && cd /tmp/npm && node -e 'require(\"{outside.NODE_PROJECT}\")'",
}


@pytest.fixture(scope="module")
def site(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    made = tmp_path_factory.mktemp("site")
    mirror.write_repository(made)
    mirror.write_debian(made)
    mirror.write_python(made)
    mirror.write_node(made, SITE)
    with mirror.served(internet, WEB, made):
        yield made


@pytest.fixture
def sprite(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite(f"clients-{request.node.callspec.params['client']}")
        yield made
        made.destroy()


@pytest.mark.parametrize("client", OF_THE_TESTS)
def test_a_client_installs_from_a_server_of_the_tests(sprite: Any, run: Run, site: pathlib.Path, client: str) -> None:
    command, says = OF_THE_TESTS[client]
    _allow(sprite, ["web.test"])
    assert run(sprite, command) == says


@pytest.mark.parametrize("client", OF_THIS_MACHINE)
def test_a_client_installs_from_the_registry_of_this_machine(sprite: Any, run: Run, client: str) -> None:
    hosts = {"apt": outside.debian, "pip": outside.python, "uv": outside.python, "npm": outside.node}[client]()
    authorities = pathlib.Path(outside.AUTHORITIES).read_bytes()
    sprite.command("sudo", "tee", outside.AUTHORITIES, stdin=io.BytesIO(authorities)).output()
    _allow(sprite, sorted(hosts))
    run(sprite, OF_THIS_MACHINE[client])


def _allow(sprite: Any, hosts: list[str]) -> None:
    sprite.update_network_policy(NetworkPolicy(rules=[PolicyRule(domain=host, action="allow") for host in hosts]))
