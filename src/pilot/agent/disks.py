"""Disks beside the world's: mounted at <run>/disks/<name>, where containers of the graph have their roots.

    PUT /v1/disks/{name}   {"descriptor": …} a detached mount that was sent to port 10001, or {"serial": …} a drive
    DELETE                 unmounted, when no container has it any more

Mounts belong to the machine, not to the agent: what is mounted is asked of the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os

from .. import errors
from ..kernel import ext4, mounts
from ..server import response
from ..server.call import Call
from ..server.routing import Route, answering
from ..wire import faults, graph, operations, schema
from .containers import naming
from .descriptors import Descriptors
from .machine import Paths
from .world import mount_drive


class DisksApi:
    """Those of one machine. Mounting and unmounting are serialised."""

    def __init__(self, paths: Paths, given: Descriptors) -> None:
        self._directory = os.path.join(paths.run, "disks")
        self._given = given
        self._lock = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            answering(operations.LIST_DISKS, self.list_all),
            Route(operations.MOUNT_DISK, self.mount),
            Route(operations.UNMOUNT_DISK, self.unmount),
        ]

    async def list_all(self, _: None) -> graph.DiskList:
        """Those that are mounted, and how full they are."""
        return graph.DiskList(disks=await asyncio.to_thread(self._rows))

    async def mount(self, call: Call) -> response.Response:
        """It is mounted; idempotent. One on a drive that has grown has all of it then."""
        name = naming.check_name(call.parameters["name"])
        disk = await call.asked(operations.MOUNT_DISK)
        if (disk.descriptor is None) == (disk.serial is None):
            raise faults.InvalidRequest("disk: name either a descriptor or a serial")
        async with self._lock:
            await asyncio.to_thread(self._mount, name, disk)
        return response.json(await asyncio.to_thread(self._row, name))

    async def unmount(self, call: Call) -> response.Response:
        """Nothing is mounted there; idempotent. `StateError` while something has it open."""
        name = naming.check_name(call.parameters["name"])
        async with self._lock:
            await asyncio.to_thread(self._unmount, name)
        return response.Response(operations.UNMOUNT_DISK.status)

    def _mount(self, name: str, disk: schema.DiskReference) -> None:
        target = self._path(name)
        if mounts.is_mount_point(target):
            if disk.serial is not None:
                ext4.grow_mounted(target)
            return
        os.makedirs(target, mode=0o755, exist_ok=True)
        if disk.serial is not None:
            mount_drive(disk.serial, target)
            return
        assert disk.descriptor is not None
        mount_fd = self._given.take(disk.descriptor)
        try:
            mounts.move_mount(mount_fd, target)
        finally:
            os.close(mount_fd)
            self._given.drop(disk.descriptor)

    def _unmount(self, name: str) -> None:
        target = self._path(name)
        if mounts.is_mount_point(target):
            try:
                mounts.umount(target)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                raise errors.StateError(f"unmount disk {name}: it is in use") from error
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(target)

    def _rows(self) -> list[graph.Disk]:
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []
        return [self._row(name) for name in names if mounts.is_mount_point(self._path(name))]

    def _row(self, name: str) -> graph.Disk:
        path = self._path(name)
        found = os.statvfs(path)
        return graph.Disk(
            name=name,
            path=path,
            size_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
        )

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)
