"""For whom certificates are looked at: names of containers, and nothing that could be a pattern or an option."""

from __future__ import annotations

from unittest import mock

import asyncssh
import pytest

from pilot.shell.gate import Gate, authorised

KEYS = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]


@pytest.mark.parametrize("user", ["*", "box*", "b?x", "BOX", "a,b", 'a"', "a b", "a\nb", "-a", "", "a" * 32])
def test_a_user_name_that_is_no_name_of_a_container(user: str) -> None:
    gate, connection = Gate(KEYS), mock.MagicMock()
    gate.connection_made(connection)
    assert gate.begin_auth(user), "he has to be authorised, and cannot be"
    connection.set_authorized_keys.assert_not_called()


def test_certificates_of_each_authority_for_that_name_alone() -> None:
    keys = authorised([key.convert_to_public() for key in KEYS], "box-1")
    stranger = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    for key in KEYS:
        public = key.convert_to_public()
        assert keys.validate(public, "", "", ["box-1"], ca=True) is not None
        assert keys.validate(public, "", "", ["a", "box-1"], ca=True) is not None
        for principals in ([], ["box-2"], ["*"], ["box-*"]):
            assert keys.validate(public, "", "", principals, ca=True) is None
        assert keys.validate(public, "", "", None, ca=False) is None, "an authority's key is nobody's own"
    assert keys.validate(stranger, "", "", ["box-1"], ca=True) is None


def test_no_other_way_in() -> None:
    gate = Gate(KEYS)
    assert not gate.password_auth_supported()
    assert not gate.kbdint_auth_supported()
    assert not gate.public_key_auth_supported() or not gate.validate_public_key("box", KEYS[0])
