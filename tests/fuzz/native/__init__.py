"""Our C that reads what others send: with libFuzzer (clang), or as a program that takes each file once (gcc).

Both with AddressSanitizer and UndefinedBehaviorSanitizer; a report ends the process.

    link       packets of an agent, as init takes them          native/init/{link,message,store,records}.c
    front      packets of a planner, as `pilot` takes them      native/front/packets.c
    program    Programs, as the launcher loads them             native/launch/program.c
    words      init's command line, inherited descriptors       native/init/{options,cmdline,inherited}.c
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pilot.plan.program import Program
from tests.golden.test_program_text import EVERY

_HERE = Path(__file__).parent
_NATIVE = _HERE.parents[2] / "native"
_SOURCES: Mapping[str, Sequence[str]] = {
    "link": ("init/link.c", "init/message.c", "init/store.c", "init/records.c", "init/log.c"),
    "front": ("front/packets.c",),
    "program": (
        "launch/program.c", "launch/calls.c", "launch/channel.c", "launch/copy.c", "launch/paths.c",
        "launch/process.c", "launch/start.c",
    ),
    "words": ("init/options.c", "init/cmdline.c", "init/inherited.c", "init/store.c"),
}  # fmt: skip
_PUT = struct.pack("<IIQIiQ96s", 0x314C4950, 1, 1, 0, 0, 0, b"name")
SEEDS: Mapping[str, Sequence[bytes]] = {
    "link": (
        b"\6\x80" + _PUT + b"\3\0\0\x80" + _PUT + b"\x0a\0", b"\2\5\1\1abc\7\4\1nam\3\0",
        b"\1\1\x01" * 3 + b"\7\3\1ab\7\3\2ab\7\3\2ab\2\0\3\0",
    ),
    "front": (struct.pack("<BBI", 1, 4, 4) + b"\3\4\2\0\0\0", b"\4\4\x08\0\0\0" * 4, b"\0\4\1\0\0\0"),
    "program": (Program(EVERY).encode(),),
    "words": (b"--name\0x\0--grace-ms\0005\0--\0sh\0", b"a:3,b:4,c:3,:5,d", b"--keeper\0--listen\0n\0"),
}  # fmt: skip
_CHECKED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"]
_COMMON = ["-D_GNU_SOURCE", '-DBUILD="digest"', "-Wall", "-Wextra", "-Werror"]


def built(name: str, directory: Path) -> Path:
    """The fuzzer of that name; clang."""
    program = directory / f"fuzz-{name}"
    _compile(["clang", *_CHECKED, "-fsanitize=fuzzer"], name, [], program)
    return program


def replayer(name: str, directory: Path) -> Path:
    """What takes files; gcc."""
    program = directory / f"replay-{name}"
    _compile(["gcc", *_CHECKED, "-O0"], name, [_HERE / "replay.c"], program)
    return program


def _compile(compiler: list[str], name: str, more: list[Path], program: Path) -> None:
    sources = [_HERE / f"{name}.c", *more, *(_NATIVE / source for source in _SOURCES[name])]
    command = [*compiler, *_COMMON, "-o", str(program), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
