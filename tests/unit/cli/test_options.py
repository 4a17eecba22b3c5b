"""Command lines as runc's callers write them."""

from __future__ import annotations

import re

import pytest

from pilot import errors
from pilot.cli import events, exec_, kill, list_, update, verb
from pilot.cli.log import Log
from pilot.cli.main import GLOBAL_OPTIONS, make_context
from pilot.cli.options import Kind, Option, UsageError, describe_options, parse_arguments

OPTIONS = (
    Option(("bundle", "b"), Kind.TEXT, "where"),
    Option(("force", "f"), Kind.FLAG, "really"),
    Option(("env", "e"), Kind.LIST, "variables"),
    Option(("preserve-fds",), Kind.NUMBER, "how many"),
)


SPELLINGS = ("--bundle /x web", "--bundle=/x web", "-b /x web", "-bundle /x web", "web --bundle /x")


@pytest.mark.parametrize("words", SPELLINGS)
def test_spellings(words: str) -> None:
    arguments = parse_arguments(words.split(), OPTIONS)
    assert arguments.text("bundle") == "/x"
    assert arguments.positional == ("web",)


def test_options_of_a_command_are_its_own() -> None:
    arguments = parse_arguments(["-e", "A=1", "-e", "B=2", "web", "ls", "-la", "--force"], OPTIONS, interleaved=False)
    assert arguments.texts("env") == ("A=1", "B=2")
    assert arguments.positional == ("web", "ls", "-la", "--force")
    assert not arguments.flag("force")


def test_two_dashes_end_the_options() -> None:
    assert parse_arguments(["-f", "--", "-x"], OPTIONS).positional == ("-x",)


def test_flags_may_say_false() -> None:
    assert parse_arguments(["--force"], OPTIONS).flag("force")
    assert not parse_arguments(["--force=false"], OPTIONS).flag("force")


def test_numbers() -> None:
    assert parse_arguments(["--preserve-fds", "3"], OPTIONS).number("preserve-fds") == 3
    assert parse_arguments([], OPTIONS).number("preserve-fds") == 0
    with pytest.raises(UsageError, match="invalid value 'x' for flag -preserve-fds"):
        parse_arguments(["--preserve-fds", "x"], OPTIONS).number("preserve-fds")


@pytest.mark.parametrize(
    ("words", "problem"),
    [(["--bogus"], "flag provided but not defined: -bogus"), (["--bundle"], "flag needs an argument: -bundle")],
)
def test_wrong_command_lines(words: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_arguments(words, OPTIONS)


def test_help_names_every_option() -> None:
    assert describe_options(OPTIONS[:2]) == "   --bundle value, -b value  where\n   --force, -f               really\n"


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGHUP", 1), ("0", 0)])
def test_signals(text: str, number: int) -> None:
    assert kill.parse_signal(text) == number


@pytest.mark.parametrize("text", ["65", "999", "NONE", "", "²"])
def test_no_signals(text: str) -> None:
    with pytest.raises(UsageError):
        kill.parse_signal(text)


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5.0), ("1m30s", 90.0), ("250ms", 0.25), ("1.5h", 5400.0)])
def test_durations(text: str, seconds: float) -> None:
    assert events.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "5", "-1s", "5x"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError):
        events.parse_duration(text)


def test_tables_are_as_wide_as_their_cells() -> None:
    rows = [("ID", "PID", "X"), ("a-very-long-name", "1", "y")]
    assert list_.format_table(rows) == "ID                 PID         X\na-very-long-name   1           y\n"


def test_flags_are_true_or_false() -> None:
    assert not parse_arguments(["--force=no"], OPTIONS).flag("force")
    with pytest.raises(UsageError, match="invalid boolean value 'x' for flag -force"):
        parse_arguments(["--force=x"], OPTIONS)


SIZES = {"50M": 50 << 20, "1.5g": 3 << 29, "512KiB": 512 << 10, "7": 7, "7b": 7, "10 mb": 10 << 20, "-1": -1}


@pytest.mark.parametrize("text", SIZES)
def test_sizes(text: str) -> None:
    assert update.parse_size(text, "memory") == SIZES[text]


@pytest.mark.parametrize("text", ["", "x", "50MM", "-2", "1.m"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=f"invalid value for memory: invalid size: '{text}'"):
        update.parse_size(text, "memory")


@pytest.mark.parametrize(
    ("words", "said"), [("", None), ("--force", True), ("--force=false", False), ("--force --force=0", False)]
)
def test_a_flag_that_is_refused_is_not_one_that_is_not_there(words: str, said: bool | None) -> None:
    assert parse_arguments(words.split(), OPTIONS).choice("force") is said


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("+7", 7), ("007", 7), ("4294967295", 4294967295)])
def test_ids_of_exec(text: str, number: int) -> None:
    assert exec_.parse_id(text, "uid") == number


@pytest.mark.parametrize("text", ["", "-1", "0x7", "some", "7 ", "²", "٣"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(UsageError, match=f'bad gid: parsing "{re.escape(text)}": invalid syntax'):
        exec_.parse_id(text, "gid")


@pytest.mark.parametrize("text", ["auto", "true", "false", "True", "0"])
def test_rootless_or_not(text: str) -> None:
    make_context(parse_arguments(["--rootless", text], GLOBAL_OPTIONS), {})


def test_rootless_is_yes_or_no() -> None:
    with pytest.raises(UsageError, match="invalid value 'maybe' for --rootless"):
        make_context(parse_arguments(["--rootless", "maybe"], GLOBAL_OPTIONS), {})


def test_sub_cgroups_of_exec() -> None:
    assert exec_.parse_cgroups(()) == {}
    assert exec_.parse_cgroups(("a/b",)) == {"": "a/b"}
    assert exec_.parse_cgroups(("cpu,cpuacct:a", "memory:b")) == {"cpu": "a", "cpuacct": "a", "memory": "b"}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (("a", "cpu:b"), "missing <controller>: prefix"),
        ((":a",), "empty <controller> prefix"),
        (("cpu:a", "cpu:b"), "controller cpu specified multiple times"),
    ],
)
def test_sub_cgroups_that_are_not_clear(texts: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        exec_.parse_cgroups(texts)


def test_an_ordinary_user_without_a_run_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    context = verb.Context(verb.DEFAULT_ROOT, "cgroupfs", False, Log(), "criu", {})
    with pytest.raises(errors.HostError) as caught:
        context.runtime()
    assert caught.value.hint == "name one by --root"
