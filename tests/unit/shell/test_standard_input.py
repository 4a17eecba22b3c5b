"""What `pilot ssh` is given as standard input is read to its end, whatever it is."""

from __future__ import annotations

import asyncio
import os
import pathlib

import pytest

from pilot.shell import main


def read(path: str) -> bytes:
    async def all_of_it() -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        reader = asyncio.StreamReader()
        file = os.fdopen(main._waitable(fd), "rb", 0)
        os.close(fd)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        async with asyncio.timeout(60):
            found = await reader.read()
        transport.close()
        return found

    return asyncio.run(all_of_it())


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_of_a_file(tmp_path: pathlib.Path, size: int) -> None:
    (tmp_path / "in").write_bytes(os.urandom(size))
    assert read(str(tmp_path / "in")) == (tmp_path / "in").read_bytes()


def test_of_nothing() -> None:
    assert read("/dev/null") == b""


def test_of_a_pipe() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"abc")
    os.close(theirs)
    assert read(f"/proc/self/fd/{ours}") == b"abc"
    os.close(ours)
