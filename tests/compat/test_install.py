"""`make install`: programs that need this checkout no more, units that lead to them, and an end of all of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from tests.support import installed

pytestmark = [pytest.mark.slow, pytest.mark.requires("musl-gcc")]
_run = installed.run


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a host takes from an index is lent by our own environment."""
    place = tmp_path_factory.mktemp("installed")
    site = installed.install(tmp_path_factory.mktemp("checkout"), place)
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def test_programs_run_without_the_checkout(prefix: Path) -> None:
    assert "pilot" in _run(prefix / "bin/pilot", "--version", cwd=prefix)
    assert "sprite" in _run(prefix / "bin/sprite", "--version", cwd=prefix)
    assert "drain" in _run(prefix / "bin/pilotd", "--help", cwd=prefix)
    found = _run(prefix / "lib/pilot/bin/python", "-c", "import pilot; print(pilot.__file__)", cwd=prefix)
    assert found.startswith(str(prefix))


def test_units_lead_to_what_was_installed(prefix: Path) -> None:
    units = sorted((prefix / "lib/systemd/system").iterdir())
    assert [unit.name for unit in units] == ["pilot-planner.service", "pilot-planner.socket", "pilotd.service"]
    started = [word for unit in units for word in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE)]
    assert started
    assert {word for word in started if not os.access(word, os.X_OK) or not word.startswith(str(prefix))} == set()
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False,
            timeout=60, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{prefix}/lib/systemd/system:"},
        )  # fmt: skip
        assert [line for line in done.stderr.splitlines() if "pilot" in line] == []


def test_openrc_s_script_is_one_and_leads_to_what_was_installed(prefix: Path) -> None:
    script = prefix / "lib/pilot/openrc/pilotd"
    assert os.access(script, os.X_OK)
    _run("sh", "-n", script)
    (command,) = re.findall(r'^command="(.+)"', script.read_text(), re.MULTILINE)
    assert command == str(prefix / "bin/pilotd")
    assert os.access(command, os.X_OK)


def test_uninstall_leaves_nothing(prefix: Path) -> None:
    _run("make", "uninstall", f"PREFIX={prefix}")
    assert [path for path in prefix.rglob("*") if not path.is_dir()] == []
