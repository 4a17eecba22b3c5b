"""Requests and answers between the processes of volumes: how they travel, and that somebody does each of them."""

from __future__ import annotations

import os
import socket
import threading
import typing
from collections.abc import Iterator
from unittest import mock

import pytest

from pilot import errors
from pilot.ids import CheckpointId
from pilot.volume import messages
from pilot.volume.requests import base, to_errand, to_volumed, to_worker, to_zygote
from pilot.volume.serving import errand, worker, zygote
from pilot.volume.volumed import service


@pytest.fixture
def ends() -> Iterator[tuple[messages.Connection, messages.Connection]]:
    ours, theirs = socket.socketpair()
    both = messages.Connection(ours), messages.Connection(theirs)
    for one in both:
        one.socket.settimeout(20)
    yield both
    for one in both:
        one.close()


def _answered(theirs: messages.Connection, answer: messages.Message, kinds: base.Kinds) -> threading.Thread:
    def run() -> None:
        for _, fds in theirs.requests(kinds):
            theirs.send(answer, fds)
            for fd in fds:
                os.close(fd)
            return

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_call(ends: tuple[messages.Connection, messages.Connection]) -> None:
    ours, theirs = ends
    thread = _answered(theirs, to_worker.WasCut(7), to_worker.KINDS)
    read_fd, write_fd = os.pipe()
    answer, fds = ours.call(to_worker.Cut(CheckpointId("v1")), [write_fd])
    thread.join()
    assert answer.generation == 7
    os.close(write_fd)
    os.write(fds[0], b"x")  # a descriptor went there and back
    assert os.read(read_fd, 2) == b"x"
    os.close(fds[0])
    os.close(read_fd)


def test_a_failure_is_raised_as_what_it_was(ends: tuple[messages.Connection, messages.Connection]) -> None:
    ours, theirs = ends
    failed = base.Failure.of(errors.StateError("it is mounted", hint="detach it"))
    thread = _answered(theirs, failed, to_worker.KINDS)
    with pytest.raises(errors.StateError, match="it is mounted") as raised:
        ours.call(to_worker.Flush())
    thread.join()
    assert raised.value.hint == "detach it"


def test_an_error_number_comes_back() -> None:
    answer = base.Failure(error="no room", errno=28)
    with pytest.raises(OSError, match="no room") as raised:
        raise answer.exception()
    assert raised.value.errno == 28


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"op": "resize"}', "resize: Object missing required field `size_bytes`"),
        (b'{"op": "resize", "size_bytes": true}', "resize: Expected `int`, got `bool`"),
        (b'{"op": "mend", "slots": [1, 0]}', r"mend: Expected `int` >= 1 - at `\$.slots\[1\]`"),
        (b'{"op": "mount"}', "operation mount: unknown"),
        (b"{}", "operation None: unknown"),
    ],
)
def test_what_is_no_request_is_refused_and_the_next_is_answered(
    ends: tuple[messages.Connection, messages.Connection], line: bytes, why: str
) -> None:
    ours, theirs = ends
    thread = _answered(theirs, base.Answer(), to_worker.KINDS)
    ours.socket.sendall(line + b"\n")
    with pytest.raises(errors.PeerError, match=why):
        ours.receive_answer(base.Answer)
    assert ours.call(to_worker.Flush()) == (base.Answer(), [])
    thread.join()


def test_what_is_no_answer_is_the_peers_fault(ends: tuple[messages.Connection, messages.Connection]) -> None:
    ours, theirs = ends
    for line in (b'{"ok": true}\n', b'{"ok": false}\n', b'{"ok": 1, "error": 2}\n'):
        theirs.socket.sendall(line)
        with pytest.raises(errors.PeerError, match="answer: not a WasCut: "):
            ours.receive_answer(to_worker.WasCut)


def test_a_path_of_any_bytes_travels(ends: tuple[messages.Connection, messages.Connection]) -> None:
    ours, theirs = ends
    path = os.fsdecode(b"/state/\xff\xc3\xa9")
    ours.send(to_zygote.StartWorker(path, [], False))
    (request, _) = next(theirs.requests(to_zygote.KINDS))
    assert request == to_zygote.StartWorker(path, [], False)


def test_an_errand_travels_in_its_envelope() -> None:
    asked = to_errand.Bind("pilot/x", "/state")
    sent = to_zygote.RunErrand.of(asked)
    assert (sent.name, sent.arguments) == ("bind", {"device": "pilot/x", "directory": "/state"})
    assert sent.errand() == asked


# ---- somebody does each


def _promised(kinds: base.Kinds) -> set[type[base.AnyRequest]]:
    return set(kinds)


def test_volumed_does_what_it_is_asked() -> None:
    assert set(service.Service(mock.Mock()).doers) == _promised(to_volumed.KINDS)


def test_a_disk_does_what_it_is_asked() -> None:
    assert set(worker.OPERATIONS) == _promised(to_worker.OF_A_DISK)


def test_zygote_and_errands_do_what_they_are_asked() -> None:
    assert set(zygote.DOERS) == _promised(to_zygote.KINDS)
    assert set(errand.DOERS) == _promised(to_errand.KINDS)


@pytest.mark.parametrize(
    "kind",
    [*to_volumed.KINDS, *to_worker.KINDS, *to_zygote.KINDS, *to_errand.KINDS, *to_zygote.OF_A_GUARD],
    ids=lambda kind: f"{kind.__module__.rpartition('.')[2]}-{base.op_of(kind)}",
)
def test_each_request_names_its_answer(kind: type[base.AnyRequest]) -> None:
    answer = base._answer_of(kind)
    assert issubclass(answer, base.Answer)
    assert typing.get_type_hints(answer)["ok"] is bool
