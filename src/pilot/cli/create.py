"""`pilot create ID`: a container whose process waits for `start`."""

from __future__ import annotations

from . import launching, notify
from .options import Arguments
from .verb import Context

SUMMARY = "create a container"
USAGE = "<container-id>"
OPTIONS = launching.CREATE_OPTIONS
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    bundle, spec = launching.read_bundle(context, arguments)
    console_socket = arguments.text("console-socket")
    launching.check_console(spec.process, console_socket, detached=True)
    id = arguments.positional[0]
    runtime = context.runtime()
    with notify.prepared(spec, context.root, id) as asked, launching.pidfd_sender(arguments, "standard") as send_pidfd:
        created = runtime.create(
            id,
            bundle,
            spec=asked,
            stdio=context.stdio(spec.process),
            console_socket=console_socket or None,
            pass_fds=launching.passed_descriptors(context, arguments),
            no_pivot=arguments.flag("no-pivot"),
            no_new_keyring=arguments.flag("no-new-keyring"),
            pid_file=arguments.text("pid-file") or None,
            creator=context.creator,
            config=launching.read_again(arguments),
            on_plan=context.log_plan,
        )
        with created.deleted_on_error():
            send_pidfd(created.process.pid_fd)
    return 0
