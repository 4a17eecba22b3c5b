"""The ELF kernel inside a bzImage: given the ELF (PVH entry), a VM starts 0.3 s earlier under TCG.

    0x1f1 u8 setup sectors (0 means 4) · 0x202 "HdrS" · 0x248 u32 payload_offset · 0x24c u32 payload_length

The payload lies `payload_offset` after the setup sectors. It is compressed; its last four bytes are the size
unpacked, which the kernel's build adds and most decompressors must not see.
"""

from __future__ import annotations

import gzip
import lzma
import struct

from .. import errors
from . import tools

_SECTOR = 512
_TIMEOUT_S = 60.0


def extract(image: bytes) -> bytes:
    """A bzImage → the ELF file in it. `HostError` when it is none, or packed in a way that we do not know."""
    if image[:4] == b"\x7fELF":
        return image
    if image[0x202:0x206] != b"HdrS":
        raise errors.HostError("read a kernel: neither ELF nor bzImage")
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * _SECTOR + offset
    packed, size = image[start : start + length - 4], struct.unpack_from("<I", image, start + length - 4)[0]
    unpacked = _unpack(packed)
    if len(unpacked) != size or unpacked[:4] != b"\x7fELF":
        raise errors.HostError(f"unpack a kernel: got {len(unpacked)} bytes, want an ELF file of {size} bytes")
    return unpacked


def _unpack(packed: bytes) -> bytes:
    if packed.startswith(b"\x02\x21\x4c\x18"):
        return tools.run(["lz4", "--decompress", "--stdout", "--quiet"], timeout_s=_TIMEOUT_S, data=packed)
    if packed.startswith(b"\x28\xb5\x2f\xfd"):
        return tools.run(["zstd", "--decompress", "--stdout", "--quiet"], timeout_s=_TIMEOUT_S, data=packed)
    if packed.startswith(b"\xfd7zXZ"):
        return lzma.decompress(packed)
    if packed.startswith(b"\x1f\x8b"):
        return gzip.decompress(packed)
    raise errors.HostError(f"unpack a kernel: unknown compression {packed[:4].hex()}")
