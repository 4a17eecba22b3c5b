"""What an ordinary user's container cannot have, told in runc's words before anything is made."""

from __future__ import annotations

from .. import errors
from ..spec.config import Mount, Spec
from ..spec.document import IdMapping
from ..spec.linux import NamespaceType


def check_rootless(spec: Spec) -> None:
    """SpecError at the first of them."""
    linux = spec.linux
    if not any(namespace.type is NamespaceType.USER for namespace in linux.namespaces):
        raise errors.SpecError("$.linux.namespaces", "rootless container requires user namespaces")
    if linux.net_devices:
        raise errors.SpecError("$.linux.netDevices", "network devices are not supported for rootless containers")
    if spec.process is not None and spec.process.user.additional_gids and _is_one_id(linux.gid_mappings):
        # Who maps his own gid alone has given up setgroups(2) for it (user_namespaces(7)).
        problem = "cannot set any additional groups in a rootless container"
        raise errors.SpecError("$.process.user.additionalGids", problem)
    for index, mount in enumerate(spec.mounts):
        _check_mount(mount, f"$.mounts[{index}]", spec)


def _check_mount(mount: Mount, path: str, spec: Spec) -> None:
    if mount.uid_mappings or {"idmap", "ridmap"} & set(mount.options):
        raise errors.SpecError(path, "id-mapped mounts are not supported for rootless containers")
    for option in mount.options:
        for name, mappings in (("uid", spec.linux.uid_mappings), ("gid", spec.linux.gid_mappings)):
            text = option.removeprefix(f"{name}=")
            if text == option or not text.isdecimal() or not mappings:
                continue
            if not any(row.container_id <= int(text) < row.container_id + row.size for row in mappings):
                reason = f"user namespaces enabled, but no mapping found for {name} {text}"
                raise errors.SpecError(path, f"cannot specify {option} mount option for rootless container: {reason}")


def _is_one_id(mappings: tuple[IdMapping, ...]) -> bool:
    return sum(row.size for row in mappings) == 1
