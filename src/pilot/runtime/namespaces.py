"""What the kernel says about namespaces: which of two processes' differ, and who owns one."""

from __future__ import annotations

import fcntl
import os

from .. import errors
from ..kernel import idmap
from ..plan import numbers
from ..plan.abi import Namespace
from ..spec import check
from ..spec.linux import Linux, NamespaceType
from . import openings

_NS_GET_USERNS = 0xB701


def probe_different(pid: int) -> Namespace:
    """Kinds of namespace in which process `pid` is in another one than we are."""
    different = Namespace(0)
    for flag, name in numbers.NAMESPACES.values():
        if _identity(f"/proc/{pid}/ns/{name}") != _identity(f"/proc/self/ns/{name}"):
            different |= Namespace(flag)
    return different


def probe_owned(linux: Linux) -> frozenset[NamespaceType]:
    """Of the namespaces that are joined by path: those that the joined user namespace owns."""
    paths = {namespace.type: namespace.path for namespace in linux.namespaces if namespace.path}
    user = paths.get(NamespaceType.USER)
    if user is None:
        return frozenset()
    return frozenset(kind for kind, path in paths.items() if path != user and _owner(path) == _identity(user))


def check_mappings(linux: Linux) -> None:
    """SpecError where a user namespace is joined and the mappings that are given as well are not its own."""
    path = next((n.path for n in linux.namespaces if n.type is NamespaceType.USER), "")
    if not path or not (linux.uid_mappings or linux.gid_mappings):
        return
    given = tuple(sorted(openings.rows(rows)) for rows in (linux.uid_mappings, linux.gid_mappings))
    try:
        found = tuple(sorted(rows) for rows in idmap.read_maps(path))
    except OSError as error:
        raise errors.HostError(f"look at namespace {path}: {(error.strerror or '').lower()}") from error
    if given != found:
        raise errors.SpecError(
            "$.linux.uidMappings",
            "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only "
            "provide one",
        )


def check_sysctls(linux: Linux) -> None:
    """SpecError for sysctls of a network namespace that is joined and is our own: they would change the host."""
    path = next((n.path for n in linux.namespaces if n.type is NamespaceType.NETWORK), "")
    dotted = {name: check.dotted_sysctl(name) for name in linux.sysctl}
    names = [name for name in linux.sysctl if dotted[name].startswith("net.")]
    if path and names and _identity(path) == _identity("/proc/self/ns/net"):
        raise errors.SpecError(
            f"$.linux.sysctl.{names[0]}", f'sysctl "{dotted[names[0]]}" not allowed in host network namespace'
        )


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise errors.HostError(f"look at namespace {path}: {(error.strerror or '').lower()}") from error
    return found.st_dev, found.st_ino


def _owner(path: str) -> tuple[int, int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner_fd = fcntl.ioctl(fd, _NS_GET_USERNS)
        finally:
            os.close(fd)
    except OSError as error:
        raise errors.HostError(f"look at namespace {path}: {(error.strerror or '').lower()}") from error
    try:
        found = os.fstat(owner_fd)
    finally:
        os.close(owner_fd)
    return found.st_dev, found.st_ino
