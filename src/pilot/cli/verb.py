"""What a verb is: a module with these names. `main` finds it by name and knows nothing else of it.

SUMMARY    one line                          OPTIONS   table of options
USAGE      arguments after the options       ARGUMENTS how many, (least, most); most None: any number
run(context, arguments) -> exit status
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..runtime import Runtime
from .log import Log
from .options import Arguments, Option


class Context(msgspec.Struct, frozen=True):
    """Global options, ready to use."""

    root: str
    systemd_cgroup: bool
    debug: bool
    log: Log

    def runtime(self) -> Runtime:
        return Runtime(self.root, cgroup_driver="systemd" if self.systemd_cgroup else "cgroupfs")


class Verb(Protocol):
    """See the module."""

    SUMMARY: str
    USAGE: str
    OPTIONS: tuple[Option, ...]
    ARGUMENTS: tuple[int, int | None]

    def run(self, context: Context, arguments: Arguments) -> int: ...
