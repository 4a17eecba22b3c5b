"""mountinfo lines as values."""

from __future__ import annotations

import pytest

from pilot.kernel import mounts

_TEXT = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
36 35 98:0 /mnt1 /mnt2\\040with\\134odd\\012name rw,noatime master:1 shared:7 - ext3 /dev/root\\0401 rw,errors=continue
40 36 0:5 / /mnt2/below ro - proc  rw
"""


def test_fields_are_named_and_unescaped() -> None:
    entry = mounts.parse_mountinfo(_TEXT)[1]
    assert entry == mounts.MountEntry(
        mount_id=36,
        parent_id=35,
        device=(98, 0),
        root="/mnt1",
        mount_point="/mnt2 with\\odd\nname",
        options=("rw", "noatime"),
        optional=("master:1", "shared:7"),
        fstype="ext3",
        source="/dev/root 1",
        super_options=("rw", "errors=continue"),
    )
    assert entry.peer_group == 7


def test_an_empty_source_and_no_optional_fields() -> None:
    entry = mounts.parse_mountinfo(_TEXT)[2]
    assert (entry.source, entry.optional, entry.peer_group) == ("", (), None)


def test_nothing_mounted() -> None:
    assert mounts.parse_mountinfo("") == []


@pytest.mark.parametrize("line", ["x", "36 35 98:0 /mnt1 /mnt2 rw", "36 35 98:0 / /mnt2 rw - ext3 /dev/root"])
def test_a_line_that_is_none(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of mountinfo"):
        mounts.parse_mountinfo(line)


def test_mounts_below_come_latest_first_and_not_by_prefix_of_the_name() -> None:
    entries = mounts.parse_mountinfo(
        "1 0 0:1 / /a rw - x x rw\n2 1 0:1 / /a/b rw - x x rw\n3 1 0:1 / /ab rw - x x rw\n4 1 0:1 / /a/c rw - x x rw"
    )
    assert [e.mount_id for e in mounts.mounts_below(entries, "/a/")] == [4, 2, 1]
    assert [e.mount_id for e in mounts.mounts_below(entries, "/")] == [4, 3, 2, 1]
