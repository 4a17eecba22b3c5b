"""Files of variables (`.env`, `env_file`): NAME=VALUE a line, quoted or not, with `#` comments.

'as it stands'   "with \\n, \\t, \\\\, \\" and $VARIABLES"   plain, with $VARIABLES, up to a blank and `#`
"""

from __future__ import annotations

import re

from ....errors import SpecError
from . import interpolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*(?:([=:])[ \t]*|$)", re.ASCII)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$$"}


def parse(text: str, environment: Mapping[str, str], file: str) -> dict[str, str]:
    """A name without a value is taken from `environment`, or left out. `SpecError` with the line."""
    found: dict[str, str] = {}
    lines = text.removeprefix("\ufeff").splitlines()
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise SpecError("$", f"{line[:40]!r} is not NAME=VALUE", file=f"{file}:{number}")
        name = match.group(1)
        if match.group(2) is None:
            found |= {name: environment[name]} if name in environment else {}
            continue
        rest = line[match.end() :]
        if rest[:1] in ("'", '"'):
            while _close(rest) < 0 and at < len(lines):
                rest += "\n" + lines[at]
                at += 1
        try:
            found[name] = _value(rest, {**found, **environment})
        except interpolation.Wrong as error:
            raise SpecError(name, str(error), file=f"{file}:{number}") from error
    return found


def _close(text: str) -> int:
    """Where the quote that the text begins with is closed; -1."""
    quote, at = text[0], 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 2
            continue
        if text[at] == quote:
            return at
        at += 1
    return -1


def _value(text: str, environment: Mapping[str, str]) -> str:
    if text[:1] not in ("'", '"'):
        plain = re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].strip()
        return interpolation.interpolated(plain, environment)
    end = _close(text)
    if end < 0:
        raise interpolation.Wrong("a quote is not closed")
    if (after := text[end + 1 :].strip()) and not after.startswith("#"):
        raise interpolation.Wrong(f"{after[:20]!r} behind the quote")
    inside = text[1:end]
    if text[0] == "'":
        return inside
    escaped = re.sub(r"\\(.)", lambda each: _ESCAPES.get(each.group(1), each.group()), inside, flags=re.DOTALL)
    return interpolation.interpolated(escaped, environment)
