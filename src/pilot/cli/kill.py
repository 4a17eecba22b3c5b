"""`pilot kill ID [SIGNAL]`: a signal to the first process, or with --all to every process."""

from __future__ import annotations

import signal

from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "kill sends the specified signal (default: SIGTERM) to the container's init process"
USAGE = "<container-id> [signal]"
OPTIONS = (Option(("all", "a"), Kind.FLAG, "send the specified signal to all processes inside the container"),)
ARGUMENTS = (1, 2)


def run(context: Context, arguments: Arguments) -> int:
    name = arguments.positional[1] if len(arguments.positional) > 1 else ""
    number = parse_signal(name or "SIGTERM")  # as in runc what is empty says nothing
    context.runtime().load(arguments.positional[0]).kill(number, all=arguments.flag("all"))
    return 0


def parse_signal(text: str) -> int:
    """A number, or a name with or without SIG, in any case; UsageError."""
    if text.isdecimal() and text.isascii():
        number = int(text)
        if number < signal.NSIG:  # 0 asks whether it runs
            return number
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name in signal.Signals.__members__:
        return signal.Signals[name]
    raise UsageError(f"unknown signal {text!r}")
