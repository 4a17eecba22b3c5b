"""Runs chosen tests of this checkout inside a virtual machine: Debian's kernel, pure cgroup v2, nothing else around.

    host                                            machine (QEMU microvm, TCG)
    disk `tests`: src, tests, libraries,
                  `pilot`, /run                ──►  /opt
    disk `pilot-root` (guestimage)             ──►  /         pilot-init or systemd is PID 1, and starts /opt/run
    results  ◄── virtio port `tests` ──────────────  pytest -p tests.support.guestreport
    console.log  ◄── serial ───────────────────────  everything else

The machine is thrown away at the last result. Under systemd the root is an overlay in memory, so it can be written;
/tmp is a tmpfs, since an overlay cannot be idmapped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import importlib.metadata
import json
import select
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pilot.host.vmm.qemu import accelerator
from pilot.image import cpio, kernel
from pilot.planner import build
from tests.support import front, guestimage

_REPOSITORY = Path(__file__).resolve().parents[2]
_LIBRARIES = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "pytest-timeout", "msgspec", "jeepney")
_TREE = ("pyproject.toml", "src/pilot", "tests")
_CONSOLE_LINES = 60

_RUN = """#!/bin/sh
cd /opt/tree
ip link set lo up
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=/opt/tree/src:/opt/tree:/opt/site
export PILOT_FRONT=/opt/bin/pilot
export PILOT_EXPECTED_SKIPS={skips}
python3 -m pytest --tb=short --color=no --timeout=60 -q -p tests.support.guestreport {tests}
python3 -m tests.support.guestreport $?
# The host ends the machine.
exec sleep 1000
"""

_COLD = """#!/bin/sh
exec /usr/bin/python3 -m pilot.command "$@"
"""

# Instead of pilot-init's stage 0, which stays PID 1 itself: as small as it can be, with the modules of that initramfs.
_SYSTEMD_INIT = """#!/busybox sh
export PATH=/
/busybox mount -t devtmpfs dev /dev
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sys /sys
while read -r module; do /busybox insmod "$module"; done < /modules/list
until disk=$(/busybox grep -lx pilot-root /sys/block/*/serial); do /busybox sleep 0.1; done
disk=${disk%/serial}
/busybox mkdir -p /lower /memory /root
/busybox mount -t erofs -o ro "/dev/${disk##*/}" /lower
/busybox mount -t tmpfs memory /memory
/busybox mkdir /memory/upper /memory/work
/busybox mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work root /root
/busybox mount -t tmpfs tmp /root/tmp
for name in dev proc sys; do /busybox mount --move "/$name" "/root/$name"; done
exec /busybox switch_root /root /lib/systemd/systemd
"""


class PidOne(enum.Enum):
    """Who is PID 1, and what the kernel's command line says to it."""

    PILOT_INIT = "pilot.root=serial:pilot-root pilot.exec=/sbin/guest-tests"
    # No udev, so a terminal on the console would be waited for.
    SYSTEMD = "systemd.mask=serial-getty@ttyS0.service systemd.unified_cgroup_hierarchy=1 systemd.show_status=0"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What is under the tests. `beside`: files and directories of this host, by what they are called below /opt;
    `drives`: more disks, by their serial."""

    root: Callable[[], str] = guestimage.ensure_test_disk
    memory_mib: int = 1024
    beside: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    drives: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one test."""

    test: str
    outcome: str
    seconds: float
    text: str


@dataclasses.dataclass(frozen=True)
class Results:
    """All that was told. `status` is pytest's, None when the machine ended early; then `console` says more."""

    rows: tuple[Result, ...]
    status: int | None
    seconds: float
    console: str

    def check(self, module: str) -> None:
        """Assert that tests of this file ran, and none failed; those that failed are shown as they were inside."""
        assert self.status is not None, f"the machine ended early, its console:\n{self.console}"
        rows = [row for row in self.rows if row.test.partition("::")[0] == module]
        failed = [f"{row.test}: {row.text}" for row in rows if row.outcome == "failed"]
        assert not failed, "\n\n".join(failed)
        assert any(row.outcome == "passed" for row in rows), f"no test of {module} ran: {rows}\n{self.console}"
        # A skip that was not expected is no failure of a test, but one of the run.
        others_failed = any(row.outcome == "failed" for row in self.rows)
        assert self.status == 0 or others_failed, f"pytest ended with {self.status}:\n{self.console}"

    def describe(self, title: str) -> str:
        """A table of all that ran, and why what was skipped was."""
        lines = [f"## {title}", "", f"{self.seconds:.0f} s with boot, pytest's status {self.status}.", ""]
        lines += ["| test | result | s |", "|---|---|---|"]
        lines += [f"| {row.test} | {row.outcome}{_reason(row)} | {row.seconds} |" for row in self.rows]
        return "\n".join(lines) + "\n\n"


def _reason(row: Result) -> str:
    return f" ({row.text.removeprefix('Skipped: ')})" if row.outcome == "skipped" else ""


