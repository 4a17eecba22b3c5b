"""What every command does with the ways in which its caller may leave it: descriptors, pipes, interrupts."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from pilot import cli
from pilot.cli.options import UsageError
from pilot.own_commands import OWN_COMMANDS
from pilot.planner import main as planner_main

_LINKS = "'|'.join(os.readlink(f'/proc/self/fd/{number}') for number in range(3))"


def _python(program: str, redirected: str = "") -> subprocess.CompletedProcess[str]:
    command = f'exec "$0" -c "$1" {redirected}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "begin",
    [
        "from pilot import command as entry; sys.argv = ['pilot', 'volume']; entry._run = lambda *_: note()",
        "from pilot.host import main as entry; entry._parser = lambda: note()",
    ],
    ids=["pilot", "pilotd"],
)
def test_a_closed_standard_descriptor_is_nobody_elses(begin: str, tmp_path: pathlib.Path) -> None:
    """Else the first socket, or database, would be written what is meant for stdout or stderr."""
    told = tmp_path / "told"
    program = f"import os, sys\ndef note():\n    open({str(told)!r}, 'w').write({_LINKS})\n    os._exit(0)\n{begin}\n"
    done = _python(f"{program}entry.main()", "<&- >&- 2>&-")
    assert (done.returncode, told.read_text()) == (0, "|".join(["/dev/null"] * 3))


@pytest.mark.parametrize(
    ("act", "status", "said"),
    [
        ("raise KeyboardInterrupt", 130, ""),
        ("raise OSError(2, 'No such file or directory', '/x')", 1, "pilot volume: /x: no such file or directory\n"),
        ("raise errors.HostError('it is full', hint='make room')", 1, "pilot volume: it is full (make room)\n"),
    ],
)
def test_how_it_ends_is_told_in_one_line(act: str, status: int, said: str) -> None:
    program = f"import sys\nfrom pilot import command, errors\ndef act(words):\n    {act}\n"
    done = _python(f"{program}sys.exit(command._run('volume', act))")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


@pytest.mark.parametrize("act", ["print('x' * 100)", "print('x' * 1_000_000)", "os.write(1, b'x')"])
def test_a_pipe_that_nobody_reads_is_no_error_of_ours(act: str) -> None:
    program = f"import os, sys\nfrom pilot import command\ndef act(words):\n    {act}\n    return 0\n"
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    words = [sys.executable, "-c", f"{program}sys.exit(command._run('volume', act))"]
    done = subprocess.run(words, stdout=write_fd, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write_fd)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_help_names_what_is_ours_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for word, (_, summary) in OWN_COMMANDS.items():
        assert f"   {word:<11}  {summary}\n" in shown


@pytest.mark.parametrize("words", [["status"], ["stop"], ["start", "now"]])
def test_a_planner_is_not_started_by_a_word_that_it_does_not_know(words: list[str]) -> None:
    with pytest.raises(UsageError, match=f"unknown word '{words[-1]}'"):
        planner_main.main(words)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_help_of_the_planner(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert planner_main.main([word]) == 0
    assert "--idle value" in capsys.readouterr().out
