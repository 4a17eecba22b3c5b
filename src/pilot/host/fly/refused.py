"""What a config that is new may not ask for, since it is not here and would be missed: said, not dropped.

Configs of before are kept with it, so that a Machine that runs goes on, and starts again.
"""

from __future__ import annotations

from collections.abc import Callable

from ... import errors
from .config import Config

_Wants = Callable[[Config], bool]

_ROWS: tuple[tuple[str, _Wants, str], ...] = (
    (
        "config.statics",
        lambda config: bool(config.statics),
        "files are not served in a Machine's place: let it serve them itself",
    ),
    (
        "config.init.swap_size_mb",
        lambda config: bool(config.init and config.init.swap_size_mb),
        "a Machine has no swap: give it more memory (guest.memory_mb)",
    ),
    (
        "config.init.tty",
        lambda config: bool(config.init and config.init.tty),
        "a program has no terminal of its own: only a session may have one",
    ),
)


def check(config: Config) -> None:
    """`SpecError` with the place."""
    for place, wants, why in _ROWS:
        if wants(config):
            raise errors.SpecError(place, why)
