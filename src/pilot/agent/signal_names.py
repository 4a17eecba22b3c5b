"""Signals by the names that clients use: `TERM`, `SIGTERM`, `15`."""

from __future__ import annotations

import signal

from ..wire import faults


def name(number: int) -> str:
    """As SIGTERM; SIG and the number of one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def parse_signal(text: str) -> int:
    """Name or number → number; `InvalidRequest` when there is no such signal."""
    name = text.strip().upper()
    if name.isascii() and name.isdigit() and 0 < int(name) < signal.NSIG:
        return int(name)
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    except KeyError:
        raise faults.InvalidRequest(f"signal: there is none called {text!r}") from None
