"""@fly/sprites, unmodified, from npm's registry and on npm's own node: the whole matrix of what clients need, with the
network's policy in force, and URLs. The long rows of sprites-py are here, too."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest
from tests.support import matrix, outside
from tests.support.internet import OTHER, PORT, WEB, Internet
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside")

PACKAGES = ("@fly/sprites@0.1.0", "node@24")  # which wants Node 24
_POLICY, _MATRIX = (pathlib.Path(__file__).with_name(name) for name in ("policy.mjs", "matrix.mjs"))
# The names of its rows, as it declares them: each is a test.
_ROWS = re.findall(r"^  async (\w+)\(\) \{$", _MATRIX.read_text(), re.MULTILINE)
_SILENT_S, _LARGE_BYTES, _MATRIX_S = 70, 200 << 20, 900


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A directory with both of them, installed from the network that the tests were started in."""
    made = tmp_path_factory.mktemp("fly-sprites")
    command = ["nsenter", f"--net={outside.namespace()}", "npm", "install", "--prefix", str(made), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    for script in (_POLICY, _MATRIX):
        (made / script.name).write_text(script.read_text())  # modules are looked for beside the script
    return made


def _said(packages: pathlib.Path, script: pathlib.Path, *words: str, timeout_s: float = 300) -> str:
    command = [str(packages / "node_modules" / ".bin" / "node"), str(packages / script.name), *words]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen(pilotd: Pilotd, packages: pathlib.Path) -> dict[str, str | None]:
    """Why a row failed, or None, for each row."""
    lines = _said(packages, _MATRIX, pilotd.url, pilotd.token(), timeout_s=_MATRIX_S).splitlines()
    return {line["row"]: line["why"] for line in map(json.loads, lines)}


@pytest.mark.parametrize("row", _ROWS)
def test_row(seen: dict[str, str | None], row: str) -> None:
    assert seen[row] is None, seen[row]


@pytest.fixture
def bed(pilotd: Pilotd) -> Iterator[matrix.Bed]:
    with pilotd.client() as client:
        sprite = client.create_sprite("long-rows")
        yield matrix.Bed(pilotd, client, sprite)
        sprite.destroy()


def test_python_seventy_silent_seconds(bed: matrix.Bed) -> None:
    matrix.silent(bed, _SILENT_S)


def test_python_two_hundred_megabytes_both_ways(bed: matrix.Bed) -> None:
    matrix.large_file(bed, _LARGE_BYTES)


def test_policy_and_url(pilotd: Pilotd, internet: Internet, packages: pathlib.Path) -> None:
    internet.serve_tcp(OTHER)
    internet.records["other.test", "A"] = (60, [OTHER])
    words = (pilotd.url, pilotd.token(), "from-node", "web.test", "other.test", str(PORT))
    seen = json.loads(_said(packages, _POLICY, *words))
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
