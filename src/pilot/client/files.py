"""Verbs on a sprite's files."""

from __future__ import annotations

import os
import stat
import sys
import time

from .. import errors
from . import output
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from .context import Context

PIECE_BYTES = 1 << 18
HOME = "/home/sprite"


def list_directory(context: Context) -> None:
    query = _query(context.said.argument("PATH") or ".")
    query += [("recursive", "true")] if context.said.has("recursive") else []
    found = context.api.call("GET", sprite_path(context.sprite, "fs/list"), query=query)
    if context.wants_json:
        output.document(found["entries"])
        return
    rows = [
        (row["mode"], str(row["size"]), output.moment(row["modTime"]), row["path"] + ("/" if row["isDir"] else ""))
        for row in found["entries"]
    ]
    output.table(("MODE", "SIZE", "CHANGED", "PATH"), rows)


def _query(path: str) -> list[tuple[str, str]]:
    return [("path", path), ("workingDir", HOME)]


def push(context: Context) -> None:
    local = context.said.required("LOCAL")
    remote = context.said.argument("REMOTE") or os.path.basename(local)
    if not remote or (local == "-" and context.said.argument("REMOTE") is None):
        raise errors.PilotError("what is it to be called there?", hint="sprite file push - PATH")
    push_file(context, context.sprite, local, remote, context.said.option("mode"))


def push_file(context: Context, sprite: str, local: str, remote: str, mode: str | None = None) -> None:
    """`mode`: in octal digits; a file's own without it."""
    with _opened(local) as file:
        found = os.fstat(file.fileno())
        if stat.S_ISDIR(found.st_mode):
            raise errors.PilotError(f"{local}: a directory", hint=f"tar -c {local} | sprite exec tar -x")
        is_file = stat.S_ISREG(found.st_mode)
        mode = mode or (f"0{found.st_mode & 0o777:o}" if is_file else "0644")
        query = [*_query(remote), ("mode", mode), ("mkdirParents", "true")]
        # The kernel's own files (/proc, /sys) say 0, whatever is in them.
        length = found.st_size if is_file and found.st_size else None
        if length is None:
            path = sprite_path(sprite, "fs/write")
            context.api.upload(path, query, output.Progress(local, length).through(_pieces(file)), length)
        else:
            _push_whole(context, sprite, file, length, local, query)


def _push_whole(
    context: Context, sprite: str, file: BinaryIO, length: int, local: str, query: list[tuple[str, str]]
) -> None:
    """Goes on where a connection broke, as often as that brings it further, when what is there is the beginning of the
    same file: it is read back, as it may be what was there before."""
    path, begun = sprite_path(sprite, "fs/write"), 0
    while True:
        file.seek(begun)
        pieces = output.Progress(local, length, begun).through(_exactly(file, length - begun, local))
        try:
            context.api.upload(path, [*query, *([("offset", str(begun))] if begun else [])], pieces, length - begun)
        except errors.PeerError:
            there = _arrived(context, sprite, query, file, begun)
            if not begun < there < length:
                raise  # it came no further
            output.tell(f"{local}: the connection broke; on from {there} of {length} bytes")
            begun = there
        else:
            return


def _arrived(context: Context, sprite: str, query: list[tuple[str, str]], file: BinaryIO, begun: int) -> int:
    """As `_beginning`, asked again for a while: the machine may hear of the end of a connection later than we do."""
    for pause_s in (0.0, 0.2, 0.5, 1.0, 2.0):
        time.sleep(pause_s)
        if (there := _beginning(context, sprite, query, file)) > begun:
            return there
    return begun


def _beginning(context: Context, sprite: str, query: list[tuple[str, str]], file: BinaryIO) -> int:
    """How much of it is there; 0 when anything else is, nothing, or what cannot be read back."""
    file.seek(0)
    same = 0
    try:
        answer = context.api.raw("GET", sprite_path(sprite, "fs/read"), query[:2])
        try:
            for piece in answer.pieces():
                if file.read(len(piece)) != piece:
                    return 0
                same += len(piece)
        finally:
            answer.close()
    except errors.PilotError:
        return 0  # why it was to be read is what is told
    return same


def _opened(local: str) -> BinaryIO:
    if local == "-":
        return sys.stdin.buffer
    try:
        return open(local, "rb")
    except OSError as error:
        raise errors.HostError(f"read {local}: {(error.strerror or str(error)).lower()}") from error


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(PIECE_BYTES):
        yield data


def _exactly(file: BinaryIO, length: int, local: str) -> Iterator[bytes]:
    """As much as the server was told, of a file that somebody may be writing to."""
    left = length
    while left:
        data = file.read(min(left, PIECE_BYTES))
        if not data:
            raise errors.HostError(f"read {local}: it has become shorter meanwhile, nothing was written")
        left -= len(data)
        yield data


def pull(context: Context) -> None:
    remote = context.said.required("REMOTE")
    local = context.said.argument("LOCAL") or os.path.basename(remote.rstrip("/"))
    answer = context.api.raw("GET", sprite_path(context.sprite, "fs/read"), _query(remote))
    try:
        if local == "-":
            for piece in answer.pieces():
                output.write_all(1, piece)
            return
        if os.path.isdir(local):
            local = os.path.join(local, os.path.basename(remote.rstrip("/")))
        save(local, output.Progress(remote, answer.length).through(answer.pieces()))
    finally:
        answer.close()


def save(local: str, pieces: Iterator[bytes]) -> None:
    """A file: whole or not at all, by one beside it that is renamed. A link stays one, a mode what it is; and what is
    there and no file (a device, a pipe) is written to."""
    try:
        before = os.stat(local) if os.path.exists(local) else None
        if before is None or stat.S_ISREG(before.st_mode):
            _replace(os.path.realpath(local), None if before is None else before.st_mode, pieces)
        else:
            with open(local, "wb") as file:
                file.writelines(pieces)
    except OSError as error:
        raise output.LocalError(f"write {local}: {(error.strerror or str(error)).lower()}") from error


def _replace(place: str, mode: int | None, pieces: Iterator[bytes]) -> None:
    temporary = f"{place}.{os.getpid()}.part"
    with open(temporary, "xb") as file:
        try:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            file.writelines(pieces)
            file.close()
            os.rename(temporary, place)
        except BaseException:
            os.unlink(temporary)
            raise