def run(
    directory: Path,
    pid_one: PidOne,
    tests: Sequence[str],
    *,
    expected_skips: Sequence[str] = (),
    modules: Sequence[str] = (),
    timeout_s: float,
    machine: Machine = Machine(),
) -> Results:
    """Boot a machine, run these tests (node ids) in it, and end it. `directory` gets the disk and the console's log.
    `modules`: of the kernel, beside those that a machine has anyway."""
    boot = Path(kernel.ensure_kernel(more=modules))
    disk = _make_disk(directory, tests, expected_skips, machine)
    results = _run(directory, boot, pid_one, disk, machine, timeout_s)
    return _run(directory, boot, pid_one, disk, machine, timeout_s) if _is_emulators_fault(results) else results


def _run(directory: Path, boot: Path, pid_one: PidOne, disk: Path, machine: Machine, timeout_s: float) -> Results:
    initramfs = directory / "initramfs"
    initramfs.write_bytes((boot / "initramfs").read_bytes() + _more_initramfs(pid_one))
    ours, theirs = socket.socketpair()
    command = ["qemu-system-x86_64", "-M", "microvm,accel=tcg", "-cpu", "max,-erms", "-m", f"{machine.memory_mib}M"]
    command += ["-smp", "2", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-kernel", str(boot / "vmlinux"), "-initrd", str(initramfs), "-append", _command_line(pid_one)]
    command += ["-chardev", f"file,id=console,path={directory}/console.log", "-serial", "chardev:console"]
    command += ["-device", "virtio-serial-device", "-chardev", f"socket,id=port,fd={theirs.fileno()}"]
    command += ["-device", "virtserialport,chardev=port,name=tests"]
    for serial, path in {"pilot-root": machine.root(), "tests": str(disk), **machine.drives}.items():
        command += _drive(path, serial)
    started = time.monotonic()
    with ours, _process(command, theirs):
        rows, status = _read(ours, started + timeout_s)
    return Results(rows, status, time.monotonic() - started, _tail(directory / "console.log"))


def _is_emulators_fault(results: Results) -> bool:
    """Whether the kernel met a breakpoint of its own: it changes its code while it runs, and QEMU's emulation may show
    that to another processor half done."""
    return results.status is None and not results.rows and "Oops: int3" in results.console


@contextlib.contextmanager
def _process(command: Sequence[str], theirs: socket.socket) -> Iterator[None]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]) as machine:
        theirs.close()
        try:
            yield
        finally:
            machine.kill()


def _read(port: socket.socket, deadline: float) -> tuple[tuple[Result, ...], int | None]:
    """Results until the last line, which has the status; None when the machine or the time ended before it came."""
    rows: list[Result] = []
    pending = b""
    while select.select([port], [], [], max(0.0, deadline - time.monotonic()))[0] and (data := port.recv(65536)):
        *lines, pending = (pending + data).split(b"\n")
        for row in map(json.loads, lines):
            if "status" in row:
                return tuple(rows), row["status"]
            rows.append(Result(**row))
    return tuple(rows), None


def _command_line(pid_one: PidOne) -> str:
    clock = f"tsc_early_khz={accelerator.read_tsc_khz()} tsc=reliable no_timer_check cryptomgr.notests"
    return f"console=ttyS0 quiet panic=-1 reboot=t guest.tests psi=1 {clock} {pid_one.value}"


def _more_initramfs(pid_one: PidOne) -> bytes:
    if pid_one is PidOne.PILOT_INIT:
        return b""
    busybox = Path("/bin/busybox").read_bytes()
    empty = {f"{name}/.keep": (0o644, b"") for name in ("dev", "proc", "sys")}
    return cpio.archive({"init": (0o755, _SYSTEMD_INIT.encode()), "busybox": (0o755, busybox), **empty})


def _make_disk(directory: Path, tests: Sequence[str], expected_skips: Sequence[str], machine: Machine) -> Path:
    """This checkout and the libraries that its tests need, as they are: times too, so compiled files stay valid."""
    root = directory / "disk"
    for name, source in machine.beside.items():
        _copy(source, root / name)
    for name in _TREE:
        _copy(_REPOSITORY / name, root / "tree" / name)
    for name in _LIBRARIES:
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts:
                _copy(Path(str(file.locate())), root / "site" / file)
    front.compile_front(_made(root / "bin"), build.digest(root / "tree/src/pilot"), Path("/opt/bin/pilot-cold"))
    _write_program(root / "bin/pilot-cold", _COLD)
    _write_program(root / "run", _RUN.format(tests=shlex.join(tests), skips=shlex.quote(" ".join(expected_skips))))
    disk = directory / "tests.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", disk, root], check=True, timeout=120, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
    return disk


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _drive(path: str, serial: str) -> list[str]:
    drive = f"id={serial},file={path},format=raw,if=none,readonly=on"
    return ["-drive", drive, "-device", f"virtio-blk-device,drive={serial},serial={serial}"]


def _tail(console: Path) -> str:
    text = console.read_text(errors="replace") if console.exists() else ""
    return "\n".join(text.replace("\r", "").splitlines()[-_CONSOLE_LINES:])
