"""A change of the user's Debian makes anew what it is in, and nothing else; what comes from registries is pinned."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pilot import errors
from pilot.image import data, debian, programs, sources, world


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of guest/ that may be changed."""
    copy = tmp_path / "inputs"
    shutil.copytree(data.path(), copy)
    monkeypatch.setattr(data, "_ROOT", str(copy))
    return copy


@pytest.fixture
def bootstrapped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The packages of each Debian that was made; it is one file, and hooks, which want root, are left out."""
    made: list[tuple[str, ...]] = []

    def bootstrap(recipe: debian.Recipe, target: str, archive: Sequence[sources.Source]) -> None:
        made.append(recipe.packages)
        os.makedirs(f"{target}/etc/default")
        Path(target, "etc/debian").write_text(" ".join(recipe.packages))

    archive = (sources.Source(("http://archive.test/debian",), ("bookworm",), ("main",)),)
    monkeypatch.setattr(debian, "bootstrap", bootstrap)
    monkeypatch.setattr(sources, "machine_sources", lambda release: archive)
    monkeypatch.setattr(world, "_hooks", lambda archive, variant: [])
    return made


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where programs were fetched to."""
    made: list[str] = []

    def fetch(target: str) -> None:
        made.append(target)
        os.makedirs(f"{target}/usr/local/bin")
        os.symlink("../lib/uv/bin/uv", f"{target}/usr/local/bin/uv")

    monkeypatch.setattr(programs, "_fetch", fetch)
    return made


def _names(tar: str) -> set[str]:
    with tarfile.open(tar) as opened:
        return {name.removeprefix("./") for name in opened.getnames()}


def test_an_overlay_is_laid_over_the_same_debian(
    tmp_path: Path, inputs: Path, bootstrapped: list[tuple[str, ...]], fetched: list[str]
) -> None:
    cache = str(tmp_path / "cache")
    before = world.ensure_world_tar(cache, "standard")
    assert {"etc/debian", "usr/local/bin/uv", "etc/environment", "etc/default/ssh"} <= _names(before)
    (inputs / "world/overlay/etc/added").write_text("added")
    after = world.ensure_world_tar(cache, "standard")
    assert "etc/added" in _names(after) - _names(before)
    assert (len(bootstrapped), len(fetched)) == (1, 1)


def test_a_lock_file_or_a_list_makes_its_layer_anew(
    tmp_path: Path, inputs: Path, bootstrapped: list[tuple[str, ...]], fetched: list[str]
) -> None:
    cache = str(tmp_path / "cache")
    first = world.ensure_world_tar(cache, "standard")
    with (inputs / "world/python.lock").open("a") as lock:
        lock.write("\n")
    second = world.ensure_world_tar(cache, "standard")
    assert (len(bootstrapped), len(fetched)) == (1, 2)
    (inputs / "world/standard.packages").write_text("hello\n")
    third = world.ensure_world_tar(cache, "standard")
    assert (len(bootstrapped), len(fetched)) == (2, 2)
    assert bootstrapped[1][-1] == "hello"
    assert len({first, second, third}) == 3


def test_the_small_image_asks_no_registry(
    tmp_path: Path, inputs: Path, bootstrapped: list[tuple[str, ...]], fetched: list[str]
) -> None:
    names = _names(world.ensure_world_tar(str(tmp_path / "cache"), "minimal"))
    assert "etc/environment" in names
    assert "etc/default/ssh" not in names
    assert fetched == []


def test_what_fails_to_be_fetched_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    # rm(1) is not found then, either.
    monkeypatch.setattr("pilot.image.cache.remove", lambda path: shutil.rmtree(path, ignore_errors=True))
    with pytest.raises(errors.HostError, match="run npm: no such program") as failed:
        programs.ensure_programs(str(tmp_path / "cache"))
    assert failed.value.hint == "apt-get install npm"
    assert [name for name in os.listdir(tmp_path / "cache") if "programs-" in name] == []


def test_everything_from_registries_is_pinned_by_digest_and_names_no_address() -> None:
    lock = Path(data.path("world", "node", "package-lock.json")).read_text()
    packages = json.loads(lock)["packages"]
    outer = [entry for name, entry in packages.items() if name and not entry.get("inBundle")]
    assert outer
    assert all(entry["integrity"].startswith("sha512-") for entry in outer)
    python = Path(data.path("world", "python.lock")).read_text()
    names = re.findall(r"(?m)^[a-z0-9-]+==", python)
    assert names == ["uv=="]
    assert "--hash=sha256:" in python
    assert not [entry for entry in packages.values() if "resolved" in entry]
    assert "://" not in python
