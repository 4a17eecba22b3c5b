"""The first token, which is in a file that only root reads: whoever has a new pilotd can sign in by it."""

from __future__ import annotations

import pathlib

from pilot.host import daemon
from pilot.host.store import tokens
from pilot.host.store.sqlite import SqliteDatabase


def served(state: pathlib.Path) -> bool:
    """Whether the token of the file is one, after a start of pilotd."""
    database = SqliteDatabase(str(state / "state.db"))
    try:
        daemon._ensure_token(database, str(state))
        return tokens.authenticate(database, (state / "token").read_text().strip()) is not None
    finally:
        database.close()


def test_it_stays(tmp_path: pathlib.Path) -> None:
    assert served(tmp_path)
    first = (tmp_path / "token").read_text()
    assert served(tmp_path)
    assert (tmp_path / "token").read_text() == first


def test_a_database_begun_anew_has_one_too(tmp_path: pathlib.Path) -> None:
    """The operator has moved a damaged one away, and the file of before is there."""
    assert served(tmp_path)
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    assert served(tmp_path)


def test_one_that_was_revoked_does_not_come_back(tmp_path: pathlib.Path) -> None:
    assert served(tmp_path)
    first = (tmp_path / "token").read_text()
    database = SqliteDatabase(str(tmp_path / "state.db"))
    organisation = tokens.ensure_organisation(database, daemon.ORGANISATION)
    tokens.issue(database, organisation, tokens.Wanted(description="another"))
    tokens.revoke(database, organisation, first.split("/")[2])
    database.close()
    assert not served(tmp_path)
    assert (tmp_path / "token").read_text() == first
