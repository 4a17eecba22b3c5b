"""`pilot checkpoint ID`: the container's processes as images on disk, by criu; the container goes with them."""

from __future__ import annotations

import os

from ..runtime.criu import CriuOptions
from .options import Arguments, Kind, Option
from .verb import Context

SUMMARY = "checkpoint a running container"
USAGE = "<container-id>"
# Options that criu has, too: ours → criu's.
CRIU_FLAGS = {
    "tcp-established": ("--tcp-established", "allow open tcp connections"),
    "ext-unix-sk": ("--ext-unix-sk", "allow external unix sockets"),
    "shell-job": ("--shell-job", "allow shell jobs"),
    "file-locks": ("--file-locks", "handle file locks, for safety"),
    "auto-dedup": ("--auto-dedup", "enable auto deduplication of memory images"),
}
IMAGES = Option(("image-path",), Kind.TEXT, "path for criu's image files (default: checkpoint)")
WORK = Option(("work-path",), Kind.TEXT, "path for criu's work files and log (default: the image path)")
COMMON = (IMAGES, WORK, *(Option((name,), Kind.FLAG, text) for name, (_, text) in CRIU_FLAGS.items()))
OPTIONS = (
    *COMMON,
    Option(("parent-path",), Kind.TEXT, "path of earlier images, of a pre-dump, relative to the image path"),
    Option(("leave-running",), Kind.FLAG, "leave the process running after checkpointing"),
    Option(("pre-dump",), Kind.FLAG, "dump the memory only, and leave the container running"),
)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    container = context.runtime().load(arguments.positional[0])
    options = criu_options(context, arguments)
    container.checkpoint(options)
    if not (options.leave_running or options.pre_dump):
        container.delete(force=True)
    return 0


def criu_options(context: Context, arguments: Arguments) -> CriuOptions:
    """What both verbs are asked."""
    work = arguments.text("work-path")
    return CriuOptions(
        images=os.path.abspath(arguments.text("image-path", "checkpoint")),
        work=work and os.path.abspath(work),
        parent=arguments.text("parent-path"),
        leave_running=arguments.flag("leave-running"),
        pre_dump=arguments.flag("pre-dump"),
        flags=tuple(flag for name, (flag, _) in CRIU_FLAGS.items() if arguments.flag(name)),
        program=context.criu,
    )
