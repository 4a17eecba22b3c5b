"""What every request and every answer has in common.

    request   {"op": tag, fields…}                           a `Request[A]`, which names its answer's type
    answer    {"ok": true, fields…}                          an `Answer`
              {"ok": false, "error", "kind", "hint", …}      a `Failure`

The other side may be of another build, older or newer (hot upgrade), so what a name means never changes, and

    a field that is added has a default, and does not travel with it: a worker of the first builds refuses the others
    a field that was there from the beginning has none, and always travels
    a field that is not known is left out

A new request needs no more than that: who does not know it says so. `tests/formats` has what each build has sent.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar, cast

import msgspec

from ... import errors

VERSION = 1
Document = Mapping[str, object]

_KINDS: dict[str, type[errors.PilotError]] = {
    kind.__name__: kind
    for kind in (
        errors.PilotError, errors.StateError, errors.HostError, errors.PeerError, errors.Conflict, errors.NotFound,
        errors.NoRoom,
    )
}  # fmt: skip


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """It is done. What more there is to say is in the fields of its children."""

    ok: bool = True


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """It is not done. `kind`: the child of PilotError; with `errno` it is an OSError instead."""

    error: str
    kind: str = errors.PilotError.__name__
    hint: str | None = None
    errno: int | None = None
    ok: bool = False

    @staticmethod
    def of(error: Exception) -> Failure:
        """As who asked is to have it raised."""
        kind = type(error).__name__
        return Failure(
            error=str(error),
            kind=kind if kind in _KINDS else errors.PilotError.__name__,
            hint=getattr(error, "hint", None),
        )

    def exception(self) -> errors.PilotError | OSError:
        """What is to be raised."""
        if self.errno is not None:
            return OSError(self.errno, self.error)
        return _KINDS.get(self.kind, errors.PilotError)(self.error, hint=self.hint)


A = TypeVar("A", bound=Answer, covariant=True)


class Request(msgspec.Struct, Generic[A], frozen=True, omit_defaults=True, tag_field="op"):
    """What is asked of another process; its children are the requests that there are."""


AnyRequest = Request[Answer]
R = TypeVar("R", bound=AnyRequest)
S = TypeVar("S")
T = TypeVar("T")


def op_of(request: AnyRequest | type[AnyRequest]) -> str:
    """What it is called."""
    return str(request.__struct_config__.tag)


@functools.cache
def _answer_of(kind: type[AnyRequest]) -> type[Answer]:
    (base,) = kind.__orig_bases__  # type: ignore[attr-defined]  # there since `Request` is generic
    (answer,) = typing.get_args(base)
    return cast("type[Answer]", answer)


def answer_of(request: Request[A]) -> type[A]:
    """What the answer to it is."""
    return cast("type[A]", _answer_of(type(request)))


def parse_answer(document: Document, kind: type[A]) -> A:
    """The answer, or its failure raised. PeerError when it is neither."""
    try:
        if document.get("ok") is True:
            return msgspec.convert(document, kind, str_keys=True)
        failure = msgspec.convert(document, Failure)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"answer: not a {kind.__name__}: {error}") from error
    raise failure.exception()


class Kinds:
    """The requests that a process is asked."""

    def __init__(self, *kinds: type[AnyRequest]) -> None:
        self._of_op = {op_of(kind): kind for kind in kinds}
        for kind in kinds:  # what is found out of them now, all that a zygote forks have in common
            msgspec.json.Decoder(kind)
            _answer_of(kind)

    def __iter__(self) -> Iterator[type[AnyRequest]]:
        return iter(self._of_op.values())

    def parse(self, document: Document) -> AnyRequest:
        """The request; PeerError when it is none of these, or not as it should be."""
        op = str(document.get("op"))
        if op not in self._of_op:
            raise errors.PeerError(f"operation {op}: unknown")
        try:
            return msgspec.convert(document, self._of_op[op], str_keys=True)
        except errors.UNREADABLE as error:
            raise errors.PeerError(f"{op}: {error}") from error


class Doers(Generic[S, T]):
    """Who does which kind of request to what each of them is given: a table of a module, which all that a zygote forks
    have in common."""

    def __init__(self) -> None:
        self._doers: dict[type[AnyRequest], Callable[[S, AnyRequest], T]] = {}

    def __iter__(self) -> Iterator[type[AnyRequest]]:
        return iter(self._doers)

    def __contains__(self, kind: type[AnyRequest]) -> bool:
        return kind in self._doers

    def add(self, kind: type[R], do: Callable[[S, R], T]) -> None:
        """From now on `do` does those of this kind."""
        self._doers[kind] = cast("Callable[[S, AnyRequest], T]", do)  # it is given none of another kind

    def do(self, to: S, request: AnyRequest) -> T:
        """Have it done."""
        return self._doers[type(request)](to, request)
