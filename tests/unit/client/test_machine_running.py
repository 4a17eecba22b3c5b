"""`pilot machine run` and `update`: what is asked of the server, in which order, and of what is wrong nothing."""

from __future__ import annotations

import http.server
import io
import json
import os
import pathlib
import stat
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pilot.client import http as client_http
from pilot.client.machines import main

ID = "0123456789abcd"


class Server:
    """Of one app with one Machine, `web`. `changes`: what was asked that changes anything, with its body."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, Any]] = []
        self.machine: dict[str, Any] = {"id": ID, "name": "web", "instance_id": "v1", "config": {}, "state": "started"}
        self.sizes: list[int] = []
        self.seen = False  # whether who waits for it has seen it run
        self.ends: list[dict[str, Any]] = []  # the events of its end, which comes when it is waited for
        self.end_state = "stopped"
        self.events: list[dict[str, Any]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0].removeprefix("/v1/apps/shop/")
                if self.command != "GET":
                    server.sizes.append(len(body))
                    server.changes.append((self.command, path, json.loads(body)))
                status, document = server.say(self.command, path)
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, format: str, *args: object) -> None:
                """To nobody."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def row(self) -> dict[str, Any]:
        return {**self.machine, "events": self.events}

    def say(self, method: str, path: str) -> tuple[int, Any]:
        if path == f"machines/{ID}/wait":
            is_seen = self.machine["state"] == "started" or self.seen
            if self.ends:
                self.machine["state"], self.events, self.ends = self.end_state, self.ends, []
            return (200, {"ok": True}) if is_seen else (408, {"error": "not in time"})
        answers = {"volumes": [], "machines": [self.row]} if method == "GET" else {"volumes": {"id": "vol_1"}}
        return 200, answers.get(path, self.row)

    @property
    def changed(self) -> list[str]:
        return [path for _, path, _ in self.changes]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[Server]:
    made = Server()
    values = {"FLY_API_HOSTNAME": made.url, "FLY_API_TOKEN": "token", "FLY_APP": "shop", "HOME": str(tmp_path)}
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PASSWORD", "s3cret")
    monkeypatch.chdir(tmp_path)
    serving = threading.Thread(target=made.http.serve_forever, args=(0.01,))
    serving.start()
    yield made
    made.http.shutdown()
    serving.join()
    made.http.server_close()


def _compose(web: str = "", rest: str = "") -> str:
    pathlib.Path("compose.yaml").write_text(f"services:\n  web:\n    image: nginx\n{web}{rest}")
    return "compose.yaml"


_SECRETS = "secrets:\n  key: { environment: PASSWORD }\n"
_VOLUMES = "volumes:\n  data: {}\n"
_USED = "    secrets: [key]\n    volumes: ['data:/data']\n"


def test_volumes_then_secrets_then_the_machine(server: Server) -> None:
    assert main.main(["run", "--compose", _compose(_USED, _SECRETS + _VOLUMES), "--name", "other"]) == 0
    assert server.changed == ["volumes", "secrets/key", "machines"]
    assert server.changes[-1][2]["config"]["mounts"] == [{"volume": "vol_1", "name": "data"}]


@pytest.mark.parametrize(
    "wrong",
    [
        "stop_signal: SIGFOO", "tmpfs: run", "tmpfs: /x:size=100000000g", "environment: {'A=B': x}", "command: ['']",
        "healthcheck: {test: [CMD, '']}", 'command: ["a\\0"]', "stop_grace_period: 30h", "command: $NO_UTF8",
    ],
)  # fmt: skip
def test_of_a_file_that_the_server_refuses_nothing_is_changed(
    server: Server, wrong: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "NO_UTF8", "\udcff")
    assert main.main(["run", "--compose", _compose(f"{_USED}    {wrong}\n", _SECRETS + _VOLUMES)]) == 1
    assert capsys.readouterr().err.startswith("pilot machine: compose.yaml:6: services.web.")
    assert server.changes == []


