"""Somebody who takes webhooks: an HTTP server on loopback that answers as the test says, and keeps what it was sent."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WAIT_S = 60


@dataclasses.dataclass(frozen=True)
class Taken:
    """`id`: of the message, not of the event."""

    path: str
    id: str
    timestamp: int
    signature: str
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def verify(secret: str, taken: Taken) -> bool:
    """Whether it is of whoever has the secret, and nothing of it was changed."""
    signed = f"{taken.id}.{taken.timestamp}.".encode() + taken.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return taken.signature == "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Receiver:
    """`answers(taken)`: with which status; by default all is taken. `location`: to where every answer sends on."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.answers: Callable[[Taken], int] = lambda _: 200
        self.location: str | None = None
        self._changed = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                taken = Taken(
                    self.path,
                    self.headers["webhook-id"],
                    int(self.headers["webhook-timestamp"]),
                    self.headers["webhook-signature"],
                    body,
                )
                with receiver._changed:
                    receiver.taken.append(taken)
                    receiver._changed.notify_all()
                self.send_response(receiver.answers(taken))
                if receiver.location:
                    self.send_header("location", receiver.location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="receiver")
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?x=1"

    def until(self, done: Callable[[list[Taken]], bool]) -> list[Taken]:
        """What was sent by then."""
        deadline_s = time.monotonic() + WAIT_S
        with self._changed:
            while not done(self.taken):
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, [taken.document for taken in self.taken]
                self._changed.wait(left_s)
            return list(self.taken)

    def until_kind(self, kind: str) -> list[Taken]:
        return self.until(lambda taken: any(each.document["type"] == kind for each in taken))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
