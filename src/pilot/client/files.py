"""Verbs on a sprite's files."""

from __future__ import annotations

import os
import stat
import sys

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
    with _opened(local) as file:
        found = os.fstat(file.fileno())
        if stat.S_ISDIR(found.st_mode):
            raise errors.PilotError(f"{local}: a directory", hint=f"tar -c {local} | sprite exec tar -x")
        is_file = stat.S_ISREG(found.st_mode)
        mode = context.said.option("mode") or (f"0{found.st_mode & 0o777:o}" if is_file else "0644")
        query = [*_query(remote), ("mode", mode), ("mkdirParents", "true")]
        path = sprite_path(context.sprite, "fs/write")
        pieces = output.Progress(local, found.st_size if is_file else None).through(_pieces(file))
        context.api.upload(path, query, pieces, found.st_size if is_file else None)


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


def pull(context: Context) -> None:
    """Whole or not at all: into a file beside it, then renamed."""
    remote = context.said.required("REMOTE")
    local = context.said.argument("LOCAL") or os.path.basename(remote.rstrip("/"))
    answer = context.api.raw("GET", sprite_path(context.sprite, "fs/read"), _query(remote))
    try:
        if local == "-":
            for piece in answer.pieces():
                output.write_all(1, piece)
            return
        if os.path.isdir(local):
            local = os.path.join(local, os.path.basename(remote))
        temporary = f"{local}.part"
        try:
            with open(temporary, "wb") as file:
                for piece in output.Progress(remote, answer.length).through(answer.pieces()):
                    file.write(piece)
            os.rename(temporary, local)
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise output.LocalError(f"write {local}: {(error.strerror or str(error)).lower()}") from error
    finally:
        answer.close()
