"""Where the drives of a run.json are mounted in the machine: <run>/legacy/root, <run>/legacy/mounts/<n>. Blocks.

A path that is a directory of the machine is taken as it is: a machine that may mount no drive is given its disks by its
host (`PUT /v1/disks/{name}`), and names them so. Mounts belong to the machine, so they are asked of the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence

from ... import errors
from ...kernel import mounts
from ...wire.run_file import RunFile
from .planning import ROOT_DEVICE, Place

# A mount that somebody else still has open: as often, and as long apart, as the init before this one tried.
_TRIES, _PAUSE_S = 5, 0.75


def prepare(run: RunFile, directory: str) -> Place:
    """All of them are there; idempotent. `HostError` with the device that is not."""
    devices = [run.root_device or ROOT_DEVICE, *(mount.device_path for mount in run.mounts or ())]
    root, *others = (_ensure(device, target) for device, target in zip(devices, _targets(run, directory), strict=True))
    return Place(root, tuple(others))


def give(run: RunFile, directory: str, uid: int, gid: int) -> list[str]:
    """The mounts belong to who runs the main process; what could not be given away, and why."""
    failed = []
    for device, target in _volumes(run, directory):
        try:
            os.chown(_place(device, target), uid, gid)
        except OSError as error:
            failed.append(f"could not chown {target}: {error.strerror}")
    return failed


def clean(run: RunFile, directory: str) -> list[str]:
    """Nothing is mounted any more, the root last; what could not be unmounted, and why."""
    failed = []
    for target in reversed(_targets(run, directory)):
        if not mounts.is_mount_point(target):
            continue
        try:
            _unmount(target)
        except OSError as error:
            failed.append(f"could not unmount {target}: {errno.errorcode.get(error.errno or 0, error)}")
    return failed


def _targets(run: RunFile, directory: str) -> list[str]:
    numbers = range(len(run.mounts or ()))
    return [os.path.join(directory, "root"), *(os.path.join(directory, "mounts", str(number)) for number in numbers)]


def _volumes(run: RunFile, directory: str) -> Sequence[tuple[str, str]]:
    devices = (mount.device_path for mount in run.mounts or ())
    return list(zip(devices, _targets(run, directory)[1:], strict=True))


def _place(device: str, target: str) -> str:
    return device if os.path.isdir(device) else target


def _ensure(device: str, target: str) -> str:
    try:
        mode = os.stat(device).st_mode
    except OSError as error:
        raise errors.HostError(f"mount {device}: {(error.strerror or '').lower()}") from error
    if stat.S_ISDIR(mode):
        return device
    if not stat.S_ISBLK(mode):
        raise errors.HostError(f"mount {device}: it is neither a drive nor a directory")
    os.makedirs(target, mode=0o755, exist_ok=True)
    if not mounts.is_mount_point(target):
        try:
            mounts.mount(device, target, "ext4", mounts.Flag.NONE)
        except OSError as error:
            raise errors.HostError(f"mount {device}: {(error.strerror or '').lower()}") from error
    return target


def _unmount(target: str) -> None:
    """Lazily in the end: what is written is synced, and whoever has it open keeps it."""
    for _ in range(_TRIES):
        try:
            mounts.umount(target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
    os.sync()
    mounts.umount(target, mounts.Unmount.DETACH)
