"""Two locks: what is worked with, and what a host that runs pilotd installs. Neither names an address."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ALL, DAEMON = ROOT / "requirements.lock", ROOT / "packaging/requirements.lock"


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _pins(lock: pathlib.Path) -> dict[str, str]:
    return {_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([^ ]+) \\$", lock.read_text())}


def _wanted(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {_name(each) for row in rows for each in row}


def _needed(names: set[str]) -> set[str]:
    """With all that they need in turn, as this Python has them installed."""
    found: set[str] = set()
    left = sorted(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in importlib.metadata.requires(name) or ():
            if "extra ==" not in requirement and _name(requirement) in _pins(ALL):
                left.append(_name(requirement))
    return found


def test_the_daemon_is_installed_without_what_its_tests_need() -> None:
    pins = set(_pins(DAEMON))
    assert _wanted("host") <= pins
    assert pins <= _needed(_wanted("host"))
    assert not pins & (_wanted("dev") - _needed(_wanted("host")))


def test_both_locks_pin_the_same_versions() -> None:
    every, daemon = _pins(ALL), _pins(DAEMON)
    assert daemon == {name: every[name] for name in daemon}
    assert _wanted("host", "dev") <= set(every)


@pytest.mark.parametrize("lock", [ALL, DAEMON], ids=["all", "daemon"])
def test_each_pin_has_a_hash_and_none_an_address(lock: pathlib.Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    blocks = re.split(r"(?m)^(?=[\w.-]+==)", text)[1:]
    assert len(blocks) == len(_pins(lock))
    assert all("--hash=sha256:" in block for block in blocks)
