"""What a compose file has of this host."""

from __future__ import annotations

import base64

from .document import Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Files:
    """What is read of this host. `base`: the directory of the compose file."""

    def __init__(self, base: str, environment: Mapping[str, str], read: Callable[[str], tuple[bytes, int]]) -> None:
        self.base = base
        self.environment = environment
        self._read = read

    def read(self, path: str, place: Item) -> tuple[bytes, int]:
        """Its bytes and permissions, of a regular file. `SpecError`."""
        try:
            return self._read(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            place.refuse(f"{path}: {reason[:1].lower()}{reason[1:]}")


def encoded(data: bytes) -> str:
    """As `files` of a Machine have it."""
    return base64.b64encode(data).decode()
