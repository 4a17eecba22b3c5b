"""For whom certificates are looked at: names of containers, and nothing that could be a pattern or an option."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
from unittest import mock

import asyncssh
import pytest

from pilot import errors
from pilot.shell import main, session
from pilot.shell.gate import Gate, authorised
from pilot.shell.log import Certificate, Log

_CERTIFICATE = Certificate("an operator", 7, "SHA256:key", "SHA256:authority")
KEYS = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]


@pytest.mark.parametrize("user", ["*", "box*", "b?x", "BOX", "a,b", 'a"', "a b", "a\nb", "-a", "", "a" * 32])
def test_a_user_name_that_is_no_name_of_a_container(user: str) -> None:
    gate, connection = Gate(KEYS, Log(None)), mock.MagicMock()
    gate.connection_made(connection)
    assert gate.begin_auth(user), "he has to be authorised, and cannot be"
    (keys,) = connection.set_authorized_keys.call_args.args
    assert all(keys.validate(key.convert_to_public(), "", "", [user], ca=True) is None for key in KEYS)


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
    gate = Gate(KEYS, Log(None))
    assert not gate.password_auth_supported()
    assert not gate.kbdint_auth_supported()
    assert not gate.public_key_auth_supported() or not gate.validate_public_key("box", KEYS[0])


class _Renamed(asyncssh.SSHClient):
    """Asks as box first, which is refused, and then shows its certificate as somebody else on the same connection."""

    def __init__(self, user: str, key: asyncssh.SSHKeyPair) -> None:
        self._user, self._keys = user, [key]

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        self._connection._username = self._user
        return self._keys.pop() if self._keys else None


async def _let_in(user: str) -> None:
    authority, mine, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    certificate = authority.generate_user_certificate(mine, "me", principals=["box"])
    pair, *_ = asyncssh.load_keypairs([(mine, certificate)])
    (host_key,) = asyncssh.load_keypairs([host])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    serving = asyncio.create_task(
        main.serve_socket(theirs, "/nowhere", [authority.convert_to_public()], host_key, Log(None))
    )
    try:
        options = {"username": "box", "known_hosts": None, "client_keys": None, "agent_path": None, "gss_host": None}
        async with asyncssh.run_client(ours, None, client_factory=lambda: _Renamed(user, pair), **options):
            pass
    finally:
        await asyncio.gather(serving, return_exceptions=True)


def test_a_certificate_for_one_container_lets_nobody_in_as_another_on_the_same_connection() -> None:
    asyncio.run(_let_in("box"))
    for user in ("", "other", "BOX", "*"):
        with pytest.raises(asyncssh.PermissionDenied):
            asyncio.run(_let_in(user))


@pytest.mark.parametrize("user", ["", "*", "BOX"])
def test_no_session_is_asked_for_of_what_is_no_name(user: str, tmp_path: pathlib.Path) -> None:
    process = mock.MagicMock()
    process.get_extra_info.return_value = user
    asyncio.run(session.serve(process, str(tmp_path / "dial.sock")))
    process.exit.assert_called_once_with(session.FAILED)
    (said,) = process.stderr.write.call_args.args
    assert b"no container could be called so" in said


def test_an_empty_command_is_no_login_shell() -> None:
    process = mock.MagicMock(command="", env={}, term_type=None)
    assert "cmd=sh&cmd=-c&cmd=&" in session.target(process, "box")
    process.command = None
    assert "bash" in session.target(process, "box")


def test_a_line_that_is_written_by_half_is_none(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that becomes full."""
    write = os.write
    with Log(str(tmp_path / "log")) as log:
        log.write("let in", "box", _CERTIFICATE)
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        with pytest.raises(errors.HostError, match=r"10 of [0-9]+ bytes were written"):
            log.write("let in", "box", _CERTIFICATE)
