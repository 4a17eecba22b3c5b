"""One pilotd for all that reaches outside, with the standard image and the package registries of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support import internet as nets
from tests.support import outside
from tests.support.internet import WEB, Internet
from tests.support.isolation import ISOLATION
from tests.support.pilotd import Pilotd, serving

IMAGE = os.environ.get("PILOT_OUTSIDE_IMAGE", "standard")
Run = Callable[[Any, str], str]


@pytest.fixture(scope="package")
def internet() -> Iterator[Internet]:
    hosts = {*outside.debian(), *outside.python(), *outside.node()}
    with nets.internet() as made, outside.led_to(made, sorted(hosts)):
        made.serve_tcp(WEB)
        made.records["web.test", "A"] = (60, [WEB])
        yield made


@pytest.fixture(scope="package")
def pilotd(internet: Internet) -> Iterator[Pilotd]:
    with serving(isolation=ISOLATION, image=IMAGE, extra=("--resolver", nets.DNS)) as made:
        yield made


@pytest.fixture(scope="package")
def run() -> Run:
    """What a command says in a sprite, as root; it must succeed."""
    return _run


def _run(sprite: Any, command: str) -> str:
    done = sprite.run("sudo", "bash", "-c", command, capture_output=True, timeout=600)
    said = bytes(done.stdout).decode(errors="replace")
    assert done.returncode == 0, f"{command}: {done.returncode}: {said[-2000:]}{done.stderr.decode()[-2000:]}"
    return said
