"""`--compose FILE`: what is read of this host for it, and what its app must have before the Machine is made."""

from __future__ import annotations

import os
import stat

from ... import errors
from .. import http, output
from .compose import dotenv, reading
from .compose.files import Files
from .settings import MOST_FILE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .app import App
    from .volumes import Volumes

VOLUME_GB = 1  # of one that is made here; 'pilot machine' extends none


def config(app: App, path: str, volumes: Volumes) -> dict[str, Any]:
    """Of the Machine. `SpecError` before anything is changed; then the app's volumes and secrets are as it wants."""
    plan = read(path)
    for note in plan.notes:
        output.tell(f"pilot machine: {note}")
    found = dict(plan.config)
    if plan.volumes:
        found["mounts"] = [
            {"volume": _volume(volumes, name, must_be=must_be), "name": name} for name, must_be in plan.volumes.items()
        ]
    for name, value in plan.secrets.items():
        app.call("POST", app.path(f"secrets/{http.quoted(name)}"), {"value": value})
    return found


def read(path: str) -> reading.Plan:
    """What the file says, with `.env` beside it, and our own variables before that."""
    base = os.path.dirname(os.path.abspath(path))
    data, _ = _read(path)
    files = Files(base, {**_variables(os.path.join(base, ".env")), **os.environ}, _read)
    return reading.plan(data, path, files)


def _variables(path: str) -> dict[str, str]:
    try:
        data, _ = _read(path)
    except FileNotFoundError:
        return {}
    return dotenv.parse(data.decode(errors="surrogateescape"), os.environ, path)


def _read(path: str) -> tuple[bytes, int]:
    """A regular file's bytes and permissions. `ValueError` for what is none, or too large; `OSError`."""
    file_fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file_fd, "rb") as file:
        status = os.fstat(file_fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        data = file.read(MOST_FILE_BYTES + 1)
    if len(data) > MOST_FILE_BYTES:
        raise ValueError(f"more than {MOST_FILE_BYTES} bytes: put it into the image, or onto a volume")
    return data, stat.S_IMODE(status.st_mode)


def _volume(volumes: Volumes, name: str, *, must_be: bool) -> str:
    try:
        return volumes.id_of(name)
    except errors.NotFound:
        if must_be:
            raise
        return volumes.made(name, VOLUME_GB)
