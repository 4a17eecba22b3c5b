"""What volumed asks of its zygote: children. The first descriptor that goes with `StartWorker`, `StartGuard` and
`RunErrand` is the socket on which the child answers; that answer is the one that the request names, and the zygote's
own says only that there is a child."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from . import to_errand
from .base import Answer, AnyRequest, Document, Kinds, Request


class Load(Request[Answer], frozen=True, tag="load"):
    """Import these modules: its children have them too."""

    modules: Sequence[str]


class Serving(Answer, frozen=True):
    """A worker does from now on."""

    pid: int


class StartWorker(Request[Serving], frozen=True, tag="worker"):
    """With /dev/fuse, the log of changes, and what is to be kept."""

    directory: str
    lineage: Sequence[str]
    resend: bool


class StartGuard(Request[Answer], frozen=True, tag="guard"):
    """With the mount. It answers twice: when it has synced, when it has frozen; and to `Thaw`."""

    deadline_s: float


class Thaw(Request[Answer], frozen=True, tag="thaw"):
    """Of a guard; whether it has held still until then."""


class RunErrand(Request[Answer], frozen=True, tag="errand"):
    """With what it is done to. The errand's own request is in it; so is its answer's type."""

    name: str
    arguments: Document

    @staticmethod
    def of(errand: AnyRequest) -> RunErrand:
        """Have this done."""
        arguments: dict[str, object] = msgspec.to_builtins(errand, str_keys=True)
        return RunErrand(str(arguments.pop("op")), arguments)

    def errand(self) -> AnyRequest:
        """What is to be done; PeerError."""
        return to_errand.KINDS.parse({**self.arguments, "op": self.name})


KINDS = Kinds(Load, StartWorker, StartGuard, RunErrand)
OF_A_GUARD = Kinds(Thaw)
