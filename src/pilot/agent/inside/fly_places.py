"""/.fly: what each container finds of its machine, in a directory of its own that is mounted read-only (`agent.shown`).

<run>/inside/fly.sock       the socket
<run>/fly/<container>/      bound at /.fly, read-only
    api                     a link to the socket: its root may ask what Fly's /.fly/api is asked
    kms/                    where <run>/kms is bound, the files of its app's secret keys (agent.keys)
    …                       what is written for this container alone (broker)
"""

from __future__ import annotations

import contextlib
import os

PLACE = "/.fly"
SOCKET = "fly.sock"
_API = "api"
KEYS = "kms"


def directory(run: str, container: str) -> str:
    """Of that container, in the machine."""
    return os.path.join(run, "fly", container)


def keys(run: str) -> str:
    """Where the files of secret keys are mounted in the machine, if they are."""
    return os.path.join(run, KEYS)


def ensure(run: str, inside: str, container: str) -> str:
    """That directory, with the socket in it where there is one. `OSError`."""
    place = directory(run, container)
    os.makedirs(place, mode=0o755, exist_ok=True)
    link, socket = os.path.join(place, _API), os.path.join(inside, SOCKET)
    if not os.path.lexists(link) and os.path.lexists(socket):
        with contextlib.suppress(FileExistsError):  # a start and the broker may be here at once
            os.link(socket, link)
    if os.path.ismount(keys(run)):
        os.makedirs(os.path.join(place, KEYS), mode=0o755, exist_ok=True)
    return place
