"""Who we are to a registry: docker's config.json, and the programs that keep passwords for it.

    {"auths": {"r.io": {"auth": base64("user:password")}}, "credHelpers": {"r.io": "x"}, "credsStore": "y"}

A helper is `docker-credential-X get`: the registry's name on stdin, `{"Username", "Secret"}` on stdout.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ... import errors
from .reference import DOCKER_HUB

_HELPER_TIMEOUT_S = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# What docker calls its own registry in this file.
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", DOCKER_HUB, "registry-1.docker.io")
_TOKEN_USER = "<token>"


@dataclass(frozen=True)
class Credentials:
    """A name and a password; the password is in no text that is made of it. `identity_token`: to be exchanged."""

    username: str
    password: str = field(repr=False)
    identity_token: bool = False


class _Auth(msgspec.Struct, frozen=True):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None


class _File(msgspec.Struct, frozen=True, rename={"cred_helpers": "credHelpers", "creds_store": "credsStore"}):
    auths: dict[str, _Auth] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    username: str
    secret: str


def default_path() -> str:
    """Docker's place for it: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`."""
    directory = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    return os.path.join(directory, "config.json")


def find(domain: str, path: str | None = None) -> Credentials | None:
    """Those for a registry; None when nobody knows any. SpecError for a damaged file, HostError for a broken helper."""
    file = _read(path or default_path())
    keys = _HUB_KEYS if domain == DOCKER_HUB else (domain, f"https://{domain}", f"http://{domain}")
    helper = next((name for key, name in (file.cred_helpers or {}).items() if key in keys), file.creds_store)
    if helper:
        return _ask(helper, keys[0])
    auths = file.auths or {}
    return next((_of(auths[key], key) for key in keys if key in auths), None)


def _read(path: str) -> _File:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return _File()
    except OSError as error:
        raise errors.HostError(f"read {path}: {error.strerror}") from error
    try:
        return msgspec.json.decode(data, type=_File)
    except errors.UNREADABLE as error:
        raise errors.SpecError("$", f"not docker's config.json: {error}", file=path) from error


def _of(auth: _Auth, key: str) -> Credentials | None:
    if auth.identitytoken:
        return Credentials(_TOKEN_USER, auth.identitytoken, identity_token=True)
    if auth.username and auth.password:
        return Credentials(auth.username, auth.password)
    if not auth.auth:
        return None
    try:
        username, colon, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise errors.SpecError(f"$.auths[{key!r}].auth", "is not base64 of USER:PASSWORD")
    return Credentials(username, password.rstrip("\0"))


def _ask(helper: str, registry: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    if not _HELPER_NAME.fullmatch(helper):
        raise errors.SpecError("$.credsStore", f"{helper!r} is no name of a helper")
    try:
        done = subprocess.run(
            [program, "get"], input=registry.encode(), capture_output=True, timeout=_HELPER_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.HostError(f"ask {program} for {registry}: {error}") from error
    if b"credentials not found" in done.stdout + done.stderr:
        return None
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except errors.UNREADABLE as error:
        said = done.stderr.decode("utf-8", "replace").strip()[:200]
        raise errors.HostError(f"ask {program} for {registry}: status {done.returncode}: {said}") from error
    return Credentials(answer.username, answer.secret, identity_token=answer.username == _TOKEN_USER)
