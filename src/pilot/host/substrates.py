"""Which substrate a pilotd runs its machines on. Only the one that is asked for is imported."""

from __future__ import annotations

import os
from collections.abc import Callable

from .. import errors, image
from .vmm import Isolation, Vmm


def make(isolation: str, state_dir: str, tag: str, cache_dir: str) -> Vmm:
    """The `Vmm` of that isolation. `HostError` when this host cannot have it."""
    if isolation == Isolation.CONTAINER.value:
        from .vmm.container import machine

        runtime_root = os.path.join("/run", f"pilot-{tag}")
        guest_root = _remembered(lambda: image.ensure_guest_root(cache_dir))
        return machine.ContainerVmm(state_dir, tag, guest_root, runtime_root)
    if isolation == Isolation.VM.value:
        return _qemu(state_dir, tag, cache_dir)
    raise errors.PilotError(f"no isolation {isolation!r}", hint="container or vm")


def _qemu(state_dir: str, tag: str, cache_dir: str) -> Vmm:
    from .vmm import accelerator, qemu, qemu_command

    kernel = _remembered(lambda: image.ensure_kernel(cache_dir))
    root_disk = _remembered(lambda: image.ensure_guest_disk(cache_dir))

    def artefacts() -> qemu_command.Artefacts:
        return qemu_command.Artefacts(f"{kernel()}/vmlinux", f"{kernel()}/initramfs", root_disk())

    return qemu.Qemu(state_dir, tag, artefacts, lambda: accelerator.detect(state_dir, artefacts()))


def _remembered(ensure: Callable[[], str]) -> Callable[[], str]:
    """An artefact of this program: found once, and again when it has gone. Its name is a digest of all its files,
    which takes as long to compute as a container takes to start."""
    known: list[str] = []

    def path() -> str:
        if not known or not os.path.exists(known[-1]):
            known.append(ensure())
        return known[-1]

    return path
