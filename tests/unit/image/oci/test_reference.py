"""Image references: the forms that docker and the distribution specification know, and whatever else somebody types."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pilot import errors
from pilot.image.oci import reference

_SHA = "sha256:" + "0f" * 32
_ALPHABET = "ab9AZ./:@-_[]% \n\0é" + _SHA[:8]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("Registry/app", "Registry/app:latest"),
        ("ghcr.io/a/b/c:1.0_x-Y", "ghcr.io/a/b/c:1.0_x-Y"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("a__b/c---d.e_f", "docker.io/a__b/c---d.e_f:latest"),
        (f"alpine@{_SHA}", f"docker.io/library/alpine@{_SHA}"),
        (f"r.io/a:t@{_SHA}", f"r.io/a:t@{_SHA}"),
    ],
)
def test_is_made_whole(text: str, whole: str) -> None:
    assert str(reference.parse(text)) == whole


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no name"),
        ("Alpine", "no capitals"),
        ("r.io/App", "no capitals"),
        ("a//b", "no name"),
        ("a/", "no name"),
        ("/a", "no name"),
        ("a___b", "no name"),
        ("a..b", "no name"),
        ("-a", "no name"),
        ("a:", "no tag"),
        ("a:-x", "no tag"),
        ("a:" + "t" * 129, "no tag"),
        ("a:b:c", "no tag"),
        ("-r.io/a", "no host"),
        ("r.io:x/a", "no host"),
        ("r.io/../a", "no name"),
        ("r.io/a\n", "no name"),
        ("a@", "neither sha256"),
        ("a@sha256:0F" + "0" * 62, "neither sha256"),
        ("a@md5:" + "0" * 32, "neither sha256"),
        ("0f" * 32, "an image's id"),
        ("r.io/" + "a" * 251, "at most 255"),
    ],
)
def test_is_refused(text: str, problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        reference.parse(text)


def test_a_digest_beats_the_tag_beside_it() -> None:
    assert reference.parse(f"r.io/a:t@{_SHA}").wanted == _SHA
    assert reference.parse("r.io/a:t").wanted == "t"


@given(st.one_of(st.text(max_size=60), st.text(alphabet=_ALPHABET, max_size=60)))
@example("a:b/c@d")
@example("[/a")
@example("[::1/a")
def test_whatever_is_typed_is_refused_or_reads_back(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except errors.SpecError:
        return
    assert reference.parse(str(parsed)) == parsed
    assert "/../" not in f"/{parsed.path}/"
    assert parsed.path == parsed.path.lower()
