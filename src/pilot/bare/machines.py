"""A bare machine: init and agent in a user-namespaced container of this host, driven by nobody but its caller.

    <directory>/dial.sock ─► machines/machine/dial.sock     a link, so that its name is short
    <directory>/machines/machine/                           as `host/vmm/container/machine.py` has it

Directories of the host become roots of its containers as detached mounts, idmapped to the machine's own ids: what is
root's here is root's there, and nothing of the host's ids is known in the machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import zlib
from collections.abc import Mapping

from .. import errors
from ..host.vmm import Isolation, MachineSpec, MachineStatus, Vmm, substrates
from ..ids import MachineId
from ..image import cache as artefacts
from ..kernel import cgroups, hierarchies, idmap, mounts
from ..machine import pilot_api
from ..wire import graph, operations, schema

_ID = MachineId("machine")
_COUNT = 65536
# Above all that pilotd gives to its machines, below 2^32 - 65536.
_FIRST_UID, _RANGES = 1 << 31, 16_384


def start(directory: str, roots: Mapping[str, str], memory_bytes: int, cache_dir: str = artefacts.DEFAULT) -> str:
    """Make it and start it, or find it running; mount each of {name: directory of the host}. The path to dial."""
    directory = os.path.abspath(directory)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    vmm, uid_base = _vmm(directory, cache_dir), _uid_base(directory)
    vmm.create(MachineSpec(_ID, uid_base, memory_bytes=memory_bytes))
    vmm.start(_ID)
    link = os.path.join(directory, "dial.sock")
    with contextlib.suppress(FileExistsError):
        os.symlink(os.path.relpath(vmm.dial_path(_ID), directory), link)
    for name, root in roots.items():
        _mount_root(link, name, root, uid_base)
    return link


def runs(directory: str, cache_dir: str = artefacts.DEFAULT) -> bool:
    """Whether it is there, whatever it answers."""
    return _vmm(os.path.abspath(directory), cache_dir).status(_ID) is MachineStatus.RUNNING


def add_root(directory: str, name: str, root: str) -> graph.Disk:
    """A directory of the host, as a disk of the machine in `directory`, which runs."""
    directory = os.path.abspath(directory)
    return _mount_root(os.path.join(directory, "dial.sock"), name, root, _uid_base(directory))


def stop(directory: str, cache_dir: str = artefacts.DEFAULT, *, at_once: bool = False) -> None:
    """Nothing is left of it, but what was in the directory besides; idempotent. `at_once`: it is not asked to end."""
    directory = os.path.abspath(directory)
    group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(f"/pilot-{_tag(directory)}"))
    if at_once:
        group.kill()
    _vmm(directory, cache_dir).destroy(_ID)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, "dial.sock"))
    for name in ("machines", "templates"):
        with contextlib.suppress(FileNotFoundError, OSError):
            os.rmdir(os.path.join(directory, name))
    shutil.rmtree(f"/run/pilot-{_tag(directory)}", ignore_errors=True)
    group.delete()


def _mount_root(dial_path: str, name: str, directory: str, uid_base: int) -> graph.Disk:
    try:
        tree_fd = mounts.open_tree(directory, clone=True)
    except OSError as error:
        raise errors.HostError(f"root {name}: {directory}: {(error.strerror or '').lower()}") from error
    try:
        _map(tree_fd, directory, uid_base)
        pilot_api.send_descriptor(dial_path, name, tree_fd)
    finally:
        os.close(tree_fd)
    disk = schema.DiskReference(descriptor=name)
    return pilot_api.PilotApi(dial_path).call(operations.MOUNT_DISK, disk, name=name)


def _map(tree_fd: int, directory: str, uid_base: int) -> None:
    userns_fd = idmap.user_namespace_fd(uid_base, uid_base, _COUNT)
    try:
        mounts.set_attributes(tree_fd, userns_fd=userns_fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        hint = "copy it to ext4, xfs, btrfs or tmpfs"
        raise errors.HostError(f"{directory}: its filesystem knows no idmapped mounts", hint=hint) from error
    finally:
        os.close(userns_fd)


def _vmm(directory: str, cache_dir: str) -> Vmm:
    return substrates.of_this_host(directory, _tag(directory), cache_dir).of(Isolation.CONTAINER)


def _tag(directory: str) -> str:
    """Of its cgroups and its runtime's directory."""
    return f"bare-{zlib.crc32(os.fsencode(directory)):08x}"


def _uid_base(directory: str) -> int:
    """The same each time for a directory. Two directories may have one range, in which case only the host sees it."""
    return _FIRST_UID + zlib.crc32(os.fsencode(directory)) % _RANGES * _COUNT
