"""No app has a name that is the address of another app's port: `8080-shop.DOMAIN` is port 8080 of the app `shop`."""

from __future__ import annotations

import pytest
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.host.store import tokens


@pytest.mark.parametrize(
    ("first", "second"),
    [("shop", "8080-shop"), ("8080-shop", "shop"), ("1-shop", "65535-1-shop"), ("80-1-shop", "1-shop")],
)
def test_names_that_could_be_a_port_of_another(host: HostUnderTest, first: str, second: str) -> None:
    other = tokens.ensure_organisation(host.database, "other")
    host.fly.create_app(host.organisation.id, first, "default")
    with pytest.raises(errors.Conflict, match="port of an app"):
        host.fly.create_app(other.id, second, "default")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("shop", "70000-shop"),
        ("shop", "080-shop"),
        ("shop", "8080-workshop"),
        ("8080-workshop", "shop"),
        ("80", "80-8"),
    ],
)
def test_other_names_are_free(host: HostUnderTest, first: str, second: str) -> None:
    for name in (first, second):
        assert host.fly.create_app(host.organisation.id, name, "default").name == name
