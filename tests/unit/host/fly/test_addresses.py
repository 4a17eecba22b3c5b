"""Addresses that apps have of their own."""

from __future__ import annotations

import pathlib

import pytest
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.host.fly.addresses import DEFAULT, parse_range
from pilot.host.services.fly_ways import FlyWays
from pilot.host.store import fly, fly_addresses, tokens
from pilot.host.store.fly import App
from pilot.host.store.sqlite import SqliteDatabase


@pytest.mark.parametrize(
    ("text", "capacity", "first", "last"),
    [
        (DEFAULT, 65534, "127.80.0.1", "127.80.255.254"),
        ("192.0.2.7/32", 1, "192.0.2.7", "192.0.2.7"),
        ("192.0.2.8/31", 2, "192.0.2.8", "192.0.2.9"),
        ("192.0.2.8/30", 2, "192.0.2.9", "192.0.2.10"),
        ("fd00::/120", 254, "fd00::1", "fd00::fe"),
    ],
)
def test_range(text: str, capacity: int, first: str, last: str) -> None:
    found = parse_range(text)
    assert (found.capacity, str(found.address(1)), str(found.address(capacity))) == (capacity, first, last)


def test_no_range() -> None:
    with pytest.raises(errors.PilotError, match="--service-addresses"):
        parse_range("127.0.0.1/8")


def test_a_number_is_kept_until_the_app_goes(tmp_path: pathlib.Path) -> None:
    database = SqliteDatabase(str(tmp_path / "state.db"))
    organisation = tokens.ensure_organisation(database, "local").id
    with database.transaction() as tx:
        for name in "abc":
            fly.add_app(tx, App(name, organisation, name, "default", 0))
        assert [fly_addresses.assign(tx, name, 2) for name in "aba"] == [1, 2, 1]
        with pytest.raises(errors.HostError, match="all 2 are taken"):
            fly_addresses.assign(tx, "c", 2)
        fly.delete_app(tx, "a")
        assert fly_addresses.assign(tx, "c", 2) == 1
    database.close()


def test_a_number_outside_of_a_smaller_range_is_replaced(tmp_path: pathlib.Path) -> None:
    under_test = HostUnderTest(tmp_path)
    with under_test.database.transaction() as tx:
        for name in "abc":
            fly.add_app(tx, App(name, under_test.organisation.id, name, "default", 0))
            fly_addresses.assign(tx, name, 10)
        fly.delete_app(tx, "a")
    narrow = FlyWays(under_test.host, parse_range("192.0.2.8/30"))
    found = [narrow.address(narrow.served(fly.app_by_id(under_test.database, name))) for name in "bc"]
    assert found == ["192.0.2.10", "192.0.2.9"]
    under_test.close()
