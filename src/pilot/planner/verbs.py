"""Which command lines are taken, and how: as `cli` runs them, with the caller's process for all that is inherited.

What a planner does not take: verbs that are not in the table, help and usage errors, terminals in the foreground,
readiness for a service manager (which believes its own unit's processes alone), and paths that mean something else in
another process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TextIO

import msgspec

from .. import errors
from ..cli import options

# Not the module: the package has a function of that name.
from ..cli.main import FAILURE, GLOBAL_OPTIONS, load_verb, logged, make_context, parse_verb, report, version_text
from ..cli.options import Arguments, UsageError
from ..cli.verb import Verb
from .caller import Caller
from .context import CallersContext, Cold, is_own
from .messages import Loss, Request

# What each verb that changes something costs when we are lost half-way: the others only ask.
CHANGES = {
    "create": Loss.RERUN, "run": Loss.RERUN, "exec": Loss.RERUN, "start": Loss.RERUN, "delete": Loss.RERUN,
    "pause": Loss.RERUN, "resume": Loss.RERUN, "update": Loss.RERUN,
    "kill": Loss.GIVE_UP,  # a signal must not be sent twice
}  # fmt: skip
# Those that ask; of ps and events only what comes at once.
_WANTED: dict[str, Callable[[Arguments], bool]] = {
    "state": lambda _: True,
    "list": lambda _: True,
    "features": lambda _: True,
    "ps": lambda arguments: arguments.text("format") == "json",
    "events": lambda arguments: arguments.flag("stats"),
}
# Verbs that make a container, which has to go when they are not carried out to the end.
_MAKES = frozenset({"create", "run"})
_MODULES = {name: load_verb(name) for name in (*CHANGES, *_WANTED)}


def answer(request: Request, caller: Caller) -> None:
    """Do what is asked, or refuse it, and say so; PeerError when nobody is there to hear it."""
    with open(os.dup(caller.stdio_fds[2]), "w", errors="backslashreplace") as stderr:
        try:
            status, output = carry_out(request, caller, stderr)
        except Cold:
            caller.refuse()
            return
    caller.finish(status, output)


def carry_out(request: Request, caller: Caller, stderr: TextIO) -> tuple[int, str]:
    """Run a command line for the caller, whose working directory and umask we have; exit status, what is to be printed.

    Cold: nothing has been done.
    """
    given, name, rest = _parse(request)
    if given.flag("version"):
        return 0, version_text()
    verb = _MODULES.get(name)
    if verb is None or given.flag("help") or given.flag("no-planner"):
        raise Cold
    arguments = _parse_verb(name, verb, rest)
    if any(map(is_own, _paths(given, arguments))):
        raise Cold
    context = _context(name, given, request, caller, stderr)
    status = logged(name, rest, context, lambda: _run(name, verb, context, arguments))
    return status, context.output.getvalue()


def _parse(request: Request) -> tuple[Arguments, str, list[str]]:
    if request.environment.get("NOTIFY_SOCKET"):
        raise Cold
    try:
        given = options.parse_arguments(request.words, GLOBAL_OPTIONS, interleaved=False)
    except UsageError as error:
        raise Cold from error
    name, *rest = given.positional or ("",)
    return given, name, rest


def _parse_verb(name: str, verb: Verb, rest: list[str]) -> Arguments:
    try:
        arguments = parse_verb(name, verb, rest)
    except UsageError as error:
        raise Cold from error
    if arguments.flag("help") or (name in _WANTED and not _WANTED[name](arguments)):
        raise Cold
    return arguments


def _context(name: str, given: Arguments, request: Request, caller: Caller, stderr: TextIO) -> CallersContext:
    try:
        plain = make_context(given, request.environment)
    except errors.PilotError as error:
        raise Cold from error  # a log that cannot be written, among others
    log = msgspec.structs.replace(plain.log, stream=stderr)
    return CallersContext(
        root=plain.root,
        cgroup_driver=plain.cgroup_driver,
        debug=plain.debug,
        log=log,
        criu=plain.criu,
        environment=plain.environment,
        root_is_named=plain.root_is_named,
        caller=caller,
        failure=FAILURE.get(name, 1),
    )


def _paths(given: Arguments, arguments: Arguments) -> list[str]:
    relative = (given.text("log").removeprefix("file:"), given.text("root"), *(arguments.text(o) for o in _PATHS))
    return [os.path.abspath(path) for path in relative if path]


_PATHS = ("bundle", "config", "pid-file", "console-socket", "pidfd-socket", "process", "resources")


def _run(name: str, verb: Verb, context: CallersContext, arguments: Arguments) -> int:
    if name in CHANGES:
        context.caller.begin(CHANGES[name], context.failure, _undo(name, context, arguments))
    try:
        return verb.run(context, arguments)
    except UsageError as error:
        raise Cold from error  # verbs look at their words before they do anything
    except (errors.PilotError, OSError) as error:
        if isinstance(error, errors.PeerError) and not context.caller.is_there():
            raise  # nobody is left to tell
        context.log.error(report(name, arguments, error))
        return context.failure


def _undo(name: str, context: CallersContext, arguments: Arguments) -> tuple[str, ...]:
    """The command line that removes what of a container there is."""
    if name not in _MAKES:
        return ()
    return ("planner", "undo", "--root", context.root, arguments.positional[0], context.creator)
