"""The machine under test, as promises speak to it: one request or one WebSocket at a time, each with a deadline."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h11
import msgspec

from ..kernel import fds
from ..machine import dial, exchange, web_socket
from ..wire import dial as lines
from ..wire import schema
from ..wire.operations import Operation


class Subject:
    """`scratch` is a path in the world, and part of names, that nobody else uses."""

    def __init__(self, dial_path: str, timeout_s: float, scratch: str) -> None:
        self.dial_path = dial_path
        self.timeout_s = timeout_s
        self.scratch = scratch
        self.isolation: str | None = None

    def ask(
        self,
        operation: Operation[Any, Any],
        *,
        query: Sequence[tuple[str, str]] = (),
        json: object = None,
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        parameters: Mapping[str, str] = {},
    ) -> exchange.Answer:
        """Whatever is answered."""
        content = body if json is None else msgspec.json.encode(json)
        return self.request(operation.method, operation.target(parameters, query), content, headers)

    def request(
        self, method: str, target: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> exchange.Answer:
        """As `ask`, of what need be no operation."""
        head = exchange.request_head(method, target, len(body), headers=headers)
        return exchange.exchange(self.dial_path, self.timeout_s, head, body)

    def several(self, targets: Sequence[str]) -> list[exchange.Answer]:
        """GET each of them on one connection."""
        end_s = time.monotonic() + self.timeout_s
        answers = []
        with dial.connect(self.dial_path, lines.PORT_API, self.timeout_s) as stream:
            protocol = h11.Connection(h11.CLIENT)
            for target in targets:
                head = exchange.request_head("GET", target, 0, close=False)
                answers.append(exchange.converse(stream, protocol, end_s, head, b""))
                protocol.start_next_cycle()
        return answers

    def open(
        self, operation: Operation[Any, Any], query: Sequence[tuple[str, str]] = (), parameters: Mapping[str, str] = {}
    ) -> web_socket.Socket:
        """The WebSocket that the operation is; `web_socket.Refused`."""
        return web_socket.open_socket(self.dial_path, operation.target(parameters, query), self.timeout_s)

    @contextlib.contextmanager
    def raw(self, first: bytes) -> Iterator[socket.socket]:
        """A connection at which nothing but `first` has been said."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as stream:
            stream.settimeout(self.timeout_s)
            with fds.short_path(self.dial_path) as address:
                stream.connect(address)
            stream.sendall(first)
            yield stream

    def read_to_end(self, stream: socket.socket) -> bytes:
        """What comes until the machine closes; `TimeoutError` when it does not. A reset is an end."""
        end_s, said = time.monotonic() + self.timeout_s, b""
        while len(said) < exchange.MAX_ANSWER_BYTES:
            stream.settimeout(exchange.left_s(end_s))
            try:
                data = stream.recv(exchange.READ_BYTES)
            except ConnectionResetError:
                return said
            if not data:
                return said
            said += data
        return said

    def status(self) -> schema.Status:
        """What the machine says of itself now; any error where that is not as the contract has it."""
        return msgspec.json.decode(self.request("GET", "/v1/status").body, type=schema.Status)
