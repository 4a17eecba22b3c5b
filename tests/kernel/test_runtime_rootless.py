"""A user without any privilege runs containers: his own id is root inside."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles, front

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
            command = [front.PILOT, "--root", str(root), *words]
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
    executed = run("exec", "own", "id", "-u")
    assert (executed.stdout, executed.stderr, executed.returncode) == ("0\n", "", 0)
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


@pytest.fixture
def subordinate_ids(tmp_path: Path) -> Iterator[None]:
    """The user may give away 65536 ids of his: files of this mount namespace alone."""
    for name in ("passwd", "subuid", "subgid"):
        original = Path("/etc", name)
        text = original.read_text() if original.exists() else ""
        lines = f"own:x:{_USER}:{_USER}::/:/bin/sh\n" if name == "passwd" else "own:200000:65536\n"
        (tmp_path / name).write_text("".join(row for row in text.splitlines(True) if f":{_USER}:" not in row) + lines)
        subprocess.run(["mount", "--bind", tmp_path / name, original], check=True)
    yield
    for name in ("passwd", "subuid", "subgid"):
        subprocess.run(["umount", f"/etc/{name}"], check=True)


@pytest.mark.requires("newuidmap")
@pytest.mark.usefixtures("subordinate_ids")
def test_several_ranges(bundle: Path, run: Run) -> None:
    """newuidmap and newgidmap map what is his by /etc/subuid: users of the container are users of their own."""
    _write_config(bundle, "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -G; touch /tmp/made")
    config = json.loads((bundle / "config.json").read_text())
    own, others = {"containerID": 0, "hostID": _USER, "size": 1}, {"containerID": 1, "hostID": 200000, "size": 65536}
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [own, others]
    config["process"]["user"] = {"uid": 7, "gid": 8, "additionalGids": [9]}
    (bundle / "rootfs/tmp").chmod(0o1777)
    (bundle / "config.json").write_text(json.dumps(config))
    done = run("run", "-b", str(bundle), "own")
    assert (done.returncode, done.stderr) == (0, "")
    maps = [line.split() for line in done.stdout.splitlines()]
    assert maps == [["0", "1000", "1"], ["1", "200000", "65536"]] * 2 + [["7"], ["8", "9"]]
    made = (bundle / "rootfs/tmp/made").stat()
    assert (made.st_uid, made.st_gid) == (200006, 200007)


def _change(bundle: Path, **linux: object) -> None:
    config = json.loads((bundle / "config.json").read_text())
    config["linux"].update(linux)
    (bundle / "config.json").write_text(json.dumps(config))


_SILENT = "cannot set pids limit: container could not join or create cgroup"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"resources": {"pids": {"limit": 5}}}, _SILENT),
        ({"cgroupsPath": "/nobodys"}, "permission denied"),
        ({"namespaces": [{"type": "mount"}, {"type": "uts"}]}, "rootless container requires user namespaces"),
    ],
)
def test_nothing_is_left_out_in_silence(bundle: Path, run: Run, changes: dict[str, object], problem: str) -> None:
    """Limits without a cgroup that could hold them; a cgroup that is named and cannot be had; root's own container."""
    if _may_make_cgroups():
        pytest.skip("this user may make cgroups")
    _write_config(bundle, "true")
    _change(bundle, **changes)
    done = run("run", "-b", str(bundle), "own")
    assert (done.returncode, problem in done.stderr) == (1, True), done.stderr
    assert run("list", "-q").stdout == ""


def _may_make_cgroups() -> bool:
    tried = subprocess.run(
        ["mkdir", "/sys/fs/cgroup/pids/nobodys", "/sys/fs/cgroup/nobodys"], user=_USER, capture_output=True, check=False
    )
    return "denied" not in tried.stderr.decode()


def _refused(bundle: Path, run: Run, change: Callable[[dict[str, Any]], None]) -> str:
    """What is said of a config.json that is changed so."""
    _write_config(bundle, "true")
    config = json.loads((bundle / "config.json").read_text())
    change(config)
    (bundle / "config.json").write_text(json.dumps(config))
    done = run("run", "-b", str(bundle), "own")
    assert done.returncode == 1
    return done.stderr


def test_what_an_ordinary_user_cannot_have_is_told(bundle: Path, run: Run) -> None:
    """In runc's words, before the kernel says so in its own."""
    mapping = [{"containerID": 0, "hostID": _USER, "size": 1}]
    bind = {"destination": "/m", "type": "bind", "source": "/tmp", "options": ["bind"]}
    tmpfs = {"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["uid=55"]}

    def mounts(*mounts: dict[str, Any]) -> str:
        return _refused(bundle, run, lambda config: config["mounts"].extend(mounts))

    groups = _refused(bundle, run, lambda config: config["process"]["user"].update(additionalGids=[5]))
    assert "cannot set any additional groups in a rootless container" in groups
    idmapped = mounts({**bind, "uidMappings": mapping, "gidMappings": mapping})
    assert "id-mapped mounts are not supported for rootless containers" in idmapped
    assert "cannot specify uid=55 mount option for rootless container: " in mounts(tmpfs)
    user = _refused(bundle, run, lambda config: config["process"]["user"].update(uid=5))
    assert "cannot setuid to unmapped uid 5 in user namespace" in user
