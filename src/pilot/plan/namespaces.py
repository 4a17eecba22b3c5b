"""Which namespaces a container process gets, and in which order it gets into them.

    none joined                      clone with all new ones
    joined, no pid or time           clone with the new ones, setns the others
    joined pid or time, offsets,     first process: setns, unshare time; then Spawn with the new ones
    or a user namespace as well

A new user namespace comes last, after those that are joined with the caller's privileges; a joined one comes before
the namespaces that it owns, and before the new ones, which it is to own. Two are left for later, by unshare: the cgroup
namespace, whose root is the cgroup of that moment; and, in a user namespace, the ipc one, whose queues belong to the
user of that moment.
"""

from __future__ import annotations

import os

import msgspec

from ..spec.linux import Linux, NamespaceType, TimeOffset
from . import numbers
from .abi import Namespace
from .code import Slot
from .plan import OpenFile
from .program import Step
from .steps import JoinNamespace, Spawn, Unshare, WriteFile

_CHILDREN_ONLY = Namespace.PID | Namespace.TIME


class Entry(msgspec.Struct, frozen=True):
    """How the process gets into its namespaces: `cloned` by the first clone, then `steps`, `late` by unshare."""

    new: Namespace
    joined: Namespace
    cloned: Namespace
    late: Namespace
    openings: tuple[OpenFile, ...]
    steps: tuple[Step, ...]

    @property
    def all(self) -> Namespace:
        return self.new | self.joined


def flag(kind: NamespaceType) -> Namespace:
    """The kernel's flag of a kind."""
    return Namespace(numbers.NAMESPACES[kind][0])


def plan_entry(linux: Linux, owned_by_joined_user: frozenset[NamespaceType] = frozenset()) -> Entry:
    """Namespaces of config.json → Entry.

    `owned_by_joined_user`: those with a path that belong to the user namespace that is joined, so that they can only be
    joined after it.
    """
    new, joined = Namespace(0), Namespace(0)
    for namespace in linux.namespaces:
        if namespace.path:
            joined |= flag(namespace.type)
        else:
            new |= flag(namespace.type)
    openings, joins = _plan_joins(linux, owned_by_joined_user)
    late = new & (Namespace.CGROUP | Namespace.IPC if Namespace.USER in new | joined else Namespace.CGROUP)
    cloned = new & ~late
    offsets = _plan_offsets(linux.time_offsets) if Namespace.TIME in new else ()
    owns_new = Namespace.USER in joined and cloned
    if offsets or (joined & _CHILDREN_ONLY) or (joined and Namespace.USER in new) or owns_new:
        rest = cloned & ~Namespace.TIME if offsets else cloned
        return Entry(new, joined, Namespace(0), late, openings, (*joins, *offsets, Spawn(rest)))
    return Entry(new, joined, cloned, late, openings, joins)


def _plan_joins(
    linux: Linux, owned_by_joined_user: frozenset[NamespaceType]
) -> tuple[tuple[OpenFile, ...], tuple[Step, ...]]:
    kinds = {namespace.type: namespace.path for namespace in linux.namespaces if namespace.path}
    before = [kind for kind in kinds if kind is not NamespaceType.USER and kind not in owned_by_joined_user]
    after = [kind for kind in kinds if kind in owned_by_joined_user]
    # A joined mount namespace changes what paths mean, so it is the last of its group.
    before.sort(key=lambda kind: kind is NamespaceType.MOUNT)
    after.sort(key=lambda kind: kind is NamespaceType.MOUNT)
    order = before + [kind for kind in kinds if kind is NamespaceType.USER] + after
    openings = tuple(OpenFile(_slot(kind), kinds[kind], os.O_RDONLY) for kind in order)
    return openings, tuple(JoinNamespace(_slot(kind), flag(kind)) for kind in order)


def _slot(kind: NamespaceType) -> Slot:
    return Slot(f"ns-{kind.value}")


def _plan_offsets(offsets: dict[str, TimeOffset]) -> tuple[Step, ...]:
    """A time namespace takes its offsets before its first process is in."""
    if not offsets:
        return ()
    text = "".join(f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in sorted(offsets.items()))
    return Unshare(Namespace.TIME), WriteFile(None, "/proc/self/timens_offsets", text.encode())
