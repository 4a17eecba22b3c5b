"""`sprite up` with a sprite.toml, on a real sprite: made once, changed when it is said again."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

FILE = """
name = "shop"
labels = ["demo"]
environment = { STAGE = "test" }
setup = ["echo $STAGE > ~/made; cat >> ~/made", "test -f ~/app.py"]
checkpoint = "ready"
[config]
cpus = 1
[spawn]
children = 1
[files]
"/home/sprite/app.py" = "app.py"
[services.web]
cmd = "python3"
args = ["/home/sprite/app.py"]
"""


def _sprite(pilotd: Pilotd, directory: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token(), "HOME": str(directory)}
    command = [sys.executable, "-m", "pilot.client.main", *words]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_sprite_is_as_its_file_says(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    (tmp_path / "sprite.toml").write_text(FILE)
    (tmp_path / "app.py").write_text("import time\nwhile True: time.sleep(1)\n")
    done = _sprite(pilotd, tmp_path, "up")
    assert (done.returncode, done.stdout.startswith("shop  running  http")) == (0, True), done.stderr
    with pilotd.client() as client:
        sprite = client.get_sprite("shop")
        assert (list(sprite.labels), sprite.get_checkpoint("ready").id) == (["demo"], "v1")
        assert sprite.run("cat", "/home/sprite/made", capture_output=True).stdout == b"test\n"
        first = json.loads(_sprite(pilotd, tmp_path, "service", "info", "-s", "shop", "web", "--json").stdout)
        assert (first["cmd"], first["state"]["status"]) == ("python3", "running")

        (tmp_path / "sprite.toml").write_text(FILE.replace('["demo"]', '["other"]').replace("cpus = 1", "cpus = 2"))
        again = _sprite(pilotd, tmp_path, "up")
        assert again.returncode == 0, again.stderr
        found = client.get_sprite("shop")
        config = json.loads(_sprite(pilotd, tmp_path, "config", "shop", "--json").stdout)["config"]
        assert (list(found.labels), config) == (["other"], {"cpus": 2})  # and what was unfinished is no label any more
        second = json.loads(_sprite(pilotd, tmp_path, "service", "info", "-s", "shop", "web", "--json").stdout)
        assert second["state"]["pid"] == first["state"]["pid"], "what is as it was goes on"
        assert [point.id for point in found.list_checkpoints()] == ["Current", "v1"], "it is made once"
        anew = _sprite(pilotd, tmp_path, "up", "--setup")
        assert (anew.returncode, found.get_checkpoint("ready").id) == (0, "v2"), anew.stderr

        (tmp_path / "sprite.toml").write_text(
            FILE.replace('name = "shop"', 'name = "fails"').replace("test -f", "exit 3;")
        )
        failed = _sprite(pilotd, tmp_path, "up")
        assert (failed.returncode, "it ended with 3, the rest was not done" in failed.stderr) == (3, True), (
            failed.stderr
        )
        failed = _sprite(pilotd, tmp_path, "up")
        assert (failed.returncode, "its setup was not finished" in failed.stderr) == (3, True), failed.stderr
        assert len(client.get_sprite("fails").list_checkpoints()) == 1, "none but the present"
        assert set(client.get_sprite("fails").labels) == {"demo", "setup-unfinished"}
        (tmp_path / "sprite.toml").write_text(FILE.replace('name = "shop"', 'name = "fails"'))
        mended = _sprite(pilotd, tmp_path, "up")
        assert (mended.returncode, "it is begun again" in mended.stderr) == (0, True), mended.stderr
        assert client.get_sprite("fails").get_checkpoint("ready").id == "v1"
        again = _sprite(pilotd, tmp_path, "up")
        assert (again.returncode, "its setup is not done again" in again.stderr) == (0, True), again.stderr
        wrong = tmp_path / "wrong.toml"
        wrong.write_text("nam = 'x'")
        told = _sprite(pilotd, tmp_path, "up", str(wrong))
        assert (told.returncode, "$.nam: unknown" in told.stderr) == (1, True), told.stderr
        for name in ("shop", "fails"):
            client.destroy_sprite(name)
