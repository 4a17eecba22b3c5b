"""What a connector is: a secret, the hosts that it is for, and how it is attached to a request's headers. Pure.

    {"kind": "bearer"}                             Authorization: Bearer SECRET
    {"kind": "basic", "username": "git"}           Authorization: Basic base64(git:SECRET)
    {"kind": "header", "header": "X-Api-Key"}      X-Api-Key: SECRET
    {"kind": "placeholder", "placeholder": "…"}    that text, in the value of any header, also in what Basic encodes

The first three set their header, whatever the machine has sent in it. A placeholder is for programs that insist on
having something; who does not send it sends nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from .... import errors
from .. import policy

Headers = Sequence[tuple[bytes, bytes]]  # as they were written

MOST_HOSTS = 16
SECRET_LENGTHS = (8, 4096)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SECRET = re.compile(r"[!-~]([ -~]*[!-~])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PLACEHOLDER = re.compile(r"[A-Za-z0-9._~-]{8,256}")
_USERNAME = re.compile(r"[!-9;-~]{0,256}")
# What says where a request goes and where it ends is nobody's to set.
RESERVED = frozenset(
    {
        b"host", b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade",
        b"expect", b"proxy-authorization", b"proxy-authenticate", b"proxy-connection",
    }
)  # fmt: skip
_AUTHORIZATION = b"Authorization"


class Bearer(msgspec.Struct, frozen=True, tag_field="kind", tag="bearer"):
    """`Authorization: Bearer SECRET`."""

    def check(self) -> None:
        """`SpecError` for what cannot be attached."""

    def attached(self, secret: bytes, headers: Headers) -> Headers:
        """The headers of a request, with the secret."""
        return _set(headers, _AUTHORIZATION, b"Bearer " + secret)

    def said(self, secret: bytes, headers: Headers) -> tuple[bytes, ...]:
        """The texts by which an answer would give it away, when these `headers` were sent."""
        return (secret,)


class Basic(msgspec.Struct, frozen=True, tag_field="kind", tag="basic"):
    """`Authorization: Basic …`, with the secret as the password of `username`."""

    username: str

    def check(self) -> None:
        if not _USERNAME.fullmatch(self.username):
            raise errors.SpecError("$.attach.username", "at most 256 visible characters, no colon")

    def attached(self, secret: bytes, headers: Headers) -> Headers:
        return _set(headers, _AUTHORIZATION, b"Basic " + self._credentials(secret))

    def said(self, secret: bytes, headers: Headers) -> tuple[bytes, ...]:
        return secret, self._credentials(secret)

    def _credentials(self, secret: bytes) -> bytes:
        return base64.b64encode(self.username.encode() + b":" + secret)


class Header(msgspec.Struct, frozen=True, tag_field="kind", tag="header"):
    """A header of that name, with the secret as its value."""

    header: str

    def check(self) -> None:
        if not _TOKEN.fullmatch(self.header):
            raise errors.SpecError("$.attach.header", f"{self.header[:80]!r} is not the name of a header")
        if self.header.lower().encode() in RESERVED:
            raise errors.SpecError("$.attach.header", f"{self.header} is not anybody's to set")

    def attached(self, secret: bytes, headers: Headers) -> Headers:
        return _set(headers, self.header.encode(), secret)

    def said(self, secret: bytes, headers: Headers) -> tuple[bytes, ...]:
        return (secret,)


class Placeholder(msgspec.Struct, frozen=True, tag_field="kind", tag="placeholder"):
    """The secret in the place of that text, wherever a header's value has it."""

    placeholder: str

    def check(self) -> None:
        if not _PLACEHOLDER.fullmatch(self.placeholder):
            raise errors.SpecError("$.attach.placeholder", "8 to 256 letters, digits, or any of . _ ~ -")

    def attached(self, secret: bytes, headers: Headers) -> Headers:
        return [(name, value if name.lower() in RESERVED else self._replaced(value, secret)) for name, value in headers]

    def said(self, secret: bytes, headers: Headers) -> tuple[bytes, ...]:
        encoded = (value.partition(b" ")[2] for _, value in headers if secret in (_plain(value) or b""))
        return secret, *dict.fromkeys(encoded)

    def _replaced(self, value: bytes, secret: bytes) -> bytes:
        text = self.placeholder.encode()
        plain = _plain(value)
        if plain is None:
            return value  # the host will say what is wrong with it
        if text in plain:
            return value.partition(b" ")[0] + b" " + base64.b64encode(plain.replace(text, secret))
        return value.replace(text, secret)


def _plain(value: bytes) -> bytes | None:
    """What is encoded in a header's value that says Basic: nothing where it does not; None where nobody can read it."""
    scheme, _, credentials = value.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(credentials.strip(), validate=True)
    except binascii.Error:
        return None


Attachment = Bearer | Basic | Header | Placeholder
KINDS = Literal["bearer", "basic", "header", "placeholder"]


class Connector(msgspec.Struct, frozen=True, kw_only=True):
    """`hosts`: in lower case; each is of one connector of a machine. `sealed`: the secret, of no use without a key."""

    name: str
    hosts: tuple[str, ...]
    attach: Attachment
    sealed: str


def check_name(name: str) -> str:
    """`SpecError` for what no connector is called."""
    if not _NAME.fullmatch(name):
        raise errors.SpecError("$.name", f"{name[:80]!r} is not a name", hint="lower case letters, digits and hyphens")
    return name


def parse_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """As they are compared. `SpecError`: exact names, each once, and none that is of this host alone."""
    if not 1 <= len(hosts) <= MOST_HOSTS:
        raise errors.SpecError("$.hosts", f"from 1 to {MOST_HOSTS} can be meant")
    found = tuple(_parse_host(host, f"$.hosts[{index}]") for index, host in enumerate(hosts))
    return tuple(dict.fromkeys(found))


def _parse_host(host: str, path: str) -> str:
    name = policy.parse_domain(host, path)
    if "*" in name:
        raise errors.SpecError(path, f"{host!r} is many hosts: a secret is for those that are named")
    if "." not in name or "_" in name or name.rsplit(".", 1)[1] in ("internal", "localhost"):
        raise errors.SpecError(path, f"{host!r} is not a host of the outside")
    return name


def check_secret(secret: str) -> str:
    """`SpecError`, which does not say it, for what no header can have."""
    least, most = SECRET_LENGTHS
    if not least <= len(secret) <= most:
        raise errors.SpecError("$.secret", f"from {least} to {most} characters")
    if not _SECRET.fullmatch(secret):
        raise errors.SpecError("$.secret", "visible characters of ASCII, and blanks between them")
    return secret


def _set(headers: Headers, name: bytes, value: bytes) -> Headers:
    return [*((each, old) for each, old in headers if each.lower() != name.lower()), (name, value)]
