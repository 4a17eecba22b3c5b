"""What this machine can do, found out by trying it. Each probe returns None when it can, else the reason why not.

Tests declare `@pytest.mark.requires("root", "fuse", ...)`; conftest skips those whose probe fails and, when
PILOT_EXPECTED_SKIPS lists needs, fails the run on a need that is missing and not in the list.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

_CACHE = "/var/cache/pilot"
_libc = ctypes.CDLL(None, use_errno=True)

unexpected: dict[str, str] = {}
"""Needs that are missing here and that PILOT_EXPECTED_SKIPS does not list, with their reason; conftest fills it."""


def _probe_root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


def _probe_private() -> str | None:
    return None if os.path.exists("/proc/1/cmdline") and _pid_one_is_ours() else "not under tests.support.private"


def _pid_one_is_ours() -> bool:
    """As pid 1 of private namespaces, or because all of this machine is for tests (`guestvm`)."""
    with open("/proc/1/cmdline", "rb") as first, open("/proc/cmdline", "rb") as kernel:
        return b"tests.support.private" in first.read() or b"guest.tests" in kernel.read().split()


def _probe_clients() -> str | None:
    found = os.path.join(sys.prefix, "clients/bin/openapi-python-client")
    return None if os.path.exists(found) else "no environment of clients: make clients"


def _probe_fuse() -> str | None:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"open /dev/fuse: {error.strerror}"
    return None


def _probe_loop() -> str | None:
    try:
        os.close(os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"open /dev/loop-control: {error.strerror}"
    return None


def _probe_userns() -> str | None:
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc.unshare(0x10000000) == 0 else 1)
    _, status = os.waitpid(child, 0)
    return None if status == 0 else "unshare(CLONE_NEWUSER) is refused"


def _probe_veth() -> str | None:
    """Tried in a network namespace of its own, which the pair goes away with."""
    command = ["unshare", "--net", "ip", "link", "add", "name", "own", "type", "veth", "peer", "name", "other"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no veth: {tried.stderr.strip()}"


def _probe_tun() -> str | None:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"open /dev/net/tun: {error.strerror}"
    return None


def _probe_nft() -> str | None:
    """Through the library that pilotd uses, in a network namespace of its own."""
    script = "from pilot.kernel import nftables; nftables.run('add table inet probe')"
    tried = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"no nftables: {tried.stderr.strip().splitlines()[-1]}"


def _probe_nft_updates() -> str | None:
    from pilot.host.network.resolver import pins

    with tempfile.TemporaryDirectory() as directory:
        return None if pins.probe_updates(directory) else "an element's time cannot be changed (before Linux 6.12)"


def _probe_cgroup1() -> str | None:
    with open("/proc/self/mounts") as mounts:
        found = any(line.split()[2] == "cgroup" for line in mounts)
    return None if found else "no cgroup v1 controller is mounted"


def _probe_cgroup2_controllers() -> str | None:
    with open("/proc/self/mounts") as mounts:
        roots = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    for root in roots:
        with open(os.path.join(root, "cgroup.controllers")) as controllers:
            if "memory" in controllers.read().split():
                return None
    return "no cgroup v2 hierarchy with controllers"


def _probe_sys_resource() -> str | None:
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return None if effective >> 24 & 1 else "no CAP_SYS_RESOURCE"


def _probe_bpf() -> str | None:
    # BPF_PROG_LOAD of nothing: EINVAL or E2BIG from a kernel that would load something for us.
    from pilot.kernel import syscalls

    try:
        syscalls.call(syscalls.bpf_number(), 5, b"", 0, what="bpf")
    except OSError as error:
        return None if error.errno not in {errno.ENOSYS, errno.EPERM} else f"bpf: {error.strerror}"
    return None


def _probe_systemd() -> str | None:
    with open("/proc/1/comm") as name:
        if name.read() != "systemd\n":
            return "systemd is not PID 1"
    return None if os.path.exists("/run/dbus/system_bus_socket") else "no system bus"


def _command(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"no {name} on this machine"


def _probe_tmp_space() -> str | None:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return None if free > 4 << 30 else "less than 4 GiB free for temporary files"


def _probe_guest_kernel() -> str | None:
    built = any(name.startswith("linux-") for name in os.listdir(_CACHE)) if os.path.isdir(_CACHE) else False
    return None if built else f"no guest kernel in {_CACHE} (pilot image build)"


def _probe_guest_tests() -> str | None:
    found = glob.glob(f"{_CACHE}/test-*.erofs")
    return None if found else f"no disk for tests in virtual machines in {_CACHE} (python -m tests.support.guestimage)"


def _probe_vm_tests() -> str | None:
    return None if os.environ.get("PILOT_VM_TESTS") else "takes long: only in make vm-tests"


def _probe_outside() -> str | None:
    from tests.support import outside

    if not os.environ.get("PILOT_OUTSIDE"):
        return "takes long, and needs package mirrors: only in make outside-tests"
    silent = [host for host in outside.debian() if not outside.reaches(host)]
    return f"no answer from {', '.join(silent)}" if silent else None


def _probe_world_tar() -> str | None:
    found = glob.glob(f"{_CACHE}/world-minimal-*.tar")
    return None if found else f"no world-minimal tar in {_CACHE} (pilot image build)"


PROBES: dict[str, Callable[[], str | None]] = {
    "root": _probe_root,
    "private": _probe_private,
    "fuse": _probe_fuse,
    "loop": _probe_loop,
    "userns": _probe_userns,
    "veth": _probe_veth,
    "tun": _probe_tun,
    "nft": _probe_nft,
    "nft-updates": _probe_nft_updates,
    "cgroup1": _probe_cgroup1,
    "cgroup2": _probe_cgroup2_controllers,
    "bpf": _probe_bpf,
    "cap_sys_resource": _probe_sys_resource,
    "space": _probe_tmp_space,
    "systemd": _probe_systemd,
    "dbus": _command("dbus-daemon"),
    "busybox": _command("busybox"),
    "ssh": _command("ssh-keygen"),
    "musl-gcc": _command("musl-gcc"),
    "runc": _command("runc"),
    "crun": _command("crun"),
    "newuidmap": _command("newuidmap"),
    "criu": _command("criu"),
    "cpio": _command("cpio"),
    "mmdebstrap": _command("mmdebstrap"),
    "qemu": _command("qemu-system-x86_64"),
    "mkfs.erofs": _command("mkfs.erofs"),
    "guest-kernel": _probe_guest_kernel,
    "guest-tests": _probe_guest_tests,
    "vm-tests": _probe_vm_tests,
    "clients": _probe_clients,
    "node": _command("node"),
    "podman": _command("podman"),
    "buildah": _command("buildah"),
    "containerd": _command("containerd"),
    "docker-registry": _command("docker-registry"),
    "skopeo": _command("skopeo"),
    "openssl": _command("openssl"),
    "ctr": _command("ctr"),
    "world-tar": _probe_world_tar,
    "outside": _probe_outside,
}


@functools.cache
def missing(need: str) -> str | None:
    """Why this machine lacks `need`, or None when it has it. KeyError for a need that has no probe."""
    return PROBES[need]()
