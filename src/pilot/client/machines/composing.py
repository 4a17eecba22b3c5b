"""`--compose FILE`: what is read of this host for it, and what its app must have before the Machine is made.

file ─► a Plan ─► the whole config, checked here ─► the app's volumes ─► its secrets ─► POST machines

What could be known to be refused is refused before anything is changed. Secrets are last, as running Machines of the
app have their new values at once; what the server alone knows (whether the image is there) is refused after them.
"""

from __future__ import annotations

import os
import stat

from ... import errors
from .. import http, output
from ..api import encoded
from .compose import dotenv, reading
from .compose.files import Files
from .settings import MOST_BODY_BYTES, MOST_FILE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .app import App
    from .volumes import Volumes

VOLUME_GB = 1  # of one that is made here; 'pilot machine' extends none
_ROOM = 64 << 10  # of what else is in the body, and for ids of volumes


def plan(path: str) -> reading.Plan:
    """`SpecError`. What people should know of it is told."""
    found = read(path)
    for note in found.notes:
        output.tell(f"pilot machine: {note}")
    return found


def check(path: str, config: Mapping[str, Any]) -> None:
    """`SpecError` for all of a config that is more than the server takes."""
    if len(encoded(config)) > MOST_BODY_BYTES - _ROOM:
        raise errors.SpecError(
            "$",
            f"with its files it is more than {MOST_BODY_BYTES >> 20} MiB",
            hint="images and volumes have room",
            file=path,
        )


def provide(app: App, wanted: reading.Plan, volumes: Volumes) -> list[dict[str, Any]]:
    """The app's volumes, then its secrets, are as the plan wants. The `mounts` of the config."""
    mounts = [
        {"volume": _volume(volumes, name, must_be=must_be), "name": name} for name, must_be in wanted.volumes.items()
    ]
    for name, value in wanted.secrets.items():
        app.call("POST", app.path(f"secrets/{http.quoted(name)}"), {"value": value})
    return mounts


def read(path: str) -> reading.Plan:
    """What the file says, with `.env` beside it, and our own variables before that. `-` is our stdin, of here."""
    try:
        is_file = path != "-" and stat.S_ISREG(os.stat(path).st_mode)
        data = _read(path)[0] if is_file else _piped(path)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    is_placed = is_file and not os.path.abspath(path).startswith(("/dev/", "/proc/"))
    base = os.path.dirname(os.path.abspath(path)) if is_placed else os.getcwd()
    files = Files(base, {**_variables(os.path.join(base, ".env")), **os.environ}, _read)
    return reading.plan(data, path, files)


def _refused(path: str, error: OSError | ValueError) -> errors.PilotError:
    reason = getattr(error, "strerror", None) or str(error)
    return errors.HostError(f"read {path}: {reason[:1].lower()}{reason[1:]}")


def _piped(path: str) -> bytes:
    """All that comes, of a pipe that somebody writes to: `docker compose config | …`, `<(…)`."""
    with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
        return _bounded(file.read(MOST_FILE_BYTES + 1))


def _variables(path: str) -> dict[str, str]:
    try:
        data, _ = _read(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    return dotenv.parse(data.decode(errors="surrogateescape"), os.environ, path)


def _read(path: str) -> tuple[bytes, int]:
    """A regular file's bytes and permissions. `ValueError` for what is none, or too large; `OSError`."""
    file_fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file_fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        with open(file_fd, "rb", closefd=False) as file:
            return _bounded(file.read(MOST_FILE_BYTES + 1)), stat.S_IMODE(status.st_mode)
    finally:
        os.close(file_fd)


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_FILE_BYTES:
        raise ValueError(f"more than {MOST_FILE_BYTES} bytes: put it into the image, or onto a volume")
    return data


def _volume(volumes: Volumes, name: str, *, must_be: bool) -> str:
    try:
        return volumes.id_of(name)
    except errors.NotFound:
        if must_be:
            raise
        return volumes.made(name, VOLUME_GB)
