"""One path of a disk's state and all below it as a tar, by a process of its own.

    python -m pilot.host.subtree STATE_FD OUT_FD MOST_BYTES <PATH

STATE_FD is of a volume (rootfs/, pilot/) that nobody writes to, PATH begins at its root. The parts above the last one
are resolved as the sprite would, and lead nowhere else; the last one is not followed. The tar's members begin with
`./NAME`. Owners are numbers; sparse files, hard links, extended attributes and access lists are kept.

A disk that fills up and a tar of more than MOST_BYTES are errors that end it.
"""

from __future__ import annotations

import errno
import os
import posixpath
import signal
import subprocess
import sys

from ..kernel import inroot
from . import difference

_TAR = (
    "--create", "--null", "--verbatim-files-from", "--no-unquote", "--files-from=-", "--format=pax",
    "--numeric-owner", "--sparse", "--xattrs", "--xattrs-include=*", "--acls", "--warning=no-file-ignored", "--file=-",
)  # fmt: skip


def write(root_fd: int, path: str, out_fd: int) -> None:
    """`OSError` when it is not there, or cannot be read or written."""
    directory, name = posixpath.split(path)
    fd = inroot.open_in_root(root_fd, directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
        _run_tar(fd, name, out_fd)
    finally:
        os.close(fd)


def _run_tar(directory_fd: int, name: str, out_fd: int) -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(
        ["tar", f"--directory=/proc/self/fd/{directory_fd}", *_TAR], input=b"./" + os.fsencode(name) + b"\0",
        stdout=out_fd, stderr=subprocess.PIPE, pass_fds=(directory_fd,), env=environment, check=False,
    )  # fmt: skip
    if done.returncode == -signal.SIGXFSZ:
        raise OSError(errno.EFBIG, "it is larger than there is room for", name)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()[-300:] or f"status {done.returncode}"
        raise OSError(errno.EIO, why, "tar")


def _write(state_fd: int, out_fd: int) -> None:
    path = os.fsdecode(sys.stdin.buffer.read())
    root_fd = os.open("rootfs", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=state_fd)
    try:
        write(root_fd, path, out_fd)
    finally:
        os.close(root_fd)


def main() -> int:
    state_fd, out_fd, most_bytes = map(int, sys.argv[1:])
    return difference.within_bounds(most_bytes, lambda: _write(state_fd, out_fd))


if __name__ == "__main__":
    sys.exit(main())
