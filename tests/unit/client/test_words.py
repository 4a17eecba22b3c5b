"""Where options of ours end and a command's begin, for each verb that takes one; and the examples of all of them."""

from __future__ import annotations

import shlex

import pytest

from pilot.client import verbs, words


@pytest.mark.parametrize(
    "said",
    [
        "service create app -- python3 -m http.server 8080",
        "service create app python3 -m http.server 8080",
        "service create --http-port 8080 app -- python3 -m http.server 8080",
        "service create app --http-port 8080 python3 -m http.server 8080",
        "service create app --http-port 8080 -- python3 -m http.server 8080",
    ],
)
def test_a_services_command_is_what_comes_after_its_name(said: str) -> None:
    found = words.parse(said.split(), verbs.VERBS)
    assert (found.required("SERVICE"), found.arguments("COMMAND")) == ("app", ["python3", "-m", "http.server", "8080"])
    assert found.option("http-port") == ("8080" if "--http-port" in said else None)


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("exec -- ls -l", ["ls", "-l"]),
        ("exec ls -l -- -s x", ["ls", "-l", "--", "-s", "x"]),
        ("exec -s web -- -x", ["-x"]),
        ("exec -- -- -x", ["--", "-x"]),
        ("service create app -- --", ["--"]),
        ("service create app sh -s x", ["sh", "-s", "x"]),
    ],
)
def test_a_command_keeps_its_options(said: str, command: list[str]) -> None:
    assert words.parse(said.split(), verbs.VERBS).arguments("COMMAND") == command


def _commands(example: str) -> list[list[str]]:
    """Those of ours in a shell's line."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars="|<>&")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|<>&"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part[1:] for part in parts if part[:1] == ["sprite"]]


EXAMPLES = [
    (verb, example, command) for verb in verbs.VERBS for example in verb.examples for command in _commands(example)
]


@pytest.mark.parametrize(("verb", "example", "command"), EXAMPLES, ids=[example for _, example, _ in EXAMPLES])
def test_an_example_is_understood_as_it_stands(verb: words.Verb, example: str, command: list[str]) -> None:
    found = words.parse(command, verbs.VERBS)
    assert found.verb is not None
    assert found.verb is verb or len(_commands(example)) > 1
    for argument in found.verb.arguments:
        assert found.arguments(argument.name)[:1] != ["--"]


def test_hardly_an_example_is_of_another_command() -> None:
    others = [example for verb in verbs.VERBS for example in verb.examples if not _commands(example)]
    assert [example.split()[0] for example in others] == ["ssh", "eval"]
