"""A log as people read it, and verified offline: nobody is asked, whatever is given."""

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


RECORD = '{"seq":2,"at":"2026-01-02T03:04:05.000000Z","kind":"exec","what":"execute","decision":"allowed"%s}'


def test_a_line_that_was_changed_ends_no_reading() -> None:
    assert "execute" in (audit._told(RECORD % "") or "")
    assert audit._told('{"head":{"seq":2},"signature":"00"}') is None
    changed = ['{"seq":2,"at', "7", "null", '{"seq":2}', RECORD % ',"detail":7', RECORD % ',"who":7', "[" * 100_000]
    for text in changed:
        assert (audit._told(text) or "").startswith("?  not a record")
