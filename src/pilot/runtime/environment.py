"""What a process finds out about itself from the container's own files: its home directory."""

from __future__ import annotations

from ..kernel import inroot
from ..spec.process import Process


def complete_environment(process: Process, root_fd: int) -> tuple[str, ...]:
    """`env`, with HOME of the container's passwd where it is not set, as in runc; the last of two equal names wins."""
    variables = {name: f"{name}={value}" for name, _, value in (item.partition("=") for item in process.env)}
    if not variables.get("HOME", "HOME=").removeprefix("HOME="):
        variables["HOME"] = f"HOME={find_home(inroot.read_in_root(root_fd, 'etc/passwd') or b'', process.user.uid)}"
    return tuple(variables.values())


def find_home(passwd: bytes, uid: int) -> str:
    """The sixth field of the first line with that uid; / when there is none."""
    for line in passwd.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid) and fields[5]:
            return fields[5]
    return "/"
