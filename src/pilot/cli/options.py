"""Command line options as a table per verb: cheaper to load than argparse, and spelled as runc takes them.

`--name value`, `--name=value`, one dash or two, short names, flags as `--flag` or `--flag=false` (as Go's ParseBool has
it, and crun's `no`). Options may stand
after arguments, but not in `exec`, where what follows the container's id belongs to the command.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from .. import errors


class Kind(enum.Enum):
    """What a value is."""

    FLAG = "flag"
    TEXT = "text"
    NUMBER = "number"
    LIST = "list"  # may be given several times


class Option(msgspec.Struct, frozen=True):
    """`names` without dashes, the first is the one that values are found under."""

    names: tuple[str, ...]
    kind: Kind
    help: str

    @property
    def name(self) -> str:
        return self.names[0]


class UsageError(errors.PilotError):
    """The command line is wrong: one line says how, and where the help is."""


class Arguments(msgspec.Struct, frozen=True):
    """A parsed command line: `positional` in order, options by their first name."""

    positional: tuple[str, ...]
    _flags: dict[str, bool]
    _texts: dict[str, tuple[str, ...]]

    def flag(self, name: str) -> bool:
        return self._flags.get(name, False)

    def choice(self, name: str) -> bool | None:
        """A flag that may be refused in words (`--flag=false`); None when nothing is said of it."""
        return self._flags.get(name)

    def text(self, name: str, default: str = "") -> str:
        """The last value that was given."""
        return self._texts.get(name, (default,))[-1]

    def texts(self, name: str) -> tuple[str, ...]:
        """All values that were given."""
        return self._texts.get(name, ())

    def number(self, name: str, default: int = 0) -> int:
        """UsageError when it is none."""
        text = self.text(name)
        try:
            return int(text, 0) if text else default
        except ValueError as error:
            raise UsageError(f"invalid value {text!r} for flag -{name}") from error


def parse_arguments(words: Sequence[str], options: Sequence[Option], *, interleaved: bool = True) -> Arguments:
    """Words of a command line → Arguments; UsageError. Without `interleaved` the first argument ends the options."""
    table = {name: option for option in options for name in option.names}
    positional: list[str] = []
    flags: dict[str, bool] = {}
    texts: dict[str, tuple[str, ...]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return Arguments((*positional, *rest), flags, texts)
        if not word.startswith("-") or word == "-":
            positional.append(word)
            if not interleaved:
                return Arguments((*positional, *rest), flags, texts)
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        option = table.get(name)
        if option is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if option.kind is Kind.FLAG:
            flags[option.name] = _boolean(option, value or "true")
            continue
        if not has_value:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        texts[option.name] = (*texts.get(option.name, ()), value)
    return Arguments(tuple(positional), flags, texts)


_BOOLEANS = dict.fromkeys(("1", "t", "true", "yes"), True) | dict.fromkeys(("0", "f", "false", "no"), False)


def _boolean(option: Option, text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError as error:
        raise UsageError(f"invalid boolean value {text!r} for flag -{option.name}") from error


def describe_options(options: Sequence[Option]) -> str:
    """The options as lines of a help text."""
    rows = [(", ".join(_shown(name, option) for name in option.names), option.help) for option in options]
    width = max((len(left) for left, _ in rows), default=0)
    return "".join(f"   {left:<{width}}  {text}\n" for left, text in rows)


def _shown(name: str, option: Option) -> str:
    value = "" if option.kind is Kind.FLAG else " value"
    return f"{'-' if len(name) == 1 else '--'}{name}{value}"
