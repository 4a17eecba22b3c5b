"""What root of a sprite may do, by the policy that it was started with: asked of the kernel, from within."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

# What the kernel says to each, as root; of cgroups of v1's memory, wherever the world mounts them.
_TRIES = r"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def said(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
def mkdir(path):
    try:
        os.mkdir(path)
        os.rmdir(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
place = "/run/hierarchy"
os.makedirs(place, exist_ok=True)
print("shown", os.path.exists("/sys/fs/cgroup/memory"))
mounted = said(libc.mount(b"none", place.encode(), b"cgroup", 0, b"memory"))
print("memory", mkdir(place + "/own") if mounted == "done" else "not mounted")
print("limit", os.access(place + "/memory.limit_in_bytes", os.W_OK))
libc.umount2(place.encode(), 2)
pids = next(path for path in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.exists(path + "/cgroup.procs"))
print("pids", mkdir(pids + "/own"))
print("tmpfs", said(libc.mount(b"none", place.encode(), b"tmpfs", 0, None)))
libc.umount2(place.encode(), 2)
print("userfaultfd", said(libc.syscall(323, 1)))
print("keyctl", said(libc.syscall(250, 0, -3, 0)))
print("vsock", said(libc.socket(40, 1, 0)))
print("unshare", said(libc.unshare(0x20000)))
try:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    print("children", "done")
except OSError as error:
    print("children", error)
print("fuse", os.path.exists("/dev/fuse"), "tun", os.path.exists("/dev/net/tun"))
"""


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        yield client.create_sprite("web")


def _set(pilotd: Pilotd, body: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(base_url=pilotd.url, headers=headers, timeout=180) as http:
        path = "/v1/sprites/web/policy/privileges"
        assert http.post(path, json=body).status_code == 204
        assert http.get(path).json()["pending"] is True
        assert http.post("/v1/sprites/web/restart").status_code == 200
        assert http.get(path).json()["pending"] is False


def _tried(sprite: Any) -> dict[str, str]:
    done = sprite.run("sudo", "python3", "-c", _TRIES, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())


def _is_of_v1() -> bool:
    return bool(glob.glob("/sys/fs/cgroup/memory/cgroup.procs"))


def test_standard_has_no_memory_cgroups_of_v1_and_the_rest(sprite: Any) -> None:
    found = _tried(sprite)
    memory = ("False", "EACCES", "True") if _is_of_v1() else ("False", "not mounted", "False")
    assert (found["shown"], found["memory"], found["limit"]) == memory
    assert (found["pids"], found["tmpfs"], found["unshare"], found["children"]) == ("done",) * 4
    assert (found["userfaultfd"], found["keyctl"], found["vsock"]) == ("EPERM", "ENOSYS", "EAFNOSUPPORT")
    assert found["fuse"] == "True tun True" or not os.path.exists("/dev/net/tun")


def test_privileged_has_them_and_what_docker_refuses(pilotd: Pilotd, sprite: Any) -> None:
    _set(pilotd, {"profile": "privileged"})
    found = _tried(sprite)
    memory = ("True", "done") if _is_of_v1() else ("False", "not mounted")
    assert (found["shown"], found["memory"]) == memory
    assert found["userfaultfd"] in ("done", "ENOSYS")
    assert found["keyctl"] == "done"
    assert found["vsock"] == "EAFNOSUPPORT", "what reaches beyond the machine no policy allows"
    assert sprite.run("cat", "/.sprite/policy/privileges.json", capture_output=True).stdout.startswith(
        b'{"profile":"privileged"'
    )


def test_minimal_has_neither_namespaces_nor_mounts_nor_cgroups(pilotd: Pilotd, sprite: Any) -> None:
    _set(pilotd, {"profile": "minimal", "devices": ["/dev/fuse"]})
    found = _tried(sprite)
    assert (found["tmpfs"], found["unshare"]) == ("EPERM", "EPERM")
    assert (found["memory"], found["pids"]) == ("not mounted", "EROFS")
    assert found["children"] == "done"
    assert found["fuse"] == "True tun False"
    status = sprite.run("sudo", "grep", "CapBnd", "/proc/self/status", capture_output=True).stdout.split()[1]
    assert int(status, 16) == 0xA80425FB, "as of a container of Docker's"
    assert sprite.run("sudo", "apt-get", "--version", capture_output=True).returncode == 0
    serve = "/.sprite/bin/sprite-env services create calm --cmd sleep --args 1000"
    serve += " && grep CapBnd /proc/$(pgrep -x sleep)/status"
    served = sprite.run("sh", "-c", serve, capture_output=True)
    assert served.stdout.split()[-1] == b"00000000a80425fb", (served.stdout, served.stderr)


def test_no_new_privileges_ends_sudo(pilotd: Pilotd, sprite: Any) -> None:
    _set(pilotd, {"noNewPrivileges": True})
    assert sprite.run("sudo", "true", capture_output=True).returncode != 0
    status = sprite.run("grep", "NoNewPrivs", "/proc/self/status", capture_output=True).stdout.split()
    assert status == [b"NoNewPrivs:", b"1"]
