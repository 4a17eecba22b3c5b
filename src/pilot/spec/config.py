"""config.json as a value: the whole of runtime-spec 1.3 for Linux."""

# Annotations are objects here, not texts: see `document`.

import msgspec

from . import linux as linux_
from . import process as process_
from .document import Document, IdMapping


class Root(Document, frozen=True):
    """The rootfs; a relative `path` is relative to the bundle."""

    path: str
    readonly: bool = False


class Mount(Document, frozen=True):
    """One mount; `destination` is in the container, `source` of the runtime namespace or the filesystem's own."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class Hook(Document, frozen=True):
    """A command that gets the container's state on stdin; `timeout` in seconds, None waits as long as it takes."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Hooks(Document, frozen=True):
    """When: see `docs/reference` and runtime-spec config.md, "POSIX-platform Hooks"."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Spec(Document, frozen=True):
    """A container, as its bundle asks for it."""

    oci_version: str
    root: Root | None = None
    process: process_.Process | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    linux: linux_.Linux = linux_.Linux()
