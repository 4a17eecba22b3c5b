"""Whether what a host answers says a secret back: a net, not a wall. Pure.

It sees the texts as they are. A host that compresses its answer, or spells the secret in another way, is not noticed: a
secret is for hosts that one trusts with it.
"""

from __future__ import annotations

from collections.abc import Collection


class Echoed(Exception):
    """The answer has the secret in it; the part that has it was not passed on."""


class Watch:
    """Over one answer, piece by piece, to none of which a whole text is given away."""

    def __init__(self, texts: Collection[bytes]) -> None:
        self._texts = tuple(texts)
        self._held = b""

    def check(self, whole: bytes) -> None:
        """`Echoed`; of something that is passed on, or not, as one."""
        if any(text in whole for text in self._texts):
            raise Echoed

    def feed(self, piece: bytes) -> bytes:
        """What may be passed on by now: all but an end that one of the texts may begin with. `Echoed`."""
        data = self._held + piece
        self.check(data)
        keep = max((_begun(data, text) for text in self._texts), default=0)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def rest(self) -> bytes:
        """What was held back, when nothing follows."""
        held, self._held = self._held, b""
        return held


def _begun(data: bytes, text: bytes) -> int:
    """How many bytes at the end of `data` are the beginning of `text`: the most."""
    start = max(0, len(data) - len(text) + 1)
    while (start := data.find(text[:1], start)) >= 0:
        if text.startswith(data[start:]):
            return len(data) - start
        start += 1
    return 0
