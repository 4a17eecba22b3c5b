"""What one sprite takes or breaks is its own: its neighbour, its host and its own end are none the worse."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import httpx
import pytest

from tests.support.internet import wait_until

ISOLATION = os.environ.get("PILOT_ADVERSARY_ISOLATION", "container")
pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

# Itself, and a cgroup in its own, by whichever freezer it has; the last line is never reached by what is frozen.
FREEZE_ITSELF = r"""
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p /sys/fs/cgroup/below
  sleep 1000 </dev/null >/dev/null 2>&1 &
  echo $! >/sys/fs/cgroup/below/cgroup.procs
  echo 1 >/sys/fs/cgroup/below/cgroup.freeze
  (sleep 0.3; echo 1 >/sys/fs/cgroup/cgroup.freeze) </dev/null >/dev/null 2>&1 &
  exit 0
fi
for v1 in /sys/fs/cgroup/freezer; do
  mkdir -p $v1/below 2>/dev/null && sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >$v1/below/cgroup.procs
  echo FROZEN >$v1/below/freezer.state
done
(sleep 0.3; echo FROZEN >/sys/fs/cgroup/freezer/freezer.state) </dev/null >/dev/null 2>&1 &
"""


def _programs(word: bytes) -> list[int]:
    """Processes, of all that this namespace sees, whose command line has this word."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0"):
                found.append(int(entry))
        except OSError:
            continue
    return found


def _hangs(http: httpx.Client, name: str) -> bool:
    """A call that is given up by its client, stuck in there."""
    try:
        http.get(f"/v1/sprites/{name}/fs/list?path=/", timeout=2)
    except httpx.ReadTimeout:
        return True
    return False


def _is_frozen(http: httpx.Client, sprite: Any) -> bool:
    """Of cgroup v2, which a guest has, the kernel keeps a world's root from its own freezer, not from those below."""
    if ISOLATION == "vm":
        events = sprite.run("cat", "/sys/fs/cgroup/below/cgroup.events", capture_output=True).stdout
        return b"frozen 1" in events
    return all(_hangs(http, sprite.name) for _ in range(3))


@pytest.mark.parametrize("end", ["destroy", "restore"])
def test_a_sprite_that_freezes_itself_can_be_ended(client: Any, http: httpx.Client, end: str) -> None:
    """A frozen process of cgroup v1 is deaf to SIGKILL, and so is what the agent sends into its cgroup."""
    if ISOLATION == "container" and not os.path.isdir("/sys/fs/cgroup/freezer"):
        pytest.skip("no v1 freezer")
    sprite = client.create_sprite(f"frozen-{end}")
    list(sprite.create_checkpoint("before"))
    sprite.run("sudo", "sh", "-c", FREEZE_ITSELF, check=True)
    wait_until(lambda: _is_frozen(http, sprite), "it has frozen itself", 60)
    if ISOLATION == "container":
        assert _programs(b"1000")
    if end == "restore":
        list(sprite.restore_checkpoint("v1"))
        assert sprite.run("echo", "again", capture_output=True, check=True).stdout == b"again\n"
    sprite.destroy()
    assert ISOLATION == "vm" or _programs(b"1000") == []
