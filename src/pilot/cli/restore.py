"""`pilot restore ID`: a container from the images of a checkpoint, by criu; in the foreground unless detached."""

from __future__ import annotations

import os

from .. import errors
from ..runtime import criu
from . import checkpoint, launching
from .options import Arguments, Kind, Option
from .verb import Context

SUMMARY = "restore a container from a previous checkpoint"
USAGE = "<container-id>"
OPTIONS = (
    *checkpoint.COMMON,
    launching.BUNDLE,
    launching.DETACH,
    launching.PID_FILE,
    Option(("no-subreaper",), Kind.FLAG, "do not become the one who reaps; the exit status is then unknown"),
    Option(("no-pivot",), Kind.FLAG, "accepted for compatibility: criu decides"),
    Option(("lsm-profile",), Kind.TEXT, "the LSM profile to restore with, as TYPE:NAME"),
    Option(("lsm-mount-context",), Kind.TEXT, "the LSM context of mounts that had one"),
)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    options = checkpoint.criu_options(context, arguments)
    if not os.path.isdir(options.images):
        raise errors.NotFound(f"no images of a checkpoint in {options.images}: no such file or directory")
    bundle = os.path.realpath(arguments.text("bundle") or ".")
    is_detached = arguments.flag("detach")
    if not (is_detached or arguments.flag("no-subreaper")):
        criu.become_subreaper()
    runtime = context.runtime()
    with context.signals_held():
        created = runtime.restore(arguments.positional[0], bundle, options, pid_file=arguments.text("pid-file") or None)
        if is_detached:
            return 0
        status = context.attend(runtime, created.process)
    created.container.delete(force=True)
    return status
