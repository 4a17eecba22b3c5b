"""Images in files: a directory, or a tar that is read in place. Names come from strangers and lead nowhere else."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from ... import errors
from ...kernel import inroot
from . import limits, tarstream
from .tarstream import Entry, Kind

_PIECE = 1 << 18


class Files(Protocol):
    """Regular files by name."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content; NotFound when there is no such regular file."""
        ...


def read(files: Files, path: str, limit_bytes: int) -> bytes:
    """All of a small file; SpecError when it is not small."""
    data = b""
    for piece in files.pieces(path):
        data += piece
        if len(data) > limit_bytes:
            raise errors.SpecError(path, f"more than {limit_bytes} bytes", file=files.name)
    return data


def after(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    """What comes after so many bytes."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:]
        start = max(0, start - len(piece))


class Directory:
    """Files below a directory; links do not lead out of it."""

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.NotFound(f"open {path}: {error.strerror}") from error

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def pieces(self, path: str) -> Iterator[bytes]:
        """As `Files` has it. Only what is a regular file is opened: a FIFO would be waited for."""
        with _opened(self._fd, path, self.name) as file:
            while piece := file.read(_PIECE):
                yield piece


def _opened(root_fd: int, path: str, name: str) -> io.FileIO:
    try:
        place_fd = inroot.open_in_root(root_fd, path, os.O_PATH)
    except OSError as error:
        raise errors.NotFound(f"open {path} of {name}: {os.strerror(error.errno or errno.EIO)}") from error
    try:
        if not stat.S_ISREG(os.fstat(place_fd).st_mode):
            raise errors.NotFound(f"open {path} of {name}: no regular file")
        return io.FileIO(f"/proc/self/fd/{place_fd}", "r")
    finally:
        os.close(place_fd)


class Archive:
    """Files in a tar that is not compressed; links in it lead to its own files."""

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise errors.NotFound(f"open {path}: {error.strerror}") from error
        try:
            self._members = dict(self._listed())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _listed(self) -> Iterator[tuple[str, tuple[Entry, int]]]:
        if os.pread(self._file.fileno(), 2, 0) == b"\x1f\x8b":
            raise errors.SpecError("tar", "it is compressed", file=self.name, hint="gunzip it first")
        reader = tarstream.Reader(self._file, self._pass)
        count = 0
        try:
            while (entry := reader.next()) is not None:
                count += 1
                if count > limits.ARCHIVE_FILES:
                    raise errors.SpecError("tar", f"more than {limits.ARCHIVE_FILES} files")
                yield os.path.normpath(os.fsdecode(entry.name)), (entry, self._file.tell())
        except errors.SpecError as error:
            raise errors.SpecError(error.path, error.problem, file=self.name) from error

    def _pass(self, size: int) -> None:
        self._file.seek(size, os.SEEK_CUR)

    def pieces(self, path: str) -> Iterator[bytes]:
        """As `Files` has it."""
        entry, at = self._find(path)
        end = at + entry.size
        while at < end:
            piece = os.pread(self._file.fileno(), min(_PIECE, end - at), at)
            if not piece:
                raise errors.SpecError(path, "it is cut off", file=self.name)
            yield piece
            at += len(piece)

    def _find(self, path: str) -> tuple[Entry, int]:
        """Through one link: `docker save` keeps a layer once and links to it from elsewhere."""
        found = self._members.get(os.path.normpath(path))
        if found is not None and found[0].kind in (Kind.SYMLINK, Kind.LINK):
            beside = os.path.dirname(os.path.normpath(path)) if found[0].kind is Kind.SYMLINK else ""
            found = self._members.get(os.path.normpath(os.path.join(beside, os.fsdecode(found[0].target))))
        if found is None or found[0].kind is not Kind.FILE or _is_sparse(found[0]):
            raise errors.NotFound(f"open {path} of {self.name}: no regular file")
        return found


def _is_sparse(entry: Entry) -> bool:
    return entry.segments != (((0, entry.size),) if entry.size else ())
