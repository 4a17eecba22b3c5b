"""Steps about processes and namespaces, and those that speak with the parent."""

from __future__ import annotations

import errno

import msgspec

from ..abi import Namespace
from ..code import Call, Code, Slot, write_spawn
from .process import EXECUTE_ERRORS, MOST_SHOWN

# What RunHook fails with when the hook was executed; the same numbers of execve(2) come of no program.
_HOOK_ERRORS = {
    errno.ECANCELED: "it exited with another status than 0, or was killed",
    errno.ETIMEDOUT: "it was not done in its time, and was killed",
}


def _kinds(namespaces: Namespace) -> str:
    return ",".join(kind.name.lower() for kind in Namespace if kind in namespaces and kind.name) or "any"


class JoinNamespace(msgspec.Struct, frozen=True):
    """setns(2) on a namespace descriptor, or on a pidfd with several kinds at once.

    Joining a pid namespace changes only later children: a `Spawn` must follow. The user namespace comes first, or last
    when the others are owned by a namespace above it.
    """

    namespace: Slot
    kinds: Namespace

    def describe(self) -> str:
        return f"join namespace {_kinds(self.kinds)} of {self.namespace}"

    def write(self, code: Code) -> None:
        code.call(Call.SETNS, self.namespace, self.kinds)


class Unshare(msgspec.Struct, frozen=True):
    """unshare(2). For a time namespace: Unshare, WriteFile to /proc/self/timens_offsets, Spawn."""

    kinds: Namespace

    def describe(self) -> str:
        return f"unshare {_kinds(self.kinds)}"

    def write(self, code: Code) -> None:
        code.call(Call.UNSHARE, self.kinds)


class JoinCgroup(msgspec.Struct, frozen=True):
    """Write 0 to an open `cgroup.procs` (or `tasks`); before the uid changes, and before a cgroup namespace is made.

    On cgroup v2 the `cgroup` field of Program or Spawn does it within the clone, which is cheaper.
    """

    procs: Slot

    def describe(self) -> str:
        return f"join cgroup {self.procs}"

    def write(self, code: Code) -> None:
        code.call(Call.WRITE, self.procs, b"0", 1)


class Spawn(msgspec.Struct, frozen=True):
    """clone3(2) a second process with these new namespaces: it runs the rest, the present one ends.

    It is a sibling (CLONE_PARENT), so whoever is to wait for the first process waits for this one. Only once.
    """

    namespaces: Namespace = Namespace(0)
    cgroup: Slot | None = None

    def describe(self) -> str:
        into = f" into {self.cgroup}" if self.cgroup else ""
        return f"spawn{f' with new {_kinds(self.namespaces)}' if self.namespaces else ''}{into}"

    def write(self, code: Code) -> None:
        write_spawn(code, self.namespaces, self.cgroup)


class Barrier(msgspec.Struct, frozen=True):
    """Wait until the parent has done its part; `launch` calls on_barrier with `name`.

    What it returns, a mapping from slots to descriptors, is bound to the slots of `receives`. If the parent dies or its
    part fails, the process ends here.
    """

    name: str
    receives: tuple[Slot, ...] = ()

    def describe(self) -> str:
        received = f" (receives {', '.join(self.receives)})" if self.receives else ""
        return f"wait for the parent: {self.name}{received}"

    def write(self, code: Code) -> None:
        code.call(Call.BARRIER, _slot_words(code, self.receives), len(self.receives))


class Release(msgspec.Struct, frozen=True):
    """The last barrier: afterwards `launch` returns and the process lives without its parent.

    The creator writes state.json in on_barrier("release"); if it dies before that returns, the process ends. A step
    after this one can no longer be reported: on failure the process exits with 1, or 126/127 for Execute.
    """

    name: str = "release"
    receives: tuple[Slot, ...] = ()

    def describe(self) -> str:
        return "release from the parent"

    def write(self, code: Code) -> None:
        code.call(Call.RELEASE)


class AwaitStart(msgspec.Struct, frozen=True):
    """Wait for one byte on `fifo`, a FIFO that the creator opened for reading *and* writing.

    Status and start ask the kernel: opening the FIFO with O_WRONLY|O_NONBLOCK fails with ENXIO when nobody waits there
    any more (started or dead), otherwise writing one byte starts the process. Nothing here depends on /proc.
    """

    fifo: Slot

    def describe(self) -> str:
        return f"wait for start on {self.fifo}"

    def write(self, code: Code) -> None:
        code.call(Call.AWAIT, self.fifo)


class SendDescriptor(msgspec.Struct, frozen=True):
    """Give a descriptor to the parent: `Spawned.descriptors[slot]` (the master of a pty, a seccomp listener)."""

    slot: Slot

    def describe(self) -> str:
        return f"send descriptor {self.slot} to the parent"

    def write(self, code: Code) -> None:
        code.call(Call.SEND, self.slot, code.told(self.slot))


class OfferDescriptor(msgspec.Struct, frozen=True):
    """The same for who cannot call sendmsg(2): the parent takes it, for which it needs the right to trace us.

    It has to be open until the parent has answered the next barrier: a `Hold` follows that.
    """

    slot: Slot

    def describe(self) -> str:
        return f"have the parent take descriptor {self.slot}"

    def write(self, code: Code) -> None:
        code.call(Call.OFFER, self.slot, code.told(self.slot))


class Hold(msgspec.Struct, frozen=True):
    """Nothing, but that a slot is open until here."""

    slot: Slot

    def describe(self) -> str:
        return f"close {self.slot}"

    def write(self, code: Code) -> None:
        code.slot(self.slot)


class SendTo(msgspec.Struct, frozen=True):
    """Send a descriptor with `payload` (at least one byte) over a connected Unix socket: a console socket."""

    socket: Slot
    slot: Slot
    payload: bytes

    def describe(self) -> str:
        return f"send descriptor {self.slot} to {self.socket}"

    def write(self, code: Code) -> None:
        code.call(Call.SEND_TO, self.socket, self.slot, self.payload, len(self.payload))


class RunHook(msgspec.Struct, frozen=True):
    """Run a hook in a process of its own and wait for it; fails when it exits with anything but 0.

    `stdin` is a regular file (a memfd); it is read from its start. stdout and stderr are this process's stderr: what
    the container's process writes is not to be mixed with a hook's words, which runc keeps to itself. A hook that is
    not done after `timeout_ms` (0: no limit) is killed and the step fails with ETIMEDOUT. Once nobody listens to this
    process any more, its stderr is told.
    """

    path: str
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    stdin: Slot
    timeout_ms: int = 0
    subject: str = ""  # what a failure is told as: which hook of the configuration this is

    def describe(self) -> str:
        return f"run hook {' '.join((self.path, *self.arguments[1:]))}"

    def write(self, code: Code) -> None:
        lines = self._complaints()
        code.call(Call.RUN_HOOK, self.path, self.arguments, self.environment, self.stdin, self.timeout_ms, lines)

    def _complaints(self) -> tuple[str, ...]:
        """As those of `Execute`."""
        reasons = {**_HOOK_ERRORS, **EXECUTE_ERRORS}  # what is for all others stays the last
        subject = (self.subject or f"run hook {self.path}")[:MOST_SHOWN]
        return tuple(f"{chr(number)}pilot: {subject}: {text}\n" for number, text in reasons.items())


def _slot_words(code: Code, slots: tuple[Slot, ...]) -> bytes:
    return b"".join(code.bound(slot).to_bytes(4, "little") for slot in slots)
