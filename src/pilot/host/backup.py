"""`pilotd backup` and `pilotd restore`: what a pilotd knows and no other copy has, in one file.

    <file>  (tar)
        backup.json         {"version": 1, "made_at": …, "pilotd": …}
        state.db            sprites, Machines, checkpoints, keys (hashed), events, runs: as of one moment
        token, secrets.key, visits.key, identity/…, ca/…, network/defaults

Disks are not in it: with `--store` they are in the object store; without, they are `volumes/`, to be copied while no
pilotd runs (`pilotd drain`). A key that was given by `--seal-key` is the operator's, who has it.

The database is copied first, then the keys: each is on disk before a row speaks of it, so none is missing. Restoring
writes the database last: a directory with a database is whole.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from typing import IO

import msgspec

from .. import __version__, errors
from ..kernel import files
from ..wire import timestamps
from .store import sqlite

VERSION = 1
DATABASE = "state.db"
FILES = ("token", "secrets.key", "visits.key", "network/defaults")
DIRECTORIES = ("identity", "ca")
MOST_BYTES = 16 << 20  # of one of the files
_ABOUT = "backup.json"


class About(msgspec.Struct, frozen=True):
    version: int
    made_at: str
    pilotd: str


def write(state_dir: str, out: IO[bytes]) -> None:
    """Whether a pilotd serves the directory or not. `HostError` when there is none, or it cannot be read."""
    path = os.path.join(state_dir, DATABASE)
    if not os.path.exists(path):
        raise errors.HostError(f"back up {state_dir}: no pilotd has ever served it", hint="--state-dir as of serve")
    with _told(f"back up {state_dir}"), tarfile.open(fileobj=out, mode="w|") as archive:
        _add(archive, _ABOUT, msgspec.json.encode(About(VERSION, timestamps.now(), __version__)))
        with tempfile.TemporaryDirectory(dir=state_dir, prefix=".backup-") as scratch:
            copy = os.path.join(scratch, DATABASE)
            sqlite.copy(path, copy)
            archive.add(copy, DATABASE, filter=_plain)
        for name in _there(state_dir):
            with open(os.path.join(state_dir, name), "rb") as file:
                _add(archive, name, file.read())


def _there(state_dir: str) -> Iterator[str]:
    """Those of our files that there are; what is being written has a name that begins with a dot."""
    yield from (name for name in FILES if os.path.isfile(os.path.join(state_dir, name)))
    for directory in DIRECTORIES:
        for name in sorted(_listed(os.path.join(state_dir, directory))):
            if not name.startswith(".") and os.path.isfile(os.path.join(state_dir, directory, name)):
                yield f"{directory}/{name}"


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    return member


def restore(state_dir: str, source: IO[bytes]) -> About:
    """Into a directory that no pilotd serves and that has no database: what is there besides (`volumes/`) stays.

    `Conflict` where there is one; `SpecError` for a file that is no backup, or not a whole one: then none is there.
    """
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    with files.alone(os.path.join(state_dir, "lock")) as is_ours, _told(f"restore {state_dir}"):
        if not is_ours:
            raise errors.Conflict(f"restore {state_dir}: a pilotd serves it", hint="end it first: pilotd drain")
        if os.path.exists(os.path.join(state_dir, DATABASE)):
            raise errors.Conflict(f"restore {state_dir}: it has a {DATABASE}", hint="move it away")
        with tempfile.TemporaryDirectory(dir=state_dir, prefix=".restore-") as scratch:
            about = _unpack(source, state_dir, os.path.join(scratch, DATABASE))
            if problem := sqlite.examine(os.path.join(scratch, DATABASE)):
                raise errors.SpecError("$", f"{DATABASE}: {problem}", file="backup")
            os.rename(os.path.join(scratch, DATABASE), os.path.join(state_dir, DATABASE))
        files.sync_directory(state_dir)
        return about


def _unpack(source: IO[bytes], state_dir: str, database: str) -> About:
    about = None
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                if about is None:
                    about = _about(archive, member)
                elif member.name == DATABASE and member.isreg():
                    _save(archive, member, database)
                else:
                    _restore(archive, member, state_dir)
    except (tarfile.TarError, EOFError) as error:
        raise errors.SpecError("$", f"no backup, or not a whole one: {error}", file="backup") from error
    if about is None or not os.path.exists(database):
        raise errors.SpecError("$", f"no backup, or not a whole one: it has no {DATABASE}", file="backup")
    return about


def _about(archive: tarfile.TarFile, member: tarfile.TarInfo) -> About:
    if member.name != _ABOUT:
        raise errors.SpecError("$", f"no backup: it begins with {member.name[:100]!r}", file="backup")
    try:
        found = msgspec.json.decode(_content(archive, member), type=About)
    except errors.UNREADABLE as error:
        raise errors.SpecError("$", f"{_ABOUT}: {error}", file="backup") from error
    if found.version > VERSION:
        raise errors.SpecError("$", f"version {found.version}, this pilotd knows {VERSION}", file="backup")
    return found


def _restore(archive: tarfile.TarFile, member: tarfile.TarInfo, state_dir: str) -> None:
    """Names that a backup has, and no others."""
    directory, slash, name = member.name.partition("/")
    is_known = member.name in FILES or (slash and directory in DIRECTORIES and name not in ("", ".", ".."))
    if not is_known or "/" in name.removeprefix("defaults") or not member.isreg():
        raise errors.SpecError("$", f"no backup has {member.name[:100]!r}", file="backup")
    place = os.path.join(state_dir, member.name)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    files.replace(place, _content(archive, member), durable=True)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() and member.size <= MOST_BYTES else None
    if file is None:
        raise errors.SpecError("$", f"{member.name[:100]!r} is no file, or too large", file="backup")
    return file.read()


def _save(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    file = archive.extractfile(member)
    assert file is not None  # it is a regular one
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        while piece := file.read(1 << 20):
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What the host refuses, in a plain line."""
    try:
        yield
    except OSError as error:
        raise errors.HostError(f"{what}: {error.filename or ''}: {(error.strerror or str(error)).lower()}") from error
