"""QEMU's control socket, against a server that says what a test wants."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot import errors
from pilot.host.vmm.qemu import qmp

Answers = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answers], str]]:
    path = str(tmp_path / "qmp")
    listener = socket.socket(socket.AF_UNIX)
    threads: list[threading.Thread] = []

    def start(answers: Answers) -> str:
        listener.bind(path)
        listener.listen()
        threads.append(threading.Thread(target=_serve_one, args=(listener, answers)))
        threads[0].start()
        return path

    yield start
    listener.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def _serve_one(listener: socket.socket, answers: Answers) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as stream:
        stream.write(b'{"QMP": {}}\n')
        stream.flush()
        for line in stream:
            command = json.loads(line)["execute"]
            found = [{"return": {}}] if command == "qmp_capabilities" else answers(command)
            if not found:
                return
            stream.write(b"".join(json.dumps(message).encode() + b"\n" for message in found))
            stream.flush()


def test_events_do_not_get_between_question_and_answer(serve: Callable[[Answers], str]) -> None:
    path = serve(
        lambda _: [
            {"event": "A", "data": {"n": 1}},
            {"return": {"status": "running"}},
            {"event": "A", "data": {"n": 2}},
        ]
    )
    with qmp.connect(path, 20) as control:
        assert control.execute("query-status") == {"status": "running"}
        assert control.wait_event("A", lambda data: data["n"] > 1, 20) == {"n": 2}


def test_a_refusal_is_in_qemus_words(serve: Callable[[Answers], str]) -> None:
    path = serve(lambda _: [{"error": {"class": "GenericError", "desc": "Device 'x' not found"}}])
    with (
        qmp.connect(path, 20) as control,
        pytest.raises(errors.HostError, match="ask QEMU to eject: Device 'x' not found"),
    ):
        control.execute("eject")


def test_a_qemu_that_goes_away_is_a_peer_that_does(serve: Callable[[Answers], str]) -> None:
    path = serve(lambda _: [])
    with qmp.connect(path, 20) as control, pytest.raises(errors.PeerError):
        control.execute("quit")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(errors.PeerError, match="No such file"), qmp.connect(str(tmp_path / "absent"), 20):
        pass


def test_an_event_that_does_not_come_is_none_and_answers_are_heard_as_before(
    serve: Callable[[Answers], str],
) -> None:
    path = serve(lambda _: [{"return": {"status": "running"}}])
    with qmp.connect(path, 20) as control:
        assert control.wait_event("A", lambda _: True, 0.01) is None
        assert control.execute("query-status") == {"status": "running"}
