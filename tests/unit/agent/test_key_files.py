"""What is below /.fly/kms, and how a text passes through an open file."""

from __future__ import annotations

import errno
import os

import pytest

from pilot.agent.keys import opened, tree
from pilot.agent.keys.opened import Exchange, Exchanges
from pilot.agent.keys.tree import Permissions, Tree
from pilot.agent.keys.uses import SIGNATURE_BYTES
from pilot.host.fly import key_names
from pilot.host.fly.key_kinds import KINDS
from pilot.kernel import fuse
from pilot.wire.secret_keys import MOST_BYTES, SecretKey


def _key(name: str, kind: str = "xaes256gcm") -> SecretKey:
    return SecretKey(name=name, type=kind, public_key=b"", created_at="then", updated_at="then")


def test_a_label_is_its_newest_version() -> None:
    shown = Tree([_key("ordersv1"), _key("ordersv0"), _key("sealv0", "hs256")])
    assert shown.entries("") == ["orders", "ordersv1", "ordersv0", "seal", "sealv0"]
    assert (
        shown.info("orders") == shown.info("ordersv1") == b"label=orders\ntype=xaes256gcm\nversion=1\ncreated_at=then\n"
    )
    assert (shown.entries("orders"), shown.entries("seal")) == (["info", "encr", "decr"], ["info", "sign", "verify"])
    for path in ("", "orders", "orders/encr"):
        assert shown.path(tree.number(path)) == path
    for parent, name in (("", "nothing"), ("orders", "sign"), ("", "orders/encr"), ("orders/encr", "x"), ("", "..")):
        with pytest.raises(FileNotFoundError):
            shown.child(parent, name)


def test_a_label_that_is_written_as_a_version_hides_none() -> None:
    for keys in ([_key("av1v0"), _key("av1")], [_key("av1"), _key("av1v0")]):
        assert Tree(keys).info("av1").startswith(b"label=a\n")


def test_files_are_for_root_until_it_says_otherwise() -> None:
    for path, mode in (("", 0o40700), ("k", 0o40700), ("k/info", 0o100400), ("k/encr", 0o100600)):
        assert tree.node(path, {}).owner == (mode, 0, 0)
    given = tree.node("k/encr", {"k/encr": Permissions(0o660, 5, 6)})
    assert given.owner == (0o100660, 5, 6)
    assert fuse.attributes(given) != fuse.attributes(tree.node("k/encr", {}))


def test_the_agent_and_its_host_mean_the_same_kinds_and_names() -> None:
    assert {kind.name for kind in KINDS.values() if kind.cipher} == {
        name for name in KINDS if tree.files(name)[1:] == ("encr", "decr")
    }
    for name, kind in KINDS.items():
        if kind.signer:
            assert SIGNATURE_BYTES[name] == len(kind.signer.sign(kind.make(), b""))
    for text in ("a", "av1", "av01", "v1", "a.v2", "av1v2"):
        label, version = tree.split(text)
        assert key_names.parse(text) == key_names.Name(label, int(version) if version else None)


def _written(text: bytes, offset: int = 0) -> Exchange:
    made = Exchange()
    made.write(offset, text)
    return made


@pytest.mark.parametrize("offset", [0, 5])
def test_what_was_made_is_read_from_where_the_first_read_stood(offset: int) -> None:
    """Right behind the text, or from the beginning after a seek."""
    passing = _written(b"hello")
    passing.took(offset, b"sealed")
    assert [passing.read(offset + step, 4) for step in (0, 4, 6)] == [b"seal", b"ed", b""]
    assert passing.read(0, 10) == b"sealed", "and once more"


def test_a_write_after_it_was_read_begins_another_text() -> None:
    passing = _written(b"hello")
    passing.took(5, b"sealed")
    passing.write(11, b"wo")
    passing.write(13, b"rld")
    assert (bytes(passing.text), passing.made) == (b"world", None)
    passing.took(16, b"other")
    assert passing.read(16, 10) == b"other"


def test_what_cannot_be_written() -> None:
    for offset, data, number in (
        (7, b"x", errno.EINVAL),
        (0, b"x", errno.EINVAL),
        (5, bytes(MOST_BYTES + 300), errno.EFBIG),
    ):
        with pytest.raises(OSError, match=os.strerror(number)):
            _written(b"hello").write(offset, data)


def test_handles_of_a_former_agent_are_stale_and_all_texts_together_are_bounded() -> None:
    files = Exchanges()
    handle = files.open()
    assert files.find(handle) is not files.find(files.open())
    with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
        Exchanges().find(handle)
    files.require_room(opened.MOST_HELD_BYTES)
    files.find(handle).write(0, b"x")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        files.require_room(opened.MOST_HELD_BYTES)
    files.close(handle)
    files.require_room(opened.MOST_HELD_BYTES)
    with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
        files.find(handle)


def test_no_more_files_are_open_than_may_be() -> None:
    """Whoever opens them, they are in the agent's memory."""
    files = Exchanges()
    handles = [files.open() for _ in range(opened.MOST_OPEN)]
    with pytest.raises(OSError, match=os.strerror(errno.ENFILE)):
        files.open()
    files.close(handles[0])
    files.open()
