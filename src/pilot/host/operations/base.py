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
from ..fsm.outcome import Abort
from ..store import bases
from ..store.machines import UID_COUNT
from .context import Host
from .results import Archived

EXTRACT_TIMEOUT_S = 900


def archive(host: Host, run: Run[object]) -> Archived:
    """The tar, built when it is missing, and the volume that its digest names.

    What the builders refuse is told at once: each attempt takes minutes, and whoever started pilotd waits for it.
    """
    try:
        path = host.build_archive()
    except errors.HostError as error:
        raise Abort(f"{error}" + (f" ({error.hint})" if error.hint else "")) from error
    previous = bases.find(host.database, run.resource) or ""
    return Archived(path, choose(volume_name(path), previous, host.store_owner), previous)


def choose(name: VolumeId, previous: str, owner: str | None) -> VolumeId:
    """The base to have: `name`, in a store with its owner; without one any `previous` of that archive will do."""
    if owner is not None:
        return VolumeId(f"{name}-{owner}")
    return VolumeId(previous) if previous.startswith(f"{name}-") else name


def volume_name(path: str) -> VolumeId:
    """`…/world-minimal-<digest>.tar` → `base-minimal-<digest>`."""
    stem = pathlib.PurePath(path).name.removeprefix("world-").split(".")[0]
    return VolumeId(f"base-{stem}")


def fill(host: Host, run: Run[object]) -> None:
    """From nothing each time: what an attempt that died has left is thrown away. A published base is left alone."""
    archived = run.result(Archived)
    if archived.is_current:
        return
    volume = archived.volume
    for undo in (host.volumes.detach, host.volumes.delete):
        try:
            undo(volume)
        except (errors.NotFound, errors.StateError):
            continue  # no earlier attempt came so far
    host.volumes.create(volume, host.disk_bytes)
    mount_fd = host.volumes.attach(volume, 0, UID_COUNT)
    try:
        extract(archived.path, mount_fd)
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


def seal(host: Host, run: Run[object]) -> None:
    archived = run.result(Archived)
    if not archived.is_current:
        host.volumes.seal(archived.volume)


def publish(host: Host, run: Run[object]) -> None:
    with host.database.transaction() as tx:
        bases.publish(tx, run.resource, run.result(Archived).volume)


def retire(host: Host, run: Run[object]) -> None:
    """The base of an older image goes; what its forks read of it stays with them."""
    archived = run.result(Archived)
    if not archived.previous or archived.is_current:
        return
    try:
        host.volumes.delete(VolumeId(archived.previous))
    except errors.NotFound:
        pass  # an earlier attempt did it
