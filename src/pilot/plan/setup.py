"""What the parts of `plan_create` have to know, as one value, so that each of them stays a function of it."""

from __future__ import annotations

import functools

import msgspec

from ..spec.config import Spec
from ..spec.linux import NamespaceType
from .facts import CgroupMount, HostFacts
from .namespaces import Entry
from .plan import clean


class Setup(msgspec.Struct, frozen=True, dict=True):
    """Facts and decisions. `cgroup_paths`: directory of the container's cgroup in each mounted hierarchy.

    `tmpfs_modes`: permissions of what a tmpfs will cover in the rootfs, by destination. `dev_is_mounted`: the rootfs
    came with something mounted on its /dev.
    """

    spec: Spec
    facts: HostFacts
    entry: Entry
    bundle: str
    rootfs: str
    cgroup_paths: tuple[tuple[CgroupMount, str], ...] = ()
    tmpfs_modes: dict[str, int] = {}
    dev_is_mounted: bool = False

    def owns(self, kind: NamespaceType) -> bool:
        """Whether the container has a new namespace of this kind."""
        return any(n.type is kind and not n.path for n in self.spec.linux.namespaces)

    def has(self, kind: NamespaceType) -> bool:
        """Whether the container has a namespace of this kind that is not the caller's."""
        return any(n.type is kind for n in self.spec.linux.namespaces)

    @property
    def is_confined_user(self) -> bool:
        """Whether the container is in a user namespace, so that mknod and many mounts are refused."""
        return self.has(NamespaceType.USER) or self.facts.in_user_namespace

    @functools.cached_property
    def first_mounts(self) -> dict[str, int]:
        """Each destination of `mounts`, and the index of the first entry that has it."""
        mounts = enumerate(self.spec.mounts)
        return {clean(mount.destination): index for index, mount in reversed(list(mounts))}
