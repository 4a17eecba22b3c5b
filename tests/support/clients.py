"""Debian's podman, buildah and containerd with `pilot` as their OCI runtime; all that they keep is below one directory.

Valid under tests.support.private: their networks are never asked for, and what they start dies with the pid namespace.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

PILOT = Path(sys.executable).parent / "pilot"
IMAGE = "localhost/box"
_TIMEOUT_S = 120

_CONTAINERS_CONF = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "pilot"
tmp_dir = "{directory}/libpod"
[engine.runtimes]
pilot = ["{pilot}"]
[network]
network_config_dir = "{directory}/networks"
"""
_STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "{directory}/graph"
runroot = "{directory}/runroot"
"""
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Client:
    """A client's command line: the words that every call begins with, and its environment."""

    words: tuple[str, ...]
    environment: dict[str, str]

    def call(self, *arguments: str | Path, stdin: str | None = None, pass_fds: Sequence[int] = ()) -> Result:
        """Run it, whatever its status. Output goes to files: a monitor that stays would keep a pipe open."""
        with io.TextIOWrapper(_scratch()) as out, io.TextIOWrapper(_scratch()) as err:
            done = subprocess.run(
                [*self.words, *map(str, arguments)],
                env=self.environment,
                cwd=self.environment["HOME"],  # podman's monitor leaves a file "oom" where it was started
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=out,
                stderr=err,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
                pass_fds=pass_fds,
            )
            out.seek(0)
            err.seek(0)
            return Result(done.returncode, out.read(), err.read())

    def run(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """What it wrote to stdout; it must succeed."""
        result = self.call(*arguments, stdin=stdin)
        assert result.code == 0, f"{' '.join(map(str, arguments))}: {result.code}\n{result.out}{result.err}"
        return result.out


def _scratch() -> io.FileIO:
    return io.FileIO(os.memfd_create("output", os.MFD_CLOEXEC), "r+")


def podman(directory: Path) -> Client:
    """podman, told everything by its configuration files."""
    return Client(("podman",), _environment(directory))


def buildah(directory: Path) -> Client:
    """buildah; each `run` has to be told the runtime, or takes it from here."""
    return Client(("buildah",), _environment(directory) | {"BUILDAH_RUNTIME": str(PILOT), "BUILDAH_ISOLATION": "oci"})


def _environment(directory: Path) -> dict[str, str]:
    (directory / "tmp").mkdir(parents=True, exist_ok=True)
    values = {"directory": directory, "pilot": PILOT}
    (directory / "containers.conf").write_text(_CONTAINERS_CONF.format(**values))
    (directory / "storage.conf").write_text(_STORAGE_CONF.format(**values))
    # podman looks for its policy in the home directory first, then in /etc.
    (directory / ".config" / "containers").mkdir(parents=True, exist_ok=True)
    (directory / ".config" / "containers" / "policy.json").write_text(_POLICY)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory / "tmp"),
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
    }


def make_image_tar(path: Path) -> Path:
    """A rootfs of one static busybox with all its commands, as a tar file."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"):
            _add(tar, name, tarfile.DIRTYPE, mode=0o755)
        with open(busybox, "rb") as file:
            content = file.read()
        _add(tar, "bin/busybox", content=content, mode=0o755)
        for name in listed:
            if name != "busybox":
                _add(tar, f"bin/{name}", tarfile.SYMTYPE, target="busybox")
        _add(tar, "etc/passwd", content=b"root:x:0:0:root:/root:/bin/sh\nsome:x:7:8::/tmp:/bin/sh\n")
        _add(tar, "etc/group", content=b"root:x:0:\nsome:x:8:\n")
    return path


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, *, content: bytes = b"", mode: int = 0o644,
    target: str = "",
) -> None:  # fmt: skip
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname, member.size = kind, mode, target, len(content)
    tar.addfile(member, io.BytesIO(content))


def world_tar() -> Path:
    """The minimal Debian that `pilot image build` leaves; see the probe `world-tar`."""
    return max(Path("/var/cache/pilot").glob("world-minimal-*.tar"), key=lambda path: path.stat().st_mtime)
