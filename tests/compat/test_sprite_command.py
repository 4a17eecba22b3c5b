"""The `sprite` command as people run it: a process, against pilotd's HTTP side on fakes."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.client import files, helping, main, verbs, words
from pilot.host.store import tokens

SOURCE = pathlib.Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


class Sprite:
    """Runs the command with a home of its own."""

    def __init__(self, host: HostUnderTest, home: pathlib.Path) -> None:
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "SPRITES_API_URL": host.url,
            "SPRITE_TOKEN": host.token,
            "COLUMNS": "200",
        }
        self.directory: pathlib.Path | None = None

    def raw(self, *words: bytes, **given: Any) -> subprocess.CompletedProcess[bytes]:
        command = [os.fsencode(sys.executable), b"-m", b"pilot.client.main", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=120, check=False, **given)

    def __call__(self, *words: str, stdin: bytes | int = subprocess.DEVNULL) -> tuple[int, str, str]:
        given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        done = subprocess.run(
            [sys.executable, "-m", "pilot.client.main", *words],
            env=self.environment,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=self.directory,
            **given,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def sprite(host: HostUnderTest, tmp_path: pathlib.Path) -> Sprite:
    return Sprite(host, tmp_path)


def test_a_sprite_is_made_used_saved_restored_forked_and_destroyed(sprite: Sprite) -> None:
    assert sprite("create", "web")[0] == 0
    code, out, _ = sprite("list")
    assert (code, "web" in out, "running" in out) == (0, True, True)
    assert sprite("exec", "-s", "web", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert sprite("exec", "-s", "web", "tr", "a-z", "A-Z", stdin=b"hello")[:2] == (0, "HELLO")
    code, out, err = sprite("exec", "-t", "-s", "web", "sh", "-c", "echo out; exit 7")
    assert (code, out.strip(), err) == (7, "out", "")
    assert sprite("exec", "-s", "web", "sh", "-c", "echo one > file")[0] == 0
    assert sprite("checkpoint", "create", "-s", "web", "-m", "first")[0] == 0
    assert "first" in sprite("checkpoint", "list", "-s", "web")[1]
    assert sprite("exec", "-s", "web", "sh", "-c", "echo two > file")[0] == 0
    code, out, err = sprite("checkpoint", "diff", "-s", "web", "v1")
    assert (code, "M          4 /file\n" in out, err.startswith("0 added, ")) == (0, True, True)
    code, out, err = sprite("ship", "web", "--checkpoint", "v1", "--to", "oci-archive:-")
    assert (code, out.startswith("oci-layout")) == (0, True), err
    assert sprite("ship", "web", "--to", "somewhere")[0] != 0
    assert sprite("checkpoint", "name", "-s", "web", "v1", "first") == (0, "", "")
    assert "first" in sprite("checkpoint", "list", "-s", "web", "--json")[1]
    assert "file" in sprite("checkpoint", "browse", "-s", "web", "first")[1]
    assert sprite("checkpoint", "cat", "-s", "web", "first", "/file") == (0, "one\n", "")
    assert sprite("create", "job", "--from-checkpoint", "web:first")[0] == 0
    assert sprite("exec", "-s", "job", "cat", "file") == (0, "one\n", "")
    code, out, _ = sprite("fork", "web", "try-1", "try-2", "--checkpoint", "first")
    assert (code, out.count("forked from web at first")) == (0, 2)
    for name in ("job", "try-1", "try-2"):
        assert sprite("destroy", "-f", name)[0] == 0
    assert sprite("fork", "web", "old", "--checkpoint", "v1")[0] == 0
    assert sprite("exec", "-s", "old", "cat", "file") == (0, "one\n", "")
    assert sprite("checkpoint", "restore", "-s", "web", "v1")[0] == 0
    assert sprite("exec", "-s", "web", "cat", "file") == (0, "one\n", "")
    assert sprite("url", "update", "-s", "web", "--auth", "public")[0] == 0
    assert "(public)" in sprite("url", "show", "-s", "web")[1]
    assert sprite("stop", "web")[0] == 0
    assert sprite("destroy", "-f", "web")[0] == 0
    assert sprite("destroy", "-f", "old")[0] == 0
    assert "web" not in sprite("list")[1]


def test_a_disk_tells_its_url_and_a_sprite_comes_back_by_it(host: HostUnderTest, sprite: Sprite) -> None:
    url = "s3://bucket/prefix/vol/0123456789abcdef"
    assert sprite("create", "lost")[0] == 0
    assert sprite("disk", "lost") == (0, "on this host alone\n", "")
    code, told, _ = sprite("usage", "lost")
    assert (code, "30.0 MiB, at most 40.0 MiB" in told, "1.5 s since" in told) == (0, True, True)
    code, _, said = sprite("create", "back", "--from", url)
    assert (code, "no store" in said) == (1, True)
    host.volumes.stored = {url: []}
    assert sprite("create", "back", "--from", url)[0] == 0
    code, _, said = sprite("create", "twice", "--from", url)
    assert (code, "another sprite" in said) == (1, True)
    assert sprite("destroy", "-f", "back")[0] == 0
    assert sprite("destroy", "-f", "lost")[0] == 0


def test_stdin_from_a_file_larger_than_any_buffer(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    assert sprite("create", "feeds")[0] == 0
    with big.open("rb") as file:
        assert sprite("exec", "-s", "feeds", "wc", "-c", stdin=file.fileno())[:2] == (0, "3000000\n")
    assert sprite("destroy", "-f", "feeds")[0] == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("destroy", "-f", "nobody"), "sprite: sprite not found\n"),
        (("exec", "-s", "nobody", "true"), "sprite: sprite not found\n"),
        (("create", "Not-A-Name"), "sprite: invalid sprite name 'Not-A-Name' (use 1 to 63 of"),
    ],
)
def test_errors_are_told_once_in_plain_words(sprite: Sprite, words: tuple[str, ...], text: str) -> None:
    code, out, err = sprite(*words)
    assert (code, out) == (1, "")
    assert err.startswith(text)


def test_login_is_remembered_for_its_owner_alone(sprite: Sprite, host: HostUnderTest, tmp_path: pathlib.Path) -> None:
    del sprite.environment["SPRITE_TOKEN"], sprite.environment["SPRITES_API_URL"]
    assert sprite("list")[2].startswith("sprite: no token")
    assert sprite("login", host.url, "--token", "no/such/token/x")[2].startswith("sprite: authentication failed")
    assert sprite("login", host.url, "--token", host.token)[0] == 0
    saved = tmp_path / ".config/pilot/sprite.json"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert sprite("list")[0] == 0


def test_login_with_a_macaroon_is_of_its_organisation(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    """Which is not in it to be read, and whose base64 may have slashes where a plain key has its parts."""
    sprite("create", "of-the-macaroon")
    made = sprite("token", "create", "m", "--macaroon", "--role", "read", "--json")
    token = json.loads(made[1])["token"]
    narrowed = sprite("token", "attenuate", token, "--only-sprite", "of-the-macaroon")[1].strip() or token
    url = sprite.environment.pop("SPRITES_API_URL")
    del sprite.environment["SPRITE_TOKEN"]
    for each in (token, narrowed):
        code, said, why = sprite("login", url, "--token", each)
        assert (code, said.startswith("logged in to local at ")) == (0, True), why
    assert json.loads(sprite("auth", "list", "--json")[1]) == [{"organization": "local", "url": url, "current": True}]
    assert sprite("-o", "local", "info", "of-the-macaroon")[::2] == (0, "")
    sprite.directory = tmp_path
    assert sprite("use", "of-the-macaroon")[0] == 0
    assert json.loads((tmp_path / ".sprite").read_text()) == {"organization": "local", "sprite": "of-the-macaroon"}
    sprite.environment |= {"SPRITES_API_URL": url, "SPRITE_TOKEN": token}
    assert sprite("destroy", "-f", "of-the-macaroon")[0] == 1, "it only reads"
    assert sprite("auth", "setup", "--token", token)[2].startswith("sprite: this token does not say whose it is")


def test_no_server(sprite: Sprite) -> None:
    sprite.environment["SPRITES_API_URL"] = "http://127.0.0.1:1"
    code, _, err = sprite("list")
    assert code == 1
    assert err.startswith("sprite: reach http://127.0.0.1:1: ")


def test_words_before_and_after_the_verb(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    assert sprite("create", "words")[0] == 0
    assert sprite("-s", "words", "exec", "echo", "-s", "x")[:2] == (0, "-s x\n")
    assert sprite("exec", "--sprite=words", "--", "echo", "--", "-n")[:2] == (0, "-- -n\n")
    assert sprite("x", "-swords", "-e", "A=1", "sh", "-c", "exit 3")[0] == 3
    assert json.loads(sprite("info", "words", "--json")[1])["name"] == "words"
    assert [row["name"] for row in json.loads(sprite("ls", "--json", "--prefix", "words")[1])] == ["words"]
    sprite.directory = tmp_path
    assert sprite("info")[2].startswith("sprite: which sprite? (give -s NAME")
    assert sprite("use", "words")[0] == 0
    assert json.loads((tmp_path / ".sprite").read_text()) == {"organization": "local", "sprite": "words"}
    assert sprite("exec", "echo", "here")[:2] == (0, "here\n")
    (tmp_path / "below/.sprite").mkdir(parents=True)
    sprite.directory = tmp_path / "below"
    assert sprite("exec", "echo", "below")[:2] == (0, "below\n"), "a directory of that name says nothing"
    assert sprite("destroy", "-f", "words")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("exec", "--frobnicate", "true"), "no option --frobnicate"),
        (("exec", "-q", "true"), "no option -q"),
        (("exec",), "COMMAND is missing"),
        (("lits",), "no verb 'lits' (did you mean list"),
        (("checkpoint",), "no verb 'checkpoint' (after checkpoint comes create, list"),
        (("checkpoint", "make", "web"), "no verb 'checkpoint make' (after checkpoint comes create, list"),
        (("create",), "NAME is missing"),
        (("create", "a", "b"), "'b' is one word too many"),
        (("create", "a", "--memory", "much"), "--memory much: not a number"),
        (("create", "a", "--expires-in", "soon"), "'soon' is no duration"),
        (("config", "a", "--on-expiry", "explode"), "--on-expiry explode: one of delete, stop, suspend"),
        (("list", "--json=yes"), "--json takes no value"),
        (("list", "--prefix"), "--prefix: TEXT is missing"),
        (("proxy", "-s", "a", "http"), "'http' is no port"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(sprite: Sprite, words: tuple[str, ...], told: str) -> None:
    code, out, err = sprite(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err


def test_help_manual_and_completion_name_every_verb(sprite: Sprite) -> None:
    overview = sprite("--help")[1]
    page = sprite("manual")[1]
    names = {name for verb in verbs.VERBS for name in (verb.words, *verb.aliases)}
    for verb in verbs.VERBS:
        assert verb.words in overview
        assert verb.words.replace("-", "\\-") in page
        assert verb.usage() in sprite_help(verb)
        first = verb.words.split()[0]
        if first not in names:
            group = sprite(first, "--help")
            assert (group[0], group[2]) == (0, "")
            assert verb.words in group[1]
    for shell in ("bash", "zsh", "fish"):
        code, script, _ = sprite("completion", shell)
        assert code == 0
        assert "checkpoint" in script
    done = subprocess.run(
        ["bash", "-c", f"{sprite('completion', 'bash')[1]}\nCOMP_WORDS=(sprite checkpoint cr); COMP_CWORD=2; _sprite;"
         "echo ${COMPREPLY[*]}; COMP_WORDS=(sprite create --mem); COMP_CWORD=2; _sprite; echo ${COMPREPLY[*]}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["create", "--memory"]
    assert sprite("--version")[1].startswith("sprite ")
    assert "sprite fork web old --checkpoint v1" in sprite("help", "fork")[1]


def sprite_help(verb: words.Verb) -> str:
    return "\n".join(helping._of(verb))


def test_every_verb_has_its_function() -> None:
    for verb in verbs.VERBS:
        assert callable(main._function(verb.call)), verb.call


def test_what_starts_a_command_is_light() -> None:
    """What takes long to import is for those verbs alone that need it (docs/decisions/client-without-libraries.md)."""
    program = "import sys; import pilot.client.main, pilot.client.running; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {
        "typing",
        "dataclasses",
        "asyncio",
        "ssl",
        "email",
        "http.client",
        "urllib",
        "argparse",
        "logging",
        "inspect",
    }
    assert loaded & heavy == set()
    assert {
        name for name in loaded if name.split(".")[0] in ("httpx", "typer", "rich", "websockets", "msgspec")
    } == set()


def test_bytes_that_are_no_utf8_and_closed_descriptors(sprite: Sprite, host: HostUnderTest) -> None:
    assert sprite("create", "odd")[0] == 0
    done = sprite.raw(b"exec", b"-s", b"odd", b"printf", b"%s", b"a\xffb", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "cmd=a%FFb" in host.machine("odd").requests[-1][1]
    done = sprite.raw(b"info", b"n\xff", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (1, b"sprite: not found\n")
    command = f"exec {sys.executable} -m pilot.client.main exec -s odd -- cat <&-"
    closed = subprocess.run(["sh", "-c", command], env=sprite.environment, capture_output=True, timeout=60, check=False)
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")
    command = f"exec {sys.executable} -m pilot.client.main exec -s odd -- echo hello > /dev/full"
    full = subprocess.run(["sh", "-c", command], env=sprite.environment, capture_output=True, timeout=60, check=False)
    assert (full.returncode, full.stderr) == (1, b"sprite: write to stdout: no space left on device\n")
    command = (
        f"{sys.executable} -m pilot.client.main list | true; exec {sys.executable} -m pilot.client.main help | head -1"
    )
    piped = subprocess.run(["sh", "-c", command], env=sprite.environment, capture_output=True, timeout=60, check=False)
    assert piped.stderr == b""
    assert sprite("destroy", "-f", "odd")[0] == 0


def test_much_goes_both_ways_at_once(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    """Neither side waits for the other: what is sent is not held up by what comes back."""
    data = os.urandom(8 << 20)
    assert sprite("create", "both")[0] == 0
    done = sprite.raw(b"exec", b"-s", b"both", b"cat", input=data)
    assert done.returncode == 0
    assert done.stdout == data
    assert sprite("destroy", "-f", "both")[0] == 0


def test_files_are_pushed_and_pulled(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    (tmp_path / "local").write_bytes(b"\0\xff" * 100_000)
    assert sprite("create", "files")[0] == 0
    assert sprite("file", "push", "-s", "files", str(tmp_path / "local"), "/there")[0] == 0
    assert sprite("file", "pull", "-s", "files", "/there", str(tmp_path / "back"))[0] == 0
    assert (tmp_path / "back").read_bytes() == b"\0\xff" * 100_000
    assert sprite("file", "push", "-s", "files", "-", "/piped", stdin=b"by pipe")[0] == 0
    assert sprite("file", "pull", "-s", "files", "/piped", "-")[:2] == (0, "by pipe")
    assert sprite("file", "pull", "-s", "files", "/none", str(tmp_path / "none"))[0] == 1
    assert not (tmp_path / "none").exists()
    code, _, said = sprite("file", "pull", "-s", "files", "/there", "/no/such/directory/x")
    assert (code, said) == (1, "sprite: write /no/such/directory/x: no such file or directory\n")
    assert sprite("destroy", "-f", "files")[0] == 0


def test_pulling_leaves_what_is_there_what_it_is(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    """A device or a pipe is written to, not replaced by a file; a link goes on leading to its file."""
    assert sprite("create", "kinds")[0] == 0
    assert sprite("file", "push", "-s", "kinds", "-", "/there", stdin=b"text")[0] == 0
    (tmp_path / "file").write_text("before")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    assert sprite("file", "pull", "-s", "kinds", "/there", str(tmp_path / "link"))[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    os.mkfifo(tmp_path / "pipe")
    reader_fd = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert sprite("file", "pull", "-s", "kinds", "/there", str(tmp_path / "pipe"))[0] == 0
    assert os.read(reader_fd, 100) == b"text"
    os.close(reader_fd)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["file", "link", "pipe"]
    assert sprite("destroy", "-f", "kinds")[0] == 0


def test_a_file_pulled_into_a_pipe_that_nobody_reads(sprite: Sprite) -> None:
    assert sprite("create", "unread")[0] == 0
    assert sprite("file", "push", "-s", "unread", "-", "/there", stdin=bytes(1 << 20))[0] == 0
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    command = [sys.executable, "-m", "pilot.client.main", "file", "pull", "-s", "unread", "/there", "-"]
    done = subprocess.run(
        command, env=sprite.environment, stdout=write_fd, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(write_fd)
    assert (done.returncode, done.stderr) == (141, b"")
    assert sprite("destroy", "-f", "unread")[0] == 0


def test_files_of_the_kernel_are_pushed_whole(sprite: Sprite) -> None:
    """They say that they are empty."""
    assert sprite("create", "proc")[0] == 0
    assert sprite("file", "push", "-s", "proc", "/proc/version", "/version")[0] == 0
    assert sprite("file", "pull", "-s", "proc", "/version", "-")[1] == pathlib.Path("/proc/version").read_text()
    assert sprite("destroy", "-f", "proc")[0] == 0


def test_a_file_that_becomes_shorter_while_it_is_pushed(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "log"
    place.write_bytes(b"12345")
    with place.open("rb") as file:
        assert b"".join(files._exactly(file, 3, str(place))) == b"123", "what is added meanwhile is not sent"
        with pytest.raises(errors.HostError, match="shorter meanwhile"):
            list(files._exactly(file, 3, str(place)))


def test_lifecycle_words(sprite: Sprite) -> None:
    assert sprite("create", "rests", "--warm-after", "90s", "--expires-in", "2h", "--on-expiry", "suspend")[0] == 0
    found = json.loads(sprite("config", "rests", "--json")[1])["lifecycle"]
    assert (found["warm_after_s"], found["on_expiry"]) == (90, "suspend")
    assert sprite("config", "rests", "--warm-after", "off", "--expires-in", "off", "--protected", "yes")[0] == 0
    assert sprite("config", "rests", "--terminal-idle", "1h")[0] == 0
    found = json.loads(sprite("config", "rests", "--json")[1])["lifecycle"]
    assert (found["warm_after_s"], found["expires_at"], found["protected"]) == (0, None, True)
    told = dict(line.split() for line in sprite("config", "rests")[1].splitlines() if len(line.split()) == 2)
    assert (told["warm_after_s"], told["cold_after_s"], told["expires_at"], told["protected"]) == (
        "off", "default", "off", "yes",
    )  # fmt: skip
    assert told["terminal_idle_s"] == "3600.0"
    assert sprite("config", "rests", "--memory", "512")[0] == 0
    assert json.loads(sprite("config", "rests", "--json")[1])["config"] == {"ram_mb": 512}
    assert sprite("sleep", "rests")[0] == 0
    assert sprite("why", "rests")[1].startswith("warm\nlast at rest (warm) ")
    assert sprite("hold", "add", "-s", "rests", "build", "--for", "1h")[0] == 0
    assert "build" in sprite("hold", "list", "rests")[1]
    assert sprite("wake", "rests")[0] == 0
    assert (
        sprite("why", "rests")[1]
        == "running\n  held by build\nlast at rest (warm) " + sprite("why", "rests")[1].split("(warm) ")[1]
    )
    assert sprite("destroy", "-f", "rests")[2].startswith("sprite: sprite rests is protected")
    assert sprite("config", "rests", "--protected", "no")[0] == 0
    assert sprite("destroy", "rests")[2] == "sprite: not destroyed: nobody there to ask (--force does not ask)\n"
    assert sprite("destroy", "-f", "rests")[0] == 0


def test_the_bare_api(sprite: Sprite) -> None:
    assert json.loads(sprite("api", "/v1/organization")[1])["organization"] == "local"
    code, out, err = sprite("api", "-X", "POST", "-d", "-", "v1/sprites", stdin=b'{"name": "by-api"}')
    assert (code, json.loads(out)["name"], err) == (0, "by-api", "")
    code, out, err = sprite("api", "/v1/sprites/nobody")
    assert (code, json.loads(out)["error"], err) == (1, "sprite not found", "sprite: the server answered 404\n")
    assert sprite("destroy", "-f", "by-api")[0] == 0


def test_two_organisations(sprite: Sprite, host: HostUnderTest) -> None:
    del sprite.environment["SPRITE_TOKEN"], sprite.environment["SPRITES_API_URL"]
    other = tokens.issue(
        host.database, tokens.ensure_organisation(host.database, "other"), tokens.Wanted(description="theirs")
    )
    for token in (host.token, other):
        assert sprite("login", host.url, "--token", token)[0] == 0
    assert sprite("org", "info")[1].startswith("other ")
    assert sprite("org", "info", "-o", "local")[1].startswith("local ")
    assert sprite("org", "use", "local")[0] == 0
    assert [row["current"] for row in json.loads(sprite("auth", "list", "--json")[1])] == [True, False]
    assert sprite("logout")[1] == "forgot the token of local\n"
    assert sprite("-o", "local", "list")[2] == "sprite: no token of local (known: other)\n"


def test_sizes(sprite: Sprite) -> None:
    assert sprite("create", "sized", "--pids", "512", "--cpus", "3")[0] == 0
    assert "512" in sprite("config", "sized")[1]
    assert "7, at most 512" in sprite("usage", "sized")[1]
    assert sprite("config", "sized", "--pids", "default")[0] == 0
    assert "7, at most 4096" in sprite("usage", "sized")[1]
    assert json.loads(sprite("config", "sized", "--json")[1])["config"] == {"cpus": 3}
    assert sprite("config", "sized", "--pids", "many")[0] != 0
    assert sprite("destroy", "-f", "sized")[0] == 0


def test_webhooks(sprite: Sprite) -> None:
    """Where this host's rule lets none go."""
    code, secret, _ = sprite("webhook", "create", "http://localhost:9/hook", "--event", "sprite.*", "--of", "web")
    assert (code, secret.startswith("whsec_")) == (0, True)
    assert sprite("webhook", "create", "http://127.0.0.1/")[0] == 1
    [hook] = json.loads(sprite("webhook", "list", "--json")[1])
    assert "sprite.* of web" in sprite("webhook", "list")[1]
    code, _, told = sprite("webhook", "ping", hook["id"])
    assert (code, "is not where webhooks may go" in told) == (1, True)
    assert sprite("webhook", "disable", hook["id"])[0] == 0
    assert "disabled: asked for" in sprite("webhook", "list")[1]
    assert sprite("webhook", "enable", hook["id"])[0] == 0
    assert sprite("webhook", "delete", hook["id"])[0] == 0
    assert sprite("webhook", "list", "--json")[1].strip() == "[]"


