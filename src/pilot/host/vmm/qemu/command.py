"""The QEMU command line of a machine, as a value; it decides, it touches nothing.

QEMU is what a guest attacks first: it runs as the machine's own uid, which owns nothing, behind its seccomp filter. All
that it needs is opened before it drops root, or handed to it: its listening sockets, the disk.

The machine is a `microvm`: no PCI, no BIOS devices, virtio over memory-mapped slots that the guest finds by ACPI. The
slots are the machine's identity: a clone of a template needs the same list in the same order, so a drive that is not
there yet is a drive of another file, and a network card one that leads elsewhere, never a missing one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

ROOT_SERIAL = "pilot-root"
DISK_SERIAL = "pilot-disk"
DRIVE_SERIAL = "pilot-drive-{}"  # of those beside it
MOST_DRIVES = 16  # a microvm has 24 slots, of which the port, the card, the root and the disk have four
PORT_NAME = "pilot.0"
DISK_NODE = "disk"
DISK_FDSET = 1  # and those of the drives beside it follow
# Each machine is alone with its gateway, so they may all have the same; it is a clone's from its template anyway.
_MAC = "02:70:69:6c:6f:74"
CONSOLE = "console.log"
PORT_SOCKET = "port.sock"
QMP_SOCKET = "qmp.sock"
PID = "qemu.pid"
PROGRAM = "qemu-system-x86_64"
# QEMU would stop the machine when the disk is full, and nobody would start it again; the guest is told instead.
_ERRORS = "werror=report,rerror=report"
_AGENT = "/usr/bin/python3,-ISE,/usr/lib/pilot"


class Accelerator(enum.Enum):
    """What runs the guest's instructions: the processor, or QEMU's translator."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True)
class Artefacts:
    """What a machine boots from; paths."""

    vmlinux: str
    initramfs: str
    root_disk: str


@dataclass(frozen=True)
class Memory:
    """The guest's RAM: `path` names a file for it; `private` maps the file copy-on-write, as a clone does."""

    size_bytes: int
    path: str | None = None
    private: bool = False


# A translated `rep movsb` moves one byte at a time; a guest that is not told that it is fast copies by words.
_CPU = {Accelerator.KVM: "host", Accelerator.TCG: "max,-erms"}


@dataclass(frozen=True)
class Host:
    """What the host decides: accelerator and the time stamp counter's frequency in kHz."""

    accelerator: Accelerator
    tsc_khz: int


@dataclass(frozen=True)
class Machine:
    """Everything that a command line depends on. `directory` holds the sockets, the console log and the pid file.

    Descriptors are inherited: the sockets that listen as qmp.sock and port.sock, the sprite's disk, and the tap that is
    behind the network card (without one of the last two there is no such device). `drive_fds`: of
    more disks. `uid` is also the gid; 0 stays root,
    for tests.
    """

    directory: str
    artefacts: Artefacts
    host: Host
    memory: Memory
    cpus: int
    disk_fd: int | None = None
    tap_fd: int | None = None
    incoming: bool = False
    uid: int = 0
    qmp_fd: int = -1
    port_fd: int = -1
    drive_fds: tuple[int, ...] = ()

    @property
    def inherited(self) -> tuple[int, ...]:
        """All that QEMU is to have open when it begins."""
        return tuple(
            fd for fd in (self.qmp_fd, self.port_fd, self.disk_fd, self.tap_fd, *self.drive_fds) if fd is not None
        )


def command_line(machine: Machine) -> list[str]:
    """The argument vector; QEMU says on standard error why it cannot be set up."""
    accelerator = machine.host.accelerator
    command = [PROGRAM, "-M", f"microvm,accel={accelerator.value},memory-backend=ram"]
    command += ["-cpu", _CPU[accelerator]]
    command += ["-m", f"{machine.memory.size_bytes >> 20}M", "-object", _memory(machine.memory)]
    command += ["-smp", str(machine.cpus)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *_confinement(machine.uid)]
    command += ["-pidfile", f"{machine.directory}/{PID}", "-mon", "chardev=qmp,mode=control"]
    command += ["-chardev", f"socket,id=qmp,fd={machine.qmp_fd},server=on,wait=off"]
    command += ["-kernel", machine.artefacts.vmlinux, "-initrd", machine.artefacts.initramfs]
    command += ["-append", kernel_command_line(machine.host)]
    console = _value(f"{machine.directory}/{CONSOLE}")
    command += ["-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console"]
    command += _port(machine.port_fd) + _drives(machine) + _network(machine.tap_fd)
    return command + (["-incoming", "defer"] if machine.incoming else [])


