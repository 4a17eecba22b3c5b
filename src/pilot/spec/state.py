"""The state document: what `state` prints and what hooks get on stdin."""

# Annotations are objects here, not texts: see `document`.

import enum

import msgspec

from . import version
from .document import Document


class Status(enum.Enum):
    """The specification's, and runc's `paused`."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class State(Document, frozen=True, omit_defaults=False):
    """`pid` is 0 when there is no process; the members below `bundle` are runc's and are absent in what hooks get."""

    id: str
    status: Status
    pid: int
    bundle: str
    oci_version: str = version.OCI_VERSION
    rootfs: str | msgspec.UnsetType = msgspec.UNSET
    created: str | msgspec.UnsetType = msgspec.UNSET
    owner: str | msgspec.UnsetType = msgspec.UNSET
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


def state_json(state: State) -> dict[str, object]:
    """The document as JSON data, its members in the order that runc prints them."""
    data = msgspec.to_builtins(state)
    return {name: data[name] for name in _ORDER if name in data}


_ORDER = ("ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner")


class ContainerProcessState(Document, frozen=True, omit_defaults=False):
    """What the seccomp agent at `listenerPath` gets together with the descriptors that `fds` names, in their order."""

    pid: int
    metadata: str
    state: State
    fds: tuple[str, ...] = ("seccompFd",)
    oci_version: str = version.OCI_VERSION


def format_hook_state(id: str, status: Status, pid: int, bundle: str, annotations: dict[str, str]) -> bytes:
    """The JSON a hook reads from its stdin; without a process, without `pid`, as the specification may have it."""
    state = State(id=id, status=status, pid=pid, bundle=bundle, annotations=annotations or msgspec.UNSET)
    data = msgspec.to_builtins(state)
    return msgspec.json.encode(data if pid else {name: value for name, value in data.items() if name != "pid"})
