"""What is asked once, and answered in one way: a row of a table instead of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...wire.operations import Operation
from .. import expect
from ..promise import Promise, World
from ..subject import Subject

Query = Sequence[tuple[str, str]]


def refusal(
    operation: Operation[Any, Any],
    text: str,
    status: int,
    code: str,
    *,
    query: Query = (),
    json: object = None,
    body: bytes = b"",
    world: World = World.ANY,
    parameters: Mapping[str, str] = {},
) -> Promise:
    """This request is refused so."""

    def ask(subject: Subject) -> None:
        answer = subject.ask(operation, query=query, json=json, body=body, parameters=parameters)
        expect.refused(answer, status, code)

    return Promise(operation.id, text, ask, world, statuses=(status,))


def repeated(
    operation: Operation[Any, Any], text: str, *, world: World = World.ANY, uses_up: bool = False,
    json: object = None, parameters: Mapping[str, str] = {},
) -> Promise:  # fmt: skip
    """This request is answered well, twice, and in the same way."""

    def ask(subject: Subject) -> None:
        first, second = (
            expect.answered(operation, subject.ask(operation, json=json, parameters=parameters), subject.isolation)
            for _ in range(2)
        )
        expect.that(first == second, f"the same answer was meant: {first}, then {second}")

    return Promise(operation.id, text, ask, world, uses_up)
