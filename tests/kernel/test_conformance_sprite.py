"""A sprite's own machine, as pilotd makes it on the `container` substrate, keeps every promise of the pilot API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.pilotd import Pilotd

from pilot.conformance import main

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


@pytest.fixture
def pilotd(tmp_path: Path) -> Iterator[Pilotd]:
    with Pilotd(tmp_path / "state").running() as daemon:
        yield daemon


def test_a_machine_of_the_container_substrate_keeps_every_promise(
    pilotd: Pilotd, capfd: pytest.CaptureFixture[str]
) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("asked")
        sprite.run("true", check=True)
        (dial,) = (pilotd.state / "machines").glob("*/dial.sock")
        capfd.readouterr()
        status = main.main(["--dial", str(dial), "--name", "asked", "--complete", "--json", "--timeout", "60"])
        document = json.loads(capfd.readouterr().out)
        sprite.destroy()  # pilotd finds the machine gone, and the rest of it is taken away
    rows = document["results"]
    assert [row for row in rows if row["outcome"] == "unmet"] == []
    assert (document["isolation"], document["score"], status) == ("container", 100, 0)
