"""What is decided about an attached disk without one."""

from __future__ import annotations

import pytest

from pilot.volume.volumed import supervision


@pytest.mark.parametrize(
    ("release", "can"),
    [
        ("6.18.44", True), ("6.9.0-rc1", True), ("7.0", True), ("6.9-custom", True), ("10.1.2", True),
        ("6.8.0-45-generic", False), ("6.1.0-18-amd64", False), ("5.19.17", False),
    ],
)  # fmt: skip
def test_which_kernels_send_requests_again(release: str, can: bool) -> None:
    assert supervision.can_resend(release) is can
