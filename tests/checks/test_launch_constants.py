"""What Python repeats of the C side: kernel constants, the instructions, and the kinds of messages."""

from __future__ import annotations

import enum
import re
from pathlib import Path

from pilot.kernel import _launch, launcher, waiter
from pilot.plan import abi
from pilot.plan.code import ARGUMENTS, BRANCHES, MAGIC, MAX_INSTRUCTIONS, MAX_RECEIVED, MAX_SLOTS, Call

HEADER = (Path(__file__).parents[2] / "native/launch/launch.h").read_text()

_NAMESPACES = {"MOUNT": "NS", "NETWORK": "NET"}


def _names() -> dict[str, int]:
    found = {name: value for name, value in vars(abi).items() if type(value) is int and name.isupper()}
    found["CLONE_PARENT"] = waiter.CLONE_PARENT
    for kind in abi.Namespace:
        name = kind.name or ""
        found[f"CLONE_NEW{_NAMESPACES.get(name, name)}"] = kind
    prefixes: list[tuple[type[enum.IntEnum] | type[enum.IntFlag], str]] = [
        (abi.Resolve, "RESOLVE_"), (abi.MountFlag, "MS_"), (abi.MountAttribute, "MOUNT_ATTR_"),
        (abi.Propagation, "MS_"),
    ]  # fmt: skip
    for kinds, prefix in prefixes:
        found.update({prefix + name: value for name, value in kinds.__members__.items() if value})
    found["MOUNT_ATTR__ATIME"] = found.pop("MOUNT_ATTR_ATIME")
    return found


def test_constants_are_those_of_the_headers() -> None:
    names = _names()
    del names["MNT_DETACH"]  # only in a header that cannot be included beside linux/mount.h; the kernel tests use it
    assert names == _launch.constants()


def test_instructions_have_the_same_numbers() -> None:
    assert {call.name.lower(): call.value for call in Call} == _launch.calls()


def test_limits_and_message_kinds_are_those_of_the_header() -> None:
    limits = {"MAGIC": MAGIC, "MAX_SLOTS": MAX_SLOTS, "MAX_INSTRUCTIONS": MAX_INSTRUCTIONS, "ARGUMENTS": ARGUMENTS,
              "BRANCHES": BRANCHES, "MAX_RECEIVED": MAX_RECEIVED}  # fmt: skip
    for name, value in limits.items():
        match = re.search(rf"\b{name} = (\w+)", HEADER)
        assert match is not None
        assert int(match[1], 0) == value
    kinds = re.search(r"enum message_kind \{ FAILED = 1, ([A-Z, ]+) \}", HEADER)
    assert kinds is not None
    assert ["FAILED", *kinds[1].split(", ")] == [kind.name for kind in launcher.MessageKind]
