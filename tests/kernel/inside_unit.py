"""Inside a virtual machine whose PID 1 is systemd: pilotd as `make install` leaves it, started by its unit.

What lies below /opt is put there by `tests/guest/test_unit_vm.py`, which has these tests run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.requires("root", "systemd"), pytest.mark.timeout(1500)]

_PATIENCE_S = 900.0  # everything is emulated here
_ADDRESS = "127.0.0.1:8080"
_UNITS = Path("/etc/systemd/system")
_STATE = Path("/var/lib/pilot")
_OPTIONS = "--image minimal --egress none --service-addresses off --warm-after off"
# No archive is asked: what would be built is here already, by the names that this host's pilotd looks for. Roots are
# the machine's, an archive the world's; nobody looks into the layers of either.
_SEED = """
import os
from pilot import image
from pilot.image import cache
def build(temporary, path, build):
    os.symlink("/opt/world.tar" if path.endswith(".tar") else "/run/guest", path)
cache._build = build
image.ensure_world_tar(variant="minimal")
image.ensure_guest_root()
"""


def _said(*words: object, **environment: str) -> str:
    """What a command says that has to succeed. It knows nothing of the checkout that this test is of."""
    done = subprocess.run(
        list(map(str, words)),
        env={"PATH": os.environ["PATH"], "HOME": "/root"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}\n{_journal()[-4000:]}"
    return done.stdout


def _shown(name: str) -> str:
    """A property of the unit, as systemd knows it now."""
    return _said("systemctl", "show", f"--property={name}", "--value", "pilotd").strip()


def _journal() -> str:
    words = ("journalctl", "--unit=pilotd", "--output=cat", "--no-pager")
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PATIENCE_S).stdout


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}\n{_journal()[-4000:]}"
        time.sleep(0.5)


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://{_ADDRESS}/healthz", timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _started() -> None:
    _said("systemctl", "start", "pilotd")
    _until(_answers, "it answers")


@pytest.fixture(scope="module")
def prefix() -> Path:
    """This machine as a host: a disk for disks, images, and what was installed, where it was."""
    place = Path(Path("/opt/prefix").read_text())
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to("/opt/installed")
    for directory, words in ((_STATE, ("-t", "tmpfs", "-o", "size=2G", "state")), (Path("/run/guest"), _guest_disk())):
        directory.mkdir(parents=True)
        _said("mount", *words, directory)
    Path("/etc/apt/sources.list.d").mkdir(parents=True, exist_ok=True)
    Path("/etc/apt/sources.list.d/none.list").write_text("deb http://debian.invalid/debian bookworm main\n")
    _said(place / "lib/pilot/bin/python", "-c", _SEED)
    for unit in (place / "lib/systemd/system").iterdir():
        shutil.copy(unit, _UNITS)
    Path("/etc/pilot").mkdir()
    Path("/etc/pilot/pilotd.env").write_text(f"PILOTD_LISTEN={_ADDRESS}\nPILOTD_OPTIONS={_OPTIONS}\n")
    _said("systemctl", "daemon-reload")
    return place


def _guest_disk() -> tuple[str, ...]:
    (serial,) = [each for each in Path("/sys/block").glob("*/serial") if each.read_text().strip() == "guest"]
    return ("-t", "erofs", "-o", "ro", f"/dev/{serial.parent.name}")


@pytest.fixture(scope="module")
def unit(prefix: Path) -> Path:
    """Started, and answering: the prefix."""
    _started()
    return prefix


@pytest.fixture(scope="module")
def sprite(unit: Path) -> Callable[..., str]:
    """Has one made; what a command in it says."""

    def client(*words: str) -> str:
        token = (_STATE / "token").read_text().strip()
        return _said(unit / "bin/sprite", *words, SPRITES_API_URL=f"http://{_ADDRESS}", SPRITE_TOKEN=token)

    client("create", "one")
    client("exec", "-s", "one", "--", "sh", "-c", "echo precious >keep; sync")
    return lambda *words: client("exec", "-s", "one", "--", *words)


def _life(sprite: Callable[..., str]) -> tuple[str, str]:
    """Of the world: what its disk has, and when its PID 1 began."""
    return sprite("cat", "keep"), sprite("cut", "-d", " ", "-f", "22", "/proc/1/stat")


def test_systemd_finds_nothing_wrong_with_the_units(prefix: Path) -> None:
    units = [str(_UNITS / each.name) for each in (prefix / "lib/systemd/system").iterdir()]
    command = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    assert [line for line in done.stderr.splitlines() if "pilot" in line] == []


def test_it_is_active_and_the_journal_has_what_it_says(unit: Path) -> None:
    assert _said("systemctl", "is-active", "pilotd") == "active\n"
    assert _shown("Result") == "success"
    lines = _journal().splitlines()
    assert not [line for line in lines if line.startswith("lacks")]
    assert f"pilotd ready: http://{_ADDRESS} (isolation container, image minimal)" in lines
    assert [line.split()[:2] for line in lines if line.startswith("ok")][:2] == [["ok", "root"], ["ok", "fuse"]]
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(each) for each in told))
    assert any(each["message"] == "volumed started" for each in told)


def test_killed_it_is_started_again_and_its_sprites_have_gone_on(unit: Path, sprite: Callable[..., str]) -> None:
    before, pid, restarts = _life(sprite), int(_shown("MainPID")), int(_shown("NRestarts"))
    assert before[0] == "precious\n"
    os.kill(pid, signal.SIGKILL)
    _until(lambda: int(_shown("NRestarts")) == restarts + 1 and _answers(), "systemd starts it again")
    assert _shown("MainPID") not in (str(pid), "0")
    assert _life(sprite) == before


def test_stopped_in_time_its_sprites_go_on_without_it(unit: Path, sprite: Callable[..., str]) -> None:
    before = _life(sprite)
    _said("systemctl", "stop", "pilotd")
    try:
        assert (_shown("ActiveState"), _shown("Result"), _shown("ExecMainStatus")) == ("inactive", "success", "0")
        assert not _answers()
    finally:
        _started()
    assert _life(sprite) == before


def test_the_first_command_line_has_systemd_start_a_planner(prefix: Path, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    _said("tar", "--directory", rootfs, "--extract", "--file", "/opt/world.tar")
    _said(prefix / "bin/pilot", "spec", "--bundle", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["cat", "/etc/passwd"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    _said("systemctl", "start", "pilot-planner.socket")
    assert _active("pilot-planner.service") == "inactive"
    for name in ("one", "two"):
        assert "sprite:x:1000" in _said(prefix / "bin/pilot", "run", "--bundle", tmp_path, name)
    assert _active("pilot-planner.service") == "active"


def _active(unit: str) -> str:
    return _said("systemctl", "show", "--property=ActiveState", "--value", unit).strip()
