"""What the engine asks of the place where runs are written down; `host.store` has the one on SQLite."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...ids import RunId
from .operation import Run
from .outcome import Outcome


@dataclasses.dataclass(frozen=True)
class Record:
    """A run as journalled. `names` are the transitions at the start: a newer program resumes an older run by them."""

    run: Run
    names: tuple[str, ...]
    completed: frozenset[str] = frozenset()
    attempts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    outcome: Outcome | None = None
    finished: bool = False


class Journal(Protocol):
    """Each call is one transaction. Errors of the storage are raised, never dropped: the engine retries."""

    def begin(self, run: Run, names: Sequence[str]) -> None:
        """Stable when it returns. `AlreadyActive` when (kind, resource, action) has an active run."""
        ...

    def active(self) -> list[Record]:
        """Every unfinished run, oldest first."""
        ...

    def find(self, run: RunId) -> Record:
        """`NotFound` when there is none."""
        ...

    def completed(self, run: Run, name: str, result: Any) -> None: ...

    def failed(self, run: Run, name: str, attempt: int, error: str) -> None: ...

    def decided(self, run: Run, outcome: Outcome) -> None:
        """Stable when it returns. From here on no transition runs any more; only `settle` is left."""
        ...

    def finished(self, run: Run) -> None: ...
