"""npm, pip, git, curl and node of the standard image at an HTTPS server that wants a credential, which the sprite uses
and never has. `make outside-tests`."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.outside.conftest import IMAGE
from tests.support import internet as nets
from tests.support import mirror, tlssite
from tests.support.internet import OTHER, Internet
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside")

SECRET, PLACEHOLDER, API = "tok-5f1d0c3b7a9e8642", "not-a-secret-at-all", "guarded.test"
SITE = f"https://{API}"
CLIENTS = {
    "npm": (
        f"npm config set //{API}/:_authToken {PLACEHOLDER} && npm install --silent --prefix /tmp/npm"
        f" --registry {SITE}/npm hello-sprite >&2 && /tmp/npm/node_modules/.bin/hello-sprite",
        "installed\n",
    ),
    "pip": (
        "python3 -m venv /tmp/pip && /tmp/pip/bin/pip -q install"
        f" --index-url https://me:{PLACEHOLDER}@{API}/simple hello-sprite && /tmp/pip/bin/hello-sprite",
        "installed\n",
    ),
    "git": (f"git clone -q https://me:{PLACEHOLDER}@{API}/code.git /tmp/code && cat /tmp/code/README", "cloned\n"),
    "curl": (f"curl -sSf -u me:{PLACEHOLDER} {SITE}/code.git/HEAD | head -c 5", "ref: "),
    "node": (
        f"node -e 'fetch(\"{SITE}/code.git/HEAD\", {{headers: {{authorization: \"Bearer {PLACEHOLDER}\"}}}})"
        ".then(a => a.text()).then(t => process.stdout.write(t.slice(0, 5)))'",
        "ref: ",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sprite(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """With the connector, of a pilotd whose system believes the server."""
    directory = tmp_path_factory.mktemp("guarded")
    mirror.write_repository(directory)
    mirror.write_python(directory)
    mirror.write_node(directory, SITE)
    internet.records[API, "A"] = (60, [OTHER])
    authority = tlssite.Authority(tmp_path_factory.mktemp("authority"))
    pilotd = Pilotd(tmp_path_factory.mktemp("connectors") / "state", image=IMAGE)
    pilotd.stop_machines_on_exit, pilotd.extra = True, ("--resolver", nets.DNS)
    with tlssite.serving(internet.bound(socket.SOCK_STREAM, OTHER, 443), authority.context(API)) as site:
        site.answer = tlssite.guarded(directory, SECRET)
        os.environ["SSL_CERT_FILE"] = str(authority.path)
        pilotd.start()
        del os.environ["SSL_CERT_FILE"]
        with pilotd.client() as client:
            made = client.create_sprite("guarded")
            wanted = {"hosts": [API], "attach": {"kind": "placeholder", "placeholder": PLACEHOLDER}, "secret": SECRET}
            place = f"{pilotd.url}/v1/sprites/guarded/connectors/api"
            headers = {"Authorization": f"Bearer {pilotd.token()}"}
            assert httpx.put(place, json=wanted, headers=headers, timeout=60).status_code == 200
            yield made
            made.destroy()
        pilotd.stop()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_a_credential_that_the_sprite_does_not_have(sprite: Any, client: str) -> None:
    command, says = CLIENTS[client]
    done = sprite.run("bash", "-c", command, capture_output=True, timeout=600)
    assert (done.returncode, bytes(done.stdout).decode()) == (0, says), done.stderr
    assert SECRET.encode() not in done.stdout + done.stderr
