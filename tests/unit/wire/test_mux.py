"""The mux of wire/mux.py: two ends joined by byte strings, whole, torn, stale or hostile."""

from __future__ import annotations

import random

import pytest

from pilot import errors
from pilot.wire import mux

NONCE = bytes(range(16))
OTHER = bytes(range(16, 32))


def pair() -> tuple[mux.Mux, mux.Mux]:
    host, guest = mux.Mux(mux.Role.HOST, nonce=NONCE), mux.Mux(mux.Role.GUEST)
    assert host.receive(guest.take_output()) == []
    assert guest.receive(host.take_output()) == [mux.Restarted()]
    assert host.receive(guest.take_output()) == [mux.Restarted()]
    return host, guest


def opened(host: mux.Mux, guest: mux.Mux, port: int = 10000) -> int:
    stream = host.open(port)
    assert guest.receive(host.take_output()) == [mux.Opened(stream, port)]
    guest.accept(stream)
    assert host.receive(guest.take_output()) == [mux.Accepted(stream)]
    return stream


def test_bytes_both_ways_and_both_ends() -> None:
    host, guest = pair()
    stream = opened(host, guest)
    assert host.send(stream, b"ping") == 4
    host.end(stream)
    assert guest.receive(host.take_output()) == [mux.Data(stream, b"ping"), mux.Ended(stream)]
    assert guest.send(stream, b"pong") == 4
    guest.end(stream)
    assert host.receive(guest.take_output()) == [mux.Data(stream, b"pong"), mux.Ended(stream)]
    assert host.streams == guest.streams == frozenset()


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_of_the_byte_stream_gives_the_same_bytes(seed: int) -> None:
    cut = random.Random(seed)
    host, guest = pair()
    stream = opened(host, guest)
    sent = cut.randbytes(200_000)
    assert host.send(stream, sent) == len(sent)
    raw, got = host.take_output(), b""
    while raw:
        size = cut.randint(1, 9000)
        got += b"".join(e.data for e in guest.receive(raw[:size]) if isinstance(e, mux.Data))
        raw = raw[size:]
    assert got == sent


def test_credit_stops_the_sender_and_starts_it_again() -> None:
    host, guest = pair()
    stream = opened(host, guest)
    data = bytes(mux.WINDOW + 100)
    taken = host.send(stream, data)
    assert taken == mux.WINDOW
    assert host.send(stream, b"x") == 0
    received = guest.receive(host.take_output())
    guest.consumed(stream, 10)
    assert guest.take_output() == b""  # small steps are not told
    guest.consumed(stream, mux.WINDOW - 10)
    assert host.receive(guest.take_output()) == [mux.Writable(stream)]
    assert sum(len(e.data) for e in received if isinstance(e, mux.Data)) == mux.WINDOW
    assert host.send(stream, data[taken:]) == 100


def test_refusal_carries_the_reason() -> None:
    host, guest = pair()
    stream = host.open(9)
    guest.receive(host.take_output())
    guest.reset(stream, "no such port")
    assert host.receive(guest.take_output()) == [mux.Reset(stream, "no such port")]
    with pytest.raises(errors.PeerError):
        host.send(stream, b"late")


@pytest.mark.parametrize("cut_at", [1, 7, 8, 9, 5000, 8 + mux.MAX_PAYLOAD - 1])
def test_a_new_host_process_gets_in_step_after_a_torn_frame(cut_at: int) -> None:
    old, guest = pair()
    stream = opened(old, guest)
    old.send(stream, bytes([255]) * mux.MAX_PAYLOAD)
    guest.receive(old.take_output()[:cut_at])
    guest.send(stream, b"leftover of the old connection" * 100)
    leftover = guest.take_output()

    new = mux.Mux(mux.Role.HOST, nonce=OTHER)
    events = guest.receive(new.take_output())
    assert events[-2:] == [mux.Reset(stream, "the host began anew"), mux.Restarted()]
    assert new.receive(leftover[3:] + guest.take_output()) == [mux.Restarted()]
    fresh = opened(new, guest)
    assert new.send(fresh, b"hello") == 5
    assert guest.receive(new.take_output()) == [mux.Data(fresh, b"hello")]


def test_the_host_does_not_believe_the_hello_of_another_nonce() -> None:
    host = mux.Mux(mux.Role.HOST, nonce=NONCE)
    stale = mux.Mux(mux.Role.GUEST)
    stale.receive(mux.Mux(mux.Role.HOST, nonce=OTHER).take_output())
    assert host.receive(stale.take_output()) == []
    assert not host.ready
    with pytest.raises(errors.PeerError):
        host.open(1)


@pytest.mark.parametrize(
    "frame",
    [
        mux.HEADER.pack(99, 0, 0, 1),
        mux.HEADER.pack(mux.Kind.DATA, 0, 65535, 1),
        mux.HEADER.pack(mux.Kind.OPEN, 0, 4, 2) + b"\1\0\0\0",  # the guest's half of the stream numbers
        mux.HEADER.pack(mux.Kind.OPEN, 0, 1, 3) + b"\1",
        mux.HEADER.pack(mux.Kind.CREDIT, 0, 4, 1) + b"\xff\xff\xff\x7f",
    ],
)
def test_a_peer_that_breaks_the_protocol_loses_its_streams_and_may_begin_anew(frame: bytes) -> None:
    host, guest = pair()
    stream = opened(host, guest)
    events = guest.receive(frame)
    assert [type(e) for e in events] == [mux.Reset]
    assert not guest.ready
    again = mux.Mux(mux.Role.HOST, nonce=NONCE)
    assert guest.receive(again.take_output()) == [mux.Restarted()]
    assert stream not in guest.streams


def test_data_beyond_the_window_is_a_protocol_error() -> None:
    host, guest = pair()
    stream = opened(host, guest)
    host.send(stream, bytes(mux.WINDOW))
    flood = mux.HEADER.pack(mux.Kind.DATA, 0, 1, stream) + b"x"
    assert isinstance(guest.receive(host.take_output() + flood)[-1], mux.Reset)


@pytest.mark.parametrize("seed", range(30))
def test_noise_never_raises_and_never_opens_a_stream(seed: int) -> None:
    noise = random.Random(seed)
    _, guest = pair()
    for _ in range(50):
        guest.receive(noise.randbytes(noise.randint(1, 300)))
    again = mux.Mux(mux.Role.HOST, nonce=NONCE)
    assert guest.receive(again.take_output())[-1] == mux.Restarted()


def test_streams_are_bounded() -> None:
    host, guest = pair()
    for _ in range(mux.MAX_STREAMS):
        host.open(1)
    with pytest.raises(errors.Conflict):
        host.open(1)
    assert len(guest.receive(host.take_output())) == mux.MAX_STREAMS


def test_a_new_guest_process_makes_the_host_begin_again() -> None:
    host, old = pair()
    stream = opened(host, old)
    old.send(stream, b"torn" * 1000)
    torn = old.take_output()[:1000]
    new = mux.Mux(mux.Role.GUEST)
    assert host.receive(torn + new.take_output())[-1] == mux.Reset(stream, "the guest began anew")
    assert not host.ready
    assert new.receive(host.take_output()) == [mux.Restarted()]
    assert host.receive(new.take_output()) == [mux.Restarted()]
    opened(host, new)
