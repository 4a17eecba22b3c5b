"""What is fuzzed: a function of bytes, how it may refuse them, and where to begin.

Anything else that comes out of it (another exception, a broken promise) is a find. A promise is an `assert` in the
function: what is decoded can be encoded and decoded again, bytes in pieces mean what they mean at once.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Form(enum.Enum):
    """What the bytes mostly are: how `mutate` changes them."""

    BYTES = "bytes"
    JSON = "JSON"
    MSGPACK = "MessagePack"


@dataclasses.dataclass(frozen=True)
class Target:
    """`refused`: exceptions that say no in so many words."""

    run: Callable[[bytes], object]
    refused: tuple[type[Exception], ...] = ()
    seeds: Sequence[bytes] = ()
    max_bytes: int = 4096
    form: Form = Form.BYTES

    def check(self, data: bytes) -> None:
        """Raises what is a find."""
        try:
            self.run(data)
        except self.refused:
            pass  # it has said no, as it may


class Choices:
    """Takes decisions, and pieces, from the end of the bytes; none left is all zeros."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def number(self, limit: int) -> int:
        """Below `limit` (at most 2^16)."""
        taken, self.left = self.left[-2:], self.left[:-2]
        return int.from_bytes(taken, "little") % limit

    def split(self, data: bytes) -> Iterator[bytes]:
        """All of `data`, in up to eight pieces."""
        for _ in range(7):
            at = self.number(len(data) + 1)
            if at:
                yield data[:at]
            data = data[at:]
        yield data


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of one that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        result: T = stopped.value
        return result
    finally:
        coroutine.close()
    raise AssertionError("it waits for something that will not come")
