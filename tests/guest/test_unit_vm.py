"""Our units under a real systemd in a virtual machine, with Debian's kernel and cgroup v2 alone: pilotd is started,
killed and stopped while a sprite runs, and a planner comes with its first caller (`tests/kernel/inside_unit.py`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.support import guestimage, guestvm, installed, virtual

from pilot import image

pytestmark = [
    pytest.mark.requires("root", "private", "qemu", "mkfs.erofs", "mmdebstrap", "guest-kernel", "musl-gcc", "vm-tests"),
    pytest.mark.timeout(3600),
]
_TESTS = "tests/kernel/inside_unit.py"
# What a host's kernel loads by itself: of disks, and of networks.
_MODULES = (
    "loop", "veth", "nf_tables", "nft_chain_nat", "nft_connlimit", "nft_ct", "nft_fib_inet", "nft_limit", "nft_masq",
    "nft_nat", "nft_redir", "nft_reject_inet",
)  # fmt: skip


def test_the_unit_in_a_virtual_machine(tmp_path: Path) -> None:
    place = tmp_path / "installed"
    place.mkdir()
    (tmp_path / "checkout").mkdir()
    installed.copy_libraries(installed.install(tmp_path / "checkout", place))
    (tmp_path / "prefix").write_text(str(place))
    beside = {
        "installed": place,
        "prefix": tmp_path / "prefix",
        "world.tar": _world(tmp_path / "world"),
    }
    machine = guestvm.Machine(guestimage.ensure_host_disk, 4096, beside, {"guest": image.ensure_guest_disk()})
    guestvm.run(tmp_path, guestvm.PidOne.SYSTEMD, [_TESTS], modules=_MODULES, timeout_s=3000, machine=machine).check(
        _TESTS
    )


def _world(rootfs: Path) -> Path:
    """What its sprites begin as: busybox, which is there at once."""
    virtual.write_world(rootfs, "a world")
    for name in ("true", "cut"):
        (rootfs / "bin" / name).symlink_to("busybox")
    for name, row in (("passwd", "sprite:x:1000:1000::/home/sprite:/bin/sh\n"), ("group", "sprite:x:1000:\n")):
        with (rootfs / "etc" / name).open("a") as file:
            file.write(row)
    (rootfs / "home/sprite").mkdir(parents=True)
    os.chown(rootfs / "home/sprite", 1000, 1000)
    tar = rootfs.with_suffix(".tar")
    subprocess.run(["tar", "--numeric-owner", "--directory", rootfs, "--create", "--file", tar, "."], check=True)
    return tar
