"""What is known of a checkpoint."""

from __future__ import annotations

import json

import msgspec
from msgspec import structs

from ..ids import CheckpointId


class Checkpoint(msgspec.Struct, frozen=True):
    """A save point of a disk. `created_at` in seconds since 1970.

    `frozen_ms`: how long writers were held; `clean`: whether the filesystem was at rest (else it is what a power loss
    at that moment would leave, and its journal is replayed when it is mounted).
    `durable_at`: the time of a state that contains it and is in the object store; None when none is yet.
    """

    id: CheckpointId
    generation: int
    created_at: float
    comment: str | None
    frozen_ms: float
    clean: bool
    durable_at: float | None = None

    @staticmethod
    def parse(text: str) -> Checkpoint:
        """From the JSON of its fact."""
        return Checkpoint(**json.loads(text))

    def text(self) -> str:
        """As the JSON of its fact."""
        fact = structs.asdict(self)
        del fact["durable_at"]  # about this host's store, not about the checkpoint
        return json.dumps(fact)
