"""`pilot exec ID COMMAND...`: another process in a running container; the exit status is the process's."""

from __future__ import annotations

import re

import msgspec

from ..runtime import Container, Spawned, Terminal
from ..runtime.runtime import write_pid_file
from ..spec import check, parse
from ..spec.process import Capabilities, Process, User
from . import launching
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "execute new process inside the container"
USAGE = "<container-id> <command> [command options]  || -p process.json <container-id>"
OPTIONS = (
    launching.CONSOLE_SOCKET,
    launching.PIDFD_SOCKET,
    Option(("cwd",), Kind.TEXT, "current working directory in the container"),
    Option(("env", "e"), Kind.LIST, "set environment variables"),
    Option(("tty", "t"), Kind.FLAG, "allocate a pseudo-TTY"),
    Option(("user", "u"), Kind.TEXT, "UID (format: <uid>[:<gid>])"),
    Option(("additional-gids", "g"), Kind.LIST, "additional gids"),
    Option(("process", "p"), Kind.TEXT, "path to the process.json"),
    launching.DETACH,
    launching.PID_FILE,
    Option(("process-label",), Kind.TEXT, "set the asm process label for the process commonly used with selinux"),
    Option(("apparmor",), Kind.TEXT, "set the apparmor profile for the process"),
    Option(("no-new-privs",), Kind.FLAG, "set the no new privileges value for the process"),
    Option(("cap", "c"), Kind.LIST, "add a capability to the bounding set for the process"),
    launching.PRESERVE_FDS,
    Option(("cgroup",), Kind.LIST, "run the process in an (existing) sub-cgroup: [<controller>[,<controller>]:]<path>"),
    Option(("ignore-paused",), Kind.FLAG, "allow exec in a paused container"),
    launching.NO_NEW_KEYRING,
)
ARGUMENTS = (1, None)
_ID = re.compile(r"\+?[0-9]+")


def run(context: Context, arguments: Arguments) -> int:
    runtime = context.runtime()
    container = runtime.load(arguments.positional[0])
    process = _read_process(container, arguments)
    console_socket = arguments.text("console-socket")
    is_detached = arguments.flag("detach")
    launching.check_console(process, console_socket, is_detached)
    wants_terminal = process.terminal and not is_detached
    context.commit()
    with context.signals_held(), launching.pidfd_sender(arguments, "setns") as send_pidfd:

        def prepare(spawned: Spawned) -> None:
            context.prepare_terminal(spawned)
            send_pidfd(spawned.pid_fd)

        spawned = container.exec(
            launching.with_listen_fds(context, process),
            context.stdio(process),
            terminal=Terminal(*context.window_size()) if wants_terminal else None,
            console_socket=console_socket or None,
            pass_fds=launching.passed_descriptors(context, arguments),
            cgroup=parse_cgroups(arguments.texts("cgroup")),
            no_new_keyring=arguments.flag("no-new-keyring"),
            ignore_paused=arguments.flag("ignore-paused"),
            before_start=prepare if wants_terminal or arguments.text("pidfd-socket") else None,
        )
        if arguments.text("pid-file"):
            write_pid_file(arguments.text("pid-file"), spawned.pid)
        return 0 if is_detached else context.attend(runtime, spawned)


def _read_process(container: Container, arguments: Arguments) -> Process:
    path = arguments.text("process")
    if path:
        return parse.read_process(path)
    if not _command(arguments):
        raise UsageError("exec args cannot be empty")
    base = container.read_process()
    process = _changed(base, arguments)
    check.check_process(process, "$")
    return process


def _changed(base: Process, arguments: Arguments) -> Process:
    """The container's own process, with what the options say; as in runc what is empty says nothing."""
    no_new_privileges = arguments.choice("no-new-privs")
    return msgspec.structs.replace(
        base,
        args=_command(arguments),
        terminal=arguments.flag("tty"),
        cwd=arguments.text("cwd") or base.cwd,
        env=(*base.env, *arguments.texts("env")),
        user=_user(base.user, arguments),
        capabilities=_capabilities(base.capabilities, arguments.texts("cap")),
        no_new_privileges=base.no_new_privileges if no_new_privileges is None else no_new_privileges,
        selinux_label=arguments.text("process-label") or base.selinux_label,
        apparmor_profile=arguments.text("apparmor") or base.apparmor_profile,
    )


def _command(arguments: Arguments) -> tuple[str, ...]:
    """What follows the container's id, and a `--` behind it, which runc takes for the end of its own options."""
    words = arguments.positional[1:]
    return words[1:] if words[:1] == ("--",) else words


def _user(base: User, arguments: Arguments) -> User:
    text = arguments.text("user")
    groups = (*base.additional_gids, *(_group(group) for group in arguments.texts("additional-gids")))
    if not text:
        return msgspec.structs.replace(base, additional_gids=groups)
    uid, separator, gid = text.partition(":")
    return msgspec.structs.replace(
        base, uid=parse_id(uid, "uid"), gid=parse_id(gid, "gid") if separator else base.gid, additional_gids=groups
    )


def _group(text: str) -> int:
    if text.startswith("-"):
        raise UsageError(f"additional-gids must be a positive number {text}")
    return parse_id(text, "gid")


def parse_id(text: str, name: str) -> int:
    """Of a user or a group; UsageError in runc's words."""
    if _ID.fullmatch(text) is None:
        raise UsageError(f'bad {name}: parsing "{text}": invalid syntax')
    return int(text)


def _capabilities(base: Capabilities | None, added: tuple[str, ...]) -> Capabilities | None:
    if not added:
        return base
    sets = base or Capabilities()
    return Capabilities(
        bounding=(*sets.bounding, *added),
        effective=(*sets.effective, *added),
        permitted=(*sets.permitted, *added),
        inheritable=sets.inheritable,
        # As runc: what nothing is inheritable of could not be raised.
        ambient=(*sets.ambient, *added) if sets.inheritable else sets.ambient,
    )


def parse_cgroups(texts: tuple[str, ...]) -> dict[str, str]:
    """`--cgroup`, as often as it is given → path by controller: one for all (""), or controllers and a path each."""
    paths: dict[str, str] = {}
    for text in texts:
        names, separator, path = text.partition(":")
        if not separator and len(texts) > 1:
            raise UsageError(f"invalid --cgroup argument: {text} (missing <controller>: prefix)")
        for name in names.split(",") if separator else ("",):
            if separator and not name:
                raise UsageError(f"invalid --cgroup argument: {text} (empty <controller> prefix)")
            if name in paths:
                raise UsageError(f"invalid --cgroup argument(s): controller {name} specified multiple times")
            paths[name] = path if separator else text
    return paths
