"""ssh itself into a container of a bare machine, by certificates of ssh-keygen: who is let in, and what then works."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from tests.support import busybox

from pilot import errors
from pilot.bare import main as bare
from pilot.machine.pilot_api import PilotApi
from pilot.shell import main as shell
from pilot.wire import operations

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns", "space", "ssh")

DEADLINE_S = 60
GRAPH = {"containers": {"box": {"root": "root", "command": ["sleep", "100000"], "stop": {"signal": "KILL"}}}}


class Operator:
    """Keys and certificates in a directory, a machine with one container, and ssh between."""

    def __init__(self, directory: pathlib.Path, dial: str) -> None:
        self.directory = directory
        self.dial = dial
        for name in ("authority", "stranger", "host", "me"):
            self._keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name)
        known = f"machine {(directory / 'host.pub').read_text()}"
        (directory / "known_hosts").write_text(known)

    def _keygen(self, *words: str) -> None:
        subprocess.run(["ssh-keygen", *words], cwd=self.directory, check=True, capture_output=True, timeout=DEADLINE_S)

    def sign(self, *words: str, by: str = "authority") -> None:
        """A certificate for `me`; the words are ssh-keygen's."""
        self._keygen("-q", "-s", by, "-I", "an operator", *words, "me.pub")

    def fingerprint(self, name: str) -> str:
        told = subprocess.run(
            ["ssh-keygen", "-l", "-f", f"{name}.pub"], cwd=self.directory, check=True, capture_output=True, text=True
        )
        return told.stdout.split()[1]

    def command(self, user: str, *words: str, options: Sequence[str] = ()) -> list[str]:
        path = self.directory
        proxy = [os.path.join(os.path.dirname(sys.executable), "pilot"), "ssh", "--dial", self.dial]
        proxy += ["--authority", f"{path}/authority.pub", "--host-key", f"{path}/host", "--log", f"{path}/log"]
        given = {
            "ProxyCommand": shlex.join(proxy), "UserKnownHostsFile": f"{path}/known_hosts",
            "IdentityFile": f"{path}/me", "IdentitiesOnly": "yes",
            "IdentityAgent": "none", "BatchMode": "yes", "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",
        }  # fmt: skip
        flags = [word for name, value in given.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *flags, *options, f"{user}@machine" if user else "machine", *words]

    def ssh(
        self, user: str, *words: str, options: Sequence[str] = (), data: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        command = self.command(user, *words, options=options)
        return subprocess.run(command, input=data, capture_output=True, timeout=DEADLINE_S, check=False)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    place = tmp_path_factory.mktemp("ssh")
    root = busybox.make_rootfs(place)
    machine, graph = place / "machine", place / "graph.json"
    graph.write_text(json.dumps(GRAPH))
    assert bare.main(["start", str(machine), "--root", f"root={root}"]) == 0
    try:
        dial = str(machine / "dial.sock")
        assert bare.main(["--dial", dial, "run", str(graph)]) == 0
        keys = place / "keys"
        keys.mkdir()
        yield Operator(keys, dial)
    finally:
        assert bare.main(["stop", str(machine)]) == 0


@pytest.fixture
def let_in(operator: Operator) -> Operator:
    operator.sign("-n", "box", "-V", "+1h")
    return operator


def test_a_command(let_in: Operator) -> None:
    done = let_in.ssh("box", "echo out $((1+1)); echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out 2\n", b"err\n")


def test_input_to_its_end_and_as_much_output(let_in: Operator) -> None:
    data = os.urandom(2 << 20)
    done = let_in.ssh("box", "cat; echo ended >&2", data=data)
    assert (done.returncode, done.stderr) == (0, b"ended\n")
    assert done.stdout == data


def test_a_login_shell_reads_its_commands(let_in: Operator) -> None:
    done = let_in.ssh("box", data=b"cd /etc\npwd\nexit 4\n")
    assert (done.returncode, done.stdout) == (4, b"/etc\n")


def test_a_terminal(let_in: Operator) -> None:
    done = let_in.ssh("box", "test -t 0 && test -t 1 && echo $TERM; exit 3", options=["-tt"])
    assert done.returncode == 3
    assert done.stdout.strip() == os.environ.get("TERM", "dumb").encode()


def test_who_goes_takes_the_command_along(let_in: Operator) -> None:
    with subprocess.Popen(
        let_in.command("box", "echo begun; exec sleep 12345"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"begun\n"
        client.send_signal(signal.SIGKILL)
    api, end_s = PilotApi(let_in.dial), time.monotonic() + DEADLINE_S
    while api.call(operations.LIST_SESSIONS, None).sessions:
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_the_machine_itself_is_a_principal_of_its_own(operator: Operator) -> None:
    """Beside the agent: its processes and its root are there, and those of no container alone."""
    operator.sign("-n", "_machine", "-V", "+1h")
    script = "id -u; grep -aq /usr/lib/pilot /proc/[0-9]*/cmdline && test -d /run/pilot && echo beside; exit 9"
    done = operator.ssh("_machine", script)
    assert (done.returncode, done.stdout, done.stderr) == (9, b"0\nbeside\n", b"")
    terminal = operator.ssh("_machine", "test -t 0 && echo terminal", options=["-tt"])
    assert terminal.stdout.strip() == b"terminal"
    denied = operator.ssh("box", "true")
    assert b"Permission denied" in denied.stderr
    operator.sign("-n", "box,world", "-V", "+1h")
    assert b"Permission denied" in operator.ssh("_machine", "true").stderr


def test_it_is_written_down_who_came_by_which_certificate(operator: Operator) -> None:
    log = operator.directory / "log"
    log.unlink(missing_ok=True)
    operator.sign("-n", "box", "-V", "+1h", "-z", "4711")
    assert operator.ssh("box", "exit 7").returncode == 7
    operator.sign("-n", "other", "-V", "+1h", "-z", "4712")
    assert operator.ssh("box", "exit 7").returncode == 255
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["event"], line.get("command"), line.get("exit_code")) for line in lines] == [
        ("let in", None, None), ("command", "exit 7", None), ("ended", "exit 7", 7)
    ]  # fmt: skip
    for line in lines:
        assert (line["as"], line["certificate"], line["serial"]) == ("box", "an operator", 4711)
        assert line["key"] == operator.fingerprint("me")
        assert line["authority"] == operator.fingerprint("authority")
    assert log.stat().st_mode & 0o777 == 0o600


def test_who_cannot_be_written_down_is_not_let_in(let_in: Operator, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.HostError, match="log /"):
        shell.main([
            "--dial", let_in.dial, "--authority", f"{let_in.directory}/authority.pub",
            "--host-key", f"{let_in.directory}/host", "--log", str(tmp_path),
        ])  # fmt: skip


def test_another_container_is_another_principal(let_in: Operator) -> None:
    done = let_in.ssh("world", "true")
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr


def test_what_is_not_there_is_said(operator: Operator) -> None:
    operator.sign("-n", "nobody", "-V", "+1h")
    done = operator.ssh("nobody", "true")
    assert done.returncode == 255
    assert b"nobody" in done.stderr


def test_a_command_that_a_certificate_forces(operator: Operator) -> None:
    operator.sign("-n", "box", "-V", "+1h", "-O", "force-command=echo forced")
    assert operator.ssh("box", "echo mine").stdout == b"forced\n"


def test_a_certificate_without_terminals(operator: Operator) -> None:
    operator.sign("-n", "box", "-V", "+1h", "-O", "no-pty")
    assert b"PTY allocation request failed" in operator.ssh("box", "true", options=["-tt"]).stderr
    assert operator.ssh("box", "echo without").stdout == b"without\n"


def test_no_port_is_forwarded(let_in: Operator) -> None:
    done = let_in.ssh("box", options=["-W", "127.0.0.1:22"])
    assert done.returncode == 255
    assert b"forwarding failed" in done.stderr


@pytest.mark.parametrize(
    ("words", "by"),
    [
        pytest.param(("-n", "box", "-V", "+1h"), "stranger", id="another authority"),
        pytest.param(("-n", "other", "-V", "+1h"), "authority", id="another principal"),
        pytest.param(("-V", "+1h"), "authority", id="no principal"),
        pytest.param(("-n", "*", "-V", "+1h"), "authority", id="a pattern for a principal"),
        pytest.param(("-n", "box", "-V", "20200101:20200102"), "authority", id="over"),
        pytest.param(("-n", "box", "-V", "20990101:20990102"), "authority", id="not yet"),
        pytest.param(("-h", "-n", "box", "-V", "+1h"), "authority", id="a host's"),
    ],
)
def test_nobody_else(operator: Operator, words: Sequence[str], by: str) -> None:
    operator.sign(*words, by=by)
    done = operator.ssh("box", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"Permission denied" in done.stderr


def test_a_certificate_for_an_address_is_none(operator: Operator) -> None:
    """Who comes by a program's standard input has no address."""
    operator.sign("-n", "box", "-V", "+1h", "-O", "source-address=192.0.2.1")
    done = operator.ssh("box", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"Traceback" not in done.stderr


def test_a_plain_key_is_none(operator: Operator) -> None:
    """Not even the authority's own."""
    for key in ("me", "authority"):
        (operator.directory / f"{key}-cert.pub").unlink(missing_ok=True)
        done = operator.ssh("box", "echo in", options=["-o", f"IdentityFile={operator.directory}/{key}"])
        assert (done.returncode, done.stdout) == (255, b"")
        assert b"Permission denied" in done.stderr


def test_a_user_name_is_no_pattern(operator: Operator) -> None:
    operator.sign("-n", "box,*", "-V", "+1h")
    done = operator.ssh("", "echo in", options=["-o", "User=b*"])
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"Permission denied" in done.stderr


def test_without_an_authority_there_is_no_way_in(operator: Operator, tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").write_text("\n")
    asked = ["--dial", operator.dial, "--host-key", str(operator.directory / "host")]
    with pytest.raises(SystemExit):
        shell.main(asked)
    for name in ("empty", "none"):
        with pytest.raises(errors.HostError, match="authority"):
            shell.main([*asked, "--authority", str(tmp_path / name)])
    with pytest.raises(errors.HostError, match="host key"):
        shell.main([*asked[:2], "--authority", f"{operator.directory}/authority.pub", "--host-key", "/none"])
