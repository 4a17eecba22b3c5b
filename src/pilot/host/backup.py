"""`pilotd backup` and `pilotd restore`: what a pilotd knows and no other copy has, in one file.

    <file>  (tar)
        backup.json         {"version": 2, "made_at": …, "pilotd": …}
        state.db            sprites, Machines, checkpoints, keys (hashed), events, runs: as of one moment
        token, secrets.key, visits.key, identity/…, ca/…, network/defaults
        SHA256SUMS          of each of them, in the words of sha256sum; a backup of version 1 has none

Disks are not in it: with `--store` they are in the object store; without, they are `volumes/`, to be copied while no
pilotd runs (`pilotd drain`). A key that was given by `--seal-key` is the operator's, who has it.

The database is copied first, then the keys: each is on disk before a row speaks of it, so none is missing. A restore
unpacks beside, looks at all of it, and moves it to its place, the database last: a directory with a database is whole.
What has changed on its way, in any byte of any file, is not restored: SQLite looks at its own structure alone, and a
key has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO

import msgspec

from .. import __version__, errors
from ..kernel import files
from ..wire import timestamps
from .store import sqlite

VERSION = 2
_UNSUMMED = 1  # the version before there were sums
DATABASE = "state.db"
FILES = ("token", "secrets.key", "visits.key", "network/defaults")
DIRECTORIES = ("identity", "ca")
MOST_BYTES = 16 << 20  # of one of the files
_ABOUT = "backup.json"
_SUMS = "SHA256SUMS"
_SCRATCH = (".backup-", ".restore-")
_OF_A_DATABASE = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")


class About(msgspec.Struct, frozen=True):
    version: int
    made_at: str
    pilotd: str


def write(state_dir: str, out: IO[bytes]) -> None:
    """Whether a pilotd serves the directory or not. `HostError` when there is none, or it cannot be read."""
    path = os.path.join(state_dir, DATABASE)
    if not os.path.exists(path):
        raise errors.HostError(f"back up {state_dir}: no pilotd has ever served it", hint="--state-dir as of serve")
    sums: dict[str, str] = {}
    with _told(f"back up {state_dir}"), tarfile.open(fileobj=out, mode="w|") as archive:
        about = msgspec.json.encode(About(VERSION, timestamps.now(), __version__))
        sums[_ABOUT] = _add(archive, _ABOUT, about)
        with _scratch(state_dir, ".backup-") as scratch:
            copy = os.path.join(scratch, DATABASE)
            sqlite.copy(path, copy)
            with open(copy, "rb") as file:
                sums[DATABASE] = hashlib.file_digest(file, "sha256").hexdigest()
            archive.add(copy, DATABASE, filter=_plain)
        for name in _there(state_dir):
            with open(os.path.join(state_dir, name), "rb") as file:
                sums[name] = _add(archive, name, file.read())
        _add(archive, _SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())


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


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> str:
    """Its digest."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(content).hexdigest()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    return member


def restore(state_dir: str, source: IO[bytes]) -> About:
    """Into a directory that no pilotd serves and that has no database: what is there besides (`volumes/`) stays.

    `Conflict` where there is one, or the log of one; `SpecError` for a file that is no backup, or not a whole one: then
    nothing in the directory has changed.
    """
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    with files.alone(os.path.join(state_dir, "lock")) as is_ours, _told(f"restore {state_dir}"):
        if not is_ours:
            raise errors.Conflict(f"restore {state_dir}: a pilotd serves it", hint="end it first: pilotd drain")
        sweep(state_dir)
        _check_no_database(state_dir)
        with _scratch(state_dir, ".restore-") as scratch:
            about, names = _unpack(source, scratch)
            if problem := sqlite.examine(os.path.join(scratch, DATABASE)):
                raise errors.SpecError("$", f"{DATABASE}: {problem}", file="backup")
            for name in (*names, DATABASE):
                _move(name, scratch, state_dir)
        return about


def _check_no_database(state_dir: str) -> None:
    """Nor a log: SQLite does not see that it is of another database, and would write it into the restored one."""
    found = [name for name in _OF_A_DATABASE if os.path.exists(os.path.join(state_dir, name))]
    if found:
        hint = f"move {'it' if len(found) == 1 else 'them'} away"
        raise errors.Conflict(f"restore {state_dir}: it has a {' and a '.join(found)}", hint=hint)


def _move(name: str, source: str, target: str) -> None:
    """Of one filesystem; it is there after a power loss."""
    place = os.path.join(target, name)
    directory = os.path.dirname(place)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    os.rename(os.path.join(source, name), place)
    files.sync_directory(directory)


