"""Secret keys as others know their algorithms: published vectors, openssl, joserfc; and what is changed is refused."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey

from pilot.host.fly import key_kinds, key_names
from pilot.host.fly.key_kinds import KINDS, Cipher, Kind, Signer, Wrong
from pilot.wire import faults

_SIGNERS = [kind.name for kind in KINDS.values() if kind.signer]


def _cipher(name: str) -> Cipher:
    found = KINDS[name].cipher
    assert found is not None
    return found


def _signer(name: str) -> Signer:
    found = KINDS[name].signer
    assert found is not None
    return found


# C2SP, XAES-256-GCM, "Test vectors": both of the nonce ABCDEFGHIJKLMNOPQRSTUVWX and the plaintext XAES-256-GCM.
@pytest.mark.parametrize(
    ("byte", "associated", "sealed"),
    [
        (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
)
def test_the_published_vectors_of_xaes(byte: int, associated: bytes, sealed: str) -> None:
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    found = _cipher("xaes256gcm").decrypt(bytes([byte]) * 32, nonce + bytes.fromhex(sealed), associated)
    assert found == b"XAES-256-GCM"


@given(st.binary(max_size=300), st.binary(max_size=50), st.data())
def test_what_is_sealed_is_opened_as_it_was_and_nothing_else_is(
    plain: bytes, associated: bytes, data: st.DataObject
) -> None:
    kind = KINDS["xaes256gcm"]
    cipher, key = _cipher(kind.name), kind.make()
    sealed = cipher.encrypt(key, plain, associated)
    assert cipher.decrypt(key, sealed, associated) == plain
    assert sealed != cipher.encrypt(key, plain, associated), "never the same nonce"
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[place // 8] ^= 1 << place % 8
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    for wrong in ((key, bytes(changed), associated), (key, cut, associated), (key, sealed, associated + b"x"),
                  (kind.make(), sealed, associated)):  # fmt: skip
        with pytest.raises(Wrong):
            cipher.decrypt(*wrong)


@pytest.mark.parametrize("name", _SIGNERS)
@given(message=st.binary(max_size=300), data=st.data())
def test_a_signature_holds_for_its_message_and_its_key(name: str, message: bytes, data: st.DataObject) -> None:
    kind, signer = KINDS[name], _signer(name)
    key = kind.make()
    assert kind.least <= len(key) <= kind.most
    signature = signer.sign(key, message)
    signer.verify(key, message, signature)
    place = data.draw(st.integers(0, len(signature) * 8 - 1))
    changed = bytearray(signature)
    changed[place // 8] ^= 1 << place % 8
    for wrong in ((key, message, bytes(changed)), (key, message, signature[:-1]), (key, message, signature + b"\0"),
                  (key, message, b""), (key, message + b"x", signature),
                  (kind.make(), message, signature)):  # fmt: skip
        with pytest.raises(Wrong):
            signer.verify(*wrong)


@pytest.mark.parametrize(("name", "algorithm"), [("hs256", "HS256"), ("hs384", "HS384"), ("hs512", "HS512")])
def test_joserfc_takes_what_a_mac_signs(name: str, algorithm: str) -> None:
    key = KINDS[name].make()
    assert _jws(name, key, algorithm, OctKey.import_key(key)) == b"{}"


@pytest.mark.parametrize(("name", "algorithm", "kind"), [("es256", "ES256", ECKey), ("nacl_sign", "Ed25519", OKPKey)])
def test_joserfc_takes_what_a_private_key_signs(
    name: str, algorithm: str, kind: type[ECKey] | type[OKPKey], tmp_path: pathlib.Path
) -> None:
    key = KINDS[name].make()
    (tmp_path / "der").write_bytes(_signer(name).public(key))
    pem = subprocess.run(
        ["openssl", "pkey", "-pubin", "-inform", "DER", "-in", tmp_path / "der"], check=True, capture_output=True
    ).stdout
    assert _jws(name, key, algorithm, kind.import_key(pem)) == b"{}"


def _jws(name: str, key: bytes, algorithm: str, public: OctKey | ECKey | OKPKey) -> bytes | None:
    """A token of a signature of ours, as another library reads it."""
    from joserfc.util import to_bytes, urlsafe_b64encode

    signed = b".".join(map(urlsafe_b64encode, (to_bytes(f'{{"alg":"{algorithm}"}}'), b"{}")))
    token = signed + b"." + urlsafe_b64encode(_signer(name).sign(key, signed))
    return jws.deserialize_compact(token, public, algorithms=[algorithm]).payload


def test_nacl_auth_is_the_first_half_of_a_longer_mac() -> None:
    """RFC 4231, test case 1, with a key of 32 bytes as HMAC pads it."""
    key = b"\x0b" * 20 + bytes(12)
    assert _signer("nacl_auth").sign(key, b"Hi There").hex() == (
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
    )


def test_no_number_of_the_curve() -> None:
    for number in (0, (1 << 256) - 1):
        with pytest.raises(ValueError, match=r"."):
            _signer("es256").public(number.to_bytes(32))


def _name(kind: Kind) -> str:
    return kind.name


@pytest.mark.parametrize("kind", KINDS.values(), ids=_name)
def test_each_does_one_thing(kind: Kind) -> None:
    assert (kind.cipher is None) != (kind.signer is None)
    assert kind.make() != kind.make()


@given(st.integers(0, key_names.MOST_VERSION), st.binary(max_size=10))
def test_a_version_in_front(version: int, rest: bytes) -> None:
    assert key_names.marked(key_names.mark(version) + rest) == (version, rest)


@given(st.binary(max_size=8))
def test_any_bytes_have_one_version_or_none(data: bytes) -> None:
    try:
        version, rest = key_names.marked(data)
    except ValueError:
        return
    assert key_names.mark(version) + rest == data
    assert 0 <= version <= key_names.MOST_VERSION


@pytest.mark.parametrize(
    ("text", "label", "version"),
    [("orders", "orders", None), ("ordersv0", "orders", 0), ("ordersv12", "orders", 12),
     ("ordersv01", "ordersv01", None),
     ("v1", "v1", None), ("vv1", "v", 1), ("a-v3", "a-", 3), ("Orders", "Orders", None), ("a.b_c", "a.b_c", None),
     ("av268435454", "a", key_names.MOST_VERSION)],
)  # fmt: skip
def test_names(text: str, label: str, version: int | None) -> None:
    assert key_names.parse(text) == key_names.Name(label, version)
    if version is not None:
        assert key_names.joined(label, version) == text


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "-a", ".a", "a b", "ä", "a\n", "x" * 101, "av268435455", "a\0"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(faults.InvalidRequest):
        key_names.parse(text)


def test_all_kinds_are_what_the_table_says_they_are() -> None:
    assert set(key_kinds.KINDS) == {"xaes256gcm", "hs256", "hs384", "hs512", "nacl_auth", "nacl_sign", "es256"}
