"""`pilot run ID`: create, start, and, unless detached, wait and delete; the exit status is the process's."""

from __future__ import annotations

import contextlib

from ..runtime import Terminal
from . import launching, notify
from .options import Arguments, Kind, Option
from .verb import Context

SUMMARY = "create and run a container"
USAGE = "<container-id>"
OPTIONS = (
    *launching.CREATE_OPTIONS,
    launching.DETACH,
    Option(("keep",), Kind.FLAG, "do not delete the container after it exits"),
    Option(("no-subreaper",), Kind.FLAG, "accepted for compatibility: pilot is no subreaper"),
)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    bundle, spec = launching.read_bundle(context, arguments)
    console_socket = arguments.text("console-socket")
    is_detached = arguments.flag("detach")
    launching.check_console(spec.process, console_socket, is_detached)
    runtime = context.runtime()
    wants_terminal = spec.process is not None and spec.process.terminal and not is_detached
    id = arguments.positional[0]
    with notify.prepared(spec, context.root, id) as asked, contextlib.ExitStack() as stack:
        send_pidfd = stack.enter_context(launching.pidfd_sender(arguments, "standard"))
        with context.signals_held():
            created = runtime.create(
                id,
                bundle,
                spec=asked,
                stdio=context.stdio(spec.process),
                terminal=Terminal(*context.window_size()) if wants_terminal else None,
                console_socket=console_socket or None,
                pass_fds=launching.passed_descriptors(context, arguments),
                no_pivot=arguments.flag("no-pivot"),
                no_new_keyring=arguments.flag("no-new-keyring"),
                pid_file=arguments.text("pid-file") or None,
                creator=context.creator,
                config=launching.read_again(arguments),
                on_plan=context.log_plan,
                keeps_failed=arguments.flag("keep"),
            )
            with created.deleted_on_error(keep=arguments.flag("keep")):
                context.prepare_terminal(created.process)
                send_pidfd(created.process.pid_fd)
                listener = stack.enter_context(notify.listening(context.root, id))
                context.commit()
                created.container.start()
            if not is_detached:
                with notify.passing_on(listener, created.process.pid):
                    status = context.attend(runtime, created.process)
        if is_detached:
            notify.pass_on(listener, created.process.pid)
            return 0
    if not arguments.flag("keep"):
        created.container.delete(force=True)
        notify.remove(context.root, id)
    return status
