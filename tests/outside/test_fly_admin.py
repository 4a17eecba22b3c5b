"""npm's fly-admin, unmodified: Machines, volumes and leases of an app."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from tests.support import flyapi, images, outside
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space", "outside", "node")

PACKAGE = "fly-admin@1.6.1"
_SCRIPT = pathlib.Path(__file__).with_name("fly_admin.mjs")
_CMD = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]


@pytest.fixture(scope="module")
def machines() -> Iterator[Pilotd]:
    with flyapi.serving() as daemon:
        yield daemon


def test_an_app_is_administered(machines: Pilotd, tmp_path: pathlib.Path) -> None:
    command = ["nsenter", f"--net={outside.namespace()}", "npm", "install", "--ignore-scripts", "--prefix"]
    installed = subprocess.run(
        [*command, str(tmp_path), PACKAGE], capture_output=True, text=True, check=False, timeout=600
    )
    assert installed.returncode == 0, installed.stderr
    script = tmp_path / _SCRIPT.name
    script.write_text(_SCRIPT.read_text())  # modules are looked for beside the script
    with images.serve(images.busybox(tmp_path / "image", {"Cmd": _CMD})) as served:
        image = f"{served.domain}/box:1"
        flyapi.meet(machines, {"image": image}, volume="/data")
        words = ["node", str(script), machines.url, machines.token(), image]
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{machines.tail()}"
    seen = json.loads(done.stdout)
    assert seen.pop("held").startswith("409: ")
    assert seen.pop("waited")["ok"] is True
    assert seen.pop("events")[0] == "start"
    assert seen == {
        "listed": [[True, "started"]], "processes": True, "lease": "success", "stopped": {"ok": True},
        "started": {"previous_state": "stopped", "migrated": False, "new_host": ""}, "volumes": [[True, True]],
        "deleted": {"ok": True},
    }  # fmt: skip
