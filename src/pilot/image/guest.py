"""The machine's read-only root: a small Debian with Python, and pilot's agent in /usr/lib/pilot.

Two layers, so that a changed agent costs a second and not a bootstrap:

    base-<digest>/     Debian alone; its digest covers packages, release and archive
    guest-<digest>/    hard links to base, plus /usr/lib/pilot; its digest covers base's and every file of ours
    guest-<digest>.erofs  the same as a disk for virtual machines, uncompressed (zstd costs time under TCG)

Because layers share inodes, no file of a layer may ever be written in place: files are added, or replaced by new ones.
"""

from __future__ import annotations

import os
import sysconfig
import uuid
from importlib import util
from pathlib import Path

from .. import errors
from . import cache as artefacts
from . import data, debian, digest, sources, tools

_HOME = "usr/lib/pilot"
_PYTHON = "/usr/bin/python3"
# What the agent may import; the rest of pilot never enters a machine.
_SUBPACKAGES = ("agent", "kernel", "plan", "runtime", "server", "spec", "wire")
_MODULES = ("__init__.py", "errors.py", "ids.py")
_LIBRARIES = ("h11", "msgspec", "wsproto")
_SUFFIXES = (".py", ".so")
_MAIN = '''\
"""Starts the agent: `python3 -ISE /usr/lib/pilot`."""

import sys

from pilot import agent

sys.exit(agent.main(sys.argv[1:]))
'''
_TIMEOUT_S = 60.0
# Neither the hash in such a file nor a time stamp is checked against the source: no stat, no surprise after a copy.
_COMPILE = ("-BISE", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash")
# Tests of lib2to3 are not valid Python.
_BASE_HOOKS = (f'chroot "$1" sh -c "{_PYTHON} {" ".join(_COMPILE)} -x /lib2to3/ /usr/lib/python3.*"',)


def ensure_guest_root(cache: str = artefacts.DEFAULT) -> str:
    """The machine's root as a directory. `HostError` when a tool, the archive or one of our own files is missing."""
    base_digest, base = _ensure_base(cache)
    files = agent_files()
    name = digest.digest([("base", base_digest), *((inside, _content(file)) for inside, file in files.items())])
    return artefacts.ensure(cache, "guest", name, lambda target: _assemble(base, files, target))


def ensure_guest_disk(cache: str = artefacts.DEFAULT) -> str:
    """The same root as an erofs image."""
    root = ensure_guest_root(cache)
    name = os.path.basename(root).removeprefix("guest-")

    def build(target: str) -> None:
        # The same content gives the same bytes: no time of day, no random identifier.
        command = ["mkfs.erofs", "--quiet", "-T0", f"-U{uuid.UUID(hex=name * 2)}", target, root]
        tools.run(command, timeout_s=_TIMEOUT_S * 5)

    return artefacts.ensure(cache, "guest", name, build, suffix=".erofs")


def agent_files() -> dict[str, str | bytes]:
    """What is laid over Debian: path inside the root → file on this machine, or the content itself."""
    package = Path(__file__).resolve().parent.parent
    files: dict[str, str | bytes] = {f"{_HOME}/__main__.py": _MAIN.encode()}
    files[f"{_HOME}/bin/pilot-init"] = _built(package / "kernel" / "bin" / "pilot-init")
    _built(package / "kernel" / "_launch.abi3.so")
    for name in _MODULES:
        files[f"{_HOME}/pilot/{name}"] = str(package / name)
    for name in _SUBPACKAGES:
        files |= _python_files(package / name, f"{_HOME}/pilot/{name}")
    for name in _LIBRARIES:
        files |= _python_files(_library(name), f"{_HOME}/{name}")
    return files


def _built(path: Path) -> str:
    if not path.exists():
        raise errors.HostError(f"read {path}: it is not built", hint="run make build")
    return str(path)


def _library(name: str) -> Path:
    found = util.find_spec(name)
    if found is None or found.origin is None:
        raise errors.HostError(f"find the library {name}: not installed in this Python", hint="run make build")
    return Path(found.origin).parent


def _python_files(root: Path, inside: str) -> dict[str, str | bytes]:
    return {f"{inside}/{relative}": path for relative, path in data.tree(str(root)) if relative.endswith(_SUFFIXES)}


def _content(file: str | bytes) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _ensure_base(cache: str) -> tuple[str, str]:
    recipe = debian.Recipe(data.release(), data.words("base", "packages"), hooks=_BASE_HOOKS)
    archive = sources.machine_sources(recipe.release)
    name = digest.digest([("recipe", recipe.describe()), ("archive", sources.render(archive, signed=False))])

    def build(target: str) -> None:
        debian.bootstrap(recipe, target, archive)

    return name, artefacts.ensure(cache, "base", name, build)


def _assemble(base: str, files: dict[str, str | bytes], target: str) -> None:
    tools.run(["cp", "--archive", "--link", base, target], timeout_s=_TIMEOUT_S)
    _check_python(target)
    for inside, file in files.items():
        path = Path(target, inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(_content(file))
        path.chmod(0o755 if "/bin/" in inside else 0o644)
    tools.run(["chroot", target, _PYTHON, *_COMPILE, f"/{_HOME}"], timeout_s=_TIMEOUT_S)


def _check_python(root: str) -> None:
    """The libraries' extension modules come from this Python: the guest's must be the same minor version."""
    version = sysconfig.get_python_version()
    if not os.path.exists(f"{root}/usr/lib/python{version}"):
        raise errors.HostError(f"build the machine's root: its Python is not {version}, which our libraries need")
