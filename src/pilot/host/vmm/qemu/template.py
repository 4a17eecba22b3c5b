"""Templates: machines that were booted, warmed and stopped before they had identity; every machine is a clone of one.

    <state-dir>/templates/
        <digest>/ram     the guest's memory; clones map it MAP_PRIVATE, so it never changes again
        <digest>/state   the devices, some 70 KB
        new/             a template being booted, under the lock; what a crash left there is killed and removed
        lock

A template fits one shape: the digest covers everything that its QEMU was told, QEMU itself, and the sizes of its disks,
whose drives are there with empty files of these sizes. Its network card, where it has one, leads nowhere. Only the
pages of RAM that a clone writes are its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ....kernel import files, tap
from . import background, migration, qmp
from . import command as qemu_command

# Of what a template consists of here; QEMU has formats of its own. It is in the digest, so that none is read that was
# made in another one.
FORMAT = 2

_KEPT = 4
_QMP_S = 30.0

Boot = Callable[[qemu_command.Machine], None]


@dataclass(frozen=True)
class Sizes:
    """Of a machine's disk, and of the drives beside it; in bytes."""

    disk: int
    drives: tuple[int, ...] = ()


def ensure(root: str, shape: qemu_command.Machine, sizes: Sizes, boot: Boot) -> str:
    """The directory of the template for `shape`, of which directory, uid and descriptors do not count; made if missing.

    `boot` starts the machine it is given and returns when its agent is warm; its errors are the caller's to see.
    """
    path = os.path.join(root, digest(shape, sizes))
    if not os.path.isdir(path):
        os.makedirs(root, mode=0o700, exist_ok=True)
        with files.held(os.path.join(root, "lock")):
            if not os.path.isdir(path):
                _make(root, path, shape, sizes, boot)
    os.utime(path)
    return path


def clone(template: str, machine: qemu_command.Machine) -> None:
    """Start `machine`, of the template's shape, where the template stopped; it runs when this returns."""
    ram = replace(machine.memory, path=os.path.join(template, "ram"), private=True)
    background.start_qemu(replace(machine, memory=ram, incoming=True))
    # The guest finds the host's end of the port connected when it wakes.
    background.start_mux(machine.directory)
    with qmp.connect(os.path.join(machine.directory, qemu_command.QMP_SOCKET), _QMP_S) as control:
        migration.load(control, os.path.join(template, "state"), "load the template", ignores_shared=True)
        control.execute("cont")


@contextlib.contextmanager
def empty_disk(size_bytes: int) -> Iterator[int]:
    """A descriptor of an empty disk, for a machine that has none: the drive belongs to the shape."""
    fd = os.memfd_create("no-disk", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size_bytes)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _empty_disks(sizes_bytes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(empty_disk(each)) for each in sizes_bytes)


@contextlib.contextmanager
def _unconnected(tap_fd: int | None) -> Iterator[int | None]:
    """A tap that leads nowhere, for a machine that has one."""
    if tap_fd is None:
        yield None
        return
    fd = tap.make_unconnected("template")
    try:
        yield fd
    finally:
        os.close(fd)


def _make(root: str, path: str, shape: qemu_command.Machine, sizes: Sizes, boot: Boot) -> None:
    new = os.path.join(root, "new")
    _sweep(new)
    os.mkdir(new, 0o700)
    try:
        with (
            empty_disk(sizes.disk) as disk_fd,
            _empty_disks(sizes.drives) as drive_fds,
            _unconnected(shape.tap_fd) as tap_fd,
        ):
            ram = replace(shape.memory, path=os.path.join(new, "ram"), private=False)
            given = replace(shape, disk_fd=disk_fd, tap_fd=tap_fd, drive_fds=drive_fds)
            boot(replace(given, directory=new, memory=ram))
        _save(new)
        background.kill(new)
        for name in os.listdir(new):
            if name not in {"ram", "state"}:
                os.unlink(os.path.join(new, name))
        # Whole by its name, also after a loss of power.
        for name in ("ram", "state"):
            _sync(os.path.join(new, name))
        os.rename(new, path)
    finally:
        _sweep(new)
    _forget_old(root)


def _save(directory: str) -> None:
    """Stop the machine for good and write the state of its devices."""
    with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _QMP_S) as control:
        control.execute("stop")
        migration.save(control, os.path.join(directory, "state"), "save the template", ignores_shared=True)


def digest(shape: qemu_command.Machine, sizes: Sizes | None = None) -> str:
    """16 hexadecimal digits over QEMU and all it is told, but for what is a machine's own."""
    tap_fd = None if shape.tap_fd is None else 0
    memory = replace(shape.memory, path=None)
    drive_fds = (0,) * len(shape.drive_fds)
    own = replace(
        shape, directory="", uid=0, disk_fd=0, tap_fd=tap_fd, memory=memory, incoming=False, drive_fds=drive_fds
    )  # fmt: skip
    program = shutil.which(qemu_command.PROGRAM)
    stat = None if program is None else os.stat(program)
    version = "none" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}"
    told = [
        f"format {FORMAT}",
        version,
        "" if sizes is None else " ".join(map(str, (sizes.disk, *sizes.drives))),
        *qemu_command.command_line(own),
    ]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _forget_old(root: str) -> None:
    """Keep the templates used last. Clones keep the memory they mapped, whatever its name."""
    paths = [os.path.join(root, name) for name in os.listdir(root) if name not in {"new", "lock"}]
    for path in sorted(paths, key=os.path.getmtime, reverse=True)[_KEPT:]:
        shutil.rmtree(path)


def _sweep(new: str) -> None:
    if os.path.isdir(new):
        background.kill(new)
        shutil.rmtree(new)
