"""`sprite privileges`: what takes away what else is said is not carried out."""

from __future__ import annotations

import pytest

from pilot.client import context, privileges, words
from pilot.client.verbs import VERBS


@pytest.mark.parametrize("option", ["--profile=minimal", "--device=/dev/fuse", "--no-new-privileges"])
def test_clear_is_said_alone(option: str) -> None:
    said = words.parse(["privileges", "web", option, "--clear"], VERBS)
    with pytest.raises(words.UsageError, match="--clear: not with others"):
        privileges.policy(context.Context(said))
