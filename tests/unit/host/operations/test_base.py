"""A base that cannot be made is told once, in the words of what could not be done."""

from __future__ import annotations

import pathlib

import pytest
from tests.support.host import HostUnderTest

from pilot import errors


class NoMirror(HostUnderTest):
    tries = 0

    def _archive(self) -> pathlib.Path:
        self.tries += 1
        raise errors.HostError("run mmdebstrap: exit status 25: no mirror", hint="apt-get update")


def test_an_image_that_cannot_be_built_is_one_plain_line(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AssertionError, match=r"^run mmdebstrap: exit status 25: no mirror \(apt-get update\)"):
        NoMirror(tmp_path)
