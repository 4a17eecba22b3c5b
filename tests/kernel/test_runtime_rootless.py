"""A user without any privilege runs containers: his own id is root inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import bundles

from pilot.spec import defaults

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")

_USER = 1000
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = bundles.make_bundle(tmp_path / "bundle")
    for path in (made, *made.rglob("*")):
        os.chown(path, _USER, _USER, follow_symlinks=False)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a verb as that user."""
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, _USER, _USER)

    def as_user(*words: str) -> subprocess.CompletedProcess[str]:
        # Files, not pipes: a detached container keeps what it was given.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as problems:
            command = [sys.executable, "-m", "pilot.command", "--root", str(root), *words]
            done = subprocess.run(
                command, user=_USER, group=_USER, extra_groups=[], stdin=subprocess.DEVNULL, stdout=output,
                stderr=problems, timeout=60, check=False,
            )  # fmt: skip
            output.seek(0)
            problems.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read(), problems.read())

    return as_user


def _write_config(bundle: Path, *args: str) -> None:
    config = bundles.make_config(*args)
    rootless = defaults.default_config(rootless=True, uid=_USER, gid=_USER)
    config.update({"linux": rootless["linux"], "mounts": rootless["mounts"]})
    (bundle / "config.json").write_text(json.dumps(config))


def test_run(bundle: Path, run: Run) -> None:
    _write_config(bundle, "sh", "-c", "id -u; cat /proc/self/uid_map; touch /made; exit 3")
    done = run("run", "-b", str(bundle), "own")
    assert (done.returncode, done.stdout.split(), done.stderr) == (3, ["0", "0", "1000", "1"], "")
    assert (bundle / "rootfs/made").stat().st_uid == _USER


def test_a_lifecycle(bundle: Path, run: Run) -> None:
    _write_config(bundle, "sleep", "1000")
    assert run("run", "-d", "-b", str(bundle), "own").stderr == ""
    assert json.loads(run("state", "own").stdout)["status"] == "running"
    assert run("exec", "own", "id", "-u").stdout == "0\n"
    assert run("delete", "own").returncode == 1
    assert run("delete", "-f", "own").stderr == ""
    assert run("list", "-q").stdout == ""


def test_ids_that_are_not_his(bundle: Path, run: Run) -> None:
    _write_config(bundle, "true")
    config = json.loads((bundle / "config.json").read_text())
    config["linux"]["uidMappings"][0]["hostID"] = 0
    (bundle / "config.json").write_text(json.dumps(config))
    done = run("run", "-b", str(bundle), "own")
    assert done.returncode == 1
    assert "newuidmap" in done.stderr
    assert run("list", "-q").stdout == ""
