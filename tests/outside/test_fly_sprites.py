"""@fly/sprites, unmodified, from npm's registry and on npm's own node: its network policy and URL cases."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest
from tests.support import outside
from tests.support.internet import OTHER, PORT, WEB, Internet
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside")

PACKAGES = ("@fly/sprites@0.1.0", "node@24")  # which wants Node 24
_SCRIPT = pathlib.Path(__file__).with_name("policy.mjs")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A directory with both of them, installed from the network that the tests were started in."""
    made = tmp_path_factory.mktemp("fly-sprites")
    command = ["nsenter", f"--net={outside.namespace()}", "npm", "install", "--prefix", str(made), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    (made / _SCRIPT.name).write_text(_SCRIPT.read_text())  # modules are looked for beside the script
    return made


def test_policy_and_url(pilotd: Pilotd, internet: Internet, packages: pathlib.Path) -> None:
    internet.serve_tcp(OTHER)
    internet.records["other.test", "A"] = (60, [OTHER])
    words = (pilotd.url, pilotd.token(), "from-node", "web.test", "other.test", str(PORT))
    command = [str(packages / "node_modules" / ".bin" / "node"), str(packages / _SCRIPT.name), *words]
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    rules = [
        {"domain": "web.test", "action": "allow"},
        {"domain": "*.web.test", "action": "deny"},
        {"include": "defaults"},
    ]
    address = seen["url"]["url"]
    assert address.startswith("http://from-node-")
    assert seen == {
        "before": {"rules": []},
        "set": {"rules": rules},
        "allowed": WEB,
        "denied": None,
        "nonsense": seen["nonsense"],
        "kept": {"rules": rules},
        "closed": None,
        "open": OTHER,
        "url": {"url": address, "auth": "sprite"},
        "published": {"url": address, "auth": "public"},
        "withdrawn": {"url": address, "auth": "sprite"},
    }
    assert "$.rules[0].domain" in seen["nonsense"]
