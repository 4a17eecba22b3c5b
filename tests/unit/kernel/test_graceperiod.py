"""The switch of the host's grace periods, as a plain file: who turns it, and who puts it back."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from pilot.kernel import graceperiod


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    path = tmp_path / "rcu_expedited"
    path.write_bytes(b"0\n")
    return path


def _value(path: Path) -> bytes:
    return path.read_bytes().strip()


def test_it_is_on_in_the_block_alone(switch: Path) -> None:
    with graceperiod.expedited(str(switch)):
        assert _value(switch) == b"2"
    assert _value(switch) == b"0"


def test_the_last_one_puts_it_back(switch: Path) -> None:
    second = graceperiod.expedited(str(switch))
    with graceperiod.expedited(str(switch)):
        second.__enter__()
    assert _value(switch) == b"2", "the second still wants it"
    second.__exit__(None, None, None)
    assert _value(switch) == b"0"


@pytest.mark.parametrize("chosen", [b"1", b"-1"])
def test_what_the_administrator_chose_stays(switch: Path, chosen: bytes) -> None:
    switch.write_bytes(chosen)
    with graceperiod.expedited(str(switch)):
        assert _value(switch) == chosen
    assert _value(switch) == chosen


def test_what_a_killed_one_left_is_put_back(switch: Path) -> None:
    switch.write_bytes(b"2")
    graceperiod.settle(str(switch))
    assert _value(switch) == b"0"


def test_it_never_waits_and_never_fails(switch: Path, tmp_path: Path) -> None:
    with switch.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with graceperiod.expedited(str(switch)):
            assert _value(switch) == b"0"
    with graceperiod.expedited(str(tmp_path / "missing")):
        pass


def test_an_error_in_the_block_comes_out(switch: Path) -> None:
    with pytest.raises(OSError, match="freeze"), graceperiod.expedited(str(switch)):
        raise OSError("freeze")
    assert _value(switch) == b"0"
