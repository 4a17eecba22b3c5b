"""What a container has of who asked for it: the same by a planner, which is another's child, as by runc."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.support import bundles, front

pytestmark = [pytest.mark.requires("root", "private", "busybox", "runc"), pytest.mark.usefixtures("by_front")]

_SEEN = {
    "scheduling": "cut -d' ' -f19,40,41 /proc/self/stat",  # nice, real-time priority, policy
    "personality": "cat /proc/self/personality; uname -m",
    "oom": "cat /proc/self/oom_score_adj",
    "limits": "cat /proc/self/limits",
    "privileges": "grep -E '^(Cap|NoNewPrivs|Groups|Uid|Gid)' /proc/self/status",
    "signals": "grep -E '^Sig(Blk|Cgt)' /proc/self/status",
    "ignored": "grep ^SigIgn /proc/self/status",
    "environment": "env | sort",
    "session": "cut -d' ' -f5,6,7 /proc/self/stat",
    "umask": "umask",
}
# 32 and 33 are a C library's own. glibc's posix_spawn (make, Python) leaves them ignored, and so does runc.
_OF_A_LIBRARY = 1 << 31 | 1 << 32
_LIMITS = ("prlimit", "--core=5", "--nproc=3000:4000", "--stack=4194304", "--cpu=1000")
_CALLERS = {
    "of odd numbers": (
        *("nice", "-n", "5", "ionice", "-c", "3", "setarch", "i686", "-R", "choom", "-n", "500", "--", *_LIMITS),
        *("setpriv", "--groups", "5,6,7", "sh", "-c", 'umask 0027; exec "$@"', "sh"),
    ),
    "without privileges": ("chrt", "-b", "0", "setpriv", "--bounding-set", "-sys_ptrace,-sys_boot,-net_raw"),
    "deaf, and without new privileges": (
        *("env", "-i", "PATH=/usr/bin:/bin", "TERM=odd", "EXTRA=1", "setpriv", "--no-new-privs"),
        *("sh", "-c", 'trap "" HUP INT QUIT PIPE CHLD; exec "$@"', "sh"),
    ),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = bundles.make_bundle(tmp_path / "bundle")
    for name in ("cut", "grep", "env", "sort", "uname"):
        link = made / "rootfs/bin" / name
        if not link.is_symlink():
            link.symlink_to("busybox")
    script = "; ".join(f"echo {name}; {command}" for name, command in _SEEN.items())
    config = bundles.make_config("sh", "-c", script, rlimits=[], noNewPrivileges=False)
    (made / "config.json").write_text(json.dumps({**config, "ociVersion": "1.0.2"}))
    return made


def _seen(runtime: str, caller: tuple[str, ...], bundle: Path) -> dict[str, list[str]]:
    root = bundle.parent / f"root-{Path(runtime).name}"
    command = [*caller, runtime, "--root", str(root), "run", "-b", str(bundle), "web"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    seen: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        seen.setdefault(line, []) if line in _SEEN else seen[next(reversed(seen))].append(line)
    seen["ignored"] = [hex(int(line.split()[1], 16) & ~_OF_A_LIBRARY) for line in seen["ignored"]]
    return seen


@pytest.mark.parametrize("caller", _CALLERS.values(), ids=_CALLERS)
def test_what_is_inherited(bundle: Path, caller: tuple[str, ...]) -> None:
    assert _seen(front.PILOT, caller, bundle) == _seen("runc", caller, bundle)
