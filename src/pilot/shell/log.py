"""Who was let in by which certificate, and what was asked for: a line of JSON each, appended in one write.

{"time": "2026-…Z", "event": "let in", "as": "db", "certificate": "alice@example.com", "serial": 7,
 "key": "SHA256:…", "authority": "SHA256:…"}
{"time": …, "event": "command" | "ended", "as": …, "certificate": …, "serial": …, "command": "…", "exit_code": …}
"""

from __future__ import annotations

import os
import time
from types import TracebackType

import msgspec
from asyncssh.public_key import SSHOpenSSHCertificate

from .. import errors
from ..wire import timestamps


class Certificate(msgspec.Struct, frozen=True):
    """What names one: its authority's words for who has it, the number it was given, its key and who signed it."""

    id: str
    serial: int
    key: str
    authority: str


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"as_": "as"}):
    """One of the file."""

    time: str
    event: str
    as_: str
    certificate: str
    serial: int
    key: str
    authority: str
    command: str | None = None
    exit_code: int | None = None


def describe(certificate: SSHOpenSSHCertificate) -> Certificate:
    """asyncssh has no words for the first two of its own, and a test holds it to where it keeps them."""
    signed = certificate.signing_key.get_fingerprint()
    return Certificate(certificate._key_id, certificate._serial, certificate.key.get_fingerprint(), signed)


class Log:
    """`path` None: nobody wants to know. `HostError` when it cannot be written: then nobody is let in."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = -1
        if path is not None:
            try:
                self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise errors.HostError(f"log {path}: {(error.strerror or '').lower()}") from error

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def write(
        self, event: str, name: str, by: Certificate, *, command: str | None = None, exit_code: int | None = None
    ) -> None:
        """`HostError` when that could not be written."""
        if self._fd < 0:
            return
        line = Line(
            time=timestamps.of_s(time.time()), event=event, as_=name, certificate=by.id, serial=by.serial, key=by.key,
            authority=by.authority, command=command, exit_code=exit_code,
        )  # fmt: skip
        written = msgspec.json.encode(line) + b"\n"
        try:
            size = os.write(self._fd, written)
        except OSError as error:
            raise errors.HostError(f"log {self._path}: {(error.strerror or '').lower()}") from error
        if size < len(written):
            raise errors.HostError(f"log {self._path}: {size} of {len(written)} bytes were written: the disk is full")
