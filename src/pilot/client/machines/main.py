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
_EVERY = (*verbs.PROGRAM.options, *(option for verb in verbs.PROGRAM.verbs for option in verb.options))
_VALUED = {f"-{each.short}" for each in _EVERY if each.short and each.value is not None}
_SWITCHES = {f"--{each.name}" for each in _EVERY if each.value is None}
_WITH_COMMAND = {
    name
    for verb in verbs.PROGRAM.verbs
    if any(argument.rest for argument in verb.arguments)
    for name in (verb.words, *verb.aliases)
}


def main(arguments: Sequence[str]) -> int:
    """The exit status: as of `sprite`."""
    return commands.run(verbs.PROGRAM, arguments)


def is_of_bare(arguments: Sequence[str]) -> bool:
    """Whether a machine is meant that no pilotd has."""
    ours = _before_command(arguments)
    if any(word.partition("=")[0] in _OPTIONS for word in ours):
        return True
    places = _places(ours)
    return places[:1] == [0] and ours[0] in _OF_BARE and any("/" in ours[at] for at in places[1:])


def _before_command(arguments: Sequence[str]) -> Sequence[str]:
    """Without the words of a command, whose options are its own."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    places = _places(ours)
    for number, at in enumerate(places):
        if ours[at] in _WITH_COMMAND:  # then comes what it is of, and then the command
            return ours[: places[number + 2]] if len(places) > number + 2 else ours
    return ours


def _places(arguments: Sequence[str]) -> list[int]:
    """Of those that are neither options nor values of some. One that is not ours has a value."""
    before = ["", *arguments]
    return [
        at
        for at, (last, word) in enumerate(zip(before, arguments, strict=False))
        if not word.startswith("-") and not _takes_next(last)
    ]


def _takes_next(word: str) -> bool:
    return word in _VALUED or (word.startswith("--") and "=" not in word and word not in _SWITCHES)
