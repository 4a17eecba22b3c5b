"""What would be missed is refused of a config that is new; one of before is read all the same."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.host.fly import config as configs
from pilot.host.fly import refused


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"statics": [{"guest_path": "/public", "url_prefix": "/public"}]}, "config.statics"),
        ({"init": {"swap_size_mb": 512}}, "config.init.swap_size_mb"),
        ({"init": {"tty": True}}, "config.init.tty"),
    ],
)
def test_it_is_said_where(more: dict[str, object], place: str) -> None:
    config = configs.parse({"image": "box:1", **more})
    with pytest.raises(errors.SpecError) as said:
        refused.check(config)
    assert place in str(said.value)


@pytest.mark.parametrize(
    "more",
    [{}, {"statics": []}, {"statics": None}, {"init": {"swap_size_mb": 0, "tty": False}}, {"init": {"tty": None}}],
)
def test_what_asks_for_nothing_passes(more: dict[str, object]) -> None:
    refused.check(configs.parse({"image": "box:1", **more}))
