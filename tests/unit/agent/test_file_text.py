"""Names that are not UTF-8 as text, and back."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.agent.files import text


@given(st.binary())
def test_every_name_comes_back(name: bytes) -> None:
    told = text.tell(os.fsdecode(name))
    assert os.fsencode(text.parse(told)) == name
    # What clients do with it: JSON, and a URL in UTF-8.
    assert json.loads(json.dumps(told).encode()) == told
    told.encode()


@pytest.mark.parametrize("name", ["plain", "ünïcode", "日本", "a\U0001f600"])
def test_utf_8_is_told_as_it_is(name: str) -> None:
    assert text.tell(name) == name


def test_the_documented_examples() -> None:
    assert text.tell(os.fsdecode(b"caf\xe9")) == "caf\uefe9"
    assert text.tell("\uef80") == "\uefee\uefbe\uef80"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        text.parse("a\udce9")
