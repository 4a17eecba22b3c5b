"""What programs of a world believe besides what its system does: the authority of the sprite's connectors.

<policy>/authority.pem      that certificate
<policy>/certificates.pem   the world's own, and that one: what most programs want is a file that has all of them

Both are seen in /.sprite/policy, which is mounted read-only. A program that begins from then on is told by the
variable that it looks for. When there are no connectors any more the files stay, without that certificate: who was told
of them, and runs, goes on.
"""

from __future__ import annotations

import os

from ..kernel import files
from . import rootfs, world_spec

_AUTHORITY, _ALL = "authority.pem", "certificates.pem"
# Where distributions keep what their system believes (as crypto/x509 of Go looks for it).
_SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_VARIABLES = {
    "SSL_CERT_FILE": _ALL,  # OpenSSL, Go, Python's ssl, Ruby
    "CURL_CA_BUNDLE": _ALL,
    "GIT_SSL_CAINFO": _ALL,
    "REQUESTS_CA_BUNDLE": _ALL,
    "PIP_CERT": _ALL,
    "AWS_CA_BUNDLE": _ALL,
    "CARGO_HTTP_CAINFO": _ALL,
    "NODE_EXTRA_CA_CERTS": _AUTHORITY,
    "DENO_CERT": _AUTHORITY,
}


def variables(authority: str | None) -> dict[str, str]:
    """What a process is told, where there is something to be told."""
    if authority is None:
        return {}
    return {name: f"{world_spec.POLICY}/{file}" for name, file in _VARIABLES.items()}


def write(directory: str, authority: str | None, root: rootfs.Root) -> None:
    """The files, as the world's own are now. A world that never had connectors gets none. `OSError`."""
    path = os.path.join(directory, _ALL)
    if authority is None and not os.path.exists(path):
        return
    own = "" if authority is None else authority
    files.replace(os.path.join(directory, _AUTHORITY), own.encode(), mode=0o644)
    files.replace(path, f"{_system(root)}\n{own}".encode(), mode=0o644)


def _system(root: rootfs.Root) -> str:
    """What the world's system believes; nothing where it keeps that elsewhere, or has none."""
    for path in _SYSTEM:
        if found := root.read_small(path):
            return found
    return ""
