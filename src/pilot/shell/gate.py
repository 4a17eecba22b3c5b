"""Who is let in: a certificate, signed by the authority, that names the container which is asked for. Nothing else.

No password, no plain key, no certificate without principals, none that is over or is a host's. What a certificate
forbids (`force-command`, no `permit-pty`) is held by asyncssh.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate

from .. import errors
from .log import Certificate, Log, describe

# The user name that is the machine itself: no container can be called so.
MACHINE = "_machine"
# As the agent has names of containers: no pattern, quote or space is in one.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


class Gate(asyncssh.SSHServer):
    """One per connection. The user name is the container's; `world` is the user's world, MACHINE where the agent is."""

    def __init__(self, authorities: Sequence[asyncssh.SSHKey], log: Log) -> None:
        self._authorities = authorities
        self.log = log
        self.used: Certificate | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        # asyncssh tells its server which authorities and principals were good, and not by which certificate.
        validate = conn._validate_openssh_certificate

        async def remembered(username: str, cert: SSHOpenSSHCertificate) -> asyncssh.SSHKey | None:
            key = await validate(username, cert)
            # The last one that was good is that whose signature counts: nothing comes between the two.
            self.used = describe(cert) if key is not None else None
            return key

        conn._validate_openssh_certificate = remembered  # type: ignore[method-assign]

    def auth_completed(self) -> None:
        """Who cannot be written down is not let in."""
        self.log.write("let in", self.name, self.certificate)

    @property
    def name(self) -> str:
        return str(self._connection.get_extra_info("username"))

    @property
    def certificate(self) -> Certificate:
        """By which somebody is in."""
        if self.used is None:
            raise errors.PeerError("let in: by no certificate")
        return self.used

    def begin_auth(self, username: str) -> bool:
        """Somebody has to be authorised in any case.

        A client may say another name later on the same connection: what was set for the former one is replaced, also
        where the new one is no name at all. asyncssh forgets it by itself; this does not depend on that.
        """
        authorities = self._authorities if username == MACHINE or is_container(username) else ()
        self._connection.set_authorized_keys(authorised(authorities, username))
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False


def gate_of(process: asyncssh.SSHServerProcess[bytes]) -> Gate:
    """Through which its connection came."""
    gate = process.channel.get_connection().get_owner()
    assert isinstance(gate, Gate)
    return gate


def is_container(name: str) -> bool:
    """Whether a container could be called so."""
    return _NAME.fullmatch(name) is not None


def authorised(authorities: Sequence[asyncssh.SSHKey], container: str) -> asyncssh.SSHAuthorizedKeys:
    """What these authorities sign for this principal. The option keeps out certificates that have none."""
    keys = [key.export_public_key("openssh").decode().strip() for key in authorities]
    return asyncssh.import_authorized_keys("".join(f'cert-authority,principals="{container}" {key}\n' for key in keys))


def read_authorities(path: str) -> Sequence[asyncssh.SSHKey]:
    """Public keys, a line each, as `ssh-keygen` writes them. `HostError` when there is none."""
    try:
        found = asyncssh.read_public_key_list(path)
    except (OSError, ValueError) as error:  # KeyImportError is a ValueError
        raise errors.HostError(f"authority {path}: {_why(error)}") from error
    if not found:
        raise errors.HostError(f"authority {path}: no public key is in it")
    return found


def read_host_key(path: str) -> asyncssh.SSHKeyPair:
    """With the certificate beside it, where there is one (`<path>-cert.pub`)."""
    try:
        (pair,) = asyncssh.load_keypairs([path])
    except (OSError, ValueError) as error:
        raise errors.HostError(f"host key {path}: {_why(error)}", hint="ssh-keygen -t ed25519 makes one") from error
    return pair


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
