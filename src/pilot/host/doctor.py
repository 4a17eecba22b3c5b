"""`pilotd doctor`: what this host lacks for sprites, found out by trying it, and how to mend that.

    ok     it is there           lacks  sprites cannot be made here           weak   they can, and something is worse

Each check is a row: what is tried, what for, and what to do when it fails. Nothing is left behind, and nothing changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from .. import errors
from ..kernel import files, hierarchies
from . import draining
from .network import apply, plan
from .relay import server

Finding = Literal["ok", "lacks", "weak"]
LEAST_SPACE_BYTES = 5 << 30
_CONTROLLERS = ("cpu", "memory", "pids", "freezer")
_TRIED_S = 20.0


class Check(msgspec.Struct, frozen=True):
    """`probe` tells what is wrong, or None. `needed`: no sprite without it."""

    name: str
    purpose: str
    probe: Callable[[], str | None]
    remedy: str
    needed: bool = True


class Result(msgspec.Struct, frozen=True):
    name: str
    finding: Finding
    purpose: str
    problem: str | None = None
    remedy: str | None = None


def checks(state_dir: str, host: str, port: int, isolation: str) -> tuple[Check, ...]:
    """Of a pilotd that would be started so."""
    common = (
        Check("root", "namespaces, mounts and cgroups", _root, "run it as root"),
        Check("fuse", "disks", lambda: _opens("/dev/fuse"), "modprobe fuse"),
        Check("loop", "disks", lambda: _opens("/dev/loop-control"), "modprobe loop"),
        Check("ext4", "disks", lambda: _filesystem("ext4"), "modprobe ext4"),
        Check(
            "cgroups", "limits, and the freezer that makes sprites warm", _cgroups, "mount cgroups: v2, or v1 with all"
        ),
        Check("address", "the API", lambda: _listens(host, port, state_dir), "choose another one: --listen HOST:PORT"),
        Check(
            "state directory",
            "everything that pilotd keeps",
            lambda: _writable(state_dir),
            "choose one on a disk of this host",
        ),
        Check(
            "network",
            "networks of machines, those that reach nobody too",
            _network,
            "apt-get install libnftables1; modprobe -a nf_tables veth",
        ),
        Check(
            "space",
            "disks and images",
            lambda: _space(state_dir),
            "make room, or choose another --state-dir",
            needed=False,
        ),
        Check("kernel", "a disk whose server dies goes on (6.9)", _kernel, "a kernel from 6.9 on", needed=False),
        Check(
            "images",
            "making the standard image",
            lambda: _program("mmdebstrap"),
            "apt-get install mmdebstrap",
            needed=False,
        ),
    )
    return (*common, *_OF_ISOLATION[isolation])


_CONTAINER = (
    Check(
        "user namespaces",
        "what stands between a sprite and the host",
        lambda: _unshares("--user"),
        "sysctl user.max_user_namespaces=65536",
    ),
    Check("overlay", "containers in sprites", lambda: _filesystem("overlay"), "modprobe overlay", needed=False),
)
_VM = (
    Check("qemu", "virtual machines", lambda: _program("qemu-system-x86_64"), "apt-get install qemu-system-x86"),
    Check(
        "kvm",
        "virtual machines at full speed (else they are emulated, ten times slower)",
        lambda: _opens("/dev/kvm"),
        "modprobe kvm_intel or kvm_amd, or enable nested virtualisation",
        needed=False,
    ),
)
_OF_ISOLATION: Mapping[str, tuple[Check, ...]] = {"container": _CONTAINER, "vm": _VM}


def examine(rows: Sequence[Check]) -> Iterator[Result]:
    """Try each. A probe that cannot even try says so."""
    for row in rows:
        try:
            problem = row.probe()
        except (errors.PilotError, OSError, subprocess.SubprocessError) as error:
            problem = str(error)
        if problem is None:
            yield Result(row.name, "ok", row.purpose)
        else:
            yield Result(row.name, "lacks" if row.needed else "weak", row.purpose, problem, row.remedy)


def run(rows: Sequence[Check], *, as_json: bool) -> int:
    """Print what was found; 1 when sprites cannot be made here."""
    found = list(examine(rows))
    if as_json:
        print(json.dumps([msgspec.structs.asdict(result) for result in found]))
    else:
        for text in lines(found):
            print(text)
    return int(any(result.finding == "lacks" for result in found))


def lines(found: Sequence[Result]) -> Iterator[str]:
    """For people: what is wrong, why it matters, and what to do."""
    width = max(len(result.name) for result in found)
    for result in found:
        yield f"{result.finding:5}  {result.name.ljust(width)}  {result.purpose}"
        if result.problem is not None:
            yield f"{'':5}  {'':{width}}  {result.problem}: {result.remedy}"


def _root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


def _opens(path: str) -> str | None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"open {path}: {(error.strerror or '').lower()}"
    return None


def _filesystem(name: str) -> str | None:
    with open("/proc/filesystems") as file:
        known = {line.split()[-1] for line in file}
    return None if name in known else f"this kernel has no {name} (a module may not be loaded)"


def _cgroups() -> str | None:
    missing = missing_controllers(hierarchies.probe_hierarchies())
    return f"no controller {', '.join(missing)}" if missing else None


def missing_controllers(found: hierarchies.Hierarchies) -> list[str]:
    """What of _CONTROLLERS is not there. In a v2 tree the freezer is no controller, but part of each cgroup."""
    given = found.controllers | {"freezer" for mount in found.mounts if mount.version == 2}
    return [name for name in _CONTROLLERS if name not in given]


def _listens(host: str, port: int, state_dir: str) -> str | None:
    """An address that is taken is no lack where a pilotd serves that directory already."""
    try:
        server.listen(host, port).close()
    except errors.HostError as error:
        return None if _is_served(state_dir) else str(error)
    return None


def _is_served(state_dir: str) -> bool:
    path = os.path.join(state_dir, draining.LOCK)
    if not os.access(path, os.W_OK):
        return False  # there is none, or it is not ours to ask
    with files.alone(path) as is_free:
        return not is_free


def _existing(path: str) -> str:
    """It, or the nearest directory above it that there is."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _writable(state_dir: str) -> str | None:
    directory = _existing(state_dir)
    return None if os.access(directory, os.W_OK | os.X_OK) else f"{directory} cannot be written"


def _network() -> None:
    apply.try_all(plan.Settings("doctor"))


def _space(state_dir: str) -> str | None:
    free = shutil.disk_usage(_existing(state_dir)).free
    return (
        None
        if free >= LEAST_SPACE_BYTES
        else f"{free >> 20} MiB are free where {LEAST_SPACE_BYTES >> 30} GiB are little"
    )


def _kernel() -> str | None:
    release = os.uname().release
    numbers = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdecimal()]
    return None if numbers >= [6, 9] else f"this is {release}"


def _program(name: str) -> str | None:
    return None if shutil.which(name) else f"no program {name}"


def _unshares(option: str) -> str | None:
    tried = subprocess.run(
        ["unshare", option, "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TRIED_S,
        stdin=subprocess.DEVNULL,
    )
    return None if tried.returncode == 0 else tried.stderr.strip() or "refused"
