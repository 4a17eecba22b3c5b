"""Programs as values: their text, and their encoding read back by a decoder that knows only the format."""

from __future__ import annotations

import dataclasses
import errno
import struct

import pytest

from pilot.kernel import _launch
from pilot.plan import abi, steps
from pilot.plan.abi import MountAttribute, MountFlag, Namespace, Propagation
from pilot.plan.code import NO_STEP, Call, Code, Label
from pilot.plan.program import Program, Step
from pilot.plan.steps import Slot

ROOT = Slot("root")


@dataclasses.dataclass
class Decoded:
    call: Call
    step: int
    into: int
    arguments: list[object]
    branches: dict[int, int]


def decode(encoded: bytes) -> tuple[tuple[int, ...], list[Decoded]]:
    """The header and the instructions of an encoded Program."""
    header = struct.unpack_from("<IIIIQiI", encoded)
    magic, size, count, _, _, _, data = header
    assert magic == 0x314E4C50
    assert size == len(encoded)
    found = []
    for index in range(count):
        fields = struct.unpack_from("<HHhH18Q"[:5] + "IIQ" * 6 + "8H", encoded, 32 + 120 * index)
        arguments = [_argument(encoded[data:], *fields[4 + 3 * n : 7 + 3 * n]) for n in range(6)]
        numbers = fields[22:]
        branches = {numbers[n]: numbers[n + 1] for n in range(0, 8, 2) if numbers[n]}
        found.append(Decoded(Call(fields[0]), fields[1], fields[2], arguments, branches))
    return header, found


def _argument(data: bytes, kind: int, length: int, value: int) -> object:
    item = data[value : value + length]
    return [value, ("slot", value), item[:-1].decode(errors="replace"), item, item[4:].split(b"\0")[:-1]][kind]


def test_mount_is_one_call() -> None:
    program = Program((steps.Mount("proc", "/proc", "proc", MountFlag.NOSUID | MountFlag.NODEV, None),))
    _, [mount] = decode(program.encode())
    assert mount.call is Call.MOUNT
    assert mount.arguments[:5] == ["proc", "/proc", "proc", 6, 0]


def test_header_has_flags_and_cgroup() -> None:
    program = Program((steps.Close(ROOT),), Namespace.PID | Namespace.MOUNT, cgroup=Slot("cgroup"))
    header, _ = decode(program.encode())
    assert header[3:6] == (2, Namespace.PID | Namespace.MOUNT, 0)
    assert program.slots() == ("cgroup", "root")


def test_user_namespace_is_entered_by_a_second_process() -> None:
    program = Program((steps.Close(ROOT),), Namespace.PID | Namespace.USER, cgroup=Slot("cgroup"))
    header, [spawn, *_] = decode(program.encode())
    assert header[3:6] == (2, 0, -1)
    assert (spawn.call, spawn.step, spawn.arguments[:2]) == (Call.SPAWN, NO_STEP, [0x30000000, 0])


def test_filesystem_is_configured_then_attached() -> None:
    step = steps.MountFilesystem("tmpfs", ROOT, "dev", "none", (("mode", "755"), ("noswap", None)))
    header, code = decode(Program((step,)).encode())
    assert [c.call.name for c in code] == ["FSOPEN", "FSCONFIG", "FSCONFIG", "FSCONFIG", "FSCONFIG", "FSMOUNT", "CLOSE",
                                           "OPEN_TARGET", "CHECK_FILESYSTEM", "CHECK_KIND", "MOVE_MOUNT", "CLOSE",
                                           "CLOSE"]  # fmt: skip
    assert [c.arguments[1:4] for c in code[1:5]] == [
        [1, "source", "none"], [1, "mode", "755"], [0, "noswap", 0], [6, 0, 0],
    ]  # fmt: skip
    assert header[2] == len(code)


def test_slots_are_closed_after_their_last_step() -> None:
    """Also by an instruction that jumps to the end of the step, and also what was there only to be cloned into."""
    mask, terminal, held = steps.MaskPath(ROOT, "proc/keys", Slot("null")), Slot("terminal"), Slot("held")
    last = steps.Execute(("/bin/true",), (), (), holds=(held,))
    program = Program((steps.ControllingTerminal(terminal), mask, steps.AwaitStart(held), last), cgroup=Slot("cgroup"))
    _, code = decode(program.encode())
    names = program.slots()
    closed = [(code_.step, names[int(str(code_.arguments[0]))]) for code_ in code if code_.call is Call.CLOSE]
    assert closed[:2] == [(NO_STEP, "cgroup"), (0, "terminal")]
    assert {name for step, name in closed if step == 1} == {"root", "null", "(tree)", "(target)", "(fs)", "(empty)"}
    assert "held" not in [name for _, name in closed]
    first = next(i for i, code_ in enumerate(code) if code_.step == 1)
    target = code[first + 1 + code[first].branches[errno.ENOENT]]
    assert (target.call, target.step, names[int(str(target.arguments[0]))]) == (Call.CLOSE, 1, "root")


