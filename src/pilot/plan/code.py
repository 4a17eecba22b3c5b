"""Instructions: what a Program becomes, and what native/launch carries out.

An instruction is one system call, or one of a few functions of native/launch (`Call`, below `EXTRA`) that need a loop,
a pointer inside a structure, or a conversation with the parent. Arguments are integers, descriptors by slot, texts,
bytes and lists of texts. What an instruction returns can be bound to a slot. When it fails, its errno selects a place
further *down* to continue at; without one the Program has failed. There is no way back up, so every Program ends.

One buffer, little-endian, offsets from its start:

    header   magic u32 · size u32 · instructions u32 · slots u32 · flags u64 · cgroup slot i32 · data offset u32
    instruction × n   call u16 · step u16 · into i16 · 0 u16
                      · 6 × (type u32 · length u32 · value u64)
                      · 4 × (errno u16 · skip u16)
    data     texts end in NUL; a list is count u32, then its texts; each item is aligned to 8

A slot is closed at the end of the last step that names it: nobody has to remember, and a process that waits, for its
start or for a hook, holds nothing that it does not need any more. A step that needs nothing of a slot but its being
open (`Execute.holds`) names it.

There are `MAX_SLOTS` numbers for slots. A Program that has more names, which one with a thousand mounts has, is written
twice: the first writing tells when each slot is named last (`Code.passing`), the second gives the number of one that is
closed to another that a step binds later.

`step` is the index of the step that the instruction belongs to. native/launch checks every bound and offset, and the
types that its own functions dereference, before it clones; it trusts the meaning.
"""

from __future__ import annotations

import bisect
import enum
import struct
from collections.abc import Mapping, Sequence

MAGIC = 0x314E4C50  # "PLN1"
MAX_SLOTS = 1024
MAX_INSTRUCTIONS = 524288
MAX_RECEIVED = 32  # descriptors, at one barrier
NO_STEP = 0xFFFF  # the step of an instruction that comes before the first
ARGUMENTS = 6
BRANCHES = 4

_HEADER = struct.Struct("<IIIIQiI")
# An instruction without its branches, by the number of its arguments.
_INSTRUCTIONS = [struct.Struct(f"<HHhH{'IIQ' * n}{16 * (ARGUMENTS - n)}x") for n in range(ARGUMENTS + 1)]
_BRANCHES = struct.Struct("<" + "HH" * BRANCHES)
_NO_BRANCHES = bytes(_BRANCHES.size)
_WORD = (1 << 64) - 1


class EncodeError(ValueError):
    """What is asked for cannot be written down: too much of it, or a text with a NUL."""


class Slot(str):
    """The name of a descriptor inside a Program; bound by the caller of launch, or by a step."""

    __slots__ = ()


class ArgumentType(enum.IntEnum):
    """How the value of an argument is to be read."""

    INTEGER = 0
    SLOT = 1
    TEXT = 2
    BYTES = 3
    LIST = 4


_INTEGER, _SLOT = int(ArgumentType.INTEGER), int(ArgumentType.SLOT)


class Call(enum.IntEnum):
    """Each instruction; the order is native/launch's (`_launch.calls()` names them, a test compares)."""

    CAPSET = 0
    CHDIR = 1
    CHROOT = 2
    CLOSE_RANGE = 3
    FACCESSAT2 = 4
    FCHDIR = 5
    FCHMOD = 6
    FCHMODAT = 7
    FCHOWNAT = 8
    FSCONFIG = 9
    FSMOUNT = 10
    FSOPEN = 11
    IOCTL = 12
    IOPRIO_SET = 13
    KEYCTL = 14
    MKDIRAT = 15
    MKNODAT = 16
    MOUNT = 17
    MOUNT_SETATTR = 18
    MOVE_MOUNT = 19
    OPEN_TREE = 20
    OPENAT2 = 21
    PERSONALITY = 22
    PIVOT_ROOT = 23
    PRCTL = 24
    PRLIMIT64 = 25
    SCHED_SETAFFINITY = 26
    SCHED_SETATTR = 27
    SET_MEMPOLICY = 28
    SETDOMAINNAME = 29
    SETGROUPS = 30
    SETHOSTNAME = 31
    SETNS = 32
    SETRESGID = 33
    SETRESUID = 34
    SETSID = 35
    SYMLINKAT = 36
    UMASK = 37
    UMOUNT2 = 38
    UNLINKAT = 39
    UNSHARE = 40
    WRITE = 41
    SOCKET = 42
    # What follows are functions of native/launch.
    SKIP = 64  # continue `a0` instructions further down
    CLOSE = 65  # unbind a slot
    MAKE_DIRECTORIES = 66  # base, path, mode → descriptor of the last
    OPEN_TARGET = 67  # base, path, like slot, mode → descriptor to mount on
    SET_IDMAP = 68  # mount_setattr with a user namespace: tree, path, flags, attributes, user namespace
    SECCOMP = 69  # filter, flags → listener
    COPY_UP = 70  # from, to: the tree below one directory into another
    INSTALL = 71  # descriptors of a list of slots become 0, 1, 2, ...
    CHECK_CWD = 72  # the working directory is inside the root
    FIND_EXECUTABLE = 73  # candidates
    EXECUTE = 74  # candidates, arguments, environment, lines for stderr
    RUN_HOOK = 75  # path, arguments, environment, stdin, timeout in ms, lines for stderr
    SPAWN = 76  # flags, cgroup: the rest is run by a new process, this one ends
    BARRIER = 77  # first slot to receive, count
    RELEASE = 78
    AWAIT = 79  # one byte on a slot
    SEND = 80  # a slot's descriptor to the parent
    SEND_TO = 81  # socket, descriptor, payload: SCM_RIGHTS
    DROP_BOUNDING = 82  # the mask of capabilities to keep
    CHECK_DEVICE = 83  # slot, number: it is that character device
    CHECK_FILESYSTEM = 84  # slot, magic number, whether it must be or must not
    CHECK_KIND = 85  # two slots: both are directories, or neither is
    OFFER = 86  # a descriptor whose number is told: the parent takes it


