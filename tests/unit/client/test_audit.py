"""Verifying a log offline: nobody is asked, whatever is given."""

from __future__ import annotations

import pathlib
from typing import cast

import pytest

from pilot import errors
from pilot.client import audit
from pilot.client.context import Context


class Offline:
    """A `Context` of `sprite audit verify --key KEY FILE` with no server to ask."""

    wants_json = False

    def __init__(self, key: pathlib.Path, file: pathlib.Path) -> None:
        self.said = self
        self._key, self._file = str(key), str(file)

    def has(self, name: str) -> bool:
        return name == "key"

    def option(self, name: str) -> str | None:
        return self._key if name == "key" else None

    def required(self, _name: str) -> str:
        return self._file

    @property
    def api(self) -> object:
        raise AssertionError("somebody was asked")


def test_a_key_that_is_empty_is_no_reason_to_ask_for_one(tmp_path: pathlib.Path) -> None:
    """As `sprite audit key >host.pem` leaves it when it fails: who is verified does not say by what."""
    key, log = tmp_path / "host.pem", tmp_path / "web.ndjson"
    key.touch()
    log.touch()
    with pytest.raises(errors.PilotError, match="the key is no public key in PEM"):
        audit.verify(cast(Context, Offline(key, log)))
