"""A source distribution is all that is needed: it is built, and installed where nothing of this checkout is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest
from tests.support import bundles, elf, front

ROOT = Path(__file__).parents[2]
# What is not in a clean checkout.
LEFT_BY_BUILDS = (
    ".git",
    ".venv",
    ".stamps",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    "*.so",
    "pilot-init",
)

pytestmark = [pytest.mark.slow, pytest.mark.requires("musl-gcc")]


def _run(*command: object, cwd: Path | None = None) -> str:
    words = [os.fspath(word) if isinstance(word, Path) else str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made as build frontends do, of a copy without what builds leave."""
    scratch = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, scratch / "checkout", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_BY_BUILDS))
    program = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    name = _run(sys.executable, "-c", program, scratch, cwd=scratch / "checkout").splitlines()[-1]
    return scratch / name


@pytest.fixture(scope="module")
def environment(distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `pip install` has put it, without a network. Of ours it has the dependencies, not the package.

    The space is what the first line of a script cannot have, unless it is read by `pilot` itself.
    """
    home = tmp_path_factory.mktemp("installed") / "an environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--no-cache-dir", "--quiet")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *options, distribution)
    return home


def test_it_has_the_sources_and_nothing_that_was_built(distribution: Path) -> None:
    with tarfile.open(distribution) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.pyi"), ROOT / "src/pilot/py.typed"]
    data = [path for part in ("native", "guest", "bin") for path in (ROOT / part).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in [*sources, *data]}
    assert wanted - names == set()
    assert [name for name in names if name.endswith((".so", ".pyc", "/pilot-init"))] == []


def test_the_package_has_its_binaries_and_data(environment: Path) -> None:
    (package,) = environment.glob("lib/python*/site-packages/pilot")
    for binary in (package / "kernel/bin/pilot-init", environment / "bin/pilot"):
        assert os.access(binary, os.X_OK)
        assert elf.parse(binary.read_bytes()).position_independent
    assert (package / "image/inputs/release").read_text() == (ROOT / "guest/release").read_text()
    program = "from pilot.image import data; from pilot.kernel import _launch; print(data.path('release'))"
    assert _run(environment / "bin/python", "-I", "-c", program).strip() == str(package / "image/inputs/release")


def test_a_planner_of_it_would_be_asked(environment: Path) -> None:
    """`pilot` carries the digest of the sources as they were installed."""
    digest = _run(environment / "bin/python", "-I", "-m", "pilot.planner.build").strip()
    assert digest.encode() in (environment / "bin/pilot").read_bytes()


@pytest.mark.parametrize("command", ["pilot", "pilotd", "sprite"])
def test_its_commands_start(environment: Path, command: str) -> None:
    assert f"{command} " in _run(environment / "bin" / command, "--help")


def test_its_versions_are_one(environment: Path, distribution: Path) -> None:
    _, version = _run(environment / "bin/pilot", "--version").splitlines()[0].split("version ")
    assert distribution.name == f"pilot-{version}.tar.gz"
    program = "import importlib.metadata; print(importlib.metadata.version('pilot'))"
    assert _run(environment / "bin/python", "-I", "-c", program).strip() == version


def test_a_link_elsewhere_finds_it(environment: Path, tmp_path: Path) -> None:
    link = tmp_path / "runtime"
    link.symlink_to(environment / "bin/pilot")
    assert _run(link, "--version", cwd=tmp_path).startswith("pilot version")


def test_without_its_python_half_it_says_what_is_missing(environment: Path, tmp_path: Path) -> None:
    alone = tmp_path / "pilot"
    shutil.copy2(environment / "bin/pilot", alone)
    done = subprocess.run([alone, "--version"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"pilot: execute {tmp_path}/pilot-cold: No such file or directory\n")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundle = bundles.make_bundle(tmp_path / "bundle")
    (bundle / "config.json").write_text(json.dumps(bundles.make_config("echo", "hello")))
    return bundle


@pytest.mark.requires("root", "private", "busybox")
def test_it_runs_a_container(environment: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOT_PLANNER", "")
    command = ("--root", bundle.parent / "root", "run", "-b", bundle, "web")
    assert _run(environment / "bin/pilot", *command) == "hello\n"
    assert _run(environment / "bin/python", "-IS", environment / "bin/pilot-cold", *command) == "hello\n"


@pytest.mark.requires("root", "private", "busybox")
def test_its_planner_serves_it(environment: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be seen where there is no Python half to fall back to."""
    place, programs = bundle.parent / "planner", bundle.parent / "bin"
    place.mkdir(mode=0o700)
    programs.mkdir()
    shutil.copy2(environment / "bin/pilot", programs)
    monkeypatch.setenv("PILOT_PLANNER", os.fspath(place / "socket"))
    python = (os.fspath(environment / "bin/python"), "-IS", os.fspath(environment / "bin/pilot-cold"))
    with front.planner(place, *python, "planner") as process:
        front.digest_of(process)
        assert _run(programs / "pilot", "--root", bundle.parent / "root", "run", "-b", bundle, "web") == "hello\n"
