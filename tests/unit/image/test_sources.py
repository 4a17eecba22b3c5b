"""The machine's apt configuration, as far as images are built from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot import errors
from pilot.image import sources

DEB822 = """\
# a comment
Types: deb deb-src
URIs: https://user:secret@mirror.test/debian
Suites: stable stable-updates unrelated
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: https://third.party.test/tool
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: https://mirror.test/off
Suites: stable
Components: main
"""
ONE_LINE = (
    "deb [arch=amd64 signed-by=/k.gpg] https://mirror.test/security stable-security main non-free # why\n# deb x y z\n"
)


def _configured(root: Path) -> str:
    (root / "sources.list.d").mkdir()
    (root / "sources.list.d" / "debian.sources").write_text(DEB822)
    (root / "sources.list").write_text(ONE_LINE)
    return str(root)


def test_only_the_release_itself_is_taken(tmp_path: Path) -> None:
    found = sources.machine_sources("stable", _configured(tmp_path))
    assert [source.uris for source in found] == [
        ("https://user:secret@mirror.test/debian",),
        ("https://mirror.test/security",),
    ]
    assert found[0].suites == ("stable", "stable-updates")
    assert found[1].signed_by == "/k.gpg"


def test_what_goes_into_an_image_names_no_key_and_no_password(tmp_path: Path) -> None:
    text = sources.render(sources.machine_sources("stable", _configured(tmp_path)), signed=False)
    assert "secret" not in text
    assert "Signed-By" not in text
    assert "URIs: https://mirror.test/debian\n" in text


def test_a_rendered_source_is_read_back(tmp_path: Path) -> None:
    found = sources.machine_sources("stable", _configured(tmp_path))
    assert tuple(sources.parse_deb822(sources.render(found))) == found


def test_another_release_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.HostError, match="no archive of Debian other is configured"):
        sources.machine_sources("other", _configured(tmp_path))
