"""Which command lines are taken, and how: as `cli` runs them, with the caller's process for all that is inherited.

`Cold` is raised before anything has been changed. What a planner does not take: verbs that are not here, help and
usage errors, output for --debug, terminals, hooks, user notification, passed descriptors, systemd's cgroups, and paths
into /proc and /dev, which mean something else in another process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TextIO

import msgspec

from .. import errors
from ..cli import launching, options
from ..cli.log import Log

# Not the module: the package has a function of that name.
from ..cli.main import FAILURE, GLOBAL_OPTIONS, load_verb, make_context, parse_verb, report
from ..cli.options import Arguments, UsageError
from ..cli.verb import Context, Verb
from ..kernel import hierarchies, probe
from ..runtime import Runtime, Spawned, Stdio
from ..spec.config import Spec
from ..spec.process import Process
from .caller import Caller

_NEW = frozenset({"create", "run"})
_EXISTING = frozenset({"exec", "start", "kill", "delete"})
# Options that stand for descriptors, terminals or files of the caller's.
_REFUSED = ("preserve-fds", "console-socket", "process")
_MOST_MOUNTS = 150  # a source each, and SCM_RIGHTS carries 253 descriptors
_FACTS = probe.probe_host()
_MODULES = {name: load_verb(name) for name in _NEW | _EXISTING}


class Cold(Exception):
    """This command line is for the Python command line."""


class _Context(Context, frozen=True):
    """Global options, and the caller."""

    caller: Caller

    def runtime(self) -> Runtime:
        found = hierarchies.probe_hierarchies(self.caller.pid)
        facts = msgspec.structs.replace(_FACTS, cgroup_mounts=found.mounts)
        return Runtime(self.root, waiter=self.caller, facts=facts, hierarchies=found, on_warning=self.log.warning)

    def stdio(self, process: Process | None) -> Stdio:
        return Stdio(*self.caller.stdio_fds)

    def signals_held(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()  # the caller's process holds them

    def attend(self, runtime: Runtime, process: Spawned) -> int:
        try:
            return self.caller.attend(process).exit_code()
        finally:
            process.close()


def carry_out(words: Sequence[str], caller: Caller, stderr: TextIO) -> int:
    """Run a command line for the caller, whose working directory and umask we have; its exit status."""
    name, verb, arguments, context = _prepare(words, caller, stderr)
    _refuse(name, arguments, context)
    try:
        return verb.run(context, arguments)
    except UsageError as error:
        raise Cold from error  # verbs look at their words before they do anything
    except (errors.PilotError, OSError) as error:
        context.log.error(report(name, arguments, error))
        return FAILURE.get(name, 1)


def _prepare(words: Sequence[str], caller: Caller, stderr: TextIO) -> tuple[str, Verb, Arguments, Context]:
    try:
        given = options.parse_arguments(words, GLOBAL_OPTIONS, interleaved=False)
        name, *rest = given.positional or ("",)
        if name not in _NEW | _EXISTING or any(map(given.flag, ("help", "version", "debug"))):
            raise Cold
        verb = _MODULES[name]
        arguments = parse_verb(name, verb, rest)
    except UsageError as error:
        raise Cold from error
    if arguments.flag("help") or _is_special(given):
        raise Cold
    if any(text.startswith(("/proc/", "/dev/")) for text in _paths(given, arguments)):
        raise Cold
    try:
        plain = make_context(given, os.environ)
    except errors.PilotError as error:
        raise Cold from error  # a log that cannot be written, among others
    log = Log(plain.log.path, plain.log.format, False, plain.log.lines, stderr)
    context = _Context(plain.root, plain.cgroup_driver, False, log, plain.criu, plain.environment, caller)
    return name, verb, arguments, context


def _is_special(given: Arguments) -> bool:
    """Cgroups made in another way than usual, and logs that tell more."""
    return (
        given.flag("systemd-cgroup")
        or given.text("cgroup-manager", "cgroupfs") != "cgroupfs"
        or bool(given.text("log-level"))
    )


def _paths(given: Arguments, arguments: Arguments) -> list[str]:
    return [given.text("log"), given.text("root"), arguments.text("bundle"), arguments.text("pid-file")]


def _refuse(name: str, arguments: Arguments, context: Context) -> None:
    """Cold where the caller's own process would do more than clone. What is wrong is left to the verb to say."""
    if any(arguments.text(option) for option in _REFUSED) or arguments.flag("tty"):
        raise Cold
    try:
        spec = launching.read_bundle(context, arguments)[1] if name in _NEW else _loaded(arguments, context)
    except errors.PilotError:
        return
    if any(msgspec.structs.astuple(spec.hooks)):
        raise Cold
    if name in _NEW and spec.process is not None and spec.process.terminal:
        raise Cold
    if len(spec.mounts) > _MOST_MOUNTS:
        raise Cold
    if spec.linux.seccomp is not None and spec.linux.seccomp.listener_path:
        raise Cold


def _loaded(arguments: Arguments, context: Context) -> Spec:
    return context.runtime().load(arguments.positional[0]).spec
