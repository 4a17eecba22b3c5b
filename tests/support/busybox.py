"""A root file system with nothing but a static busybox and its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def make_rootfs(directory: Path) -> Path:
    """Fill `directory`/rootfs; its path."""
    rootfs = directory / "rootfs"
    for name in ("bin", "dev", "proc", "sys", "tmp", "etc", "root"):
        (rootfs / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, rootfs / "bin" / "busybox")
    for command in subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if command != "busybox":
            os.symlink("busybox", rootfs / "bin" / command)
    return rootfs
