"""What is shown read-only inside stays so, though root of a sprite, or of a Machine's container, tries."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

import httpx
import pytest
from tests.support import flyapi, images, pythonimage
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_SLEEPING = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]
# A line for each place: the mount that it is below, with its options; what the kernel says to each try, as root of the
# container; and whether a file, or an entry in a directory, can be written there at the end of it.
_TRIES = r"""
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
BIND, REMOUNT, MOVE, REC, CLONE, RECURSIVE, RDONLY = 4096, 32, 8192, 16384, 1, 0x8000, 1
def said(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
def mount(source, target, flags):
    return said(libc.mount(source.encode(), target.encode(), None, flags, None))
def writes(path):
    try:
        if os.path.isdir(path):
            os.mkdir(path + "/made")
            os.rmdir(path + "/made")
        else:
            os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def attributes(directory, path, flags):
    clear = (ctypes.c_uint64 * 4)(0, RDONLY, 0, 0)
    return said(libc.syscall(442, directory, path.encode(), flags, clear, 32))
def copied(path, flags):
    fd = libc.syscall(428, -100, path.encode(), CLONE | flags)
    return errno.errorcode[ctypes.get_errno()] if fd < 0 else attributes(fd, "", 0x1000)
def elsewhere(place):
    there = "/run/there"
    os.makedirs(there, exist_ok=True) if os.path.isdir(place) else open(there, "w").close()
    bound = mount(place, there, BIND)
    try:
        return [bound, mount("none", there, BIND | REMOUNT), writes(there)]
    finally:
        libc.umount2(there.encode(), 2)
        os.rmdir(there) if os.path.isdir(place) else os.unlink(there)
def renamed(place):
    try:
        os.rename(place, place + "-moved")
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def mounted(place):
    # The last one of mountinfo at the longest path: what is on top
    # A foreign one's owner is nobody of this user namespace: its mode refuses root before the mount does
    with open("/proc/sys/kernel/overflowuid") as file:
        foreign = os.stat(place).st_uid == int(file.read())
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file]
    real = os.path.realpath(place)
    above = [row for row in rows if (real + "/").startswith(row[4].rstrip("/") + "/")]
    best = max(above, key=lambda row: len(row[4]))
    return [best[4], [row for row in above if row[4] == best[4]][-1][5].split(","), foreign]
for place in sys.argv[1:]:
    below = mounted(place)
    tries = {
        "remount": mount("none", place, BIND | REMOUNT),
        "superblock": mount("none", place, REMOUNT),
        "setattr": attributes(-100, place, 0),
        "copy": copied(place, 0),
        "copy of all": copied(place, RECURSIVE),
        "elsewhere": elsewhere(place),
        "renamed": renamed(place),
        "writes": writes(place),
    }
    print(json.dumps([place, below, tries]), flush=True)
"""
# By root of the container: mounted by it, the same may be unmounted by it. What is below is its own disk.
_BENEATH = "umount -l {place} && ls -A {place}"
SPRITES = (
    "/.fly", "/.sprite/policy", "/.sprite/policy/network.json", "/.sprite/bin", "/.sprite/bin/sprite-env",
    "/.sprite/llm.txt", "/.sprite/version.txt", "/.sprite/init", "/.sprite/logs",
)  # fmt: skip
# Of a sprite whose kernel is its host's (agent.view), which mounts no disk that a guest has had.
OF_A_CONTAINER = ("/.sprite/checkpoints", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu/online")


def check(said: str, wanted: Sequence[str]) -> None:
    """Each place is there, on a mount that is read-only and not its root; no try is done, and for this reason alone
    nothing is written."""
    rows = [json.loads(line) for line in said.splitlines()]
    assert [place for place, _, _ in rows] == list(wanted)
    for place, (mount, options, is_foreign), tries in rows:
        unwritable = "EACCES" if is_foreign else "EROFS"
        assert (mount != "/", "ro" in options) == (True, True), f"{place} is below {mount}: {options}"
        assert tries.pop("writes") == unwritable, place
        bound, *elsewhere = tries.pop("elsewhere")
        assert ("done" not in elsewhere, elsewhere[1]) == (True, unwritable if bound == "done" else elsewhere[1]), place
        assert "done" not in tries.values(), (place, tries)


def test_in_a_sprite(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("locks")

        def run(*command: str) -> str:
            done = sprite.run(*command, capture_output=True)
            assert done.returncode == 0, done.stderr
            return str(done.stdout.decode())

        isolation = json.loads(run("/.sprite/bin/sprite-env", "curl", "/v1/self"))["isolation"]
        wanted = [*SPRITES, *(OF_A_CONTAINER if isolation == "container" else ())]
        said = run("sudo", "python3", "-c", _TRIES, *wanted)
        check(said, wanted)
        before = run("cat", "/.sprite/policy/network.json")
        for place in ("/.fly", "/.sprite/policy", "/.sprite/bin"):
            assert run("sudo", "sh", "-c", _BENEATH.format(place=place)) == ""
        sprite.run("sudo", "sh", "-c", "echo {} > /.sprite/policy/network.json", check=True)
        restarted(pilotd, "locks")
        assert run("cat", "/.sprite/policy/network.json") == before, "the next start shows what is so"
        sprite.destroy()


def restarted(pilotd: Pilotd, name: str) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    answer = httpx.post(f"{pilotd.url}/v1/sprites/{name}/restart", headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text


def test_in_a_machines_container(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    """With a file that its config brings."""
    made = images.make_layout(tmp_path / "image", [images.busybox_layer(), pythonimage.layer()], {"Cmd": _SLEEPING})
    with images.serve(made) as served, flyapi.app(pilotd, "locks") as fly:
        files = [{"guest_path": "/etc/app.conf", "raw_value": "aGVsbG8="}]
        containers = [{"name": "app", "image": f"{served.domain}/python:1", "files": files}]
        id = fly.create({"containers": containers})["id"]
        wanted: Sequence[str] = ("/.fly", "/etc/app.conf")
        code, said = fly.run(id, "python3", "-c", _TRIES, *wanted)
        assert code == 0, said
        check(said, wanted)
        fly.call("DELETE", f"/{id}?force=true")
        fly.wait(id, "destroyed")
