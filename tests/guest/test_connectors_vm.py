"""Connectors of a sprite in a virtual machine: the same tests as of one in `container`, one boot for all.

The link ends in the same gateway, on a tap instead of a veth: what is not the same is the clock of the machine's own
(certificates have times), its trust on a disk of its own, and whose memory is looked through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sprites import Sprite
from tests.kernel import test_connectors_sprite as rows
from tests.kernel.test_connectors_sprite import internet, site
from tests.support import internet as nets
from tests.support import virtual
from tests.support.internet import Internet
from tests.support.pilotd import Pilotd
from tests.support.tlssite import Site

__all__ = ["internet", "site"]  # fixtures

pytestmark = pytest.mark.requires(
    "root", "private", "qemu", "mmdebstrap", "fuse", "space", "veth", "nft", "tun", "vm-tests"
)  # fmt: skip

test_clients_use_a_credential_that_is_nowhere_in_the_sprite = (
    rows.test_clients_use_a_credential_that_is_nowhere_in_the_sprite
)
test_connectors_outlive_pilotd_and_a_restart_of_the_sprite = (
    rows.test_connectors_outlive_pilotd_and_a_restart_of_the_sprite
)


@pytest.fixture(scope="module")
def pilotd(internet: Internet, site: Site) -> Iterator[Pilotd]:
    with virtual.serving("--resolver", nets.DNS) as made:
        yield made


@pytest.fixture
def sprite(pilotd: Pilotd) -> Iterator[Sprite]:
    with pilotd.client() as client:
        made = client.create_sprite("uses")
        yield made
        made.destroy()
