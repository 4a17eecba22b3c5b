"""Requests and results as they are written down: documents with a version, and the types that they are read as.

    value ── Format.write ──► Document(version, what JSON can hold) ── Format.read ──► value
                                     │ of an earlier build: through `older`, one version after another

A format's version is the number of its changes plus one. Who changes a type in a way that its reader would not take
(a field renamed, a new one without default) adds to `older` the function that makes the new document from the old.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from ... import errors

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Document:
    """What JSON can hold, in the format of that version."""

    version: int
    value: object


@dataclasses.dataclass(frozen=True)
class Format(Generic[T]):
    """`older[n - 1]` makes a document of version n + 1 from one of version n."""

    type: object  # `type[T]`, or a union, for which there is no word
    older: tuple[Callable[[Any], object], ...] = ()

    @property
    def version(self) -> int:
        return len(self.older) + 1

    def write(self, value: T) -> Document:
        return Document(self.version, msgspec.to_builtins(value))

    def read(self, document: Document) -> T:
        """`HostError` for what a newer program wrote, or what no program of ours did."""
        if document.version > self.version:
            raise errors.HostError(
                f"read a document of format {document.version}: this program knows {self.version}",
                hint="run the pilotd that wrote it, or a newer one",
            )
        value = document.value
        for step in self.older[document.version - 1 :]:
            value = step(value)
        try:
            read: T = msgspec.convert(value, type=self.type)
        except msgspec.ValidationError as error:
            raise errors.HostError(f"read a document of format {document.version}: {error}") from error
        return read


class Nothing(msgspec.Struct, frozen=True):
    """The request of an operation that needs only to know its resource."""


AnyFormat = Format[Any]  # of whatever type: who reads a document by it knows which
NO_REQUEST: Format[Nothing] = Format(Nothing)
NO_RESULT: Format[None] = Format(type(None))
AS_IT_IS: AnyFormat = Format(Any)


def find(results: Iterable[object], kind: type[T]) -> T | None:
    """The one among `results` that is a `kind`."""
    return next((value for value in results if isinstance(value, kind)), None)
