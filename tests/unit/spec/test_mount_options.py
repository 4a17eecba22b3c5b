"""Mount options → flags, recursive attributes, propagation and the filesystem's own data."""

from __future__ import annotations

import pytest

from pilot.spec.mount_options import Attribute, Flag, parse_idmap, parse_options

FLAGS = [
    (("ro", "nosuid"), Flag.RDONLY | Flag.NOSUID, Flag.NONE),
    (("ro", "rw"), Flag.NONE, Flag.RDONLY),
    (("rw", "ro"), Flag.RDONLY, Flag.NONE),
    (("rbind",), Flag.BIND | Flag.REC, Flag.NONE),
    (("defaults",), Flag.NONE, Flag.NONE),
    (("exec", "noatime"), Flag.NOATIME, Flag.NOEXEC),
]


@pytest.mark.parametrize(("options", "set_flags", "clear_flags"), FLAGS)
def test_flags(options: tuple[str, ...], set_flags: Flag, clear_flags: Flag) -> None:
    parsed = parse_options(options)
    assert (parsed.set_flags, parsed.clear_flags) == (set_flags, clear_flags)


def test_mappings_that_an_option_has() -> None:
    """As crun takes them."""
    parsed = parse_options(("bind", "ridmap=uids=0-1-100#200-7-1;gids=0-1-100"))
    assert (parsed.idmap, parsed.idmap_recursive, parsed.data) == (True, True, ())
    maps = parse_idmap(parsed.idmap_text)
    assert maps is not None
    assert [[(m.container_id, m.host_id, m.size) for m in rows] for rows in maps] == [
        [(0, 1, 100), (200, 7, 1)],
        [(0, 1, 100)],
    ]


@pytest.mark.parametrize("text", ["", "uids=0-1-1", "uids=@0-1-1;gids=@0-1-1", "uids=0-1;gids=0-1-1", "x"])
def test_what_is_no_mapping(text: str) -> None:
    assert parse_idmap(text) is None


RECURSIVE = [
    (("rro",), Attribute.RDONLY, Attribute.NONE),
    (("rro", "rrw"), Attribute.NONE, Attribute.RDONLY),
    (("rrw", "rro"), Attribute.RDONLY, Attribute.NONE),
    (("rnorelatime",), Attribute.NONE, Attribute.ATIME),
    (("rnoatime",), Attribute.NOATIME, Attribute.ATIME),
    (("rnoatime", "rstrictatime"), Attribute.STRICTATIME, Attribute.ATIME),
    (("rstrictatime", "rrelatime"), Attribute.NONE, Attribute.ATIME),
]


@pytest.mark.parametrize(("options", "set_", "clear"), RECURSIVE)
def test_recursive_attributes(options: tuple[str, ...], set_: Attribute, clear: Attribute) -> None:
    parsed = parse_options(options)
    assert (parsed.set_recursive, parsed.clear_recursive) == (set_, clear)


@pytest.mark.parametrize(
    ("option", "data"),
    [
        ("lowerdir=/a:/b,upperdir=/c,workdir=/d", ("lowerdir=/a:/b", "upperdir=/c", "workdir=/d")),
        ("lowerdir=/a\\,b,index=off", ("lowerdir=/a\\,b", "index=off")),
        ('context="user:role:type:s0:c1,c2",size=1k', ('context="user:role:type:s0:c1,c2"', "size=1k")),
        (",mode=755,,", ("mode=755",)),
        ('odd="', ('odd="',)),
        ("end\\", ("end\\",)),
    ],
)
def test_data_is_taken_apart_as_by_mount(option: str, data: tuple[str, ...]) -> None:
    assert parse_options((option,)).data == data


def test_the_rest() -> None:
    parsed = parse_options(("rslave", "mode=755", "tmpcopyup", "ridmap", "size=1k", ""))
    assert parsed.propagation == (Flag.SLAVE | Flag.REC,)
    assert parsed.data == ("mode=755", "size=1k")
    assert parsed.copy_up
    assert parsed.idmap
    assert parsed.idmap_recursive
