"""`pilot [global options] VERB ...`: parse, run the verb, report what went wrong once."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from .. import errors
from . import options
from .log import Log, parse_format
from .options import Arguments, Kind, Option, UsageError
from .verb import DEFAULT_ROOT, DRIVERS, Context, Verb, nothing

# verb → module; `exec_` because `exec` would do as a file name, but reads badly in an import.
VERBS: dict[str, str] = {
    "checkpoint": "checkpoint", "create": "create", "delete": "delete", "events": "events", "exec": "exec_",
    "features": "features", "kill": "kill", "list": "list_", "pause": "pause", "ps": "ps", "restore": "restore",
    "resume": "resume", "run": "run", "spec": "spec", "start": "start", "state": "state", "update": "update",
}  # fmt: skip

GLOBAL_OPTIONS = (
    Option(("debug",), Kind.FLAG, "enable debug logging, of the plan's steps among others"),
    Option(("log",), Kind.TEXT, "set the log file to write logs to, or file:PATH (default is stderr)"),
    Option(("log-format",), Kind.TEXT, "set the log format ('text' (default), or 'json')"),
    Option(("log-level",), Kind.TEXT, "set the log level ('error', 'warning', or 'debug', which is --debug)"),
    Option(("root",), Kind.TEXT, "root directory for storage of container state (default: /run/pilot)"),
    Option(("criu",), Kind.TEXT, "path to the criu binary, for checkpoint and restore (default: criu)"),
    Option(("systemd-cgroup",), Kind.FLAG, 'use systemd for cgroups; cgroupsPath is then "slice:prefix:name"'),
    Option(("cgroup-manager",), Kind.TEXT, "who makes cgroups: 'cgroupfs' (default), 'systemd', or 'disabled': nobody"),
    Option(("rootless",), Kind.TEXT, "ignore cgroup permission errors ('true', 'false', or 'auto')"),
    Option(("no-planner",), Kind.FLAG, "ask no planner, and start none"),
    Option(("help", "h"), Kind.FLAG, "show help"),
    Option(("version", "v"), Kind.FLAG, "print the version"),
)
_HELP = Option(("help", "h"), Kind.FLAG, "show help")
# As crun's version has it, which is how its callers find out what they may ask.
_PARTS = "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU"
_ROOTLESS = frozenset({"auto", "true", "false", "t", "f", "1", "0"})  # as Go's ParseBool has it
# runc's: what went wrong before the process was there must not look like the process's own status.
FAILURE = {"exec": 255}
# Those that have loaded all that a launch takes.
LAUNCHING = frozenset({"create", "run", "exec"})
# What follows the container's id is the command's, or that of ps.
_NOT_INTERLEAVED = frozenset({"exec", "ps"})


def main(words: Sequence[str] | None = None, at_leisure: Callable[[], None] = nothing) -> int:
    """Run a command line (default: ours); its exit status. `at_leisure` is called when a launch has been done."""
    arguments = sys.argv[1:] if words is None else list(words)
    try:
        given = options.parse_arguments(arguments, GLOBAL_OPTIONS, interleaved=False)
        if given.flag("version"):
            sys.stdout.write(version_text())
            return 0
        name, *rest = given.positional or ("help",)
        if given.flag("help") or name in {"help", "h"}:
            return _print_help(rest[:1])
        context = make_context(given, os.environ, nothing if given.flag("no-planner") else at_leisure)
    except errors.PilotError as error:
        Log().error(_with_hint(error))
        return 1
    return _run(name, rest, context)


def _run(name: str, words: Sequence[str], context: Context) -> int:
    if name not in VERBS:
        context.log.error(f"No help topic for '{name}'")  # runc's words
        return 3
    return logged(name, words, context, lambda: _run_verb(name, words, context))


def logged(name: str, words: Sequence[str], context: Context, run: Callable[[], int]) -> int:
    """Run a verb between two lines of the log."""
    context.log.debug(f"{name} {' '.join(words)}: state is below {context.root}, cgroups by {context.cgroup_driver}")
    status = run()
    context.log.debug(f"{name}: exit status {status}")
    return status


def _run_verb(name: str, words: Sequence[str], context: Context) -> int:
    verb = load_verb(name)
    arguments = None
    try:
        arguments = parse_verb(name, verb, words)
        if arguments.flag("help"):
            sys.stdout.write(_verb_help(name, verb))
            return 0
        status = verb.run(context, arguments)
        if name in LAUNCHING:
            context.at_leisure()
        return status
    except UsageError as error:
        context.log.error(f"{name}: {error} (see pilot {name} --help)")
    except errors.PilotError as error:
        if isinstance(error, errors.StepError):
            context.log.debug(error.step)
        context.log.error(report(name, arguments, error))
    except OSError as error:
        if error.errno == errno.EPIPE:
            return 1  # whoever read our output has gone
        context.log.error(report(name, arguments, error))
    return FAILURE.get(name, 1)


def report(name: str, arguments: Arguments | None, error: Exception) -> str:
    subject = arguments.positional[0] if arguments and arguments.positional else ""
    return f"{name}{f' {subject}' if subject else ''}: {_with_hint(error)}"


def _with_hint(error: Exception) -> str:
    hint = getattr(error, "hint", None)
    text = str(error) if not isinstance(error, OSError) else _kernel_words(error)
    return f"{text} ({hint})" if hint else text


def _kernel_words(error: OSError) -> str:
    """Without Python's `[Errno 2]` and its quotes."""
    reason = (error.strerror or "input/output error").lower()
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason


