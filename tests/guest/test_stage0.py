"""Stage 0 of init in a real VM: the standard kernel and initramfs, with a root of nothing but busybox."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pilot.host.vmm.qemu import accelerator
from pilot.image import kernel

pytestmark = pytest.mark.requires("root", "private", "qemu", "busybox", "mkfs.erofs", "guest-kernel")

_AGENT = """#!/bin/sh
echo "== mounts"
cut -d' ' -f1-3 /proc/mounts
echo "== console"
readlink /proc/$$/fd/1
readlink /proc/1/fd/2
echo "== process"
cat /proc/1/comm
echo "link $PILOT_INIT_FD" "$@"
ulimit -Hn
echo "== write"
touch /run/x /tmp/x /dev/shm/x && ! touch /x 2>/dev/null && echo as it should
echo "== end"
kill -TERM 1
sleep 60
"""


def _make_root(directory: Path) -> Path:
    root = directory / "root"
    for name in ("bin", "dev", "proc", "sys", "run", "tmp"):
        (root / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "cat", "cut", "readlink", "touch", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "agent").write_text(_AGENT)
    (root / "agent").chmod(0o755)
    disk = directory / "root.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", disk, root], check=True, timeout=60, stdout=subprocess.DEVNULL)
    return disk


def _drive(path: Path, serial: str) -> list[str]:
    drive = f"id={serial},file={path},format=raw,if=none,readonly=on"
    return ["-drive", drive, "-device", f"virtio-blk-device,drive={serial},serial={serial}"]


def _boot(directory: Path, words: str) -> str:
    """Boots until the machine ends by itself; what its console said. The root is the second of two disks."""
    artefacts = Path(kernel.ensure_kernel())
    (directory / "other").write_bytes(bytes(1 << 20))
    clock = f"tsc_early_khz={accelerator.read_tsc_khz()} tsc=reliable"
    command = ["qemu-system-x86_64", "-M", "microvm,accel=tcg", "-cpu", "max", "-m", "256M", "-nodefaults"]
    command += ["-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    command += ["-kernel", str(artefacts / "vmlinux"), "-initrd", str(artefacts / "initramfs")]
    command += ["-append", f"console=ttyS0 quiet panic=-1 reboot=t {clock} {words}"]
    command += [*_drive(directory / "other", "other"), *_drive(_make_root(directory), "pilot-root")]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout.replace("\r", "")


def _sections(console: str) -> dict[str, list[str]]:
    """The agent's "== title" parts."""
    parts = (part.partition("\n") for part in console.split("== ")[1:])
    return {title: text.splitlines() for title, _, text in parts}


def test_from_the_initramfs_to_the_agent_and_the_end(tmp_path: Path) -> None:
    console = _boot(tmp_path, "pilot.root=serial:pilot-root pilot.exec=/agent,one,two")
    said = _sections(console)
    mounts = {(target, kind) for _, target, kind in (line.split() for line in said["mounts"])}
    assert mounts >= {
        ("/", "erofs"), ("/dev", "devtmpfs"), ("/proc", "proc"), ("/sys", "sysfs"), ("/run", "tmpfs"),
        ("/tmp", "tmpfs"),
        ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"), ("/dev/mqueue", "mqueue"), ("/sys/fs/cgroup", "cgroup2"),
    }  # fmt: skip
    assert said["console"] == ["/dev/console"] * 2
    assert said["process"] == ["pilot-init", "link 3 one two", "524288"]
    assert said["write"] == ["as it should"]
    assert "reboot: Power down" in console


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("pilot.fs=ext4", "pilot-init: mount the root: /dev/vdb: Invalid argument"),
        (
            "pilot.wait=0 pilot.root=serial:absent",
            "pilot-init: find the root disk in time: serial:absent: No such",
        ),
        ("pilot.modules=/missing pilot.wait=0", "pilot-init: find the root disk in time: serial:pilot-root"),
        ("pilot.exec=,", "pilot-init: read pilot.exec: ,: Invalid argument"),
    ],
)
def test_what_cannot_be_is_said_and_ends_the_machine(tmp_path: Path, words: str, reason: str) -> None:
    console = _boot(tmp_path, f"pilot.halt=reboot {words}")
    assert reason in console
    assert "reboot: Restarting system" in console
    assert "panic" not in console.lower()
