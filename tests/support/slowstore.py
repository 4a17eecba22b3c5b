"""An S3 server as far as volumes need one, for measuring: every request takes `latency_s` longer, and is written down.

    GET (ranges) │ PUT (If-None-Match: *, If-Match) │ POST ?delete │ GET ?list-type=2       objects live in memory

Conditional writes are exact. moto is for what S3 means; this is for what a distance costs, which moto would hide.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from xml.sax import saxutils


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request as it was served; times of `time.perf_counter`."""

    method: str
    key: str
    begin: float
    end: float


@dataclasses.dataclass
class SlowStore:
    """`url` for `AWS_ENDPOINT_URL`; `requests` since `clear`; `latency_s` may be changed at any time."""

    latency_s: float = 0.0
    objects: dict[str, tuple[bytes, str, float]] = dataclasses.field(default_factory=dict)
    requests: list[Request] = dataclasses.field(default_factory=list)
    url: str = ""
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


def depth(requests: Sequence[Request]) -> int:
    """How many of the requests came one after the other: the longest chain in which each began after the one before it
    had ended."""
    length, last_end = 0, float("-inf")
    for request in sorted(requests, key=lambda found: found.end):
        if request.begin >= last_end:
            length, last_end = length + 1, request.end
    return length


@contextlib.contextmanager
def serve(latency_s: float = 0.0) -> Iterator[SlowStore]:
    """A server on the loopback until the block ends."""
    made = SlowStore(latency_s)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.store = made
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="slow-store", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    store: SlowStore


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `SlowStore.requests` has it."""

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        with self._noted():
            if "list-type" in query:
                self._list(query.get("prefix", [""])[0])
                return
            with self.server.store.lock:
                found = self.server.store.objects.get(self._key)
            if found is None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            self._answer_object(*found)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self._noted():
            tag = f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'
            if self._put(data, tag):
                self._answer(200, b"", {"ETag": tag})
            else:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")

    def do_POST(self) -> None:
        """?delete: several at once, which is how obstore deletes."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        bucket = urllib.parse.urlsplit(self.path).path.strip("/")
        with self._noted():
            gone = re.findall(r"<Key>(.*?)</Key>", body)
            with self.server.store.lock:
                for key in gone:
                    self.server.store.objects.pop(f"{bucket}/{saxutils.unescape(key)}", None)
            rows = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in gone)
            self._answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())

    @property
    def _key(self) -> str:
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path.lstrip("/"))

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        begin = time.perf_counter()
        if self.server.store.latency_s:
            time.sleep(self.server.store.latency_s)
        yield
        self.server.store.requests.append(Request(self.command, self._key, begin, time.perf_counter()))

    def _put(self, data: bytes, tag: str) -> bool:
        store = self.server.store
        with store.lock:
            found = store.objects.get(self._key)
            if self.headers.get("If-None-Match") == "*" and found is not None:
                return False
            wanted = self.headers.get("If-Match")
            if wanted is not None and (found is None or found[1] != wanted):
                return False
            store.objects[self._key] = (data, tag, time.time())
            return True

    def _answer_object(self, data: bytes, tag: str, modified: float) -> None:
        known = {"ETag": tag, "Last-Modified": self.date_time_string(int(modified))}
        wanted = self.headers.get("Range")
        if wanted is None:
            self._answer(200, data, known)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
        if start >= len(data):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        self._answer(206, data[start:end], {**known, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    def _list(self, prefix: str) -> None:
        bucket = self._key.partition("/")[0] + "/"
        with self.server.store.lock:
            found = sorted((key.removeprefix(bucket), *entry) for key, entry in self.server.store.objects.items())
        rows = "".join(
            f"<Contents><Key>{saxutils.escape(key)}</Key><Size>{len(data)}</Size><ETag>{tag}</ETag>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(modified))}</LastModified></Contents>"
            for key, data, tag, modified in found
            if key.startswith(prefix)
        )
        self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode())

    def _answer(self, status: int, body: bytes, known: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (known or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
