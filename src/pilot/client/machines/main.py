"""`pilot machine VERB …`, and what of it is another program's: a machine without a pilotd.

--dial PATH …         asks that machine itself
start|stop DIRECTORY  makes and ends a bare one; a directory has a `/` in it, an id or a name of a Machine none
"""

from __future__ import annotations

from .. import main as commands
from . import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OF_BARE = ("start", "stop")
_OPTIONS = ("--dial", "--root")  # of it alone


def main(arguments: Sequence[str]) -> int:
    """The exit status: as of `sprite`."""
    return commands.run(verbs.PROGRAM, arguments)


def is_of_bare(arguments: Sequence[str]) -> bool:
    """Whether a machine is meant that no pilotd has."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(word.partition("=")[0] in _OPTIONS for word in ours):
        return True
    return arguments[:1] != [] and arguments[0] in _OF_BARE and any("/" in word for word in _words(arguments[1:]))


def _words(arguments: Sequence[str]) -> list[str]:
    """Those by their place, as far as that can be told: what follows an option may be its value."""
    before = ["", *arguments]
    return [
        word
        for last, word in zip(before, arguments, strict=False)
        if not word.startswith("-") and (not last.startswith("--") or "=" in last)
    ]
