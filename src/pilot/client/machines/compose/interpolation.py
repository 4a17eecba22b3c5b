"""Variables in texts: `$NAME`, `${NAME}`, with a default, an error or a replacement, which may have some as well.

${NAME:-default}  unset or empty      ${NAME-default}  unset          $$  a dollar
${NAME:?error}    unset or empty      ${NAME?error}    unset
${NAME:+instead}  set and not empty   ${NAME+instead}  set
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_MOST_DEPTH = 16


class Wrong(ValueError):
    """What cannot be put in."""


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """`Wrong` for what is no such form, and where one asks for it. One that is not set is empty."""
    return _through(text, environment, 0) if "$" in text else text


def _through(text: str, environment: Mapping[str, str], depth: int) -> str:
    if depth > _MOST_DEPTH:
        raise Wrong("variables within variables, too deep")
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        after = text[dollar + 1 : dollar + 2]
        if after == "$":
            parts.append("$")
            at = dollar + 2
        elif after == "{":
            end = _end(text, dollar + 2)
            parts.append(_braced(text[dollar + 2 : end], environment, depth))
            at = end + 1
        elif (name := _NAME.match(text, dollar + 1)) is not None:
            parts.append(environment.get(name.group(), ""))
            at = name.end()
        else:
            raise Wrong(f"{text[dollar : dollar + 20]!r}: a dollar is written as $$")
    return "".join([*parts, text[at:]])


def _end(text: str, at: int) -> int:
    """Of the brace that closes it."""
    depth = 1
    while at < len(text):
        if text.startswith("$$", at):
            at += 2
            continue
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise Wrong(f"{text[:40]!r}: a brace is not closed")


def _braced(text: str, environment: Mapping[str, str], depth: int) -> str:
    name = _NAME.match(text)
    if name is None:
        raise Wrong(f"${{{text[:40]}}}: no name of a variable")
    rest = text[name.end() :]
    value = environment.get(name.group())
    if not rest:
        return value or ""
    operator = next((each for each in _OPERATORS if rest.startswith(each)), None)
    if operator is None:
        raise Wrong(f"${{{text[:40]}}}: no such form")
    word = rest[len(operator) :]
    is_there = bool(value) if operator.startswith(":") else value is not None
    match operator[-1]:
        case "-":
            return value or "" if is_there else _through(word, environment, depth + 1)
        case "+":
            return _through(word, environment, depth + 1) if is_there else ""
        case _:
            if not is_there:
                why = _through(word, environment, depth + 1)
                raise Wrong(f"variable {name.group()} is not set" + (f": {why}" if why else ""))
            return value or ""