@contextlib.contextmanager
def _scratch(state_dir: str, prefix: str) -> Iterator[str]:
    """A directory of its own for the block; it is locked, so `sweep` knows whether somebody is still at work there."""
    with tempfile.TemporaryDirectory(dir=state_dir, prefix=prefix) as place, files.directory_held(place):
        yield place


def sweep(state_dir: str) -> None:
    """Remove what backups and restores that were killed have left."""
    for name in os.listdir(state_dir):
        if name.startswith(_SCRATCH):
            _remove_left(os.path.join(state_dir, name))


def _remove_left(place: str) -> None:
    try:
        with files.directory_alone(place) as is_left:
            if is_left:
                shutil.rmtree(place)
    except FileNotFoundError:
        pass  # whoever was at work there has removed it


def _unpack(source: IO[bytes], scratch: str) -> tuple[About, list[str]]:
    """What it says of itself, and the names of what it has besides the database."""
    about, said, sums = None, None, dict[str, str]()
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                if about is None:
                    about, sums[_ABOUT] = _about(archive, member)
                elif said is not None:
                    raise errors.SpecError("$", f"no backup has {member.name[:100]!r} after its sums", file="backup")
                elif member.name == _SUMS:
                    said = _content(archive, member)
                elif member.name == DATABASE and member.isreg():
                    sums[DATABASE] = _save(archive, member, os.path.join(scratch, DATABASE))
                else:
                    sums[member.name] = _restore(archive, member, scratch)
    except (tarfile.TarError, EOFError) as error:
        raise errors.SpecError("$", f"no backup, or not a whole one: {error}", file="backup") from error
    if about is None or DATABASE not in sums:
        raise errors.SpecError("$", f"no backup, or not a whole one: it has no {DATABASE}", file="backup")
    if about.version > _UNSUMMED or said is not None:
        _check_sums(said, sums)
    return about, [name for name in sums if name not in (_ABOUT, DATABASE)]


def _check_sums(said: bytes | None, found: Mapping[str, str]) -> None:
    if said is None:
        raise errors.SpecError("$", f"not a whole one: it has no {_SUMS}", file="backup")
    rows = (row.partition(b"  ") for row in said.splitlines())
    told = {name.decode(errors="replace"): digest.decode(errors="replace") for digest, _, name in rows}
    other = sorted(name[:100] for name in {*told, *found} if told.get(name) != found.get(name))
    if other:
        raise errors.SpecError("$", f"not as it was made: {', '.join(other)}", file="backup")


def _about(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[About, str]:
    """And its digest."""
    if member.name != _ABOUT:
        raise errors.SpecError("$", f"no backup: it begins with {member.name[:100]!r}", file="backup")
    content = _content(archive, member)
    try:
        found = msgspec.json.decode(content, type=About)
    except errors.UNREADABLE as error:
        raise errors.SpecError("$", f"{_ABOUT}: {error}", file="backup") from error
    if found.version > VERSION:
        raise errors.SpecError("$", f"version {found.version}, this pilotd knows {VERSION}", file="backup")
    return found, hashlib.sha256(content).hexdigest()


def _restore(archive: tarfile.TarFile, member: tarfile.TarInfo, scratch: str) -> str:
    """Names that a backup has, and no others. Its digest."""
    directory, slash, name = member.name.partition("/")
    is_known = member.name in FILES or (slash and directory in DIRECTORIES and name not in ("", ".", ".."))
    if not is_known or "/" in name.removeprefix("defaults") or not member.isreg():
        raise errors.SpecError("$", f"no backup has {member.name[:100]!r}", file="backup")
    place = os.path.join(scratch, member.name)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    content = _content(archive, member)
    files.replace(place, content, durable=True)
    return hashlib.sha256(content).hexdigest()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() and member.size <= MOST_BYTES else None
    if file is None:
        raise errors.SpecError("$", f"{member.name[:100]!r} is no file, or too large", file="backup")
    return file.read()


def _save(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> str:
    """Its digest."""
    file = archive.extractfile(member) if not member.sparse else None
    if file is None:
        raise errors.SpecError("$", f"{member.name}: it has holes, which no backup has", file="backup")
    digest = hashlib.sha256()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        while piece := file.read(1 << 20):
            out.write(piece)
            digest.update(piece)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What the host refuses, in a plain line."""
    try:
        yield
    except OSError as error:
        raise errors.HostError(f"{what}: {error.filename or ''}: {(error.strerror or str(error)).lower()}") from error
