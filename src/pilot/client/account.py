"""Where the server is and with which token: options, then environment, then the file that `sprite login` writes.

~/.config/pilot/sprite.json     {"url": …, "token": …}, mode 0600
SPRITES_API_URL  SPRITE_TOKEN (also SPRITES_TOKEN)
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping

from .. import errors

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclasses.dataclass(frozen=True)
class Account:
    url: str
    token: str


def config_path(environment: Mapping[str, str]) -> pathlib.Path:
    """XDG's place for it."""
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return pathlib.Path(home) / "pilot" / "sprite.json"


def find(environment: Mapping[str, str], url: str | None = None, token: str | None = None) -> Account:
    """The account to use. `HostError` when there is no token anywhere."""
    saved = _read(config_path(environment))
    found = token or environment.get("SPRITE_TOKEN") or environment.get("SPRITES_TOKEN") or saved.get("token")
    if not found:
        raise errors.HostError("no token", hint="run 'sprite login', or set SPRITE_TOKEN")
    address = url or environment.get("SPRITES_API_URL") or saved.get("url") or DEFAULT_URL
    return Account(address.rstrip("/"), found)


def save(environment: Mapping[str, str], account: Account) -> pathlib.Path:
    """Write it where `find` looks; only its owner may read it."""
    path = config_path(environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    file_fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(file_fd, "w") as file:
        json.dump(dataclasses.asdict(account), file)
    temporary.rename(path)
    return path


def _read(path: pathlib.Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise errors.HostError(f"read {path}: {error}", hint="run 'sprite login' again") from error
