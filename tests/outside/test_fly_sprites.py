"""@fly/sprites, unmodified, from npm's registry and on npm's own node: the whole matrix of what clients need, with the
network's policy in force, and URLs. The long rows of sprites-py are here, too."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.support import flysprites, matrix
from tests.support.internet import OTHER, PORT, WEB, Internet
from tests.support.pilotd import Pilotd

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside"),
    pytest.mark.timeout(900),
]

_SILENT_S, _LARGE_BYTES, _ROW_S = 70, 200 << 20, 600
Property = Callable[[str, object], None]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("fly-sprites")
    flysprites.install(made)
    return made


@pytest.fixture(scope="module")
def told(pilotd: Pilotd, packages: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[flysprites.Told]:
    """The rows that this session asks for: one node asks them all, of one sprite."""
    wanted = {item.name for item in request.session.items}
    rows = [row for row in flysprites.ROWS if f"test_row[{row}]" in wanted]
    with flysprites.Told(packages, pilotd, rows) as asked:
        yield asked


@pytest.mark.parametrize("row", flysprites.ROWS)
def test_row(told: flysprites.Told, row: str, record_property: Property) -> None:
    why, seconds = told.row(row, _ROW_S)
    record_property("seconds", seconds)
    assert why is None, why


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
    command = flysprites.command(packages, "policy.mjs", *words)
    done = subprocess.run(
        command, env=flysprites.environment(), capture_output=True, text=True, timeout=300, check=False
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