def test_what_is_wrong_beside_the_file_changes_nothing_either(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        pathlib.Path(f"part{number}").write_bytes(b"x" * (1 << 20))
    files = "".join(f"    - ./part{number}:/part{number}\n" for number in range(3))
    large = ["run", "--compose", _compose(f"    secrets: [key]\n    volumes:\n{files}", _SECRETS)]
    assert main.main(large) == 1
    assert "with its files it is more than 4 MiB" in capsys.readouterr().err
    small = ["run", "--compose", _compose(_USED, _SECRETS + _VOLUMES)]
    assert main.main([*small, "--name", "web"]) == 1
    assert "has a machine web already" in capsys.readouterr().err
    assert main.main([*small, "-p", "x"]) == 2
    assert main.main([*small, "--restart", "always"]) == 2
    assert server.changes == []


def test_an_update_keeps_nothing_that_the_file_has_no_more(server: Server) -> None:
    """Of a Machine of a longer file, and of one that was of an image; what no file says stays."""
    kept = {"env": {"A": "1"}, "guest": {"memory_mb": 300}, "metadata": {"b": "2"}, "odd": 1}
    of_file = {
        "containers": [{}], "services": [{"internal_port": 80}], "volumes": [{}], "mounts": [{"volume": "vol_1"}],
    }  # fmt: skip
    of_image = {
        "image": "nginx", "init": {"cmd": ["x"]}, "files": [{}], "restart": {"policy": "no"}, "stop_config": {},
        "processes": [{}],
    }  # fmt: skip
    for before in (of_file, of_image):
        server.machine["config"] = {**kept, **before}
        assert main.main(["update", "web", "--compose", _compose()]) == 0
        config = server.changes.pop()[2]["config"]
        assert {**kept, "containers": config["containers"]} == config
        assert [each["name"] for each in config["containers"]] == ["web"]


@pytest.mark.parametrize("said", ["--restart always", "--image other", "--detach", "--wait 3"])
def test_no_option_is_taken_that_would_do_nothing(server: Server, said: str) -> None:
    server.machine["config"] = {"containers": [{"name": "one", "image": "nginx"}]}
    assert main.main(["update", "web", *said.split()]) == 2
    pathlib.Path("config.json").write_text(json.dumps(server.machine["config"]))
    assert main.main(["run", "nginx", "--config", "config.json"]) == 2
    assert server.changes == []


@pytest.mark.parametrize("place", ["compose file", ".env"])
def test_what_is_no_file_is_said_in_one_line(server: Server, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    if place == ".env":
        pathlib.Path(".env").mkdir()
    assert main.main(["run", "--compose", _compose() if place == ".env" else "."]) == 1
    said = capsys.readouterr().err
    assert said.splitlines() == [said.strip()]
    assert said.startswith("pilot machine: read ")
    assert server.changes == []


def test_a_file_by_a_pipe(server: Server) -> None:
    """`docker compose config | pilot machine run --compose -`, with files of this directory."""
    pathlib.Path("one.txt").write_text("x")
    text = b"services: {web: {image: nginx, volumes: ['./one.txt:/one']}}"
    reading_fd, writing_fd = os.pipe()
    with open(writing_fd, "wb") as writing:
        writing.write(text)
    try:
        assert main.main(["run", "--compose", f"/dev/fd/{reading_fd}"]) == 0
    finally:
        os.close(reading_fd)
    assert server.changes[-1][2]["config"]["containers"][0]["files"][0]["guest_path"] == "/one"


def test_nothing_is_left_open_of_what_is_no_file(server: Server) -> None:
    before = set(os.listdir("/proc/self/fd"))
    assert main.main(["run", "--compose", _compose("    volumes: ['/dev/null:/x']\n")]) == 1
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_fault_of_ours_is_no_servers(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_http.Answer, "has_come", False)
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: mode.nothing)
    assert main.main(["run", "--compose", _compose()]) == 1
    assert capsys.readouterr().err.startswith("pilot machine: unexpected: AttributeError: ")


def test_what_a_registry_says_steers_no_terminal(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"created_at": "", "updated_at": "", "private_ip": ""}
    server.machine |= {"state": "failed", **times}
    error = {"error": "no such image\x1b[2J"}
    server.events = [
        {"id": "1", "type": "launch", "status": "failed", "source": "flyd", "timestamp": 0, "request": error}
    ]
    assert main.main(["status", "web"]) == 0
    said = capsys.readouterr().out
    assert ("failed: no such image?[2J" in said, "\x1b" in said) == (True, False)


@pytest.mark.parametrize(("text", "status"), [("я" * (3 << 19), 0), ("\n" * (1 << 20), 0), ("\n" * (3 << 20), 2)])
def test_stdin_is_what_a_body_takes(
    server: Server, text: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 3 MiB of another alphabet the body has no more, of as many line ends twice."""
    server.machine |= {"stdout": "", "stderr": "", "exit_code": 0}  # which is answered to all that changes
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main.main(["exec", "-i", "web", "--", "cat"]) == status
    assert [body["stdin"] == text for _, _, body in server.changes] == [True] * (status == 0)
    assert [size <= 4 << 20 for size in server.sizes] == [True] * (status == 0)


_ENDS = [
    ({"exit_code": 0, "requested_stop": False}, 0),
    ({"exit_code": 3, "requested_stop": False}, 1),
    ({"exit_code": 0, "requested_stop": True}, 1),
]


@pytest.mark.parametrize(("told", "status"), _ENDS)
@pytest.mark.parametrize("state", ["stopped", "destroyed"])
@pytest.mark.parametrize("verb", ["run nginx -- date", "start web"])
def test_what_ends_soon_is_as_it_has_ended(
    server: Server, verb: str, state: str, told: dict[str, Any], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it was seen to run, or not."""
    for was_seen in (True, False):
        server.seen, server.events, server.machine["state"] = was_seen, [], "created"
        server.ends = [{"id": "9", "type": "exit", "request": {"exit_event": told}}]
        server.end_state = state
        assert main.main(verb.split()) == status
        said = capsys.readouterr()
        assert (state in said.out, f"exit code {told['exit_code']}" in said.err) == (status == 0, status == 1)
