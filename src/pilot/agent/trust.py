"""What programs of a world or container believe besides what its system does: the authority of its connectors.

<place>/authority.pem      that certificate
<place>/certificates.pem   the system's own, and that one: what most programs want is a file that has all of them

A world sees both in /.sprite/policy, a container of the graph in /.fly; both are mounted read-only, and nothing that an
image has is changed. A program that begins from then on is told by the variable that it looks for. When there are no
connectors any more the files stay, without that certificate: who was told of them, and runs, goes on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..kernel import files
from . import rootfs, world_spec
from .inside import fly_places

_AUTHORITY, _ALL = "authority.pem", "certificates.pem"
# Where distributions keep what their system believes (as crypto/x509 of Go looks for it).
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
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


def variables(authority: str | None, place: str = world_spec.POLICY) -> dict[str, str]:
    """What a process is told, where there is something to be told."""
    if authority is None:
        return {}
    return {name: f"{place}/{file}" for name, file in _VARIABLES.items()}


def of_container(authority: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """What is told beside what a container is `given`: what that says goes first, unless it is where its system keeps
    what it believes, as images without a shell say: all of that is in ours, too."""
    told = variables(authority, fly_places.PLACE)
    return {name: file for name, file in told.items() if given.get(name, "") in ("", *_SYSTEM)}


def write(directory: str, authority: str | None, root: rootfs.Root) -> None:
    """The files, as those of the system in `root` are now. Who never had connectors gets none. `OSError`."""
    path = os.path.join(directory, _ALL)
    if authority is None and not os.path.exists(path):
        return
    own = "" if authority is None else authority
    files.replace(os.path.join(directory, _AUTHORITY), own.encode(), mode=0o644)
    files.replace(path, f"{_system(root)}\n{own}".encode(), mode=0o644)


def _system(root: rootfs.Root) -> str:
    """What the system believes; nothing where it keeps that elsewhere, or has none."""
    for path in _SYSTEM:
        if found := root.read_small(path):
            return found
    return ""
