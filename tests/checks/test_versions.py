"""One version of pilot, said once; those of interfaces and formats as docs/reference/versions.md tells them."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import pilot

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/versions.md").read_text()
# | what | `version` | `where in the code` | …
ROWS = re.findall(r"^\| ([^|]+) \| `([^`|]+)` \| `(pilot\.[\w.]+)` \|", PAGE, re.MULTILINE)
RELEASE = re.compile(r"## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}")


def _told(value: object) -> str:
    """The version in what code calls one: a number, a word, all migrations, magic bytes that end with it."""
    if isinstance(value, tuple | list):
        return str(len(value))
    if isinstance(value, bytes):
        last = value.strip()[-1]
        return chr(last) if chr(last).isdigit() else str(last)
    if isinstance(value, int) and value > 0xFFFF:
        return "".join(chr(byte) for byte in value.to_bytes(8, "little") if chr(byte).isdigit())
    return str(value)


# What passes between two ends and is stored nowhere; and what others have defined.
NOT_STORED = {"pilot.plan.code", "pilot.wire.mux", "pilot.kernel.initlink", "pilot.kernel.ext4"}


@pytest.mark.parametrize(("what", "version", "place"), ROWS, ids=[what for what, _, _ in ROWS])
def test_the_page_tells_the_version_of_the_code(what: str, version: str, place: str) -> None:
    module, _, name = place.rpartition(".")
    assert _told(getattr(importlib.import_module(module), name)) == version, what


def test_the_page_has_every_format_that_has_a_number() -> None:
    pattern = re.compile(r"^(?:_?[A-Z]*FORMAT|_?MAGIC|VERSION|MIGRATIONS)\b[^=\n]*= *(?:[0-9(]|b\")", re.MULTILINE)
    numbered = {path for path in (ROOT / "src/pilot").rglob("*.py") if pattern.search(path.read_text())}
    modules = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in numbered}
    assert modules - NOT_STORED - {place.rpartition(".")[0] for _, _, place in ROWS} == set()


@pytest.mark.parametrize("name", ["pilot", "sprites"])
def test_the_page_tells_the_version_of_a_contract(name: str) -> None:
    told = yaml.safe_load((ROOT / f"api/{name}.openapi.yaml").read_text())["info"]["version"]
    assert f"(`api/{name}.openapi.yaml`) | `{told}` |" in PAGE


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert importlib.metadata.version("pilot") == pilot.__version__
    said = re.compile(rf"(?<![\d.]){re.escape(pilot.__version__)}(?![\d.])")
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "native").rglob("*.[ch]"), ROOT / "Makefile", ROOT / "setup.py"]
    assert [path.name for path in sources if said.search(path.read_text())] == ["__init__.py"]


def test_the_changelog_has_its_form() -> None:
    """`Unreleased`, then releases with their days, the newest first, none later than the version."""
    first, *others = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert first == "## Unreleased"
    found = [RELEASE.fullmatch(line) for line in others]
    releases = [tuple(map(int, match[1].split("."))) for match in found if match]
    assert len(releases) == len(others)
    assert releases == sorted(releases, reverse=True)
    version = RELEASE.fullmatch(f"## {pilot.__version__} - 0000-00-00")
    assert version
    assert all(release <= tuple(map(int, version[1].split("."))) for release in releases)


def test_every_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(name for group in project["optional-dependencies"].values() for name in group)]
    assert [name for name in named if ">=" not in name] == []
