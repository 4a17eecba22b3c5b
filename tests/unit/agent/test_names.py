"""A world's own name in its files: one line of /etc/hosts, the rest as the user left it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.agent import names
from pilot.agent.rootfs import Root

OTHERS = "127.0.0.1\tlocalhost\n10.0.0.7 db # mine\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OTHERS, OTHERS + "127.0.1.1\tweb\n"),
        (OTHERS + "127.0.1.1 parent parent.local\n", OTHERS + "127.0.1.1\tweb\n"),
        ("\n# empty but for this\n", "\n# empty but for this\n127.0.1.1\tweb\n"),
        ("", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tweb\n"),
    ],
)
def test_hosts_keeps_what_is_not_ours(before: str, after: str) -> None:
    assert names.plan_hosts(before, "web") == after
    assert names.plan_hosts(after, "web") == after


def test_files_that_cannot_be_written_are_left(tmp_path: Path) -> None:
    (tmp_path / "etc" / "hosts").mkdir(parents=True)
    with Root.open(str(tmp_path)) as root:
        names.write_names(root, "web")
    assert (tmp_path / "etc" / "hostname").read_text() == "web\n"
    assert (tmp_path / "etc" / "hosts").is_dir()
