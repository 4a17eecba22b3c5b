"""The built images, looked at from outside and from inside."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support import virtual

from pilot import errors, image
from pilot.image import cache, debian, guest, sources

pytestmark = pytest.mark.requires("root", "private", "mmdebstrap", "cpio")


@pytest.fixture(scope="module")
def root() -> str:
    return image.ensure_guest_root(virtual.CACHE)


def _python(root: str, code: str) -> str:
    command = ["chroot", root, "/usr/bin/python3", "-BISE", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_agent_imports_in_the_guest(root: str) -> None:
    code = """
import sys
sys.path.insert(0, "/usr/lib/pilot")
import pilot.agent.process, pilot.kernel._launch
print(pilot.kernel._launch.__file__)
"""
    assert _python(root, code).startswith("/usr/lib/pilot/pilot/kernel/_launch")


def test_every_module_of_ours_is_compiled_and_not_checked_again(root: str) -> None:
    listed = list(Path(root, "usr/lib/pilot").rglob("*.py"))
    assert listed
    for source in listed:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        # PEP 552: bit 0 says hash instead of time, bit 1 says look at the source.
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1


def test_nothing_of_the_host_side_is_in_a_machine(root: str) -> None:
    packages = {path.name for path in Path(root, "usr/lib/pilot/pilot").iterdir() if path.is_dir()}
    assert packages - {"__pycache__"} == {"agent", "kernel", "plan", "runtime", "server", "spec", "wire"}


def test_init_is_the_built_one(root: str) -> None:
    init = Path(root, "usr/lib/pilot/bin/pilot-init")
    assert init.stat().st_mode & 0o777 == 0o755
    assert init.read_bytes() == Path(guest.__file__).parents[1].joinpath("kernel/bin/pilot-init").read_bytes()


def test_nothing_of_the_build_machine_is_left(root: str) -> None:
    assert Path(root, "etc/hostname").read_text() == "localhost"
    assert Path(root, "etc/resolv.conf").read_text() == ""
    assert os.listdir(f"{root}/dev") == []


def test_a_changed_agent_costs_no_bootstrap(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {**guest.agent_files(), "usr/lib/pilot/extra.py": f"# {os.getpid()}\n".encode()}
    monkeypatch.setattr(guest, "agent_files", lambda: changed)
    monkeypatch.setattr(debian, "bootstrap", lambda *_: pytest.fail("bootstrapped again"))
    other = image.ensure_guest_root(virtual.CACHE)
    try:
        assert other != root
        # The same file: the page cache holds it once for both.
        assert os.path.samefile(f"{other}/usr/bin/python3.11", f"{root}/usr/bin/python3.11")
        assert not os.path.exists(f"{root}/usr/lib/pilot/extra.py")
    finally:
        cache.remove(other)


def test_the_users_debian() -> None:
    with tarfile.open(image.ensure_world_tar(virtual.CACHE, "minimal")) as archive:
        members = {member.name: member for member in archive}
        passwd = archive.extractfile("./etc/passwd")
        listed = archive.extractfile("./etc/apt/sources.list.d/debian.sources")
        assert passwd is not None
        assert listed is not None
        assert "sprite:x:1000:1000::/home/sprite:/bin/bash" in passwd.read().decode().splitlines()
        assert list(sources.parse_deb822(listed.read().decode()))
        for name in ("./etc/subuid", "./etc/subgid"):
            subordinate = archive.extractfile(name)
            assert subordinate is not None
            assert subordinate.read().decode() == "sprite:10000:40000\n", "below 65536: a sprite has no other ids"
    assert (members["./home/sprite"].uid, members["./home/sprite"].gid) == (1000, 1000)
    assert (members["./etc/sudoers.d/sprite"].mode, members["./etc/sudoers.d/sprite"].uid) == (0o440, 0)
    assert members["./usr/bin/sudo"].mode & 0o4000
    assert members["./.sprite"].isdir()
    assert not [name for name in members if name.startswith("./dev/")]
    assert not [name for name, member in members.items() if member.ischr() or member.isblk()]


def test_the_kernels_initramfs_starts_our_init() -> None:
    kernel = Path(image.ensure_kernel(virtual.CACHE))
    assert (kernel / "vmlinux").read_bytes()[:4] == b"\x7fELF"
    names = subprocess.run(
        ["cpio", "-t", "--quiet"], input=(kernel / "initramfs").read_bytes(), capture_output=True, check=True
    )
    listed = names.stdout.decode().split()
    assert {"init", "modules/list", "modules/virtio_blk.ko", "modules/erofs.ko"} <= set(listed)


def test_finished_is_finished() -> None:
    assert image.ensure_guest_disk(virtual.CACHE) == image.ensure_guest_disk(virtual.CACHE)


def test_a_machine_without_our_native_parts_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(errors.HostError, match="it is not built") as failure:
        guest._built(tmp_path / "pilot-init")
    assert failure.value.hint == "run make build"
