"""The order and shape of exec frames, as the official clients force them on us."""

from __future__ import annotations

import json

import pytest

from pilot.wire import exec_frames as ef

INFO = ef.SessionInfo(session_id="7", command="sh", created=1, cols=80, rows=24, is_owner=True, tty=False)


def test_session_info_comes_first_and_has_tty() -> None:
    (frame,) = ef.ExecOutput(ef.Framing.STREAMS).begin(INFO)
    assert isinstance(frame, str)
    assert json.loads(frame) == {
        "type": "session_info", "session_id": "7", "command": "sh", "created": 1,
        "cols": 80, "rows": 24, "is_owner": True, "tty": False,
    }  # fmt: skip
    with pytest.raises(ValueError, match="output in state NEW"):
        ef.ExecOutput(ef.Framing.STREAMS).output(ef.Stream.STDOUT, b"x")


def test_exit_waits_for_the_end_of_all_output_and_is_text_then_binary_then_close() -> None:
    out = ef.ExecOutput(ef.Framing.STREAMS)
    out.begin(INFO)
    assert out.exited(42) == []
    assert out.ended(ef.Stream.STDERR) == []
    assert out.output(ef.Stream.STDOUT, b"late") == [b"\x01late"]
    assert not out.done
    assert out.ended(ef.Stream.STDOUT) == ['{"type":"exit","exit_code":42}', b"\x03\x2a", ef.Close(1000)]
    assert out.done
    with pytest.raises(ValueError, match="state DONE"):
        out.output(ef.Stream.STDOUT, b"x")


@pytest.mark.parametrize(("code", "close"), [(0, 1000), (3, 4003), (255, 4255)])
def test_a_terminal_says_the_exit_in_text_and_in_the_close_code(code: int, close: int) -> None:
    out = ef.ExecOutput(ef.Framing.TERMINAL)
    out.begin(INFO)
    assert out.output(ef.Stream.STDOUT, b"\x03raw") == [b"\x03raw"]
    assert out.ended(ef.Stream.STDOUT) == []
    assert out.exited(code) == [f'{{"type":"exit","exit_code":{code}}}', ef.Close(close)]


def test_http_has_no_text() -> None:
    out = ef.ExecOutput(ef.Framing.HTTP)
    assert out.keepalive() == []
    assert out.output(ef.Stream.STDERR, b"e") == [b"\x02e"]
    out.ended(ef.Stream.STDERR)
    out.ended(ef.Stream.STDOUT)
    assert out.exited(0) == [b"\x03\x00", ef.Close(1000)]


def test_large_output_is_cut_and_loses_nothing() -> None:
    out = ef.ExecOutput(ef.Framing.STREAMS)
    out.begin(INFO)
    data = bytes(range(256)) * 1000
    frames = out.output(ef.Stream.STDERR, data)
    assert all(isinstance(f, bytes) and f[0] == 2 and len(f) <= 64 * 1024 for f in frames)
    assert b"".join(f[1:] for f in frames if isinstance(f, bytes)) == data


def test_the_first_exit_code_counts_and_is_one_byte() -> None:
    out = ef.ExecOutput(ef.Framing.HTTP)
    out.exited(256 + 7)
    out.exited(1)
    out.ended(ef.Stream.STDOUT)
    assert out.ended(ef.Stream.STDERR)[0] == b"\x03\x07"


@pytest.mark.parametrize(
    ("message", "tty", "event"),
    [
        (b"\x00abc", False, ef.Stdin(b"abc")),
        (b"\x00", False, ef.Stdin(b"")),
        (b"\x04", False, ef.StdinEof()),
        (b"\x09x", False, None),
        (b"", False, None),
        (b"\x04", True, ef.Stdin(b"\x04")),
        ('{"type":"resize","cols":100,"rows":30}', True, ef.Resize(cols=100, rows=30)),
        ('{"type":"signal","signal":"INT"}', False, ef.Signal("INT")),
        ('{"type":"unheard","of":1}', False, None),
        ('{"type":"resize","cols":"wide"}', True, None),
        ("not json", True, None),
        ("control:{}", False, None),
    ],
)
def test_client_messages(message: str | bytes, tty: bool, event: object) -> None:
    assert ef.parse_client_message(message, tty=tty) == event


@pytest.mark.parametrize(
    ("message", "tty", "event"),
    [
        (b"\x01out", False, ef.Output(ef.Stream.STDOUT, b"out")),
        (b"\x02err", False, ef.Output(ef.Stream.STDERR, b"err")),
        (b"\x03\x05", False, ef.Exit(5)),
        (b"\x03", False, None),
        (b"\x01", True, ef.Output(ef.Stream.STDOUT, b"\x01")),
        (ef.text(INFO), False, INFO),
        (ef.KEEPALIVE, False, ef.Keepalive()),
        ('{"type":"debug","msg":"x"}', False, None),
    ],
)
def test_server_messages(message: str | bytes, tty: bool, event: object) -> None:
    assert ef.parse_server_message(message, tty=tty) == event
