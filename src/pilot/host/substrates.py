"""Which substrate a pilotd runs its machines on. Only the one that is asked for is imported."""

from __future__ import annotations

import os

from .. import errors, image
from .vmm import Isolation, Vmm


def make(isolation: str, state_dir: str, tag: str, cache_dir: str) -> Vmm:
    """The `Vmm` of that isolation. `HostError` when this host cannot have it."""
    if isolation == Isolation.CONTAINER.value:
        from .vmm.container import machine

        runtime_root = os.path.join("/run", f"pilot-{tag}")
        return machine.ContainerVmm(state_dir, tag, lambda: str(image.ensure_guest_root(cache_dir)), runtime_root)
    if isolation == Isolation.VM.value:
        return _qemu(state_dir, tag, cache_dir)
    raise errors.PilotError(f"no isolation {isolation!r}", hint="container or vm")


def _qemu(state_dir: str, tag: str, cache_dir: str) -> Vmm:
    from .vmm import accelerator, qemu, qemu_command

    def artefacts() -> qemu_command.Artefacts:
        kernel = image.ensure_kernel(cache_dir)
        return qemu_command.Artefacts(
            vmlinux=os.path.join(kernel, "vmlinux"),
            initramfs=os.path.join(kernel, "initramfs"),
            root_disk=image.ensure_guest_disk(cache_dir),
        )

    return qemu.Qemu(state_dir, tag, artefacts, lambda: accelerator.detect(state_dir, artefacts()))
