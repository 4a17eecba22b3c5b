"""The rows of an answer, as long as it gets, in a memfd: JSON, ready to be sent.

The child fills it, so its pages are the world's; the agent sends it piece by piece and never has it as a whole. An
error half-way is still an answer of its own: nothing has been sent yet.
"""

from __future__ import annotations

import errno
import os

import msgspec

MAX_BYTES = 256 << 20
_BUFFER_BYTES = 256 << 10
_encode = msgspec.json.Encoder().encode


class Rows:
    """One JSON object whose `key` is a list; other members come before or after it."""

    def __init__(self, key: str, **before: object) -> None:
        self._fd = os.memfd_create("pilot-rows", os.MFD_CLOEXEC)
        self._buffer = bytearray(_encode(before)[:-1] + (b"," if before else b"") + _encode(key) + b":[")
        self._written = 0
        self.count = 0

    def add(self, row: msgspec.Struct) -> None:
        """One more; E2BIG beyond MAX_BYTES."""
        if self.count:
            self._buffer += b","
        self._buffer += _encode(row)
        self.count += 1
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def finish(self, **after: object) -> int:
        """The descriptor, which is the caller's from now on."""
        self._buffer += b"]," + _encode({"count": self.count, **after})[1:]
        self._flush()
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """Unless it was finished."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> None:
        self._written += len(self._buffer)
        if self._written > MAX_BYTES:
            raise OSError(errno.E2BIG, f"the answer is larger than {MAX_BYTES >> 20} MiB")
        data = memoryview(self._buffer)
        while data:
            data = data[os.write(self._fd, data) :]
        del data
        self._buffer = bytearray()
