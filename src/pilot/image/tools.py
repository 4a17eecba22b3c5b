"""Running the programs that build images; a missing one is a `HostError` that names its Debian package."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from .. import errors

_PACKAGES = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "chroot": "coreutils",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "lz4": "lz4",
    "mkfs.erofs": "erofs-utils",
    "mmdebstrap": "mmdebstrap",
    "npm": "npm",
    "unshare": "util-linux",
    "zstd": "zstd",
}
_LINES_SHOWN = 8


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    data: bytes | None = None,
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run `command` with `data` on its standard input; its output. `HostError` with the last lines it said."""
    program = command[0]
    if shutil.which(program) is None:
        package = _PACKAGES.get(program, program)
        raise errors.HostError(f"run {program}: no such program", hint=f"apt-get install {package}")
    try:
        done = subprocess.run(
            command,
            input=data if data is not None else b"",
            capture_output=True,
            check=False,
            timeout=timeout_s,
            cwd=cwd,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise errors.HostError(f"run {program}: not done after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        said = b"\n".join((done.stdout + done.stderr).strip().splitlines()[-_LINES_SHOWN:]).decode(errors="replace")
        raise errors.HostError(f"run {program}: exit status {done.returncode}: {said}")
    return done.stdout
