"""Endpoints of the fs calls (Sprites API): query and bodies in, a child in the world (`files`), JSON or bytes out."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator

from .. import errors
from ..server import response
from ..server.call import Call
from ..server.routing import Route
from ..wire import faults, http, operations, schema
from .files import messages
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
        return response.refusal(fault, faults.ErrorBody(str(error), code), response.allow(error))
    name = errno.errorcode.get(error.errno or 0, "EIO")
    code = name if name in _STATUSES else _NEAREST.get(name, "EIO")
    status = 507 if error.errno in {errno.ENOSPC, errno.EDQUOT} else _STATUSES[code]
    path = error.filename if isinstance(error.filename, str) else None
    reason = (error.strerror or str(error)).lower()
    return response.json(faults.ErrorBody(f"{path}: {reason}" if path else reason, code, path=path), status)


_MODE = re.compile(r"(0o)?0{0,8}[0-7]{1,4}")


def _octal(text: str) -> int:
    if not _MODE.fullmatch(text):
        raise faults.InvalidRequest(f"mode: {text!r} is not an octal mode")
    return int(text.removeprefix("0o"), 8)


def _place(request: http.Request) -> dict[str, str]:
    return {"path": request.first("path"), "working_dir": request.first("workingDir", "/") or "/"}


def _offset(text: str) -> int | None:
    """None when nothing is said. `InvalidRequest`."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise faults.InvalidRequest(f"offset: {text[:40]!r} is no number of bytes")
    return int(text)


class FsApi:
    """Files of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            Route(operations.READ_FILE, self.read),
            Route(operations.WRITE_FILE, self.write),
            Route(operations.LIST_FILES, self.list),
            Route(operations.DELETE_FILE, self.delete),
            Route(operations.RENAME_FILE, self.rename),
            Route(operations.COPY_FILE, self.copy),
            Route(operations.CHANGE_MODE, self.chmod),
            Route(operations.CHANGE_OWNER, self.chown),
        ]

    async def read(self, call: Call) -> response.Response:
        """GET /v1/fs/read, with Range."""
        with await self._world.files().call(messages.OpenForReading(**_place(call.request))) as reply:
            path, size = reply.answer.path, reply.answer.size_bytes
            piece = http.parse_range(call.request.headers.get("range", ""), size)
            start, length = piece or (0, size)
            body = _pieces(reply.take(), path, start, length)
        headers = [("Accept-Ranges", "bytes")]
        if piece:
            headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
        return response.Response(
            206 if piece else 200, body, content_type=response.BYTES, headers=headers, length_bytes=length
        )

    async def write(self, call: Call) -> response.Response:
        """PUT /v1/fs/write: the body as it comes, of any size; with `offset` what follows that many bytes."""
        octal = call.request.first("mode")
        mode = _octal(octal) if octal else None
        make = call.request.flag("mkdirParents", default=call.request.flag("mkdir", default=True))
        offset = _offset(call.request.first("offset"))
        request = messages.OpenForWriting(**_place(call.request), mode=mode, make_parents=make, offset=offset)
        with await self._world.files().call(request) as reply:
            path, fd = reply.answer.path, reply.take()
        size = offset or 0
        try:
            async for piece in call.chunks():
                await asyncio.to_thread(_write_all, fd, piece, path)
                size += len(piece)
        finally:
            os.close(fd)
        return response.json(schema.Written(path=path, size=size, mode=f"{0o644 if mode is None else mode:04o}"))

    async def list(self, call: Call) -> response.Response:
        """GET /v1/fs/list."""
        recursive, pattern = call.request.flag("recursive"), call.request.first("pattern")
        return await self._rows(messages.ListFiles(**_place(call.request), recursive=recursive, pattern=pattern))

    async def delete(self, call: Call) -> response.Response:
        """DELETE /v1/fs/delete."""
        request = messages.Delete(**_place(call.request), recursive=call.request.flag("recursive"))
        with await self._world.files().call(request) as reply:
            return response.json(schema.Deleted(deleted=[reply.answer.path], count=1))

    async def rename(self, call: Call) -> response.Response:
        """POST /v1/fs/rename."""
        body = await call.json(schema.MoveRequest)
        request = messages.Rename(source=body.source, dest=body.dest, working_dir=body.working_dir)
        with await self._world.files().call(request) as reply:
            return response.json(schema.Moved(source=reply.answer.path, dest=reply.answer.dest))

    async def copy(self, call: Call) -> response.Response:
        """POST /v1/fs/copy."""
        body = await call.json(schema.MoveRequest)
        return await self._rows(
            messages.Copy(
                source=body.source,
                dest=body.dest,
                working_dir=body.working_dir,
                recursive=body.recursive,
                preserve=body.preserve_attrs,
            )
        )

    async def chmod(self, call: Call) -> response.Response:
        """POST /v1/fs/chmod."""
        body = await call.json(schema.ModeRequest)
        return await self._rows(
            messages.ChangeMode(
                path=body.path, working_dir=body.working_dir, mode=_octal(body.mode), recursive=body.recursive
            )
        )

    async def chown(self, call: Call) -> response.Response:
        """POST /v1/fs/chown."""
        body = await call.json(schema.OwnerRequest)
        return await self._rows(
            messages.ChangeOwner(
                path=body.path, working_dir=body.working_dir, uid=body.uid, gid=body.gid, recursive=body.recursive
            )
        )

    async def _rows(self, request: messages.AnyRequest) -> response.Response:
        """An answer that the child has written already."""
        with await self._world.files().call(request) as reply:
            fd = reply.take()
        length = os.fstat(fd).st_size
        body = _pieces(fd, "the answer", 0, length)
        return response.Response(200, body, content_type=response.JSON, length_bytes=length)


async def _pieces(fd: int, path: str, start: int, length: int) -> AsyncIterator[bytes]:
    """The file's bytes; closes `fd`. A file that shrinks meanwhile is an error: its length was promised."""
    try:
        left = length
        while left > 0:
            data = await asyncio.to_thread(os.pread, fd, min(READ_BYTES, left), start)
            if not data:
                raise errors.PeerError(f"read {path}: the file became shorter")
            start += len(data)
            left -= len(data)
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
