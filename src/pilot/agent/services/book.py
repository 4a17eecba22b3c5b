"""The services of a sprite as one document on its disk. Pure, but for `read` and `write`.

    {"version": 1, "next": 3, "services": {"web": {"number": 1, "stopped": false, "wanted": {…}}}}

Each has a number, never used twice: its container is called by it, for a service's own name may be none of a container.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from ... import errors
from ...kernel import files
from ...wire import faults
from ...wire.graph import Container, Dependency, Restart
from ...wire.services import ServiceRequest
from ..containers import naming

VERSION = 1
MOST = 100
PREFIX = "service-"
PORT_TAKEN = "another service already has an HTTP port configured"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RESTART = Restart(policy="always", first_delay_s=1.0, most_delay_s=60.0, stable_s=30.0)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`stopped`: it was asked to stop, and stays so until it is asked to start."""

    number: int
    wanted: ServiceRequest
    stopped: bool = False

    @property
    def container(self) -> str:
        return f"{PREFIX}{self.number}"


class Book(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    next: int = 1
    services: dict[str, Entry] = {}

    def entry(self, name: str) -> Entry:
        found = self.services.get(name)
        if found is None:
            raise errors.NotFound(f"service not found: {name}")
        return found

    def with_service(self, name: str, wanted: ServiceRequest) -> Book:
        """Made or replaced, and to run. `InvalidRequest`, or `Conflict` for a second HTTP port."""
        if not _NAME.fullmatch(name):
            raise faults.InvalidRequest(f"service: {name!r} is not 1 to 63 of letters, digits, '.', '_' and '-'")
        if name not in self.services and len(self.services) >= MOST:
            raise faults.Exhausted(f"there are {MOST} services already")
        self._check(name, wanted)
        before = self.services.get(name)
        number = self.next if before is None else before.number
        services = {**self.services, name: Entry(number=number, wanted=wanted)}
        made = Book(next=max(self.next, number + 1), services=services)
        made.check_order()
        return made

    def without(self, name: str) -> Book:
        """`Conflict` when another one needs it."""
        self.entry(name)
        needing = sorted(other for other, each in self.services.items() if name in each.wanted.needs)
        if needing:
            raise errors.Conflict(f"service {name}: {', '.join(needing)} needs it")
        services = {other: each for other, each in self.services.items() if other != name}
        return Book(next=self.next, services=services)

    def stopping(self, name: str, stopped: bool) -> Book:
        entry = msgspec.structs.replace(self.entry(name), stopped=stopped)
        return Book(next=self.next, services={**self.services, name: entry})

    @property
    def http_port(self) -> int | None:
        """What the sprite's URL leads to, where one of them says so."""
        return next((each.wanted.http_port for each in self.services.values() if each.wanted.http_port), None)

    def container(self, name: str) -> Container:
        """What is wanted of the graph for one of them."""
        return _container(self.services[name], self.services)

    def unfit(self, check: Callable[[Container], None]) -> dict[str, str]:
        """Those that the graph cannot want, and why not, `check` raising `SpecError`; and who needs one of them. A disk
        may have such ones of before, or of another agent: they keep no other from running."""
        found: dict[str, str] = {}
        for name in self.services:
            try:
                check(self.container(name))
            except errors.SpecError as error:
                found[name] = f"{error.path.rpartition('.')[2]}: {error.problem}"
        while more := {name: need for name, need in self._needs() if name not in found and need in found}:
            found |= {name: f"it needs {need}, which cannot be started" for name, need in more.items()}
        return found

    def _needs(self) -> Iterator[tuple[str, str]]:
        return ((name, need) for name, entry in self.services.items() for need in entry.wanted.needs)

    def check_order(self) -> None:
        """`InvalidRequest` when some would wait for each other."""
        left = {name: set(each.wanted.needs) for name, each in self.services.items()}
        while ready := [name for name, needs in left.items() if not needs & left.keys()]:
            for name in ready:
                del left[name]
        if left:
            raise faults.InvalidRequest(f"needs: {', '.join(sorted(left))} would wait for each other")

    def _check(self, name: str, wanted: ServiceRequest) -> None:
        if not wanted.cmd or any("\0" in text for text in (wanted.cmd, *wanted.args, wanted.dir or "")):
            raise faults.InvalidRequest("cmd: there is none, or a NUL byte is in it")
        if wanted.dir is not None and not wanted.dir.startswith("/"):
            raise faults.InvalidRequest(f"dir: {wanted.dir!r} is no absolute path")
        for variable, value in wanted.env.items():
            if not variable or "=" in variable or "\0" in variable + value:
                raise faults.InvalidRequest(f"env: {variable!r} cannot be the name of a variable, or its value")
        for need in wanted.needs:
            if need not in self.services and need != name:
                raise faults.InvalidRequest(f"needs: there is no service {need!r}")
        others = (each for other, each in self.services.items() if other != name)
        if wanted.http_port and any(each.wanted.http_port for each in others):
            raise errors.Conflict(PORT_TAKEN)


def _container(entry: Entry, services: Mapping[str, Entry]) -> Container:
    wanted = entry.wanted
    return Container(
        name=entry.container,
        within=naming.WORLD,
        command=[wanted.cmd, *wanted.args],
        environment=wanted.env,
        cwd=wanted.dir,
        depends_on=[Dependency(name=services[need].container) for need in wanted.needs],
        restart=_RESTART,
    )


def is_ours(container: str) -> bool:
    return container.startswith(PREFIX)


def read(directory: str) -> Book:
    """An empty one where none was written. `HostError` for one that cannot be read."""
    path = os.path.join(directory, "services.json")
    try:
        with open(path, "rb") as file:
            found = msgspec.json.decode(file.read(), type=Book)
    except FileNotFoundError:
        return Book()
    except msgspec.DecodeError as error:
        raise errors.HostError(f"read {path}: {error}") from error
    if found.version > VERSION:
        raise errors.HostError(f"read {path}: version {found.version}, this agent knows {VERSION}")
    return found


def write(directory: str, book: Book) -> None:
    """Stable when it returns."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    files.replace(os.path.join(directory, "services.json"), msgspec.json.encode(book), durable=True)
