"""What a machine had in its memory, on disk, while nothing of it runs.

    <machine>/memory.new/    being written, of a QEMU that stands still: who finds it lets that go on (`go_on`)
    <machine>/memory/state   all of QEMU's state, its RAM too, but for pages of zeroes
                     of      of which boot of the host, and which command line: nothing else can take it up

    stop ─► written to memory.new ─► memory ─► QEMU is killed          QEMU, waiting ─► loaded ─► memory goes ─► cont

It is gone before the machine runs on: a second machine of it would have a disk that knows more than it does. For that
reason it is of one boot of the host, too: after a loss of power its disks are as of their last sync, and with another
boot the machine starts anew. So it is synced nowhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import replace

import msgspec

from .... import errors
from .. import Unresumable
from . import background, migration, qmp
from . import command as qemu_command

_NEW, _WHOLE = "memory.new", "memory"
_STATE, _OF = "state", "of"
_QMP_S = 60.0  # for each answer; until a machine that is stopped has its disks written, on a busy host
STOP_S = 10.0  # for each, of one that is to be stopped whatever it says
_REFUSED = "load of migration failed"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Of(msgspec.Struct, frozen=True):
    boot: str
    shape: str


def save(directory: str, shape: str) -> None:
    """The memory of the machine that runs in `directory` is there when this returns, and the machine is to be killed.
    `shape`: of its command line. `HostError` when that cannot be; then it runs on. `PeerError` when it does not even
    say so: `go_on` again."""
    new = os.path.join(directory, _NEW)
    os.mkdir(new, 0o700)
    try:
        with _control(directory) as control:
            control.execute("stop")  # which has its disks written, too
            migration.save(control, os.path.join(new, _STATE), "write a machine's memory", ignores_shared=False)
        with open(os.path.join(new, _OF), "xb") as file:
            file.write(msgspec.json.encode(Of(_boot(), shape)))
    except (errors.PilotError, OSError) as error:
        go_on(directory)
        raise errors.HostError(f"suspend the machine in {directory}: {error}") from error
    os.rename(new, os.path.join(directory, _WHOLE))


def go_on(directory: str, answer_s: float = _QMP_S) -> None:
    """One whose memory was being written runs on; nothing for any other. `PeerError` when it does not answer."""
    if not is_being_written(directory):
        return
    if background.runs(directory):
        with _control(directory, answer_s) as control:
            migration.cancel(control, answer_s)
            control.execute("cont")
    shutil.rmtree(os.path.join(directory, _NEW))


def is_being_written(directory: str) -> bool:
    """Whether it stands still for that, or because whoever began with it has died."""
    return os.path.isdir(os.path.join(directory, _NEW))


def is_there(directory: str) -> bool:
    """Whether there is one that a machine of this boot of the host can take up."""
    found = _of(directory)
    return found is not None and found.boot == _boot()


def take_up(machine: qemu_command.Machine, shape: str) -> None:
    """Start `machine` where it stood; it runs when this returns, and its memory is on disk no more. `Unresumable` when
    that is of another shape, as after an update of QEMU or of the guest, or QEMU cannot read it; with any other error
    it may be tried again for as long as `is_there`. What it has started is the caller's to kill, but for that."""
    found = _of(machine.directory)
    if found is None or found.shape != shape:
        raise Unresumable(f"resume the machine in {machine.directory}: its memory is of another machine")
    background.start_qemu(replace(machine, incoming=True))
    # The guest finds the host's end of the port connected when it wakes.
    background.start_mux(machine.directory)
    with _control(machine.directory) as control:
        _load(control, machine.directory)
        forget(machine.directory)
        control.execute("cont")


def _load(control: qmp.Qmp, directory: str) -> None:
    path = os.path.join(directory, _WHOLE, _STATE)
    try:
        migration.load(control, path, "read a machine's memory", ignores_shared=False)
    except (migration.Failed, FileNotFoundError) as error:
        raise Unresumable(f"resume the machine in {directory}: {error}") from error
    except errors.PeerError as error:
        # It ends itself then, often before anything is heard of that. Without these words something else has ended it.
        if (why := background.said(directory)).find(_REFUSED) >= 0:
            raise Unresumable(f"resume the machine in {directory}: {why}") from error
        raise


def forget(directory: str) -> None:
    """None of it is left."""
    for name in (_WHOLE, _NEW):
        if os.path.isdir(path := os.path.join(directory, name)):
            shutil.rmtree(path)


def _of(directory: str) -> Of | None:
    try:
        with open(os.path.join(directory, _WHOLE, _OF), "rb") as file:
            return msgspec.json.decode(file.read(), type=Of)
    except (FileNotFoundError, *errors.UNREADABLE):
        return None


def _boot() -> str:
    with open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def _control(directory: str, answer_s: float = _QMP_S) -> contextlib.AbstractContextManager[qmp.Qmp]:
    return qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), answer_s)
