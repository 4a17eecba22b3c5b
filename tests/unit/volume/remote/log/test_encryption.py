"""Wrapped keys, and what is encrypted under them: a wrong key is a clear error, damage is found, nothing is garbage."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from pilot import errors
from pilot.volume import layout
from pilot.volume.names import Stamp
from pilot.volume.remote.log import codec, encryption, head, segment, snapshot

OLD, NEW, OTHER = os.urandom(32), os.urandom(32), os.urandom(32)
DISK = "0" * 15 + "a"
STAMP = Stamp(2, 9)
CHUNK = b"some content " * 5041 + bytes(layout.CHUNK_BYTES - 13 * 5041)
DELTA = segment.Delta({1: bytes(8192)}, {"head": b"r"}, {})


def _head(keyring: encryption.Keyring, disk: str = DISK) -> head.Head:
    return head.Head(disk=disk, volume="web", size_bytes=1 << 30, key=keyring.new_key(disk))


def _segment(packer: codec.Codec) -> segment.Encoded:
    (made,) = segment.build(STAMP, 1, [1, 2], lambda slot: CHUNK, DELTA, packer)
    return made


def _read(data: bytes, packer: codec.Codec) -> None:
    found = segment.decode_head(data, STAMP, len(data))
    assert found.delta(packer) == DELTA
    for place in found.places.values():
        assert segment.decode_chunk(data[place.offset : place.offset + place.length], place, packer) == CHUNK


def test_what_is_encrypted_reads_again_and_shows_nothing() -> None:
    keyring = encryption.Keyring([OLD])
    described = head.decode(head.encode(_head(keyring)), "x")
    made = _segment(keyring.codec(described))
    _read(made.data, keyring.codec(described))
    assert b"some content" not in made.data
    assert segment.Flag.ENCRYPTED in segment.decode_head(made.data, STAMP, len(made.data)).flags
    first, second = (made.data[at.offset : at.offset + at.length] for at in made.places.values())
    assert first != second  # the same chunk twice: another nonce each time


def test_another_key_is_a_clear_error() -> None:
    described = _head(encryption.Keyring([OLD]))
    with pytest.raises(errors.HostError, match=f"needs operator key {encryption.key_id(OLD)}; given: "):
        encryption.Keyring([OTHER]).codec(described)
    with pytest.raises(errors.HostError, match="given: none") as caught:
        encryption.Keyring().codec(described)
    assert caught.value.hint is not None


def test_rotation_changes_the_wrapping_and_no_object() -> None:
    described = _head(encryption.Keyring([OLD]))
    made = _segment(encryption.Keyring([OLD]).codec(described))
    both = encryption.Keyring([NEW, OLD])
    assert not both.is_current(described)
    rotated = both.rewrap(described)
    assert both.is_current(rotated)
    _read(made.data, encryption.Keyring([NEW]).codec(rotated))
    with pytest.raises(errors.HostError, match="needs operator key"):
        encryption.Keyring([OLD]).codec(rotated)


def test_a_wrapped_key_belongs_to_its_disk() -> None:
    keyring = encryption.Keyring([OLD])
    moved = head.Head(disk="1" * 16, volume="web", size_bytes=1 << 30, key=_head(keyring).key)
    with pytest.raises(codec.Damaged, match="of another disk"):
        keyring.codec(moved)


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=100)
def test_a_damaged_wrapped_key_never_gives_a_key(data: st.DataObject) -> None:
    keyring = encryption.Keyring([OLD])
    described = _head(keyring)
    assert described.key is not None
    scheme, wrapper, text = described.key.split(":")
    sealed = bytearray(base64.b64decode(text))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = f"{scheme}:{wrapper}:{base64.b64encode(bytes(sealed)).decode()}"
    with pytest.raises(codec.Damaged):
        keyring.codec(head.Head(disk=DISK, volume="web", size_bytes=1 << 30, key=damaged))


@pytest.mark.parametrize("text", ["", "x", "aes256gcm:1", "aes256gcm:{id}:???", "aes256gcm:{id}:", "a:b:c:d"])
def test_what_is_no_wrapped_key_is_damage(text: str) -> None:
    text = text.replace("{id}", encryption.key_id(OLD))
    with pytest.raises((codec.Damaged, errors.HostError)):
        encryption.Keyring([OLD]).codec(head.Head(disk=DISK, volume="web", size_bytes=1 << 30, key=text))


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=150)
def test_any_flipped_bit_of_an_encrypted_segment_is_found(data: st.DataObject) -> None:
    keyring = encryption.Keyring([OLD])
    packer = keyring.codec(_head(keyring))
    bad = bytearray(_segment(packer).data)
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(codec.Damaged):
        _read(bytes(bad), packer)


def test_pieces_cannot_be_exchanged() -> None:
    """Not even with hashes that fit: a chunk at another number, or of another volume, does not decrypt."""
    keyring = encryption.Keyring([OLD])
    packer, stranger = keyring.codec(_head(keyring)), keyring.codec(_head(keyring, "2" * 16))
    made = _segment(packer)
    place = made.places[1]
    stored = made.data[place.offset : place.offset + place.length]
    for at, reader in ((place._replace(number=1), packer), (place._replace(stamp=Stamp(2, 8)), packer),
                       (place, stranger)):  # fmt: skip
        with pytest.raises(codec.Damaged, match="decrypt"):
            segment.decode_chunk(stored, at, reader)


def test_a_snapshot_is_encrypted_too() -> None:
    keyring = encryption.Keyring([OLD])
    packer = keyring.codec(_head(keyring))
    image = snapshot.Image({1: b"p" * 8192}, {"head": b"r"}, {"secret": "fact"}, snapshot.table(()))
    data = snapshot.encode(STAMP, image, packer)
    assert snapshot.decode(data, STAMP, codec.digest(data), packer).facts == image.facts
    with pytest.raises(codec.Damaged):
        snapshot.decode(data, STAMP, codec.digest(data), codec.Codec())


def test_without_operator_keys_nothing_is_encrypted() -> None:
    keyring = encryption.Keyring()
    assert keyring.new_key(DISK) is None
    assert keyring.codec(_head(keyring)).cipher is None
    with pytest.raises(errors.StateError, match="not encrypted"):
        keyring.rewrap(_head(keyring))


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# of 2026\n{NEW.hex()}  # new\n\n{OLD.hex()}\n")
    environment = {"PILOT_VOLUME_KEY_FILE": str(path)}
    path.chmod(0o644)
    with pytest.raises(errors.HostError, match="others may read it"):
        encryption.read_keys(environment)
    path.chmod(0o600)
    described = _head(encryption.Keyring([OLD]))
    assert encryption.read_keys(environment).codec(described).cipher is not None
    assert encryption.read_keys(environment).is_current(_head(encryption.Keyring([NEW])))
    assert not encryption.read_keys({})


@pytest.mark.parametrize(
    "line", ["xyz", OLD.hex()[:-2], OLD.hex() + "00", "é" * 64], ids=["no hex", "short", "long", "not ascii"]
)
def test_a_bad_line_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(errors.PilotError, match="line 2: not 64") as caught:
        encryption.parse_keys(f"\n{line}\n")
    assert line not in str(caught.value)
