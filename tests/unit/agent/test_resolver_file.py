"""/etc/resolv.conf of a world: who routes for the machine answers for it, unless the user names somebody."""

from __future__ import annotations

import pytest

from pilot.agent import names

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010012C6\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000012C6\t00000000\t0001\t0\t0\t0\tFCFFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("text", "routes", "wanted"),
    [
        ("", ROUTES, "nameserver 198.18.0.1\n"),
        ("search a.test\n", ROUTES, "nameserver 198.18.0.1\n"),
        ("# nameserver 9.9.9.9\n", ROUTES, "nameserver 198.18.0.1\n"),
        ("nameserver 9.9.9.9\n", ROUTES, None),
        ("", ROUTES.splitlines()[0] + "\n", None),
        ("", "", None),
    ],
)
def test_what_resolv_conf_is_to_be(text: str, routes: str, wanted: str | None) -> None:
    assert names.plan_resolver(text, names.find_gateway(routes)) == wanted
