"""A program of this machine in a sprite that has it not, with the libraries that it wants, as it would be there."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from typing import Any

_PLACE = "opt/brought"


def install(sprite: Any, name: str) -> None:
    """As /usr/bin/NAME: a script that runs it with its own libraries."""
    program = shutil.which(name)
    assert program is not None
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    (loader,) = (path for path in libraries if "/ld-" in path)
    started = f"/{_PLACE}/{loader.rpartition('/')[2]} --library-path /{_PLACE}"
    script = f'#!/bin/sh\nexec {started} /{_PLACE}/{name} "$@"\n'.encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in (program, *libraries):
            archive.add(os.path.realpath(path), arcname=f"{_PLACE}/{path.rpartition('/')[2]}")
        member = tarfile.TarInfo(f"usr/bin/{name}")
        member.size, member.mode = len(script), 0o755
        archive.addfile(member, io.BytesIO(script))
    (sprite.filesystem("/") / "tmp/brought.tar").write_bytes(packed.getvalue())
    sprite.run("sudo", "tar", "-C", "/", "-xf", "/tmp/brought.tar", check=True)
