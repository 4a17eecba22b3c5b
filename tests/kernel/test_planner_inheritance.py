"""The table of docs/reference/planner.md, row by row: what a container, or what is made for it, has of its creator is
the caller's, though a planner did the work; who differs from it in what cannot be handed over is not served.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import bundles, front

from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private", "busybox")


@pytest.fixture
def pilot(tmp_path: Path) -> Iterator[Path]:
    """`pilot` of a planner which lives in circumstances that no caller below shares."""
    circumstances = (
        "umask 0777; cd /proc; export MARK=planner; ulimit -n 900; echo 777 > /proc/self/oom_score_adj;"
        f'exec nice -n 7 {sys.executable} -m pilot.command planner "$@"'
    )
    command = ("sh", "-c", circumstances, "-")
    with front.planner(tmp_path, *command) as process:
        yield front.compile_front(tmp_path, front.digest_of(process), front.unserved(tmp_path))


def _configure(bundle: Path, script: str, **process: object) -> None:
    (bundle / "config.json").write_text(json.dumps(bundles.make_config("sh", "-c", script, **process)))


# What is looked at inside, how the caller is brought to differ, and what is seen then.
INHERITED = {
    "nice value": ("cut -d' ' -f19 /proc/self/stat", "nice -n 3", "3"),
    "oom score": (
        "cat /proc/self/oom_score_adj",
        "sh -c 'echo 321 > /proc/self/oom_score_adj; exec \"$@\"' -",
        "321",
    ),
    "limits": (
        "grep 'Max open files' /proc/self/limits | tr -s ' ' | cut -d' ' -f4,5",
        "prlimit --nofile=500:600",
        "500 600",
    ),
    "scheduling policy": ("cut -d' ' -f41 /proc/self/stat", "chrt --batch 0", "3"),
    "timer slack": (
        "cat /proc/self/timerslack_ns",
        "sh -c 'echo 60000 > /proc/self/timerslack_ns; exec \"$@\"' -",
        "60000",
    ),
    "personality": ("cat /proc/self/personality", "setarch -R", "00040000"),
    "umask of the process": ("umask", "sh -c 'umask 0026; exec \"$@\"' -", "0022"),
    "session keyring": ("test $(cat /proc/self/sessionid) -ge 0 && echo yes", "", "yes"),
}


@pytest.mark.parametrize("name", INHERITED)
def test_the_process_inherits_from_the_caller(pilot: Path, bundle: Path, tmp_path: Path, name: str) -> None:
    inside, prefix, expected = INHERITED[name]
    config = bundles.make_config("sh", "-c", inside)
    config["process"].pop("rlimits", None)
    config["process"].pop("oomScoreAdj", None)
    (bundle / "config.json").write_text(json.dumps(config))
    command = f"exec {prefix} {pilot} --root {tmp_path}/root run web"
    done = subprocess.run(["sh", "-c", command], cwd=bundle, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, expected, "")


def test_parent_session_and_process_group(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "cut -d' ' -f4-6 /proc/self/stat")
    config = json.loads((bundle / "config.json").read_text())
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
    (bundle / "config.json").write_text(json.dumps(config))
    with subprocess.Popen(
        [pilot, "--root", tmp_path / "root", "run", "web"], cwd=bundle, stdout=subprocess.PIPE, text=True
    ) as process:
        out, _ = process.communicate(timeout=60)
    parent, group, session = map(int, out.split())
    assert parent == process.pid
    assert group == session != os.getsid(0)


def test_a_relative_cgroup_is_below_the_callers(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sleep 1000")
    config = json.loads((bundle / "config.json").read_text())
    config["linux"]["cgroupsPath"] = "relative"
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
    (bundle / "config.json").write_text(json.dumps(config))
    own = Path("/sys/fs/cgroup/memory/caller")
    if not own.parent.exists():
        pytest.skip("v1 is not mounted")
    own.mkdir()
    try:
        enter = f"echo 0 > {own}/cgroup.procs; exec {pilot} --root {tmp_path}/root run -d web >/dev/null 2>&1"
        assert subprocess.run(["sh", "-c", enter], cwd=bundle, check=False, timeout=60).returncode == 0
        container = Runtime(str(tmp_path / "root")).load("web")
        assert container.cgroup.paths["memory"] == f"{own}/relative"
        container.delete(force=True)
    finally:
        own.rmdir()


def test_files_are_made_with_the_callers_umask_in_its_directory(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "true")
    command = f"umask 0137; exec {pilot} --root {tmp_path}/root run --pid-file pid web"
    assert subprocess.run(["sh", "-c", command], cwd=bundle, check=False, timeout=60).returncode == 0
    assert (bundle / "pid").stat().st_mode & 0o777 == 0o640


def test_a_state_root_follows_the_callers_environment(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    """Relative to its directory, that is; and its environment is what hooks see (test_planner)."""
    _configure(bundle, "sleep 1000")
    with open(os.devnull, "w") as null:
        done = subprocess.run(
            [pilot, "--root", "below", "run", "-d", "web"],
            cwd=bundle,
            stdout=null,
            stderr=null,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0
    Runtime(str(bundle / "below")).load("web").delete(force=True)


# How a caller is brought to differ from the planner in what only it can be.
DIFFERENT = {
    "uts namespace": "unshare --uts",
    "ipc namespace": "unshare --ipc",
    "network namespace": "unshare --net",
    "cgroup namespace": "unshare --cgroup",
    "time namespace": "unshare --time",
    "pid namespace": "unshare --pid --fork",
    "user namespace": "unshare --user --map-root-user",
    "pid namespace of children": "unshare --pid --fork --mount-proc",
    "groups": "setpriv --groups 5",
    "group": "setpriv --regid 5 --clear-groups",
    "bounding set": "setpriv --bounding-set -sys_time",
    "inheritable and ambient capabilities": "setpriv --inh-caps +sys_time --ambient-caps +sys_time",
    "no new privileges": "setpriv --no-new-privs",
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_who_differs_is_not_served(pilot: Path, bundle: Path, tmp_path: Path, name: str) -> None:
    _configure(bundle, "true")
    command = [*DIFFERENT[name].split(), str(pilot), "--root", str(tmp_path / "root"), "run", "web"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == front.COLD, done.stderr
    assert not (tmp_path / "root").exists()


def test_who_is_under_seccomp_is_not_served(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    """A filter that allows everything: it could be any."""
    _configure(bundle, "true")
    program = (
        "import ctypes, os, struct, sys; c = ctypes.CDLL(None); "
        "rule = struct.pack('HBBI', 6, 0, 0, 0x7fff0000); b = ctypes.create_string_buffer(rule); "
        "p = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 1, ctypes.addressof(b))); "
        "assert c.prctl(22, 2, p) == 0; os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, str(pilot), "--root", str(tmp_path / "root"), "run", "web"]
    assert subprocess.run(command, cwd=bundle, check=False, timeout=60).returncode == front.COLD


def test_another_user_may_not_connect(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "true")
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(pilot), "list"]
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o711)
    assert subprocess.run(command, cwd="/", check=False, timeout=60).returncode == front.COLD
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
