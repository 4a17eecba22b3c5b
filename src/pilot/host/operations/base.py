"""The base volume of an image variant: the user's Debian, extracted once, sealed, and forked by every new sprite.

volume base-<variant>-<digest>[-<owner>]/     rootfs/   the archive's content      pilot/   the machine's own, empty

With an object store the owner is in the name, for a store has each name once and several pilotds may share it. A base
from before there was a store is made again, in it: what a fork shares with its base must be there, too.
"""

from __future__ import annotations

import os
import pathlib
import subprocess

from ... import errors
from ...ids import VolumeId
from ..fsm.operation import Run
from ..store import bases
from ..store.sprites import UID_COUNT
from .context import Host

EXTRACT_TIMEOUT_S = 900


def archive(host: Host, run: Run) -> dict[str, str]:
    """The tar, built when it is missing, and the volume that its digest names."""
    path = host.build_archive()
    previous = bases.find(host.database, run.resource) or ""
    return {"path": path, "volume": choose(volume_name(path), previous, host.store_owner), "previous": previous}


def choose(name: VolumeId, previous: str, owner: str | None) -> VolumeId:
    """The base to have: `name`, in a store with its owner; without one any `previous` of that archive will do."""
    if owner is not None:
        return VolumeId(f"{name}-{owner}")
    return VolumeId(previous) if previous.startswith(f"{name}-") else name


def volume_name(path: str) -> VolumeId:
    """`…/world-minimal-<digest>.tar` → `base-minimal-<digest>`."""
    stem = pathlib.PurePath(path).name.removeprefix("world-").split(".")[0]
    return VolumeId(f"base-{stem}")


def fill(host: Host, run: Run) -> None:
    """From nothing each time: what an attempt that died has left is thrown away. A published base is left alone."""
    volume = VolumeId(run.results["archive"]["volume"])
    if _is_current(run):
        return
    for undo in (host.volumes.detach, host.volumes.delete):
        try:
            undo(volume)
        except (errors.NotFound, errors.StateError):
            continue  # no earlier attempt came so far
    host.volumes.create(volume, host.disk_bytes)
    mount_fd = host.volumes.attach(volume, 0, UID_COUNT)
    try:
        extract(run.results["archive"]["path"], mount_fd)
    finally:
        os.close(mount_fd)
    host.volumes.detach(volume)


def extract(path: str, mount_fd: int) -> None:
    """The archive into `rootfs/` of the mount, owners by number, with extended attributes; `pilot/` beside it."""
    for name, mode in (("rootfs", 0o755), ("pilot", 0o700)):
        os.makedirs(f"/proc/self/fd/{mount_fd}/{name}", exist_ok=True)
        os.chmod(f"/proc/self/fd/{mount_fd}/{name}", mode)
    # tar by descriptor: the mount is detached, so no path leads to it but this one.
    target = f"/proc/self/fd/{mount_fd}/rootfs"
    command = ["tar", "-C", target, "-xpf", path, "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    done = subprocess.run(
        command,
        pass_fds=(mount_fd,),
        capture_output=True,
        timeout=EXTRACT_TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise errors.HostError(f"extract {path}: {done.stderr.decode(errors='replace').strip()[-400:]}")


def _is_current(run: Run) -> bool:
    """The volume was published by an earlier run: it is sealed, and sprites are forks of it."""
    return bool(run.results["archive"]["volume"] == run.results["archive"]["previous"])


def seal(host: Host, run: Run) -> None:
    if not _is_current(run):
        host.volumes.seal(VolumeId(run.results["archive"]["volume"]))


def publish(host: Host, run: Run) -> None:
    with host.database.transaction() as tx:
        bases.publish(tx, run.resource, VolumeId(run.results["archive"]["volume"]))


def retire(host: Host, run: Run) -> None:
    """The base of an older image goes; what its forks read of it stays with them."""
    previous = run.results["archive"]["previous"]
    if not previous or _is_current(run):
        return
    try:
        host.volumes.delete(VolumeId(previous))
    except errors.NotFound:
        pass  # an earlier attempt did it
