"""Where the server is, with which token, and which sprite is meant: options, then environment, then files.

~/.config/pilot/sprite.json     {"current": org, "accounts": {org: {"url": …, "token": …}}}, mode 0600
SPRITES_API_URL  SPRITE_TOKEN (also SPRITES_TOKEN)  SPRITE_ORG  SPRITE
.sprite                         in this directory or one above: {"sprite": name, "organization": org}, or a bare name

A file of an earlier build, {"url": …, "token": …}, is read as its only account.
"""

from __future__ import annotations

import json
import os

from .. import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_URL = "http://127.0.0.1:8080"
PIN = ".sprite"


class Account:
    """`organisation` is a slug: a plain key begins with it, of a macaroon only the server knows it ("" until then)."""

    def __init__(self, url: str, token: str, organisation: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.organisation = _organisation_in(token) if organisation is None else organisation
        if not token or any(ord(each) <= 32 or ord(each) > 126 for each in token):
            raise errors.PilotError("the token has characters that no token has")


def _organisation_in(token: str) -> str:
    return token.partition("/")[0] if token.count("/") == 3 and not _is_macaroon(token) else ""


def _is_macaroon(token: str) -> bool:
    """Base64 has slashes, too."""
    return token.lower().startswith(("fm1r_", "fm1a_", "fm2_"))


class Saved:
    """What `sprite login` has written."""

    def __init__(self, current: str = "", accounts: Mapping[str, Account] | None = None) -> None:
        self.current = current
        self.accounts = dict(accounts or {})


def config_path(environment: Mapping[str, str]) -> str:
    """XDG's place for it."""
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return os.path.join(home, "pilot", "sprite.json")


def find(
    environment: Mapping[str, str], url: str | None = None, token: str | None = None, organisation: str | None = None
) -> Account:
    """The account to use. `HostError` when there is no token anywhere."""
    given = token or environment.get("SPRITE_TOKEN") or environment.get("SPRITES_TOKEN")
    address = url or environment.get("SPRITES_API_URL")
    if given:
        return Account(address or _current_url(environment) or DEFAULT_URL, given.strip())
    saved = read(environment)
    wanted = organisation or environment.get("SPRITE_ORG") or pinned().get("organization") or saved.current
    if wanted not in saved.accounts:
        if saved.accounts and wanted:
            raise errors.HostError(f"no token of {wanted}", hint=f"known: {', '.join(sorted(saved.accounts))}")
        raise errors.HostError("no token", hint="run 'sprite login', or set SPRITE_TOKEN")
    found = saved.accounts[wanted]
    return Account(address or found.url, found.token, wanted)


def _current_url(environment: Mapping[str, str]) -> str | None:
    saved = read(environment)
    found = saved.accounts.get(saved.current)
    return found.url if found else None


def sprite(environment: Mapping[str, str], given: str | None) -> str:
    """The one that is meant. `PilotError` when nothing says which."""
    found = given or environment.get("SPRITE") or pinned().get("sprite")
    if not found:
        raise errors.PilotError("which sprite?", hint="give -s NAME, set SPRITE, or run 'sprite use NAME' here")
    return found


def pinned(directory: str | None = None) -> dict[str, str]:
    """What the nearest .sprite file says; a directory of that name is somebody else's."""
    at = os.path.abspath(directory or os.getcwd())
    while True:
        path = os.path.join(at, PIN)
        if os.path.isfile(path):
            return _pin(path)
        if at == os.path.dirname(at):
            return {}
        at = os.path.dirname(at)


def _pin(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read().strip()
    if not text.startswith("{"):
        return {"sprite": text}
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except ValueError as error:
        raise errors.HostError(f"read {path}: {error}") from error


def pin(directory: str, name: str, organisation: str) -> str:
    """The path of what was written."""
    path = os.path.join(directory, PIN)
    _replace(path, ({"organization": organisation} if organisation else {}) | {"sprite": name}, 0o644)
    return path


def save(environment: Mapping[str, str], account: Account) -> str:
    """Write it where `find` looks, as the current one; only its owner may read it."""
    if not account.organisation:
        raise errors.PilotError("this token does not say whose it is", hint="'sprite login' asks the server")
    saved = read(environment)
    saved.accounts[account.organisation] = account
    saved.current = account.organisation
    return _write(environment, saved)


def choose(environment: Mapping[str, str], organisation: str) -> None:
    """The current one from now on."""
    saved = read(environment)
    if organisation not in saved.accounts:
        raise errors.NotFound(f"no token of {organisation}", hint="run 'sprite login'")
    saved.current = organisation
    _write(environment, saved)


def forget(environment: Mapping[str, str], organisation: str | None) -> str:
    """The organisation whose token is not kept any more."""
    saved = read(environment)
    gone = organisation or saved.current
    if gone not in saved.accounts:
        raise errors.NotFound(f"no token of {gone}" if gone else "no token")
    del saved.accounts[gone]
    saved.current = min(saved.accounts, default="") if saved.current == gone else saved.current
    _write(environment, saved)
    return gone


def read(environment: Mapping[str, str]) -> Saved:
    path = config_path(environment)
    try:
        with open(path, encoding="utf-8") as file:
            document: Any = json.load(file)
        if "token" in document:
            only = Account(document.get("url", DEFAULT_URL), document["token"])
            return Saved(only.organisation, {only.organisation: only})
        accounts = {org: Account(row["url"], row["token"], org) for org, row in document.get("accounts", {}).items()}
        return Saved(str(document.get("current", "")), accounts)
    except FileNotFoundError:
        return Saved()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.HostError(f"read {path}: {error}", hint="run 'sprite login' again") from error


def _write(environment: Mapping[str, str], saved: Saved) -> str:
    path = config_path(environment)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    rows = {name: {"url": row.url, "token": row.token} for name, row in saved.accounts.items()}
    _replace(path, {"current": saved.current, "accounts": rows}, 0o600)
    return path


def _replace(path: str, document: Mapping[str, object], mode: int) -> None:
    temporary = f"{path}.new"
    file_fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(file_fd, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.write("\n")
    os.rename(temporary, path)
