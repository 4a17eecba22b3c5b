"""Runs that a step begins, and waits for: by the engine, which is made after the steps are bound to their host."""

from __future__ import annotations

from typing import TypeVar

from ..fsm.engine import Engine
from ..fsm.operation import Action, Run
from ..fsm.outcome import Outcome

R = TypeVar("R")


class Children:
    """`bind` it before any run is resumed."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def bind(self, engine: Engine) -> None:
        self._engine = engine

    def outcome(self, run: Run[object], action: Action[R], resource: str, request: R) -> Outcome:
        """As `Engine.child`: raises `Awaiting` until it has ended."""
        assert self._engine is not None
        return self._engine.child(run, action, resource, request)
