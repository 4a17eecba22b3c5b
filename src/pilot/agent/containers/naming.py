"""Names of containers, and of what belongs to one in init's store: `container/<name>/<kind>/...`."""

from __future__ import annotations

import re

from ...wire import faults

WORLD = "world"
MACHINE = "_machine"  # no container's: of what runs beside the agent
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def check_name(name: str) -> str:
    """`name`; `InvalidRequest` when a container cannot be called so."""
    if not _NAME.fullmatch(name):
        raise faults.InvalidRequest(f"container: {name!r} is not 1 to 31 of a-z, 0-9 and -, beginning with no -")
    return name


def is_beside(container: str) -> bool:
    """Whether what is in it runs beside the agent, in no container: for an operator."""
    return container == MACHINE


def store_name(container: str, *parts: str) -> str:
    """In init's store: at most 95 bytes, which 31 of the container, an id and a part leave room for."""
    return "/".join(("container", container, *parts))


def parse_store_name(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Container and parts; None when it is the name of something else."""
    kind, *rest = name.split("/")
    return (rest[0], tuple(rest[1:])) if kind == "container" and len(rest) > 1 else None
