"""Connectors of an app whose Machines are virtual machines: the same test as of those in `container`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel import test_connectors_machine as rows
from tests.kernel.test_connectors_machine import authority, fly, image, internet, site
from tests.support import internet as nets
from tests.support import virtual
from tests.support.internet import Internet
from tests.support.pilotd import Pilotd
from tests.support.tlssite import Site

__all__ = ["authority", "fly", "image", "internet", "site"]  # fixtures

pytestmark = pytest.mark.requires(
    "root", "private", "busybox", "qemu", "mmdebstrap", "fuse", "space", "veth", "nft", "tun", "vm-tests"
)  # fmt: skip

test_clients_in_a_container_use_a_credential_that_is_nowhere_in_it = (
    rows.test_clients_in_a_container_use_a_credential_that_is_nowhere_in_it
)


@pytest.fixture(scope="module")
def pilotd(internet: Internet, site: Site) -> Iterator[Pilotd]:
    with virtual.serving("--resolver", nets.DNS) as made:
        yield made
