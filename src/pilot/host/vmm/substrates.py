"""The substrates of this host, by isolation. Each is made when the first machine needs it; only then is it imported."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from ... import errors, image
from . import Isolation, Vmm

Make = Callable[[], Vmm]


class Substrates:
    """A `Vmm` for each isolation that this host can have. Safe to use from any thread."""

    def __init__(self, makers: Mapping[Isolation, Make]) -> None:
        self._makers = makers
        self._made: dict[Isolation, Vmm] = {}
        self._lock = threading.Lock()

    def of(self, isolation: Isolation) -> Vmm:
        """`HostError` when this host cannot have it."""
        with self._lock:
            if isolation not in self._made:
                self._made[isolation] = self._make(isolation)
            return self._made[isolation]

    def _make(self, isolation: Isolation) -> Vmm:
        if isolation not in self._makers:
            raise errors.HostError(f"use isolation {isolation.value}: this pilotd has no substrate for it")
        return self._makers[isolation]()


def of_this_host(state_dir: str, tag: str, cache_dir: str, keep_free_bytes: int = 0) -> Substrates:
    """All that pilot knows. `keep_free_bytes`: of the disk of `state_dir`, whatever machines want of it."""
    return Substrates(
        {
            Isolation.CONTAINER: lambda: _container(state_dir, tag, cache_dir),
            Isolation.VM: lambda: _qemu(state_dir, tag, cache_dir, keep_free_bytes),
        }
    )


def _container(state_dir: str, tag: str, cache_dir: str) -> Vmm:
    from .container import machine

    runtime_root = os.path.join("/run", f"pilot-{tag}")
    guest_root = _remembered(lambda: image.ensure_guest_root(cache_dir))
    return machine.ContainerVmm(state_dir, tag, guest_root, runtime_root)


def _qemu(state_dir: str, tag: str, cache_dir: str, keep_free_bytes: int) -> Vmm:
    from .qemu import accelerator, command, machine

    kernel = _remembered(lambda: image.ensure_kernel(cache_dir))
    root_disk = _remembered(lambda: image.ensure_guest_disk(cache_dir))

    def artefacts() -> command.Artefacts:
        return command.Artefacts(f"{kernel()}/vmlinux", f"{kernel()}/initramfs", root_disk())

    return machine.Qemu(
        state_dir, tag, artefacts, lambda: accelerator.detect(state_dir, artefacts()), keep_free_bytes=keep_free_bytes
    )


def _remembered(ensure: Callable[[], str]) -> Callable[[], str]:
    """An artefact of this program: found once, and again when it has gone. Its name is a digest of all its files,
    which takes as long to compute as a container takes to start."""
    known: list[str] = []

    def path() -> str:
        if not known or not os.path.exists(known[-1]):
            known.append(ensure())
        return known[-1]

    return path
