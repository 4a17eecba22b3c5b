"""Every number of a command line is one that can be meant, or is refused before anything is done."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from pilot import errors
from pilot.bare import main as bare
from pilot.conformance import main as conformance
from pilot.host import main as host
from pilot.machine import main as machine

WRONG = ("-1", "nan", "inf", "1e400", "x", "", "9" * 30)
_LATER = frozenset({"serve"})  # says all of its ranges itself (`daemon.Settings`), as a line and with status 2


def _numbers(parser: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words that a number stands behind: of this parser and of its verbs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, below in action.choices.items():
                if verb not in _LATER:
                    yield from _numbers(below, (*before, verb))
        elif action.option_strings and isinstance(action.default, int | float) and action.nargs != 0:
            yield before, action.option_strings[-1]


FOUND = [
    (parser, words, option)
    for parser in (bare.parser(), conformance.parser(), machine.parser(), host._parser())
    for words, option in _numbers(parser)
]


def test_there_are_some() -> None:
    assert {option for _, _, option in FOUND} >= {"--memory", "--timeout", "--since", "--patience"}


@pytest.mark.parametrize(("parser", "words", "option"), FOUND, ids=lambda value: str(value)[-30:])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_number_that_cannot_be_meant(
    parser: argparse.ArgumentParser,
    words: tuple[str, ...],
    option: str,
    wrong: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([*words, f"{option}={wrong}"])
    assert caught.value.code == 2
    assert f"argument {option}: invalid" in capsys.readouterr().err


def test_a_root_is_named_once() -> None:
    with pytest.raises(errors.PilotError, match="a is /x already"):
        bare._roots(["a=/x", "a=/y"])
