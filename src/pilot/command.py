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

from . import errors

# First word -> the module whose `main(arguments)` takes the rest; every other word belongs to the OCI command line.
OWN_COMMANDS = {
    "agent": "agent",
    "conformance": "conformance.main",
    "image": "images.cli",
    "machine": "bare.main",
    "planner": "planner.main",
    "volume": "volume.operator.cli",
}


def main() -> int:
    """Entry point of `pilot`; the exit status."""
    _open_standard()
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    absent = os.environ.pop("PILOT_PLANNER_ABSENT", "")  # from native/front to us, and to nobody below us
    if word == "run" and _names_an_image(sys.argv[2:]):
        gc.enable()
        return _run(word, importlib.import_module(f"{__package__}.images.running").main)
    if word not in OWN_COMMANDS:
        return _run_oci(absent)
    gc.enable()
    return _run(word, importlib.import_module(f"{__package__}.{OWN_COMMANDS[word]}").main)


def _names_an_image(words: Sequence[str]) -> bool:
    """Whether a `run` is of an image, and not of a bundle: what follows `--` is the container's."""
    ours = words[: words.index("--")] if "--" in words else words
    return any(word == "--image" or word.startswith("--image=") for word in ours)


def _run(word: str, command: Callable[[list[str]], int]) -> int:
    try:
        return command(sys.argv[2:])
    except errors.PilotError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"pilot {word}: {error}{hint}", file=sys.stderr)
        return 1


def _open_standard() -> None:
    """A standard descriptor that the caller closed is /dev/null, before anything else gets its number."""
    descriptor = 0
    while descriptor < 3:
        descriptor = os.open("/dev/null", os.O_RDWR)
        os.set_inheritable(descriptor, descriptor < 3)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # what Python makes of a closed one
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - it stays open


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
