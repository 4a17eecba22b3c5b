"""`pilot checkpoint ID`: the container's processes as images on disk, by criu; the container goes with them."""

from __future__ import annotations

import os

from .. import errors
from ..runtime.criu import CriuOptions
from ..spec.state import Status
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "checkpoint a running container"
USAGE = "<container-id>"
# Options that criu has, too: ours → criu's, and what they are for.
_SHARED_FLAGS = {
    "tcp-established": ("--tcp-established", "allow open tcp connections"),
    "ext-unix-sk": ("--ext-unix-sk", "allow external unix sockets"),
    "shell-job": ("--shell-job", "allow shell jobs"),
    "file-locks": ("--file-locks", "handle file locks, for safety"),
    "auto-dedup": ("--auto-dedup", "enable auto deduplication of memory images"),
    "lazy-pages": ("--lazy-pages", "use userfaultfd to restore memory pages lazily"),
}
_FLAGS = {
    "tcp-skip-in-flight": ("--skip-in-flight", "skip in-flight tcp connections"),
    "link-remap": ("--link-remap", "allow one to link unlinked files back when possible"),
}
_TEXTS = {"lsm-profile": "--lsm-profile", "lsm-mount-context": "--lsm-mount-context"}  # of restore
_CGROUP_MODES = frozenset({"soft", "full", "strict", "ignore"})
_EMPTY_NAMESPACES = {"network": "net"}
IMAGES = Option(("image-path",), Kind.TEXT, "path for criu's image files (default: checkpoint)")
WORK = Option(("work-path",), Kind.TEXT, "path for criu's work files and log (default: the image path)")
COMMON = (
    IMAGES,
    WORK,
    *(Option((name,), Kind.FLAG, text) for name, (_, text) in _SHARED_FLAGS.items()),
    Option(("manage-cgroups-mode",), Kind.TEXT, "what criu does to cgroups: soft, full, strict, or ignore (default)"),
    Option(("empty-ns",), Kind.LIST, "keep the namespace without its properties: network"),
)
OPTIONS = (
    *COMMON,
    *(Option((name,), Kind.FLAG, text) for name, (_, text) in _FLAGS.items()),
    Option(("status-fd",), Kind.NUMBER, "criu writes a zero byte to this descriptor once lazy-pages is ready"),
    Option(("page-server",), Kind.TEXT, "ADDRESS:PORT of the page server"),
    Option(("parent-path",), Kind.TEXT, "path of earlier images, of a pre-dump, relative to the image path"),
    Option(("leave-running",), Kind.FLAG, "leave the process running after checkpointing"),
    Option(("pre-dump",), Kind.FLAG, "dump the memory only, and leave the container running"),
)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    container = context.runtime().load(arguments.positional[0])
    status = container.status()
    if status in {Status.CREATED, Status.STOPPED}:
        raise errors.StateError(f"Container cannot be checkpointed in {status.value} state")  # runc's words
    options = criu_options(context, arguments)
    container.checkpoint(options)
    if not (options.leave_running or options.pre_dump):
        container.delete(force=True)
    return 0


def criu_options(context: Context, arguments: Arguments) -> CriuOptions:
    """What both verbs are asked; UsageError."""
    images, work = os.path.abspath(arguments.text("image-path", "checkpoint")), arguments.text("work-path")
    return CriuOptions(
        images=images,
        work=work and os.path.abspath(work),
        parent=_parent(images, arguments.text("parent-path")),
        leave_running=arguments.flag("leave-running"),
        pre_dump=arguments.flag("pre-dump"),
        flags=(*_flags(arguments), *_page_server(arguments.text("page-server"))),
        cgroups=_cgroup_mode(arguments.text("manage-cgroups-mode")),
        pass_fds=_status_fd(arguments),
        program=context.criu,
    )


def _flags(arguments: Arguments) -> tuple[str, ...]:
    """criu's words for what is spelled likewise."""
    unknown = [name for name in arguments.texts("empty-ns") if name not in _EMPTY_NAMESPACES]
    if unknown:
        raise UsageError(f'namespace "{unknown[0]}" is not supported')
    return (
        *(flag for name, (flag, _) in (_SHARED_FLAGS | _FLAGS).items() if arguments.flag(name)),
        *(word for name, flag in _TEXTS.items() if arguments.text(name) for word in (flag, arguments.text(name))),
        *(word for name in arguments.texts("empty-ns") for word in ("--empty-ns", _EMPTY_NAMESPACES[name])),
        *(("--status-fd", arguments.text("status-fd")) if arguments.text("status-fd") else ()),
    )


def _parent(images: str, path: str) -> str:
    """Of earlier images, as criu takes it: relative to those that are to be written."""
    if os.path.isabs(path):
        raise UsageError("--parent-path must be relative")
    there = os.path.join(images, path)
    if path and not os.path.isdir(there):
        raise UsageError(f"invalid --parent-path: {there}: no such directory")
    return path


def _page_server(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    address, _, port = text.rpartition(":")
    if not (address and port):
        raise UsageError("Use --page-server ADDRESS:PORT to specify page server")  # runc's words
    if not (port.isascii() and port.isdecimal()):
        raise UsageError("Invalid port number")  # likewise
    return ("--page-server", "--address", address.strip("[]"), "--port", port)


def _cgroup_mode(text: str) -> str:
    if text and text not in _CGROUP_MODES:
        raise UsageError("invalid manage-cgroups-mode value")
    return text or "ignore"


def _status_fd(arguments: Arguments) -> tuple[int, ...]:
    """The caller's descriptor that criu is to write to, when it is asked to."""
    if not arguments.text("status-fd"):
        return ()
    number = arguments.number("status-fd")
    try:
        os.fstat(number)
    except OSError as error:
        raise UsageError(f"invalid --status-fd argument {number}: {(error.strerror or '').lower()}") from error
    return (number,)
