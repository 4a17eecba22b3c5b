"""A coding agent from npm, as `sprite-agents` installs it, says its version. `make outside-tests`."""

from __future__ import annotations

import io
import pathlib
import re

import pytest
from tests.outside.conftest import Run
from tests.support import outside
from tests.support.pilotd import Pilotd

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside"),
    pytest.mark.timeout(900),  # a Node and an agent come from the registry
]


@pytest.mark.parametrize("agent", ["gemini", "codex"])
def test_an_agent_is_installed_on_request(pilotd: Pilotd, run: Run, agent: str) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite(f"agent-{agent}")
        authorities = pathlib.Path(outside.AUTHORITIES).read_bytes()
        sprite.command("sudo", "tee", outside.AUTHORITIES, stdin=io.BytesIO(authorities)).output()
        run(sprite, f"NPM_CONFIG_CAFILE={outside.AUTHORITIES} sprite-agents install {agent} >&2")
        assert re.search(r"\d+\.\d+\.\d+", run(sprite, f"{agent} --version"))
        assert f"{agent} installed" in re.sub(" +", " ", run(sprite, "sprite-agents list"))
        sprite.destroy()