def test_more_slots_than_there_are_numbers_for() -> None:
    """Numbers are given anew: whatever an instruction reads was bound by the step that says so, and is still open."""
    count = 900
    mounts = [Slot(f"mount{n}") for n in range(count)]
    received = [Slot(f"given{n}") for n in range(count)]
    every: list[Step] = []
    for n, slot in enumerate(mounts):
        every += (steps.OpenTree(slot, None, f"/from/{n}"), steps.AttachMount(slot, ROOT, f"to/{n}"))
    for n in range(0, count, 30):
        every += (steps.Barrier("mounts", tuple(received[n : n + 30])), *map(steps.Close, received[n : n + 30]))
    program = Program(tuple(every))
    header, code = decode(program.encode())
    assert header[3] == len(program.slots()) <= 64
    assert program.slots()[0] == "mount0"
    paths: dict[object, object] = {}  # of each number that is open: what it is of
    moved = []
    for row in code:
        if row.call is Call.CLOSE:
            paths.pop(("slot", row.arguments[0]), None)
        elif row.call is Call.MOVE_MOUNT:
            moved.append(paths[row.arguments[0]])
        if row.into >= 0:
            paths["slot", row.into] = row.arguments[1]
    assert moved == [f"/from/{n}" for n in range(count)]
    assert paths == {}
    _launch.validate(program.encode())


def test_more_steps_than_can_be_told_apart() -> None:
    with pytest.raises(ValueError, match="more than 65535 steps"):
        Program((steps.NewSession(),) * 0x10000).encode()


def test_a_slot_that_the_parent_hears_of_keeps_its_number() -> None:
    sent = (steps.Open(Slot("first"), None, "/"), steps.SendDescriptor(Slot("first")), steps.Close(Slot("first")))
    many = [steps.OpenTree(Slot(f"mount{n}"), None, "/") for n in range(1100)]
    program = Program((*sent, *many))
    _, code = decode(program.encode())
    number = next(row.arguments[1] for row in code if row.call is Call.SEND)
    assert isinstance(number, int)
    assert program.slots()[number] == "first"
    assert number not in {row.into for row in code if row.call is Call.OPEN_TREE}


def test_errors_lead_downwards() -> None:
    _, code = decode(Program((steps.MaskPath(ROOT, "proc/keys", Slot("null")),)).encode())
    assert code[0].branches[errno.ENOENT] == len(code) - 1
    assert code[1 + code[0].branches[errno.ENOTDIR]].call is Call.OPENAT2


def test_label_above_its_instruction_is_refused() -> None:
    code, label = Code(), Label()
    code.place(label)
    code.call(Call.SETSID, unless={1: label})
    with pytest.raises(ValueError, match="not placed below"):
        code.finish(0, None)


@pytest.mark.parametrize(
    "step",
    [
        steps.SetHostname("a\0b"),
        steps.MakeNode(ROOT, "..", 0o20666),
        steps.InstallDescriptors(tuple(Slot(str(n)) for n in range(1100))),
    ],
)
def test_what_cannot_be_encoded(step: steps.SetHostname) -> None:
    with pytest.raises(ValueError, match=r"NUL|without a name|more than 1024"):
        Program((step,)).encode()


def test_text_that_is_not_utf8_passes_through() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    encoded = Program((steps.ChangeDirectory(name),)).encode()
    assert b"caf\xe9\0" in encoded


def test_barrier_is_found_by_its_step() -> None:
    program = Program((steps.NewSession(), steps.Barrier("idmap", (ROOT,)), steps.Release()))
    assert program.barrier(1) == ("idmap", (ROOT,))
    assert program.barrier(2) == ("release", ())
    with pytest.raises(TypeError):
        program.barrier(0)


def test_structures_of_the_kernel() -> None:
    every = (steps.SetCapabilities(frozenset({0, 33}), frozenset({1}), frozenset()),
             steps.SetLimit(7, 1, 2**64 - 1), steps.MakeNode(ROOT, "dev/x", 0o20666, 259, 300),
             steps.SetMountAttributes(ROOT, MountAttribute.RDONLY, MountAttribute.ATIME, Propagation.SLAVE,
                                      True))  # fmt: skip
    _, code = decode(Program(every).encode())
    by_call = {c.call: c.arguments for c in code}
    assert by_call[Call.CAPSET][:2] == [struct.pack("<Ii", 0x20080522, 0), struct.pack("<6I", 1, 2, 0, 2, 0, 0)]
    assert by_call[Call.PRLIMIT64][1:3] == [7, struct.pack("<QQ", 1, 2**64 - 1)]
    device = by_call[Call.MKNODAT][3]
    assert device == (300 & 0xFF) | 259 << 8 | (300 & ~0xFF) << 12
    assert by_call[Call.MOUNT_SETATTR][2:5] == [
        abi.AT_EMPTY_PATH | abi.AT_RECURSIVE,
        struct.pack("<4Q", 1, 0x70, 1 << 19, 0),
        32,
    ]
