"""Generated config.json under runc and under pilot: what is seen inside is the same.

Each number is a document of its own: capabilities, limits, ids, mounts, devices, masked and read-only paths and
namespaces.
What runc 1.1 does differently and pilot on purpose is not generated, or left out of the comparison by name.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot.kernel import mounts

pytestmark = pytest.mark.requires("root", "private", "busybox", "runc")

_PILOT = (str(Path(sys.executable).with_name("pilot")),)
_NAMES = ("CHOWN", "DAC_OVERRIDE", "KILL", "SETUID", "NET_RAW", "SYS_PTRACE", "SYS_ADMIN", "AUDIT_WRITE")
_LIMITS = ("RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_STACK", "RLIMIT_FSIZE", "RLIMIT_MEMLOCK")
_PATHS = (
    "/proc/kcore",
    "/proc/keys",
    "/proc/acpi",
    "/proc/sys",
    "/proc/bus",
    "/sys/firmware",
    "/etc",
    "/etc/passwd",
    "/no",
)
_FLAGS = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime")
_SCRIPT = """
grep -E '^(Uid|Gid|Groups|Umask|NoNewPrivs|Cap)' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj
pwd; env | sort; for f in /dev/* /dev/net/*; do stat -c '%n %F %t:%T %a %u:%g' $f; done 2> /dev/null
for p in {paths}; do
    ls -d $p; ls $p | wc -l; head -c 1 $p | wc -c; touch $p/x && echo wrote && rm $p/x
done 2> /dev/null
echo MOUNTS; cat /proc/self/mountinfo
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = bundles.make_bundle(tmp_path / "bundle")
    for name in ("grep", "sort", "readlink", "head", "rm", "wc"):
        (made / "rootfs/bin" / name).symlink_to("busybox")
    for index in range(4):
        (made / f"volume{index}/below").mkdir(parents=True)
        (made / f"volume{index}/file").touch()
    return made


def _capabilities(choose: random.Random) -> dict[str, list[str]]:
    bounding = choose.sample(_NAMES, choose.randint(0, len(_NAMES)))
    permitted = choose.sample(bounding, choose.randint(0, len(bounding)))
    inheritable = choose.sample(bounding, choose.randint(0, len(bounding)))
    sets = {
        "bounding": bounding,
        "permitted": permitted,
        "effective": choose.sample(permitted, choose.randint(0, len(permitted))),
        "inheritable": inheritable,
        "ambient": [name for name in permitted if name in inheritable and choose.random() < 0.5],
    }
    return {kind: [f"CAP_{name}" for name in names] for kind, names in sets.items()}


def _mounts(choose: random.Random) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for index in range(choose.randint(0, 4)):
        flags = choose.sample(_FLAGS, choose.randint(0, 3))
        if choose.random() < 0.3:
            options = [*flags, f"mode={choose.choice(['700', '1777', '755'])}", "size=64k"]
            made.append({"destination": f"/m{index}/deep", "type": "tmpfs", "source": "tmpfs", "options": options})
            continue
        path = choose.choice([f"volume{index}", f"volume{index}/file"])
        options = [choose.choice(["bind", "rbind"]), *flags]
        made.append({"destination": f"/m{index}", "type": "bind", "source": path, "options": options})
    return made


def _generate(seed: int) -> Config:
    choose = random.Random(seed)
    config = bundles.make_config("sh", "-c", _SCRIPT.replace("{paths}", " ".join(_PATHS)))
    process = config["process"]
    process["capabilities"] = _capabilities(choose)
    process["noNewPrivileges"] = choose.random() < 0.5
    process["oomScoreAdj"] = choose.choice([0, 100, 1000])
    process["cwd"] = choose.choice(["/", "/tmp", "/new/directory"])
    process["user"] = choose.choice(
        [{"uid": 0, "gid": 0}, {"uid": 7, "gid": 8}, {"uid": 1000, "gid": 0, "additionalGids": [5, 6], "umask": 0o77}]
    )
    process["rlimits"] = [
        {"type": kind, "soft": choose.randint(0, 50) << 16, "hard": 64 << 16} for kind in choose.sample(_LIMITS, 2)
    ]
    config["root"]["readonly"] = choose.random() < 0.3
    config["mounts"] += _mounts(choose)
    linux = config["linux"]
    # runc looks for HOME in the passwd that is left of it, pilot in the one that the rootfs has.
    linux["maskedPaths"] = [path for path in choose.sample(_PATHS, choose.randint(0, 4)) if "etc" not in path]
    linux["readonlyPaths"] = choose.sample(_PATHS, choose.randint(0, 4))
    gone = choose.sample(["ipc", "uts", "cgroup"], choose.randint(0, 2))
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] not in gone]
    if "uts" in gone:
        del config["hostname"]
    linux["devices"] = choose.sample(
        [
            {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o600, "uid": 3, "gid": 4},
            {"path": "/dev/own", "type": "b", "major": 7, "minor": 9, "fileMode": 0o660},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 5},
        ],
        choose.randint(0, 3),
    )
    return config


def _run(runtime: tuple[str, ...], bundle: Path, config: Config) -> tuple[int, str, str]:
    (bundle / "config.json").write_text(json.dumps({**config, "ociVersion": "1.0.2"}))
    done = subprocess.run(
        [*runtime, "--root", str(bundle.parent / "roots" / Path(runtime[0]).name), "run", "-b", str(bundle), "same"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    head, _, tail = done.stdout.partition("MOUNTS\n")
    return done.returncode, head, tail if done.returncode == 0 else done.stderr


def _visible(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Of each mount, in order. See `test_against_runc` for the cgroup mounts."""
    found = mounts.parse_mountinfo(text)
    return [(m.mount_point, m.fstype, m.options) for m in found if not m.mount_point.startswith("/sys/fs/cgroup")]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_seen_inside(bundle: Path, seed: int) -> None:
    config = _generate(seed)
    by_runc, by_pilot = (_run(runtime, bundle, config) for runtime in (("runc",), _PILOT))
    assert by_pilot[0] == by_runc[0], by_pilot[2] + by_runc[2]
    assert by_pilot[1].splitlines() == by_runc[1].splitlines()
    if by_runc[0] == 0:
        assert sorted(_visible(by_pilot[2])) == sorted(_visible(by_runc[2]))
