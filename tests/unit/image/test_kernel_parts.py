"""The pieces of the guest kernel's image: load order, initramfs, the ELF inside a bzImage."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pilot import errors
from pilot.image import bzimage, cpio, kernel

DEPENDENCIES = """\
kernel/drivers/virtio/virtio.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz:
kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/core/failover.ko.xz
kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz
kernel/net/core/failover.ko.xz:
kernel/drivers/char/hw_random/virtio-rng.ko:
"""


def test_each_module_comes_after_what_it_needs() -> None:
    table = kernel.parse_dependencies(DEPENDENCIES)
    needs = {name: needed for name, (_, needed) in table.items()}
    order = kernel.load_order(["virtio_net", "virtio", "virtio-rng", "built_in"], needs)
    assert order == ["failover", "net_failover", "virtio_net", "virtio_ring", "virtio", "virtio_rng"]
    assert table["virtio_rng"][0] == "kernel/drivers/char/hw_random/virtio-rng.ko"


@pytest.mark.requires("cpio")
def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    files = {"init": (0o755, b"#!"), "modules/a.ko": (0o644, b"abc"), "modules/deep/list": (0o600, b"")}
    subprocess.run(["cpio", "-id", "--quiet"], input=cpio.archive(files), cwd=tmp_path, check=True)
    for name, (mode, content) in files.items():
        assert (tmp_path / name).read_bytes() == content
        assert (tmp_path / name).stat().st_mode & 0o777 == mode


def _tool(*command: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": _tool("zstd", "--quiet", "--stdout"),
    "lz4": _tool("lz4", "-l", "--quiet", "--stdout"),
}


def _bzimage(payload: bytes, unpacked_size: int) -> bytes:
    head = bytearray(2 * 512)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 64, len(payload) + 4)
    return bytes(head) + bytes(64) + payload + struct.pack("<I", unpacked_size) + b"behind it"


@pytest.mark.parametrize("packer", PACKERS)
def test_the_elf_file_is_found(packer: str) -> None:
    if packer in {"zstd", "lz4"} and shutil.which(packer) is None:
        pytest.skip(f"no {packer} on this machine")
    elf = b"\x7fELF" + bytes(range(256)) * 40
    assert bzimage.extract(_bzimage(PACKERS[packer](elf), len(elf))) == elf


def test_a_kernel_that_is_no_kernel_is_refused() -> None:
    elf = b"\x7fELF" + bytes(100)
    with pytest.raises(errors.HostError, match="neither ELF nor bzImage"):
        bzimage.extract(bytes(4096))
    with pytest.raises(errors.HostError, match="unknown compression"):
        bzimage.extract(_bzimage(b"nonsense", 8))
    with pytest.raises(errors.HostError, match="want an ELF file of 99 bytes"):
        bzimage.extract(_bzimage(gzip.compress(elf), 99))
    assert bzimage.extract(elf) == elf
