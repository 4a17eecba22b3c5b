"""No test is measured by a clock that it has not asked for."""

from __future__ import annotations

import hypothesis


def test_an_example_of_a_property_has_no_deadline() -> None:
    assert hypothesis.settings.default is not None
    assert hypothesis.settings.default.deadline is None
