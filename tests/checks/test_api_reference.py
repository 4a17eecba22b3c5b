"""The reference page of the pilot API says what the table, the document and the kit say."""

from __future__ import annotations

from tests.support import api_reference


def test_the_page_is_made_of_what_there_is() -> None:
    assert api_reference.PAGE.read_text() == api_reference.page(), "python -m tests.support.api_reference"