def parse_verb(name: str, verb: Verb, words: Sequence[str]) -> Arguments:
    """Its arguments, counted unless they ask for help; UsageError."""
    arguments = options.parse_arguments(words, (*verb.OPTIONS, _HELP), interleaved=name not in _NOT_INTERLEAVED)
    least, most = verb.ARGUMENTS
    count = len(arguments.positional)
    if not arguments.flag("help") and (count < least or (most is not None and count > most)):
        raise UsageError(f'"{name}" requires {_wanted(least, most, count)} argument(s)')
    return arguments


def _wanted(least: int, most: int | None, count: int) -> str:
    if least == most:
        return f"exactly {least}"
    return f"a minimum of {least}" if count < least else f"a maximum of {most}"


def load_verb(name: str) -> Verb:
    """The module of a verb in VERBS."""
    module: Verb = importlib.import_module(f".{VERBS[name]}", __package__)
    return module


def make_context(given: Arguments, environment: Mapping[str, str], at_leisure: Callable[[], None] = nothing) -> Context:
    """The global options, ready to use; UsageError, or HostError for a log that cannot be written."""
    log = _make_log(given)
    log.open()
    root = _default_root(environment) if not given.texts("root") else os.path.abspath(given.text("root"))
    if root == "/":
        raise UsageError("Option --root argument should not be set to /")
    if given.text("rootless", "auto").lower() not in _ROOTLESS:
        raise UsageError(f"invalid value {given.text('rootless')!r} for --rootless: expected true, false, or auto")
    driver = _cgroup_driver(given)
    criu, is_named = given.text("criu", "criu"), bool(given.texts("root"))
    return Context(root, driver, log.is_debug, log, criu, environment, at_leisure, is_named)


def _make_log(given: Arguments) -> Log:
    level = given.text("log-level", "warning")
    if level not in {"error", "warning", "debug"}:
        raise UsageError(f"invalid log-level: {level}")
    is_debug = given.flag("debug") or level == "debug"
    path = given.text("log").removeprefix("file:")
    lines = is_debug or bool(given.text("log-format"))
    return Log((path and os.path.abspath(path)) or None, parse_format(given.text("log-format")), is_debug, lines)


def _cgroup_driver(given: Arguments) -> str:
    name = "systemd" if given.flag("systemd-cgroup") else "cgroupfs"
    name = given.text("cgroup-manager", name)
    if name not in DRIVERS:
        raise UsageError(f"unknown cgroup manager {name!r}")
    return name


def _default_root(environment: Mapping[str, str]) -> str:
    runtime_dir = environment.get("XDG_RUNTIME_DIR", "")
    return os.path.join(runtime_dir, "pilot") if os.geteuid() != 0 and runtime_dir else DEFAULT_ROOT


def version_text() -> str:
    """What --version prints."""
    from .. import __version__
    from ..spec import version

    return f"pilot version {__version__}\nspec: {version.OCI_VERSION}\n{_PARTS}\n"


def _print_help(names: Sequence[str]) -> int:
    """Of one verb, or of all of them."""
    unknown = [name for name in names if name not in VERBS]
    if unknown:
        Log().error(f"No help topic for '{unknown[0]}'")
        return 3
    sys.stdout.write(_verb_help(names[0], load_verb(names[0])) if names else _help())
    return 0


def _help() -> str:
    from ..own_commands import OWN_COMMANDS  # of no use but here

    rows = "".join(f"   {name:<11}  {load_verb(name).SUMMARY}\n" for name in VERBS)
    own = "".join(f"   {name:<11}  {summary}\n" for name, (_, summary) in OWN_COMMANDS.items())
    return (
        "NAME:\n   pilot - Open Container Initiative runtime\n\n"
        "USAGE:\n   pilot [global options] command [command options] [arguments...]\n\n"
        f"COMMANDS:\n{rows}\nCOMMANDS OF PILOT ITSELF:\n{own}\n"
        f"GLOBAL OPTIONS:\n{options.describe_options(GLOBAL_OPTIONS)}"
    )


def _verb_help(name: str, verb: Verb) -> str:
    shown = f"\nOPTIONS:\n{options.describe_options(verb.OPTIONS)}" if verb.OPTIONS else ""
    head = "[command options] " if verb.OPTIONS else ""
    return f"NAME:\n   pilot {name} - {verb.SUMMARY}\n\nUSAGE:\n   pilot {name} {head}{verb.USAGE}\n{shown}"
