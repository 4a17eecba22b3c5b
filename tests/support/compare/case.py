"""A case: one bundle, what is seen of it inside and outside, and which runtime's view counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = Any  # a value of an observation: compared, stored, never taken apart
Config = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What an observer may look at: a container of `runtime`, its first process, its bundle."""

    runtime: tuple[str, ...]  # the command with its --root
    pid: int
    bundle: Path
    id: str
    holder: int  # pid of a process with namespaces of its own


Observer = Callable[[Seen], Json]


@dataclasses.dataclass(frozen=True)
class Case:
    """Words in `set`, `verbs` and scripts: BUNDLE is the bundle's path, HOLDER the pid of a process with namespaces of
    its own (`life.holder`), ID the container's id."""

    name: str
    rows: tuple[str, ...]  # properties of conformance.md that it confirms
    set: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # dotted path → value; `path+` adds to a list
    without: tuple[str, ...] = ()  # dotted paths that are taken out of the default config.json
    inside: Mapping[str, str] = dataclasses.field(default_factory=dict)  # name → shell command in the container
    created: Mapping[str, Observer] = dataclasses.field(default_factory=dict)  # of the created container
    running: Mapping[str, Observer] = dataclasses.field(default_factory=dict)  # when the script is at its end
    verbs: tuple[str, ...] = ()  # commands of the runtime, one after the other, while it runs; ID is the container
    ended: tuple[str, ...] = ()  # commands once it has stopped
    changed: Mapping[str, Observer] = dataclasses.field(default_factory=dict)  # after the verbs
    after: Mapping[str, Observer] = dataclasses.field(default_factory=dict)  # when it is deleted
    general: tuple[str, ...] = ()  # options before the verb
    options: tuple[str, ...] = ()  # of create, or run
    args: tuple[str, ...] = ()  # instead of a shell with what is `inside`
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)  # path in the bundle → text, executable
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)  # path in the bundle → where it leads
    mounted: Mapping[str, str] = dataclasses.field(
        default_factory=dict
    )  # path in the bundle → options of a tmpfs there
    appended: str = ""  # to the text of config.json
    preserve: int = 0  # descriptors that the caller hands on from 3 on
    terminal: tuple[int, int] | None = None  # run in the foreground of a terminal of so many rows and columns
    user_namespace: bool = False
    agent: bool = False  # somebody listens at BUNDLE/agent.sock, and keeps the first message
    slow: bool = False  # of `make compare` alone
    like: str = "runc"  # whose observations count


def configure(case: Case, config: Config, replace: Callable[[str], str]) -> Config:
    """The default config.json as the case wants it."""
    for path in case.without:
        owner, name = _owner(config, path)
        owner.pop(name, None)
    for path, value in case.set.items():
        owner, name = _owner(config, path.removesuffix("+"))
        wanted = _replaced(value, replace)
        owner[name] = [*owner.get(name, []), *wanted] if path.endswith("+") else wanted
    return config


def _owner(config: Config, path: str) -> tuple[Config, str]:
    *parents, name = path.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    return config, name


def _replaced(value: Any, replace: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, (list, tuple)):
        return [_replaced(item, replace) for item in value]
    if isinstance(value, Mapping):
        return {name: _replaced(item, replace) for name, item in value.items()}
    return value
