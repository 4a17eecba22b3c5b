"""Templates: machines that were booted, warmed and stopped before they had identity; every machine is a clone of one.

    <state-dir>/templates/
        <digest>/ram     the guest's memory; clones map it MAP_PRIVATE, so it never changes again
        <digest>/state   the devices, some 70 KB
        new/             a template being booted, under the lock; what a crash left there is killed and removed
        lock

A template fits one shape: the digest covers everything that its QEMU was told, and QEMU itself. The drive for the disk
is there with an empty file. Only the pages of RAM that a clone writes are its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

from ... import errors
from . import background, qemu_command, qmp

_KEPT = 4
_QMP_S = 30.0
_IGNORE_SHARED = {"capability": "x-ignore-shared", "state": True}
_EVENTS = {"capability": "events", "state": True}
# QEMU limits the speed of a migration; this one goes to a file.
_UNLIMITED_BYTES_PER_S = 1 << 40
_EMPTY_DISK_BYTES = 1 << 20


def ensure(root: str, shape: qemu_command.Machine, boot: Callable[[qemu_command.Machine], None]) -> str:
    """The directory of the template for `shape` (of which directory and disk do not count), made when it is missing.

    `boot` starts the machine it is given and returns when its agent is warm; its errors are the caller's to see.
    """
    path = os.path.join(root, _digest(shape))
    if not os.path.isdir(path):
        os.makedirs(root, mode=0o700, exist_ok=True)
        with _locked(root):
            if not os.path.isdir(path):
                _make(root, path, shape, boot)
    os.utime(path)
    return path


def clone(template: str, machine: qemu_command.Machine) -> None:
    """Start `machine`, of the template's shape, where the template stopped; it runs when this returns."""
    ram = replace(machine.memory, path=os.path.join(template, "ram"), private=True)
    background.start_qemu(replace(machine, memory=ram, incoming=True))
    # The guest finds the host's end of the port connected when it wakes.
    background.start_mux(machine.directory)
    with qmp.connect(os.path.join(machine.directory, qemu_command.QMP_SOCKET), _QMP_S) as control:
        control.execute("migrate-set-capabilities", {"capabilities": [_IGNORE_SHARED, _EVENTS]})
        state = shlex.quote(os.path.join(template, "state"))
        control.execute("migrate-incoming", {"uri": f"exec:cat {state}"})
        _migrated(control, "load the template")
        if machine.disk_fd is not None:
            # The guest still has the size of the template's empty file.
            size_bytes = os.lseek(machine.disk_fd, 0, os.SEEK_END)
            control.execute("block_resize", {"node-name": qemu_command.DISK_NODE, "size": size_bytes})
        control.execute("cont")


@contextlib.contextmanager
def empty_disk() -> Iterator[int]:
    """A descriptor of an empty disk, for a machine that has none: the drive belongs to the shape."""
    fd = os.memfd_create("no-disk", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, _EMPTY_DISK_BYTES)
        yield fd
    finally:
        os.close(fd)


def _make(root: str, path: str, shape: qemu_command.Machine, boot: Callable[[qemu_command.Machine], None]) -> None:
    new = os.path.join(root, "new")
    _sweep(new)
    os.mkdir(new, 0o700)
    try:
        with empty_disk() as disk_fd:
            ram = replace(shape.memory, path=os.path.join(new, "ram"), private=False)
            boot(replace(shape, directory=new, memory=ram, disk_fd=disk_fd))
        _save(new)
        background.kill(new)
        for name in os.listdir(new):
            if name not in {"ram", "state"}:
                os.unlink(os.path.join(new, name))
        os.rename(new, path)
    finally:
        _sweep(new)
    _forget_old(root)


def _save(directory: str) -> None:
    """Stop the machine for good and write the state of its devices."""
    with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _QMP_S) as control:
        control.execute("stop")
        control.execute("migrate-set-capabilities", {"capabilities": [_IGNORE_SHARED, _EVENTS]})
        control.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED_BYTES_PER_S})
        state = shlex.quote(os.path.join(directory, "state"))
        control.execute("migrate", {"uri": f"exec:cat > {state}"})
        _migrated(control, "save the template")


def _migrated(control: qmp.Qmp, what: str) -> None:
    ended = control.wait_event("MIGRATION", lambda data: data.get("status") in {"completed", "failed"})
    if ended["status"] != "completed":
        raise errors.HostError(f"{what}: QEMU's migration failed")


def _digest(shape: qemu_command.Machine) -> str:
    """16 hexadecimal digits over QEMU and all it is told, but for the paths that are a machine's own."""
    anonymous = replace(shape, directory="", disk_fd=0, memory=replace(shape.memory, path=None), incoming=False)
    program = shutil.which("qemu-system-x86_64") or ""
    stat = os.stat(program) if program else None
    told = [program, str(stat and (stat.st_size, stat.st_mtime_ns)), *qemu_command.command_line(anonymous)]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


def _forget_old(root: str) -> None:
    """Keep the templates used last. Clones keep the memory they mapped, whatever its name."""
    paths = [os.path.join(root, name) for name in os.listdir(root) if name not in {"new", "lock"}]
    for path in sorted(paths, key=os.path.getmtime, reverse=True)[_KEPT:]:
        shutil.rmtree(path)


def _sweep(new: str) -> None:
    if os.path.isdir(new):
        background.kill(new)
        shutil.rmtree(new)


@contextlib.contextmanager
def _locked(root: str) -> Iterator[None]:
    lock_fd = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock_fd)
