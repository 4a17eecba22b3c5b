"""Endpoints of the fs calls (Sprites API): query and bodies in, `files` in a thread, JSON or bytes out."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator

from .. import errors
from ..server import response
from ..server.call import Call
from ..wire import faults, http, schema
from . import files, rootfs
from .world import World

READ_BYTES = 256 << 10
# The codes that clients know, and the status that goes with each.
_STATUSES = {
    "ENOENT": 404, "EEXIST": 409, "ENOTDIR": 400, "EISDIR": 400, "EACCES": 403, "EPERM": 403, "ENOTEMPTY": 409,
    "EINVAL": 400, "EIO": 500,
}  # fmt: skip
# What the kernel says beside these → the nearest code.
_NEAREST = {
    "EROFS": "EPERM", "ELOOP": "EINVAL", "ENAMETOOLONG": "EINVAL", "EBUSY": "EPERM", "EXDEV": "EINVAL",
    "ENXIO": "EINVAL", "E2BIG": "EINVAL", "ETXTBSY": "EPERM",
}  # fmt: skip


def error_answer(error: BaseException) -> response.Response:
    """Errors in the shape of the fs calls: always a `code` that clients know, and the path where there is one."""
    if not isinstance(error, OSError):
        fault = faults.fault_of(error)
        code = {404: "ENOENT", 409: "EEXIST", 403: "EACCES"}.get(
            fault.status, "EINVAL" if fault.status < 500 else "EIO"
        )
        return response.refusal(fault, faults.ErrorBody(str(error), code))
    name = errno.errorcode.get(error.errno or 0, "EIO")
    code = name if name in _STATUSES else _NEAREST.get(name, "EIO")
    status = 507 if error.errno in {errno.ENOSPC, errno.EDQUOT} else _STATUSES[code]
    path = error.filename if isinstance(error.filename, str) else None
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return response.json(faults.ErrorBody(f"{path}: {reason}" if path else reason, code, path=path), status)


def _octal(text: str) -> int:
    try:
        mode = int(text.removeprefix("0o"), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise faults.InvalidRequest(f"mode: {text!r} is not an octal mode")
    return mode


def _path(request: http.Request) -> str:
    return rootfs.clean(request.first("path"), request.first("workingDir", "/") or "/")


class FsApi:
    """Files of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, call: Call) -> response.Response:
        """GET /v1/fs/read, with Range."""
        path = _path(call.request)
        fd, size = await asyncio.to_thread(files.open_for_reading, self._world.root(), path)
        try:
            piece = http.parse_range(call.request.headers.get("range", ""), size)
        except BaseException:
            os.close(fd)
            raise
        start, length = piece or (0, size)
        headers = [("Accept-Ranges", "bytes")]
        if piece:
            headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
        # A file of /proc has size 0 and content: its length is not told.
        told = length if size or piece else None
        body = _pieces(fd, path, start, told)
        return response.Response(
            206 if piece else 200, body, content_type=response.BYTES, headers=headers, length_bytes=told
        )

    async def write(self, call: Call) -> response.Response:
        """PUT /v1/fs/write: the body as it comes, of any size."""
        path, text = _path(call.request), call.request.first("mode")
        mode = _octal(text) if text else None
        make = call.request.flag("mkdirParents", default=call.request.flag("mkdir", default=True))
        root = self._world.root()
        fd = await asyncio.to_thread(files.open_for_writing, root, path, mode, make_parents=make)
        size = 0
        try:
            async for piece in call.chunks():
                await asyncio.to_thread(_write_all, fd, piece, path)
                size += len(piece)
        finally:
            os.close(fd)
        return response.json(schema.Written(path=path, size=size, mode=f"{0o644 if mode is None else mode:04o}"))

    async def list(self, call: Call) -> response.Response:
        """GET /v1/fs/list."""
        request, path = call.request, _path(call.request)
        recursive, pattern = request.flag("recursive"), request.first("pattern")
        entries = await asyncio.to_thread(
            files.list_entries, self._world.root(), path, recursive=recursive, pattern=pattern
        )
        return response.json(schema.Listing(path=path, entries=entries, count=len(entries)))

    async def delete(self, call: Call) -> response.Response:
        """DELETE /v1/fs/delete."""
        path = _path(call.request)
        await asyncio.to_thread(files.delete, self._world.root(), path, recursive=call.request.flag("recursive"))
        return response.json(schema.Deleted(deleted=[path], count=1))

    async def rename(self, call: Call) -> response.Response:
        """POST /v1/fs/rename."""
        body = await call.json(schema.MoveRequest)
        source, dest = rootfs.clean(body.source, body.working_dir), rootfs.clean(body.dest, body.working_dir)
        await asyncio.to_thread(files.rename, self._world.root(), source, dest)
        return response.json(schema.Moved(source=source, dest=dest))

    async def copy(self, call: Call) -> response.Response:
        """POST /v1/fs/copy."""
        body = await call.json(schema.MoveRequest)
        source, dest = rootfs.clean(body.source, body.working_dir), rootfs.clean(body.dest, body.working_dir)
        copied, total = await asyncio.to_thread(
            files.copy, self._world.root(), source, dest, recursive=body.recursive, preserve=body.preserve_attrs
        )
        return response.json(schema.Copied(copied=copied, count=len(copied), total_bytes=total))

    async def chmod(self, call: Call) -> response.Response:
        """POST /v1/fs/chmod."""
        body = await call.json(schema.ModeRequest)
        mode = _octal(body.mode)
        path = rootfs.clean(body.path, body.working_dir)
        changed = await asyncio.to_thread(
            files.change, self._world.root(), path, recursive=body.recursive, apply=lambda fd, _: os.chmod(fd, mode)
        )
        rows = [schema.ModeChange(path=each, mode=f"{mode:04o}") for each in changed]
        return response.json(schema.ModesChanged(affected=rows, count=len(rows)))

    async def chown(self, call: Call) -> response.Response:
        """POST /v1/fs/chown."""
        body = await call.json(schema.OwnerRequest)
        root, path = self._world.root(), rootfs.clean(body.path, body.working_dir)
        uid = await asyncio.to_thread(_id, root, "/etc/passwd", body.uid)
        gid = await asyncio.to_thread(_id, root, "/etc/group", body.gid)
        rows: list[schema.OwnerChange] = []

        def apply(fd: str, status: os.stat_result) -> None:
            os.chown(fd, uid, gid)
            rows.append(
                schema.OwnerChange(
                    path="", uid=status.st_uid if uid < 0 else uid, gid=status.st_gid if gid < 0 else gid
                )
            )

        changed = await asyncio.to_thread(files.change, root, path, recursive=body.recursive, apply=apply)
        named = [schema.OwnerChange(path=p, uid=row.uid, gid=row.gid) for p, row in zip(changed, rows, strict=True)]
        return response.json(schema.OwnersChanged(affected=named, count=len(named)))


