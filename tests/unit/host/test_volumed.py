"""Which options a volumed that runs was started with: pilotd of another version started it in its own way."""

from __future__ import annotations

import pytest

from pilot.host import volumed

_MODULE = "pilot.volume.volumed.daemon"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["python3", "-m", _MODULE, "--state-dir", "/s"], []),
        (["python3", "-m", _MODULE, "--state-dir", "/s", "--store", "file:///x"], ["--store", "file:///x"]),
        (["python3", "-P", "-m", _MODULE, "--state-dir", "/s", "--store", "file:///x"], ["--store", "file:///x"]),
        (["sleep", "1"], None),
        ([], None),
    ],
)
def test_options_begin_after_the_state_directory(arguments: list[str], options: list[str] | None) -> None:
    assert volumed.options_of(arguments) == options
