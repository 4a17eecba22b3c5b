"""Verbs on tokens and organisations, and the bare API."""

from __future__ import annotations

import os
import sys

from .. import errors
from . import account as accounts
from . import http, output
from .api import Api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context


def login(context: Context) -> None:
    url = context.said.argument("URL") or context.said.option("api") or accounts.DEFAULT_URL
    token = _token(context)
    shown = Api(accounts.Account(url, token)).call("GET", "/v1/tokens/current")["tokens"][0]
    account = accounts.Account(url, token, str(shown["org_slug"]))
    path = accounts.save(os.environ, account)
    output.line(f"logged in to {account.organisation} at {account.url} ({path})")


def setup(context: Context) -> None:
    account = accounts.Account(context.said.option("api") or accounts.DEFAULT_URL, _token(context))
    path = accounts.save(os.environ, account)
    output.line(f"remembered a token of {account.organisation} ({path})")


def _token(context: Context) -> str:
    given = context.said.option("token") or os.environ.get("SPRITE_TOKEN") or os.environ.get("SPRITES_TOKEN")
    if given:
        return given.strip()
    if not os.isatty(0):
        return sys.stdin.readline().strip()
    import getpass

    return getpass.getpass("token: ").strip()


def logout(context: Context) -> None:
    output.line(f"forgot the token of {accounts.forget(os.environ, context.said.option('org'))}")


def use(context: Context) -> None:
    accounts.choose(os.environ, context.said.required("ORG"))


def list_accounts(context: Context) -> None:
    saved = accounts.read(os.environ)
    found = [
        {"organization": name, "url": row.url, "current": name == saved.current}
        for name, row in sorted(saved.accounts.items())
    ]
    if context.wants_json:
        output.document(found)
    else:
        output.table(
            ("ORG", "SERVER", ""),
            [(str(row["organization"]), str(row["url"]), "current" if row["current"] else "") for row in found],
        )


def show(context: Context) -> None:
    found = context.api.call("GET", "/v1/organization")
    if context.wants_json:
        output.document(found)
    else:
        output.line(f"{found['organization']}  {context.account.url}")


def api(context: Context) -> int:
    """The answer's body as it comes; 1 for one of status ≥ 400."""
    path, data = context.said.required("PATH"), context.said.option("data")
    body = None if data is None else _body(data)
    method = context.said.option("method") or ("GET" if body is None else "POST")
    headers = {"Content-Type": "application/json"} if body else {}
    length = len(body) if body is not None else 0 if method in ("POST", "PUT") else None
    answer, _ = http.ask(
        context.account, method, _target(path if path.startswith("/") else f"/{path}"),
        headers=headers, body=(body,) if body else (), length=length, timeout_s=None,
    )  # fmt: skip
    try:
        for piece in answer.pieces():
            output.write_all(1, piece)
    finally:
        answer.close()
    if os.isatty(1):
        output.line()
    if answer.is_error:
        output.tell(f"sprite: the server answered {answer.status}")
    return 1 if answer.is_error else 0


def _target(path: str) -> str:
    """What cannot be in a request's first line as it is, by its bytes."""
    return "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in os.fsencode(path))


def _body(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            with open(text[1:], "rb") as file:
                return file.read()
        except OSError as error:
            raise errors.HostError(f"read {text[1:]}: {(error.strerror or '').lower()}") from error
    return os.fsencode(text)