def _id(root: rootfs.Root, table: str, wanted: int | str | None) -> int:
    """A number, or a name of the world's passwd or group; -1 leaves it as it is."""
    if wanted is None:
        return -1
    if isinstance(wanted, int) or wanted.isdigit():
        number = int(wanted)
        if not 0 <= number < 1 << 32:
            raise faults.InvalidRequest(f"chown: {number} is no id")
        return number
    for line in root.read_small(table).splitlines():
        fields = line.split(":")
        if fields[0] == wanted and len(fields) > 2 and fields[2].isdigit():
            return int(fields[2])
    raise faults.InvalidRequest(f"chown: there is no {wanted!r} in the world's {table}")


async def _pieces(fd: int, path: str, start: int, length: int | None) -> AsyncIterator[bytes]:
    """The file's bytes; closes `fd`. A file that shrinks meanwhile is an error: its length was promised."""
    try:
        left = length
        while left is None or left > 0:
            want = READ_BYTES if left is None else min(READ_BYTES, left)
            data = await asyncio.to_thread(os.pread, fd, want, start)
            if not data and left is None:
                return
            if not data:
                raise errors.PeerError(f"read {path}: the file became shorter")
            start += len(data)
            left = None if left is None else left - len(data)
            yield data
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes, path: str) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        error.filename = path
        raise