def test_keys(sprite: Sprite) -> None:
    assert sprite("create", "keyed")[0] == 0
    made = ("token", "create", "ci", "--role", "exec", "--only-sprite", "keyed", "--expires", "30d")
    code, token, err = sprite(*made)
    assert (code, err) == (0, "")
    assert sprite(*made)[2].startswith("sprite: token ci exists")
    (row,) = [row for row in json.loads(sprite("token", "list", "--json")[1]) if row["name"] == "ci"]
    assert (row["role"], row["scope"]) == ("exec", {"kind": "sprite", "name": "keyed"})
    assert " ci " in sprite("token", "list")[1]
    with_it = ("--token", token.strip())
    assert sprite(*with_it, "exec", "-s", "keyed", "echo", "in")[1] == "in\n"
    assert sprite(*with_it, "list")[2].startswith("sprite: this token may not do that")
    assert sprite("token", "create", "--role", "owner")[0] == 2
    assert sprite("token", "revoke", "ci")[0] == 0
    assert sprite(*with_it, "exec", "-s", "keyed", "true")[2].startswith("sprite: authentication failed")
    assert sprite("destroy", "-f", "keyed")[0] == 0


def test_a_macaroon_is_attenuated_by_who_holds_it(sprite: Sprite) -> None:
    assert sprite("create", "tasty")[0] == 0
    assert sprite("create", "other")[0] == 0
    token = sprite("token", "create", "--macaroon")[1].strip()
    less = sprite("token", "attenuate", token, "--role", "read", "--only-sprite", "tasty", "--expires", "1h")
    assert (less[0], less[2]) == (0, "")
    assert sprite("token", "attenuate", "-", "--role", "read", stdin=f"{token}\n".encode())[::2] == (0, "")
    assert sprite("token", "attenuate", "-", "--role", "read")[2].startswith(
        "sprite: only a macaroon can be attenuated"
    )
    assert "read from stdin" in sprite("token", "attenuate", "--help")[1]
    with_it = ("--token", less[1].strip())
    assert [row["name"] for row in json.loads(sprite(*with_it, "list", "--json")[1])] == ["tasty"]
    assert sprite(*with_it, "exec", "-s", "tasty", "true")[2].startswith("sprite: this token may not do that")
    assert sprite("token", "attenuate", token)[0] == 2
    assert sprite("token", "attenuate", "--role", "read")[2].startswith("sprite: only a macaroon can be attenuated")
    for name in ("tasty", "other"):
        assert sprite("destroy", "-f", name)[0] == 0


def test_a_log_is_read_and_verified_offline_and_a_change_is_named(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    assert sprite("create", "watched")[0] == 0
    assert sprite("exec", "-s", "watched", "echo", "hello there")[0] == 0
    code, shown, _ = sprite("audit", "watched")
    assert (code, "openSession" in shown, "cmd=echo 'hello there'" in shown) == (0, True, True)
    assert "createSprite" in sprite("audit", "--organisation")[1]
    log, key = tmp_path / "log.ndjson", tmp_path / "host.pem"
    log.write_text(sprite("audit", "watched", "--json")[1])
    key.write_text(sprite("audit", "key")[1])
    sprite.environment |= {"SPRITES_API_URL": "http://127.0.0.1:9"}  # nobody is asked
    code, said, _ = sprite("audit", "verify", "--key", str(key), str(log))
    assert (code, ": whole: 2 records from 1 on of sprites/" in said) == (0, True)
    log.write_text(log.read_text().replace("hello there", "hello hello"))
    code, _, why = sprite("audit", "verify", "--key", str(key), str(log))
    assert (code, why) == (1, f"sprite: {log}: record 2: it was changed: its hash is another one\n")