Argument = int | str | bytes | None | Sequence[str]


class Label:
    """A place further down; `Code.place` says where."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = -1


class Code:
    """Collects instructions; steps write into it by `call`, Program takes the bytes out by `finish`.

    `passing` is what an earlier writing of the same steps has said of slots that may share a number.
    """

    def __init__(self, passing: Mapping[str, int] | None = None) -> None:
        self.step = NO_STEP
        self._slots: dict[str, int] = {}
        self._names: list[str] = []  # of each number: who had it first
        self._last: dict[str, int] = {}  # of each slot: the step that named it last
        self._inside: set[str] = set()  # slots that are bound by the Program itself, and known to it alone
        self._passing = passing or {}
        self._free: list[int] = []
        self._leaving: dict[int, list[int]] = {}  # after which step a number is free
        self._ends: dict[int, int] = {}  # of each step that is complete: where the next one begins
        self._rows: list[bytes] = []
        self._branches: dict[int, Mapping[int, Label]] = {}
        self._data = bytearray()
        self._known: dict[str | bytes, tuple[int, int, int]] = {}
        self._skips: dict[int, tuple[int, Label]] = {}

    def slots(self) -> tuple[str, ...]:
        """Names of the slots; the index is what native/launch knows them by.

        Of a number that several have: the first, the only one that can be bound before the Program runs.
        """
        return tuple(self._names)

    def passing(self) -> dict[str, int]:
        """Slots whose number may be another's before and after; of each the step that names it last."""
        return {name: self._last[name] for name in self._inside}

    def begin(self, step: int) -> None:
        """What follows is of `step`; the one before is complete. EncodeError when there are too many."""
        if step >= NO_STEP:
            raise EncodeError(f"more than {NO_STEP} steps: each mount takes some")
        self._ends[self.step] = len(self._rows)
        self._free += self._leaving.pop(self.step, ())
        self.step = step

    def call(
        self, call: Call, *arguments: Argument, into: Slot | None = None, unless: Mapping[int, Label] | None = None
    ) -> None:
        """Append an instruction. `unless` maps an errno to the place to continue at."""
        words: list[int] = []
        for argument in arguments:
            words += (0, 0, argument & _WORD) if type(argument) is int else self._argument(argument)
        if unless:
            self._branches[len(self._rows)] = unless
        slot = -1 if into is None else self.bound(into)
        self._rows.append(_INSTRUCTIONS[len(arguments)].pack(call, self.step, slot, 0, *words))

    def skip_to(self, label: Label) -> None:
        """Continue at `label`."""
        self._skips[len(self._rows)] = (self.step, label)
        self._rows.append(b"")

    def place(self, label: Label) -> None:
        """`label` is here."""
        label.position = len(self._rows)

    def slot(self, slot: Slot) -> int:
        """The number of `slot`, a new one when the name is new."""
        number = self._slots.get(slot)
        if number is None:
            number = self._slots[slot] = self._new_number(slot)
        self._last[slot] = self.step
        # More than there are: `finish` refuses what was written with them.
        return number if number < MAX_SLOTS else MAX_SLOTS - 1

    def bound(self, slot: Slot) -> int:
        """The number of a slot that the Program binds here."""
        if slot not in self._slots:
            self._inside.add(slot)
        return self.slot(slot)

    def told(self, slot: Slot) -> int:
        """The number of a slot that somebody outside knows it by, and so nobody else's."""
        self._inside.discard(slot)
        return self.slot(slot)

    def _new_number(self, slot: Slot) -> int:
        last = self._passing.get(slot)
        if last is not None and self._free:
            number = self._free.pop()
        else:
            number = len(self._names)
            self._names.append(slot)
        if last is not None:
            self._leaving.setdefault(last, []).append(number)
        return number

    def finish(self, flags: int, cgroup: Slot | None) -> bytes:
        """The encoded Program. EncodeError for too much, and when a label does not lie below its instruction."""
        if len(self._names) > MAX_SLOTS:
            raise EncodeError(f"more than {MAX_SLOTS} descriptors at a time")
        cgroup_slot = -1 if cgroup is None else self._slots[cgroup]
        closings = self._closings()
        for index, (step, label) in self._skips.items():
            distance = _distance(index, label, closings)
            self._rows[index] = _INSTRUCTIONS[1].pack(Call.SKIP, step, -1, 0, 0, 0, distance)
        rows: list[bytes] = []
        begin = 0
        for place, step, slot in closings:
            rows += self._finished(begin, place, closings)
            rows.append(_INSTRUCTIONS[1].pack(Call.CLOSE, step, -1, 0, 0, 0, slot) + _NO_BRANCHES)
            begin = place
        rows += self._finished(begin, len(self._rows), closings)
        if len(rows) > MAX_INSTRUCTIONS:
            raise EncodeError(f"more than {MAX_INSTRUCTIONS} instructions: each mount, device and path takes some")
        table = b"".join(rows)
        data_offset = _HEADER.size + len(table)
        size = data_offset + len(self._data)
        header = _HEADER.pack(MAGIC, size, len(rows), len(self._names), flags, cgroup_slot, data_offset)
        return header + table + self._data

    def _closings(self) -> list[tuple[int, int, int]]:
        """(before which row, of which step, which slot), in order. At the end of the last step the process ends."""
        ended = ((name, step) for name, step in self._last.items() if step in self._ends)
        return sorted((self._ends[step], step, self._slots[name]) for name, step in ended)

    def _finished(self, begin: int, end: int, closings: list[tuple[int, int, int]]) -> list[bytes]:
        return [self._rows[index] + self._branch(index, closings) for index in range(begin, end)]

    def _branch(self, index: int, closings: list[tuple[int, int, int]]) -> bytes:
        unless = self._branches.get(index)
        if unless is None:
            return _NO_BRANCHES
        words = [word for number, label in unless.items() for word in (number, _distance(index, label, closings))]
        return _BRANCHES.pack(*words, *[0] * (2 * BRANCHES - len(words)))

    def _argument(self, argument: Argument) -> tuple[int, int, int]:
        if isinstance(argument, Slot):
            return _SLOT, 0, self.slot(argument)
        if isinstance(argument, str | bytes):
            return self._known.get(argument) or self._item(argument)
        if argument is None:
            return _INTEGER, 0, 0
        if isinstance(argument, int):
            return _INTEGER, 0, argument & _WORD
        packed = struct.pack("<I", len(argument)) + b"".join(_text(text) for text in argument)
        return self._append(ArgumentType.LIST, packed)

    def _item(self, value: str | bytes) -> tuple[int, int, int]:
        if isinstance(value, str):
            found = self._append(ArgumentType.TEXT, _text(value))
        else:
            found = self._append(ArgumentType.BYTES, value)
        self._known[value] = found
        return found

    def _append(self, kind: ArgumentType, packed: bytes) -> tuple[int, int, int]:
        offset = len(self._data)
        self._data += packed
        self._data += bytes(-len(self._data) % 8)
        return int(kind), len(packed), offset


def slot_list(code: Code, slots: Sequence[Slot | None]) -> bytes:
    """Slots as INSTALL reads them: one i32 each, -1 where a descriptor is to be closed."""
    return struct.pack(f"<{len(slots)}i", *(-1 if slot is None else code.slot(slot) for slot in slots))


def write_spawn(code: Code, namespaces: int, cgroup: Slot | None) -> None:
    """Append a SPAWN into new namespaces."""
    code.call(Call.SPAWN, namespaces, -1 if cgroup is None else code.slot(cgroup))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    if b"\0" in encoded:
        raise EncodeError(f"text with a NUL byte: {text!r}")
    return encoded + b"\0"


def _distance(index: int, label: Label, closings: list[tuple[int, int, int]]) -> int:
    """How many instructions lie between. A label at the end of a step is before what is closed there."""
    between = bisect.bisect_left(closings, (label.position,)) - bisect.bisect_left(closings, (index + 1,))
    distance = label.position - index - 1
    if distance < 0:
        raise EncodeError("a label was not placed below its instruction")
    return distance + between
