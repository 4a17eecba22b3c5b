"""The same bundle under runc and under pilot: what a container sees of itself is the same, wherever the spec is silent.

Differences that are meant are taken out by name, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles, front
from tests.support.bundles import Config

from pilot.kernel import mounts

pytestmark = [pytest.mark.requires("root", "private", "busybox", "runc"), pytest.mark.usefixtures("by_front")]

_PILOT = (front.PILOT,)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = bundles.make_bundle(tmp_path / "bundle")
    for name in ("grep", "find", "sort", "ip", "readlink"):
        (made / "rootfs/bin" / name).symlink_to("busybox")
    return made


def _run(runtime: tuple[str, ...], bundle: Path, config: Config) -> tuple[int, str]:
    # runc 1.1 refuses versions that it does not know.
    (bundle / "config.json").write_text(json.dumps({**config, "ociVersion": "1.0.2"}))
    root = bundle.parent / "roots" / Path(runtime[0]).name
    done = subprocess.run(
        [*runtime, "--root", str(root), "run", "-b", str(bundle), "same"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _both(bundle: Path, config: Config) -> Iterator[tuple[int, str]]:
    for runtime in (("runc",), _PILOT):
        code, text = _run(runtime, bundle, config)
        # In a hybrid layout pilot mounts the cgroup v2 tree, too: a runtime inside needs it to freeze and kill.
        text = text.replace("systemd\nunified\n", "systemd\n")
        # runc makes the ipc namespace as root of the user namespace, but not yet as its group.
        yield code, text.replace("./mqueue directory 0:0 1777 0:65534", "./mqueue directory 0:0 1777 0:0")


def _shell(script: str, **process: object) -> Config:
    return bundles.make_config("sh", "-c", script, **process)


SCRIPTS = {
    "devices": "cd /dev; find . | sort | while read f; do stat -c '%n %F %t:%T %a %u:%g' $f; readlink $f; done; true",
    # Without SigQ, which counts what neighbours queue, and SigIgn, which is what each got from its caller.
    "status": "grep -E '^(Uid|Gid|Groups|Umask|NoNewPrivs|Seccomp|Cap|Shd|SigBlk|Threads|NS.*id)' /proc/self/status",
    "environment": "env | sort",
    "descriptors": "cd /proc/self/fd; for f in *; do echo $f; done",
    "limits": "cat /proc/self/limits",
    "network": "ip addr",
    "session": "cat /proc/self/stat | { read pid comm state ppid pgrp session rest; echo $ppid $pgrp $session; }",
    "directory": "pwd; readlink /proc/self/cwd /proc/self/root",
    "oom": "cat /proc/self/oom_score_adj",
    "names": "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname",
    "cgroups": "cat /proc/self/cgroup; ls /sys/fs/cgroup",
    "keyring": "cat /proc/self/sessionid",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_root(bundle: Path, name: str) -> None:
    by_runc, by_pilot = _both(bundle, _shell(SCRIPTS[name]))
    assert by_pilot == by_runc


@pytest.mark.parametrize("name", ["status", "environment", "limits", "descriptors"])
def test_as_a_user(bundle: Path, name: str) -> None:
    user = {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o27}
    by_runc, by_pilot = _both(bundle, _shell(SCRIPTS[name], user=user, noNewPrivileges=False))
    assert by_pilot == by_runc


@pytest.mark.parametrize("name", ["status", "devices", "cgroups"])
def test_in_a_user_namespace(bundle: Path, name: str) -> None:
    by_runc, by_pilot = _both(bundle, bundles.with_user_namespace(_shell(SCRIPTS[name])))
    assert by_pilot[0] == by_runc[0]
    assert by_pilot[1].splitlines() == by_runc[1].splitlines()


def _visible(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and options of each mount. Those of the superblock differ: pilot says read-only of the mount alone."""
    return {entry.mount_point: (entry.fstype, frozenset(entry.options)) for entry in mounts.parse_mountinfo(text)}


