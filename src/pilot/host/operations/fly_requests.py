"""What operations on Machines are asked, and what their steps tell one another."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..fly.containers import ImageOf
from ..fsm.documents import NO_REQUEST, Format
from ..fsm.operation import Action

MACHINE = "machine"


class Launch(msgspec.Struct, frozen=True):
    """A new Machine; every id is in the request, so that a repetition means the same things.

    `claimed`: its machine is a member of the pool, with roots of these digests (`fly_pool`)."""

    app: str
    name: str
    region: str
    version: str
    config: dict[str, object]
    images: tuple[ImageOf, ...]
    metadata: dict[str, str] = {}
    launch: bool = True
    lease_nonce: str | None = None
    lease_owner: str = ""
    lease_expires_us: int = 0
    claimed: tuple[str, ...] | None = None


class Begin(msgspec.Struct, frozen=True):
    """`source`: who wants it to run."""

    source: Literal["user", "flyd"] = "user"


class Halt(msgspec.Struct, frozen=True):
    """Of what is None the Machine's config decides."""

    signal: str | None = None
    timeout_s: float | None = None


class Update(msgspec.Struct, frozen=True):
    """Another version. `launch`: one that runs, runs on with it."""

    version: str
    config: dict[str, object]
    images: tuple[ImageOf, ...]
    launch: bool = True


class Limit(msgspec.Struct, frozen=True):
    """So much memory, until the next start."""

    memory_bytes: int


class Ended(msgspec.Struct, frozen=True):
    """How the containers of a Machine have ended by themselves; `has_gone`: with their machine."""

    exit_code: int
    why: str = ""
    has_gone: bool = False


class Was(msgspec.Struct, frozen=True):
    """The state in which an update found the Machine, and its images."""

    state: str
    images: tuple[ImageOf, ...]


class Halted(msgspec.Struct, frozen=True):
    """None: nothing was told of an exit."""

    exit_code: int | None


class Roots(msgspec.Struct, frozen=True):
    """`begun`: they are as the run wants them; else they were left as they are to a machine that had them."""

    begun: bool


LAUNCH = Action(MACHINE, "launch", Format[Launch](Launch))
START = Action(MACHINE, "start", Format[Begin](Begin))
STOP = Action(MACHINE, "stop", Format[Halt](Halt))
RESTART = Action(MACHINE, "restart", Format[Halt](Halt))
SUSPEND = Action(MACHINE, "suspend", NO_REQUEST)
# As the two, of a Machine that nobody uses.
REST_STOP = Action(MACHINE, "rest-stop", NO_REQUEST)
REST_SUSPEND = Action(MACHINE, "rest-suspend", NO_REQUEST)
UPDATE = Action(MACHINE, "update", Format[Update](Update))
LIMIT = Action(MACHINE, "limit", Format[Limit](Limit))
EXIT = Action(MACHINE, "exit", Format[Ended](Ended))
DESTROY = Action(MACHINE, "destroy", NO_REQUEST)
WAS = Format[Was](Was)
ROOTS = Format[Roots | None](Roots | None)  # None: of an earlier pilotd, or of a run that starts nothing
HALTED = Format[Halted](Halted)
