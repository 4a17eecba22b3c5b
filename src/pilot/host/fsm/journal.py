"""What the engine asks of the place where runs are written down; `host.store` has the one on its database."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol, TypeVar

from ...ids import RunId
from .documents import Document
from .operation import Operation, Run
from .outcome import Outcome

R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Record:
    """A run as journalled. `names` are the transitions at the start: a newer program resumes an older run by them.

    `parent`: whose child it is. `results`: of the transitions that are completed.
    """

    id: RunId
    kind: str
    action: str
    resource: str
    request: Document
    names: tuple[str, ...]
    parent: RunId | None = None
    results: Mapping[str, Document] = dataclasses.field(default_factory=dict)
    attempts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    outcome: Outcome | None = None
    finished: bool = False

    def read(self, operation: Operation[R]) -> Run[R]:
        """The run that it tells of. `HostError` when a newer program wrote it."""
        formats = operation.formats()
        known = {name: formats[name].read(result) for name, result in self.results.items() if name in formats}
        return Run(self.id, self.kind, self.action, self.resource, operation.action.request.read(self.request), known)


class Journal(Protocol):
    """Each call is one transaction. Errors of the storage are raised, never dropped: the engine retries."""

    def begin(self, run: Record) -> None:
        """Stable when it returns. `AlreadyActive` when (kind, resource, action) has an active run."""
        ...

    def active(self) -> list[Record]:
        """Every unfinished run, oldest first."""
        ...

    def find(self, run: RunId) -> Record:
        """`NotFound` when there is none."""
        ...

    def child(self, parent: RunId, kind: str, action: str, resource: str) -> Record | None:
        """The run that `parent` has begun for that."""
        ...

    def completed(self, run: Record, name: str, result: Document) -> None: ...

    def failed(self, run: Record, name: str, attempt: int, error: str) -> None: ...

    def decided(self, run: Record, outcome: Outcome) -> None:
        """Stable when it returns. From here on no transition runs any more; only `settle` is left."""
        ...

    def finished(self, run: Record) -> None: ...
