"""How a container of an image is run: what the image wants (image-spec, conversion.md), and what the caller does.

caller says             what is executed
nothing                 Entrypoint + Cmd
command                 Entrypoint + command            as `docker run IMAGE COMMAND`
entrypoint              entrypoint + command            without the image's Cmd
exec                    exec                            and nothing of the image's
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ... import errors
from .documents import Execution

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Wanted:
    """What the caller says; None is nothing, which is not the same as an empty list."""

    exec: Sequence[str] | None = None
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: str | None = None


@dataclass(frozen=True)
class Planned:
    """What is run, and as whom: `user` is `NAME[:GROUP]` or numbers, None for root."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    user: str | None
    cwd: str


def plan(image: Execution | None, wanted: Wanted) -> Planned:
    """`SpecError` when neither says what to execute, or the image's environment is none."""
    base = image or Execution()
    return Planned(
        arguments=_arguments(base, wanted),
        environment={"PATH": PATH, **_environment(base.env or ()), **wanted.environment},
        user=wanted.user or base.user or None,
        cwd=wanted.cwd or base.working_dir or "/",
    )


def _arguments(image: Execution, wanted: Wanted) -> tuple[str, ...]:
    if wanted.exec is not None:
        found = tuple(wanted.exec)
    elif wanted.entrypoint is not None:
        found = (*wanted.entrypoint, *(wanted.command or ()))
    else:
        found = (*(image.entrypoint or ()), *(wanted.command if wanted.command is not None else image.cmd or ()))
    if not found:
        raise errors.SpecError("$.config", "the image names no command", hint="say what is to be run")
    return found


def _environment(variables: Sequence[str]) -> dict[str, str]:
    found = {}
    for number, variable in enumerate(variables):
        name, equals, value = variable.partition("=")
        if not name or not equals:
            raise errors.SpecError(f"$.config.Env[{number}]", f"{variable[:200]!r} is not NAME=value")
        found[name] = value
    return found
