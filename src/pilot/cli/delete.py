"""`pilot delete ID`: remove what is left of a stopped container; with --force of any."""

from __future__ import annotations

from .. import errors
from ..runtime import Container
from . import notify
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "delete any resources held by the container often used with detached container"
USAGE = "<container-id>"
OPTIONS = (
    Option(("force", "f"), Kind.FLAG, "forcibly deletes the container if it is still running (uses SIGKILL)"),
    Option(("regex", "r"), Kind.FLAG, "delete all containers whose id matches the regular expression (as in crun)"),
)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    force = arguments.flag("force")
    if arguments.flag("regex"):
        return _delete_matches(context, arguments.positional[0], force)
    id = arguments.positional[0]
    try:
        _delete(context, context.runtime().load(id), force)
    except errors.NotFound:
        context.runtime().remove_remains(id)
        if not force:
            raise
    return 0


def _delete(context: Context, container: Container, force: bool) -> None:
    container.delete(force)
    notify.remove(context.root, container.id)


def _delete_matches(context: Context, pattern: str, force: bool) -> int:
    """One that cannot be deleted does not keep the others; the exit status is 1 then."""
    import re  # few ask

    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"invalid regular expression {pattern!r}") from error
    status = 0
    for container in context.containers():
        if not wanted.search(container.id):
            continue
        try:
            _delete(context, container, force)
        except errors.PilotError as error:
            context.log.warning(f"delete {container.id}: {error}")
            status = 1
    return status