def kernel_command_line(host: Host) -> str:
    """What the guest's kernel and init read."""
    words = ["console=ttyS0", "quiet", "panic=-1", "reboot=t", "pilot.halt=reboot"]
    words += [f"pilot.root=serial:{ROOT_SERIAL}", "pilot.fs=erofs", f"pilot.exec={_AGENT}"]
    if host.accelerator is Accelerator.TCG:
        # Measuring the counter under a loaded host fails at random and the guest hangs; and cryptographic self-tests
        # cost a fifth of the whole boot when instructions are translated.
        words += [f"tsc_early_khz={host.tsc_khz}", "tsc=reliable", "no_timer_check", "cryptomgr.notests"]
    return " ".join(words)


def _value(text: str) -> str:
    """A value in an option with parts: a comma would end it."""
    return text.replace(",", ",,")


def _memory(memory: Memory) -> str:
    size = f"id=ram,size={memory.size_bytes >> 20}M"
    if memory.path is None:
        return f"memory-backend-ram,{size}"
    return f"memory-backend-file,{size},mem-path={_value(memory.path)},share={'off' if memory.private else 'on'}"


def _confinement(uid: int) -> list[str]:
    # elevateprivileges would also forbid dropping them.
    sandbox = "on,obsolete=deny,spawn=deny,resourcecontrol=deny"
    return ["-sandbox", sandbox, "-runas", f"{uid}:{uid}"] if uid else ["-sandbox", sandbox]


def _port(port_fd: int) -> list[str]:
    return [
        *("-device", "virtio-serial-device,max_ports=2"),
        *("-chardev", f"socket,id=port,fd={port_fd},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=port,name={PORT_NAME},nr=1"),
    ]


def _drives(machine: Machine) -> list[str]:
    root = (
        f"driver=raw,node-name=root,read-only=on,file.driver=file,file.filename={_value(machine.artefacts.root_disk)}"
    )
    drives = ["-blockdev", root, "-device", f"virtio-blk-device,drive=root,serial={ROOT_SERIAL}"]
    if machine.disk_fd is not None:
        drives += _drive(machine.disk_fd, DISK_FDSET, DISK_NODE, DISK_SERIAL)
    for number, fd in enumerate(machine.drive_fds):
        drives += _drive(fd, DISK_FDSET + 1 + number, drive_node(number), DRIVE_SERIAL.format(number))
    return drives


def drive_node(number: int) -> str:
    """What QEMU calls one of the drives beside the disk."""
    return f"drive{number}"


def _drive(fd: int, fdset: int, node: str, serial: str) -> list[str]:
    return [
        *("-add-fd", f"fd={fd},set={fdset}", "-blockdev", _disk_node(fdset, node)),
        *("-device", f"virtio-blk-device,drive={node},serial={serial},{_ERRORS}"),
    ]


def _disk_node(fdset: int, node: str) -> str:
    """A volume. Discarded blocks are given back; zeroes that are written become holes."""
    # No lock: one process holds the descriptor, and volumed has seen to it that it is the only one.
    return (
        f"driver=raw,node-name={node},discard=unmap,detect-zeroes=unmap,"
        f"file.driver=file,file.filename=/dev/fdset/{fdset},file.locking=off"
    )


def _network(tap_fd: int | None) -> list[str]:
    if tap_fd is None:
        return []
    return ["-netdev", f"tap,id=net,fd={tap_fd},vhost=off", "-device", f"virtio-net-device,netdev=net,mac={_MAC}"]
