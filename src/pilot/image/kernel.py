"""The guest kernel and its initramfs, from Debian's cloud kernel package.

    linux-<digest>/    the package, unpacked: vmlinux (ELF, for the PVH entry), release, modules/
    kernel-<digest>/   vmlinux (a hard link) and initramfs:
                         /init                 pilot-init: stage 0, then PID 1
                         /modules/<name>.ko    unpacked, so that stage 0 needs no decompressor
                         /modules/list         their paths in the order to load them

A changed init makes only a new initramfs. The package is the one that apt offers when it is first fetched; as with the
Debian roots, what is in the cache stays until it is removed, so a host's machines change when the operator says so.
"""

from __future__ import annotations

import glob
import lzma
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .. import errors
from . import bzimage, cpio, data, digest, tools
from . import cache as artefacts

_TIMEOUT_S = 300.0
_LIST = "modules/list"


def ensure_kernel(cache: str = artefacts.DEFAULT, more: Sequence[str] = ()) -> str:
    """A directory with `vmlinux` and `initramfs`; `more`: modules beside those that every machine has."""
    linux = _ensure_linux(cache)
    init = _init()
    wanted = [*data.words("kernel", "modules"), *more]
    name = digest.digest([("linux", os.path.basename(linux)), ("init", init), ("modules", "\n".join(wanted))])

    def build(target: str) -> None:
        os.mkdir(target)
        os.link(f"{linux}/vmlinux", f"{target}/vmlinux")
        Path(target, "initramfs").write_bytes(cpio.archive(_initramfs(linux, init, wanted)))

    return artefacts.ensure(cache, "kernel", name, build)


def load_order(wanted: Sequence[str], dependencies: Mapping[str, Sequence[str]]) -> list[str]:
    """Module names so that each comes after all it depends on; wanted names that are no modules are left out."""
    ordered: list[str] = []

    def add(name: str) -> None:
        if name in ordered:
            return
        for needed in dependencies[name]:
            add(needed)
        ordered.append(name)

    for name in map(_module_name, wanted):
        if name in dependencies:
            add(name)
    return ordered


def parse_dependencies(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """modules.dep → name: (path, names it depends on)."""
    rows = (line.partition(":") for line in text.splitlines() if line)
    return {_module_name(path): (path, tuple(map(_module_name, needs.split()))) for path, _, needs in rows}


def _module_name(path: str) -> str:
    """The kernel's own name: a file `virtio-rng.ko.xz` is the module virtio_rng."""
    return os.path.basename(path).partition(".")[0].replace("-", "_")


def _initramfs(linux: str, init: bytes, wanted: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    modules = parse_dependencies(Path(linux, "modules", "modules.dep").read_text(encoding="ascii"))
    order = load_order(wanted, {name: needs for name, (_, needs) in modules.items()})
    files = {f"modules/{name}.ko": (0o644, _unpacked(Path(linux, "modules", modules[name][0]))) for name in order}
    listed = "".join(f"/modules/{name}.ko\n" for name in order).encode()
    return {"init": (0o755, init), _LIST: (0o644, listed), **files}


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _init() -> bytes:
    path = Path(__file__).resolve().parent.parent / "kernel" / "bin" / "pilot-init"
    if not path.exists():
        raise errors.HostError(f"read {path}: it is not built", hint="run make build")
    return path.read_bytes()


def _ensure_linux(cache: str) -> str:
    packages = data.words("kernel", "packages")
    name = digest.digest([("packages", "\n".join(packages))])

    def build(target: str) -> None:
        candidate = next(_candidates(packages), None)
        if candidate is None:
            artefacts.say("apt knows no guest kernel: apt-get update")
            tools.run(["apt-get", "--quiet", "update"], timeout_s=_TIMEOUT_S)
            candidate = next(_candidates(packages), None)
        if candidate is None:
            raise errors.HostError(
                "find a guest kernel: apt offers none of guest/kernel/packages", hint="apt-get update"
            )
        _unpack_package(*candidate, target)

    return artefacts.ensure(cache, "linux", name, build)


def _candidates(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(image package, version) behind each of the meta packages that apt can fetch."""
    for meta in packages:
        if _candidate(meta) is None:
            continue
        shown = tools.run(["apt-cache", "depends", meta], timeout_s=_TIMEOUT_S).decode()
        for package in re.findall(r"Depends: (linux-image-\S+)", shown):
            version = _candidate(package)
            if version is not None:
                yield package, version


def _candidate(package: str) -> str | None:
    """The version that apt would install; None when it knows no such package."""
    policy = tools.run(["apt-cache", "policy", package], timeout_s=_TIMEOUT_S).decode()
    found = re.search(r"Candidate: (\S+)", policy)
    return None if found is None or found[1] == "(none)" else found[1]


def _unpack_package(package: str, version: str, target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pilot-kernel-") as work:
        # apt's own user may not write here; what is fetched is verified all the same.
        fetch = ["apt-get", "--quiet", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}"]
        tools.run(fetch, timeout_s=_TIMEOUT_S, cwd=work)
        (deb,) = glob.glob(f"{work}/*.deb")
        tools.run(["dpkg-deb", "--extract", deb, f"{work}/files"], timeout_s=_TIMEOUT_S)
        (release,) = os.listdir(f"{work}/files/lib/modules")
        tools.run(["depmod", "--basedir", f"{work}/files", release], timeout_s=_TIMEOUT_S)
        os.mkdir(target)
        tools.run(
            ["cp", "--recursive", f"{work}/files/lib/modules/{release}", f"{target}/modules"], timeout_s=_TIMEOUT_S
        )
        image = Path(work, "files", "boot", f"vmlinuz-{release}").read_bytes()
        Path(target, "vmlinux").write_bytes(bzimage.extract(image))
        Path(target, "release").write_text(release + "\n", encoding="ascii")
