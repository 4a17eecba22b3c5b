"""The `pilot` command: the OCI command line, and a few words that are ours alone.

Only what the first word needs is imported: an OCI caller pays for no other part. Must never do anything but hand over.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import errors, standard
from .own_commands import OWN_COMMANDS

# As of `sprite`, and of shells: 128 and the number of the signal.
INTERRUPTED, BROKEN_PIPE = 130, 141


def main() -> int:
    """Entry point of `pilot`; the exit status."""
    standard.open_standard()
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    absent = os.environ.pop("PILOT_PLANNER_ABSENT", "")  # from native/front to us, and to nobody below us
    if word == "run" and _names_an_image(sys.argv[2:]):
        gc.enable()
        return _run(word, importlib.import_module(f"{__package__}.images.running").main)
    if word not in OWN_COMMANDS:
        return _run_oci(absent)
    gc.enable()
    if word == "machine":
        machines = importlib.import_module(f"{__package__}.client.machines.main")
        if not machines.is_of_bare(sys.argv[2:]):
            return int(machines.main(sys.argv[2:]))  # which tells its own errors
    module, _ = OWN_COMMANDS[word]
    return _run(word, importlib.import_module(f"{__package__}.{module}").main)


def _names_an_image(words: Sequence[str]) -> bool:
    """Whether a `run` is of an image, and not of a bundle: what follows `--` is the container's."""
    ours = words[: words.index("--")] if "--" in words else words
    return any(word == "--image" or word.startswith("--image=") for word in ours)


def _run(word: str, command: Callable[[list[str]], int]) -> int:
    try:
        status = command(sys.argv[2:])
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; and what is buffered still would be said to nobody at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except errors.PilotError as error:
        hint = f" ({error.hint})" if error.hint else ""
        _tell(word, f"{error}{hint}")
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _tell(word, f"{name}{(error.strerror or str(error)).lower()}")
    return 1


def _tell(word: str, text: str) -> None:
    print(f"pilot {word}: {text}", file=sys.stderr)


def _run_oci(absent: str) -> int:
    gc.disable()  # as in bin/pilot.in
    from . import cli

    gc.freeze()
    gc.enable()
    return cli.main(at_leisure=functools.cache(lambda: _start_planner(absent)))


def _start_planner(socket: str) -> None:
    """For the next command line, when native/front has found none at `socket`."""
    if not socket:
        return
    from .planner import starting  # once

    try:
        starting.start(socket)
    except errors.PilotError:
        pass  # nobody has asked for it; `pilot planner start` says why there is none


def run() -> NoReturn:
    """`main`, then the end of the process at once: taking the interpreter apart takes longer than many a verb."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            status = status or 1  # whoever read our output has gone
    os._exit(status)


if __name__ == "__main__":
    run()
