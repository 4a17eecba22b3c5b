"""What the headers of an ELF file say of how its program is protected (elf(5); 64-bit, little-endian)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_GNU_STACK, _PT_GNU_RELRO = 1, 2, 3, 0x6474E551, 0x6474E552
_PF_X, _PF_W = 1, 2
_DT_NEEDED, _DT_TEXTREL, _DT_BIND_NOW, _DT_FLAGS, _DT_FLAGS_1 = 1, 22, 24, 30, 0x6FFFFFFB
_DF_TEXTREL, _DF_BIND_NOW, _DF_1_NOW = 4, 8, 1
# A canary is read at %fs:0x28: mov, sub or xor with that address (x86-64; gcc, -mstack-protector-guard=tls).
_CANARY = re.compile(rb"\x64[\x48\x4c].[\x04-\x3c]\x25\x28\x00\x00\x00", re.DOTALL)


@dataclass(frozen=True)
class Elf:
    """One program or library."""

    position_independent: bool
    interpreter: bool
    libraries: int
    writes_to_text: bool
    bind_now: bool
    relro: bool
    executable_stack: bool
    writable_code: bool
    canary: bool
    fortified: bool


def parse(data: bytes) -> Elf:
    """`data` begins with the file; what follows it does no harm."""
    assert data[: len(MAGIC)] == MAGIC
    header = _HEADER.unpack_from(data)
    offset, size, count = header[5], header[9], header[10]
    segments = [_SEGMENT.unpack_from(data, offset + n * size) for n in range(count)]
    kinds = {segment[0]: segment for segment in segments}
    dynamic = _dynamic(data, kinds)
    flags, flags_1 = dict(dynamic).get(_DT_FLAGS, 0), dict(dynamic).get(_DT_FLAGS_1, 0)
    tags = [tag for tag, _ in dynamic]
    code = b"".join(data[s[2] : s[2] + s[5]] for s in segments if s[0] == _PT_LOAD and s[1] & _PF_X)
    end = max(s[2] + s[5] for s in segments if s[0] == _PT_LOAD)
    return Elf(
        position_independent=header[1] == _ET_DYN,
        interpreter=_PT_INTERP in kinds,
        libraries=tags.count(_DT_NEEDED),
        writes_to_text=_DT_TEXTREL in tags or bool(flags & _DF_TEXTREL),
        bind_now=_DT_BIND_NOW in tags or bool(flags & _DF_BIND_NOW) or bool(flags_1 & _DF_1_NOW),
        relro=_PT_GNU_RELRO in kinds,
        # Without the header the kernel takes the stack for executable.
        executable_stack=_PT_GNU_STACK not in kinds or bool(kinds[_PT_GNU_STACK][1] & _PF_X),
        writable_code=any(s[0] == _PT_LOAD and s[1] & _PF_X and s[1] & _PF_W for s in segments),
        canary=_CANARY.search(code) is not None,
        fortified=re.search(rb"\0__(?!stack)\w+_chk\0", data[:end]) is not None,
    )


def _dynamic(data: bytes, kinds: dict[int, tuple[int, ...]]) -> list[tuple[int, int]]:
    segment = kinds.get(_PT_DYNAMIC)
    if segment is None:
        return []
    entries = []
    for place in range(segment[2], segment[2] + segment[5], _ENTRY.size):
        tag, value = _ENTRY.unpack_from(data, place)
        if tag == 0:
            break
        entries.append((tag, value))
    return entries
