"""What makes one machine as good as another before anybody has used it; what pools are keyed by."""

from __future__ import annotations

import dataclasses

from . import Isolation, Size


@dataclasses.dataclass(frozen=True)
class Shape:
    """`variant`: of the image that its disk holds."""

    isolation: Isolation
    variant: str
    size: Size = dataclasses.field(default_factory=Size)

    def describe(self) -> str:
        return f"{self.isolation.value} {self.variant} {self.size.memory_bytes >> 20} MiB {self.size.cpus} cpus"