@pytest.mark.parametrize("user_namespace", [False, True])
def test_mounts(bundle: Path, user_namespace: bool) -> None:
    config = _shell("cat /proc/self/mountinfo")
    if user_namespace:
        config = bundles.with_user_namespace(config)
    (runc_code, runc_text), (pilot_code, pilot_text) = _both(bundle, config)
    assert (runc_code, pilot_code) == (0, 0), runc_text + pilot_text
    by_runc, by_pilot = _visible(runc_text), _visible(pilot_text)
    by_pilot.pop("/sys/fs/cgroup/unified", None)  # see _both
    for found in (by_pilot, by_runc):
        # runc leaves the directory of the hierarchies writable where the Spec says ro.
        found["/sys/fs/cgroup"] = (found["/sys/fs/cgroup"][0], found["/sys/fs/cgroup"][1] - {"ro", "rw"})
    assert by_pilot.keys() == by_runc.keys()
    assert by_pilot == by_runc


FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "no such program": ({"args": ["nonesuch"]}, 'exec: "nonesuch": executable file not found in $PATH'),
    "not executable": ({"args": ["/etc/passwd"]}, "permission denied"),
    "no such directory": ({"cwd": "/etc/passwd/x"}, "not a directory"),
}


@pytest.mark.parametrize("name", FAILING)
def test_failures(bundle: Path, name: str) -> None:
    changes, text = FAILING[name]
    by_runc, by_pilot = _both(bundle, bundles.make_config(**changes))
    assert by_pilot[0] == by_runc[0] == 1
    assert text in by_runc[1].replace("\\", "")
    assert text in by_pilot[1]


CHANGES: dict[str, dict[str, Any]] = {
    "relative working directory": {"process": {"cwd": "rel"}},
    "nothing to run": {"process": {"args": []}},
    "no rootfs": {"root": {"path": "nonesuch"}},
    "no source": {"mounts": [{"destination": "/x", "type": "bind", "source": "/nonesuch", "options": ["bind"]}]},
    "namespace twice": {
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "pid"}, {"type": "uts"}]}
    },
    "no such namespace": {"linux": {"namespaces": [{"type": "mount"}, {"type": "nonesuch"}]}},
    "no such propagation": {"linux": {"rootfsPropagation": "nonesuch"}},
    "negative uid": {"process": {"user": {"uid": -1}}},
    "long hostname": {"hostname": "a" * 100},
    "no such limit": {"process": {"rlimits": [{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]}},
    "no such capability": {"process": {"capabilities": {"bounding": ["CAP_NONE"]}}},
    "no such action": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NONE"}}},
    "too little memory": {"linux": {"resources": {"memory": {"limit": 1000}}}},
    "wrong sysctl": {"linux": {"sysctl": {"kernel.shm_rmid_forced": "x"}}},
    "no such device type": {"linux": {"devices": [{"path": "/dev/x", "type": "q"}]}},
    "failing hook": {"hooks": {"prestart": [{"path": "/bin/false"}]}},
    "no variable": {"process": {"env": ["A"]}},
    "NUL byte": {"process": {"env": ["PATH=/bin", "A=\0b"]}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_exit_status_of_odd_configs(bundle: Path, name: str) -> None:
    """What runc accepts is accepted, and what it refuses is refused with its exit status."""
    config = _shell("exit 0")
    for member, value in CHANGES[name].items():
        config[member] = {**config.get(member, {}), **value} if isinstance(value, dict) else value
    by_runc, by_pilot = _both(bundle, config)
    assert by_pilot[0] == by_runc[0], by_pilot[1] + by_runc[1]


VERBS = (
    "state no",
    "kill no",
    "delete no",
    "delete -f no",
    "start",
    "exec no true",
    "list -q",
    "list -f json",
    "bogus",
)


@pytest.mark.parametrize("words", VERBS)
def test_exit_status_and_output_of_verbs(tmp_path: Path, words: str) -> None:
    """With a root that is there: of one that is named and is not, runc 1.1 lists nothing, and later ones an error."""
    seen = []
    for runtime in (("runc",), _PILOT):
        root = tmp_path / runtime[0].rpartition("/")[2]
        root.mkdir()
        command = [*runtime, "--root", str(root), *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
        # What runc says about a wrong command line on stdout is its help.
        seen.append((done.returncode, "" if done.returncode else done.stdout))
    assert seen[0] == seen[1]
