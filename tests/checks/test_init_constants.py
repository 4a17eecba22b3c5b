"""The numbers of init's packets: `native/init/message.h` and `pilot.kernel.initlink` say the same."""

from __future__ import annotations

import re
from pathlib import Path

from pilot.kernel import initlink

HEADER = (Path(__file__).parents[2] / "native/init/message.h").read_text()


def test_kinds_agree() -> None:
    in_c = {name: int(value) for name, value in re.findall(r"MESSAGE_([A-Z]+) = (\d+),", HEADER)}
    assert in_c == {kind.name: kind.value for kind in initlink.Kind}


def test_magic_and_sizes_agree() -> None:
    defined = {name: int(value, 0) for name, value in re.findall(r"#define (\w+) (0x\w+?|\d+)u?\s", HEADER)}
    assert defined["MESSAGE_MAGIC"] == initlink.MAGIC
    assert defined["NAME_SIZE"] == initlink.NAME_SIZE
    (size,) = re.findall(r"sizeof\(struct message\) == (\d+)", HEADER)
    assert len(initlink.Packet(initlink.Kind.READY).encode()) == int(size)
