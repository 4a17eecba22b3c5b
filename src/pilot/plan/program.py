"""A Program: everything that happens between clone and exec, as a value.

`plan` builds it, `kernel.launcher` runs it, tests compare it. It holds no descriptors: steps name *slots*, which the
caller of `launch` binds (`descriptors={"root": fd}`) or an earlier step fills. It must never do anything: no files, no
clock, no environment.

    Program(steps=(steps.Mount(...), ..., steps.Execute(...)), namespaces=Namespace.MOUNT | Namespace.PID)

`namespaces` are those the first process is cloned into; `cgroup` is a slot with a cgroup v2 directory that it starts
in. A `steps.Spawn` in the middle makes that first process an *intermediate* one: a second is cloned, runs the rest, and
is the one that `launch` returns; the first ends. With a user namespace among `namespaces` it is as if the Program began
with a Spawn into all of them: exec by a uid that is not mapped yet would lose all capabilities.
"""

from __future__ import annotations

import functools
from typing import Protocol, runtime_checkable

import msgspec

from .abi import Namespace
from .code import MAX_SLOTS, Code, Slot, write_spawn
from .code import NO_STEP as NO_STEP


class Step(Protocol):
    """One thing to do; see `plan.steps` for all there are."""

    def describe(self) -> str:
        """One line, much like the command that would do the same."""

    def write(self, code: Code) -> None:
        """Append this step's instructions."""


class About(msgspec.Struct, frozen=True):
    """A step, and what it is done for in the words of config.json: that is told when the kernel refuses it."""

    subject: str
    step: Step

    def describe(self) -> str:
        return self.step.describe()

    def write(self, code: Code) -> None:
        self.step.write(code)


@runtime_checkable
class Meeting(Step, Protocol):
    """A step at which the process waits for its parent."""

    @property
    def name(self) -> str: ...
    @property
    def receives(self) -> tuple[Slot, ...]: ...


class Program(msgspec.Struct, frozen=True, dict=True):
    """Steps in order, and how the process that runs them is cloned."""

    steps: tuple[Step, ...]
    namespaces: Namespace = Namespace(0)
    cgroup: Slot | None = None

    def describe(self) -> str:
        """The Program as text: a numbered line per step."""
        lines = [f"clone {self.describe_clone()}{f' into {self.cgroup}' if self.cgroup else ''}"]
        lines += [f"{index:3} {step.describe()}" for index, step in enumerate(self.steps, 1)]
        return "\n".join(lines) + "\n"

    def describe_clone(self) -> str:
        """The namespaces that the first process is cloned into."""
        return describe_namespaces(self.namespaces)

    def barrier(self, index: int) -> tuple[str, tuple[Slot, ...]]:
        """Name and received slots of the Barrier or Release that is step `index`; TypeError for another step."""
        step = self.steps[index]
        if not isinstance(step, Meeting):
            raise TypeError(f"step {index} is not a barrier: {step.describe()}")
        return step.name, step.receives

    def encode(self) -> bytes:
        """What native/launch runs; see `code` for the format. ValueError for what does not fit it."""
        return self._encoded[0]

    def slots(self) -> tuple[str, ...]:
        """Names of all slots; a slot's index is its number in the encoding."""
        return self._encoded[1]

    @functools.cached_property
    def _encoded(self) -> tuple[bytes, tuple[str, ...]]:
        code = Code()
        clone = self._write(code)
        if len(code.slots()) > MAX_SLOTS:
            code = Code(code.passing())
            clone = self._write(code)
        return code.finish(*clone), code.slots()

    def _write(self, code: Code) -> tuple[Namespace, Slot | None]:
        """All of it; namespaces and cgroup of the first clone."""
        namespaces, cgroup = self.namespaces, self.cgroup
        if cgroup is not None:
            code.slot(cgroup)
        if Namespace.USER in namespaces:
            # The stage must be executed before: without a mapped uid exec takes all capabilities away.
            write_spawn(code, namespaces, cgroup)
            namespaces, cgroup = Namespace(0), None
        for index, step in enumerate(self.steps):
            code.begin(index)
            step.write(code)
        return namespaces, cgroup


def describe_namespaces(namespaces: Namespace) -> str:
    """'mount,pid', or 'no namespaces'."""
    return ",".join(kind.name.lower() for kind in Namespace if kind in namespaces and kind.name) or "no namespaces"
