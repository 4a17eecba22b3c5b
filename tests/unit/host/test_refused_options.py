"""What pilotd cannot serve with is told before it starts anything that would stay."""

from __future__ import annotations

import pathlib

import pytest

from pilot.host import daemon, host_limits, main


@pytest.fixture
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def started(_: object) -> None:
        pytest.fail("volumed was started")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(daemon, "_volumed", started)
    monkeypatch.setattr(host_limits, "raise_descriptors", lambda: None)
    monkeypatch.setattr(host_limits, "raise_limits", lambda _: [])
    return str(tmp_path / "state")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seal-key", "/dev/null"], "/dev/null: 0 bytes are no key"),
        (
            ["--tls-listen", "127.0.0.1:0", "--certificate", "/dev/null", "--key", "/dev/null"],
            "read certificate /dev/null and /dev/null: none in PEM",
        ),
    ],
)
def test_a_key_or_certificate_that_is_none(
    state: str, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main.main(["serve", "--state-dir", state, "--listen", "127.0.0.1:0", "--image", "minimal", *options]) == 1
    assert told in capsys.readouterr().err
