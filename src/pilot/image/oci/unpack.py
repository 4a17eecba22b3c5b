"""Layers of an image → a directory, by a child that is shut into it (`child`).

NAME.lock           held while it is made
.NAME.unpacking/    on its way; of a killed unpack, removed by the next
NAME/               whole, synchronised, and there only then
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from ... import errors
from ...kernel import directio, files
from . import child, limits, tree
from .digest import Digest
from .layer import Owners

_FRAME = 1 << 18
_REPORT_BYTES = 1 << 16


@dataclass(frozen=True)
class Stored:
    """A layer as it is stored. Whoever gives `chunks` checks them against the blob's own digest, and raises."""

    name: str
    diff_id: Digest
    chunks: Iterable[bytes]


@dataclass(frozen=True)
class Options:
    """How it is unpacked. `stalled_s`: so long may the child take over one entry's worth of data."""

    owners: Owners = field(default_factory=Owners)
    devices: bool = True
    limit: limits.Unpacking = field(default_factory=limits.Unpacking)
    stalled_s: float = 300.0


@dataclass(frozen=True)
class Unpacked:
    """What came of it."""

    entries: int
    stream_bytes: int


def unpack(layers: Iterable[Stored], path: str, options: Options | None = None) -> Unpacked:
    """Make the directory `path`: as a whole, or not at all. `Conflict` when it is there already.

    SpecError for a layer that is refused, PeerError for one that is not what it should be, HostError when this machine
    cannot (a full disk, no root), StateError while another does the same.
    """
    parent, name = os.path.split(os.path.abspath(path))
    lock_fd = files.lock(f"{path}.lock", f"unpack to {path}: somebody else does")
    try:
        if os.path.lexists(path):
            raise errors.Conflict(f"unpack to {path}: it exists")
        partial = os.path.join(parent, f".{name}.unpacking")
        forget(partial)
        os.mkdir(partial, 0o755)
        try:
            done = unpack_into(layers, partial, options)
            _synchronise(partial)
        except BaseException:
            forget(partial)
            raise
        os.rename(partial, path)
        files.sync_directory(parent)
        return done
    finally:
        os.close(lock_fd)


def unpack_into(layers: Iterable[Stored], directory: str, options: Options | None = None) -> Unpacked:
    """Into an empty directory. When this raises, it holds a part of the image, and the caller forgets it."""
    options = options or Options()
    if os.geteuid() != 0:
        raise errors.HostError(f"unpack to {directory}: not root", hint="run as root")
    done = Unpacked(0, 0)
    with _Child(directory, options) as unpacking:
        for layer in layers:
            done = unpacking.apply(layer)
    return done


def forget(path: str) -> None:
    """Remove a tree that a stranger made, however deep; nothing when there is none."""
    parent_fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree.remove(parent_fd, os.fsencode(os.path.basename(path)))
    except FileNotFoundError:
        pass  # there is none
    finally:
        os.close(parent_fd)


def _synchronise(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        directio.sync_filesystem(fd)
    except OSError as error:
        raise errors.HostError(f"unpack to {directory}: {error}") from error
    finally:
        os.close(fd)


class _Child:
    """The confined process, for as long as the `with` lasts."""

    def __init__(self, directory: str, options: Options) -> None:
        self._directory = directory
        self._options = options

    def __enter__(self) -> _Child:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Nothing of the caller's environment: it decides how Python runs.
            environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1", "PATH": "/usr/bin"}
            self._process = subprocess.Popen(
                [sys.executable, "-sP", "-m", child.__name__, str(fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(fd,),
                env=environment,
            )
        finally:
            os.close(fd)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in_fd, self._out_fd = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in_fd, False)
        with contextlib.suppress(BrokenPipeError):  # it has ended: the first layer reads why
            self._send(msgspec.json.encode(self._order()))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:  # closes the pipes, and waits
            pass

    def _order(self) -> child.Order:
        limit = self._options.limit
        return child.Order(
            tuple(self._options.owners.uids),
            tuple(self._options.owners.gids),
            self._options.devices,
            limit.stream_bytes,
            limit.file_bytes,
            limit.entries,
            limit.removals,
            limit.memory_bytes,
        )

    def apply(self, layer: Stored) -> Unpacked:
        """One more layer; it is on the disk when this returns."""
        try:
            self._send(msgspec.json.encode(child.Header(layer.diff_id)))
            for part in _parts(layer.chunks):
                self._send(part)
            self._send(b"")
        except BrokenPipeError:
            pass  # it has ended, and said why
        report = self._report(layer.name)
        if report.kind:
            raise _error(report, layer.name)
        return Unpacked(report.entries, report.stream_bytes)

    def _send(self, data: bytes | memoryview) -> None:
        for piece in (struct.pack("!I", len(data)), data):
            rest = memoryview(piece)
            while rest:
                try:
                    rest = rest[os.write(self._in_fd, rest) :]
                except BlockingIOError:
                    self._wait(self._in_fd, select.POLLOUT)

    def _report(self, name: str) -> child.Report:
        line = b""
        while not line.endswith(b"\n"):
            self._wait(self._out_fd, select.POLLIN)
            part = os.read(self._out_fd, _REPORT_BYTES)
            if not part or len(line) > _REPORT_BYTES:
                raise errors.HostError(f"unpack {name}: the process that does it has ended: {self._ending()}")
            line += part
        return msgspec.json.decode(line, type=child.Report)

    def _ending(self) -> str:
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"status {code}"

    def _wait(self, fd: int, event: int) -> None:
        poller = select.poll()
        poller.register(fd, event)
        if not poller.poll(self._options.stalled_s * 1000):
            raise errors.HostError(f"unpack to {self._directory}: nothing happened for {self._options.stalled_s:g} s")


def _parts(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    """No frame is empty but the last, and none is larger than the child reads at once."""
    for chunk in chunks:
        view = memoryview(chunk)
        for at in range(0, len(view), _FRAME):
            yield view[at : at + _FRAME]


def _error(report: child.Report, name: str) -> errors.PilotError:
    if report.kind == "SpecError":
        return errors.SpecError(report.place, report.problem, file=f"layer {name}")
    place = f": {report.place}" if report.place else ""
    text = f"unpack layer {name}{place}: {report.problem}"
    return errors.PeerError(text) if report.kind == "PeerError" else errors.HostError(text)
