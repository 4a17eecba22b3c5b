"""The suite itself, on a sprite of the pilotd that PILOT_URL and PILOT_TOKEN lead to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from deepagents.backends.protocol import SandboxBackendProtocol
from langchain_tests.integration_tests import SandboxIntegrationTests
from sprites import SpritesClient

from tests.langchain.backend import SpriteSandbox


class TestSprite(SandboxIntegrationTests):  # type: ignore[misc]
    """Nothing is left out or changed."""

    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[SandboxBackendProtocol]:
        with SpritesClient(os.environ["PILOT_TOKEN"], base_url=os.environ["PILOT_URL"], timeout=60.0) as client:
            sprite = client.create_sprite("langchain")
            # The suite says `python`, as the standard image does (python-is-python3); this one is the minimal image.
            sprite.run("sudo", "ln", "-s", "python3", "/usr/bin/python", check=True)
            yield SpriteSandbox(sprite)
            sprite.destroy()
