"""What a visitor is told who is not answered by a sprite: a page to a browser, JSON or a line to others. Pure."""

from __future__ import annotations

import html
import http
import json

from ..relay.heads import Head

_SAFE = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:34rem;padding:0 1rem;color:#222}"
    "h1{font-size:1.3rem}p.hint{color:#666}form{display:flex;gap:.5rem}input{flex:1;font:inherit;padding:.4rem}"
    "button{font:inherit;padding:.4rem 1rem}.wrong{color:#a00}"
)
Page = tuple[list[tuple[bytes, bytes]], bytes]


def wants_html(head: Head) -> bool:
    """Whether a person reads it."""
    return b"text/html" in (head.first(b"accept") or b"")


def of_error(head: Head, status: int, why: str, hint: str | None = None, sprite: str | None = None) -> Page:
    """Headers and body of an answer that says why there is no other."""
    if wants_html(head):
        return _document(f"{status} {_phrase(status)}", f"<p>{html.escape(why)}</p>" + _paragraph(hint))
    if b"application/json" in (head.first(b"accept") or b""):
        told = {"error": why, "message": hint, "sprite": sprite}
        return _with_type(b"application/json", json.dumps({k: v for k, v in told.items() if v is not None}).encode())
    return _with_type(b"text/plain; charset=utf-8", (why + (f" ({hint})" if hint else "") + "\n").encode())


def login(sprite: str, to: str, wrong: str | None) -> Page:
    """The form that asks for a token; `to` is where the visitor was going."""
    told = f'<p class="wrong">{html.escape(wrong)}</p>' if wrong else ""
    form = (
        f"<p>Sprite <b>{html.escape(sprite)}</b> is private. Show a token of its organisation.</p>{told}"
        f'<form method="post" action="/login"><input type="hidden" name="to" value="{html.escape(to)}">'
        '<input name="token" type="password" placeholder="token" autocomplete="off" autofocus required '
        'aria-label="token"><button>Enter</button></form>'
    )
    return _document("Sign in", form)


def _document(title: str, body: str) -> Page:
    told = html.escape(title)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{told}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{told}</h1>{body}</body></html>\n"
    )
    return _with_type(b"text/html; charset=utf-8", text.encode())


def _paragraph(hint: str | None) -> str:
    return f'<p class="hint">{html.escape(hint)}</p>' if hint else ""


def _with_type(kind: bytes, body: bytes) -> Page:
    return [(b"content-type", kind), *_SAFE], body


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase
