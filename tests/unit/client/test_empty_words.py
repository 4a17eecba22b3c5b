"""A word that is empty is none that was left out: `sprite destroy "$NAME"` means no other sprite."""

from __future__ import annotations

import pytest

from pilot.client import words
from pilot.client.verbs import VERBS

_ARGUMENTS = [(verb, number) for verb in VERBS for number, each in enumerate(verb.arguments) if not each.rest]
_OPTIONS = [(verb, each) for verb in VERBS for each in (*verb.options, *words.GLOBAL) if each.value]


def _filled(verb: words.Verb) -> list[str]:
    return ["x" for _ in verb.arguments]


@pytest.mark.parametrize(("verb", "number"), _ARGUMENTS, ids=lambda value: getattr(value, "words", value))
def test_an_argument(verb: words.Verb, number: int) -> None:
    said = [*verb.words.split(), *(["" if at == number else "x" for at in range(len(verb.arguments))])]
    with pytest.raises(words.UsageError, match=f"{verb.arguments[number].name} is empty"):
        words.parse(said, VERBS)


@pytest.mark.parametrize(("verb", "option"), _OPTIONS, ids=lambda value: getattr(value, "words", None) or value.name)
def test_an_option(verb: words.Verb, option: words.Option) -> None:
    said = [*verb.words.split(), f"--{option.name}=", *_filled(verb)]
    if option.may_be_empty:
        assert words.parse(said, VERBS).option(option.name) == ""
    else:
        with pytest.raises(words.UsageError, match=f"--{option.name}"):
            words.parse(said, VERBS)


def test_what_a_command_is_given_may_be_empty() -> None:
    assert words.parse(["exec", "printf", "%s", ""], VERBS).arguments("COMMAND") == ["printf", "%s", ""]
