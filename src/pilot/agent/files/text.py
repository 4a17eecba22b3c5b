"""File names as text that JSON and URLs can carry, and back, without loss.

A name is bytes; almost all are UTF-8 and are told as they are. A byte that belongs to no UTF-8 character is told as one
character of U+EF80..U+EFFF: U+EF00 + byte (the private characters that MirBSD and the ConScript registry use for this).
A name that truly has such a character is told byte by byte, so the way back is never in doubt:

    b"caf\\xe9"            ─► "caf" U+EFE9
    "U+EF80" (ee be 80)   ─► U+EFEE U+EFBE U+EF80

JSON's "\\udce9" would be shorter, but half of all clients cannot put that back into a URL.
Inside of pilot a name is what `os.fsdecode` makes of it (surrogates U+DC80..U+DCFF).
"""

from __future__ import annotations

import re

_ESCAPED = re.compile("[\uef80-\uefff]")
_NOT_TOLD = re.compile("[\udc80-\udcff\uef80-\uefff]")
_BASE, _SURROGATE = 0xEF00, 0xDC00


def tell(name: str) -> str:
    """A name or path as `os.fsdecode` gives it → text without surrogates."""
    return name if name.isascii() else _NOT_TOLD.sub(_tell, name)


def parse(text: str) -> str:
    """The inverse of `tell`; `UnicodeEncodeError`, a ValueError, for text that is no text (a lone surrogate)."""
    if text.isascii():
        return text
    data = b"".join(_bytes(part) for part in re.split(f"({_ESCAPED.pattern})", text))
    return data.decode("utf-8", "surrogateescape")


def _tell(match: re.Match[str]) -> str:
    return "".join(chr(_BASE + byte) for byte in match[0].encode("utf-8", "surrogateescape"))


def _bytes(part: str) -> bytes:
    return bytes([ord(part) - _BASE]) if _ESCAPED.fullmatch(part) else part.encode()
