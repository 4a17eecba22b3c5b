"""A repository of a registry (distribution-spec), read over HTTP.

    manifest   GET /v2/NAME/manifests/TAG-or-DIGEST
    blob       GET /v2/NAME/blobs/DIGEST            ─► 307 elsewhere ─► bytes, again from where they broke off
    401        WWW-Authenticate: Basic              ─► the request again, with name and password
               WWW-Authenticate: Bearer realm,…     ─► GET REALM?service&scope ─► token ─► the request again

Credentials go to the registry and to the realm that it names, never to where it redirects. Plain http is for loopback
and for registries that are named as insecure; https never becomes http. Every answer has a limit, every wait a
deadline, every retry a number.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NewType
from urllib.parse import urlencode

import httpx
import msgspec

from ... import errors
from . import challenge as challenges
from . import documents, limits
from .challenge import Challenge
from .credentials import Credentials
from .documents import Descriptor
from .reference import DOCKER_HUB, Reference

_ACCEPT = ", ".join(sorted(documents.INDEXES | documents.MANIFESTS))
_HUB = "registry-1.docker.io"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_MOST_REDIRECTS = 5
_MOST_BREAKS = 100
_TOKEN_BYTES = 1 << 20
_ERROR_BYTES = 1 << 16
_LONGEST_PAUSE_S = 30.0

Authorization = NewType("Authorization", str)


@dataclass(frozen=True)
class Options:
    """`insecure`: domains without TLS. `attempts`: of one request, or in a row of a blob that gets no further."""

    credentials: Credentials | None = None
    insecure: frozenset[str] = frozenset()
    timeout_s: float = 30.0
    document_timeout_s: float = 60.0
    attempts: int = 4
    pause_s: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class _Token(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class _Problem(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Problems(msgspec.Struct, frozen=True):
    errors: tuple[_Problem, ...] | None = None


class _Broken(Exception):
    """It may go better the next time; `after_s` when the other side said when."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Registry:
    """A `source.Source`. Not for several threads at once; the client is the caller's to close."""

    def __init__(self, reference: Reference, client: httpx.Client, options: Options | None = None) -> None:
        self._reference = reference
        self._client = client
        self._options = options or Options()
        self._plain = is_loopback(reference.domain) or reference.domain in self._options.insecure
        host = _HUB if reference.domain == DOCKER_HUB else reference.domain
        self._base = httpx.URL(f"{'http' if self._plain else 'https'}://{host}/v2/{reference.path}/")
        self._authorization: Authorization | None = None
        self._expires_at = 0.0

    @property
    def name(self) -> str:
        """For messages."""
        return str(self._reference)

    def root(self) -> tuple[str, bytes]:
        """The manifest or index of the tag or digest."""
        return self._document(self._reference.wanted, limits.MANIFEST_BYTES)

    def document(self, descriptor: Descriptor) -> bytes:
        """One that an index names."""
        return self._document(descriptor.digest, min(descriptor.size, limits.MANIFEST_BYTES))[1]

    def blob(self, descriptor: Descriptor, start: int = 0) -> Iterator[bytes]:
        """In pieces; where the connection breaks, it is asked for the rest."""
        what = f"fetch blob {descriptor.digest} of {self.name}"
        done, failures, breaks = start, 0, 0
        while done < descriptor.size:
            before = done
            try:
                for part in self._pieces(descriptor, done, what):
                    done += len(part)
                    yield part
                if done >= descriptor.size:
                    return
                broken = _Broken(f"it ended after {done} of {descriptor.size} bytes")
            except _Broken as error:
                broken = error
            failures, breaks = 0 if done > before else failures + 1, breaks + 1
            if breaks >= _MOST_BREAKS:
                raise errors.PeerError(f"{what}: {broken} ({breaks} times)") from broken
            self._pause(broken, failures, what)

    # One document.

    def _document(self, wanted: str, limit_bytes: int) -> tuple[str, bytes]:
        what = f"fetch manifest {wanted} of {self.name}"
        failures = 0
        while True:
            try:
                return self._document_once(wanted, limit_bytes, what)
            except _Broken as broken:
                failures += 1
                self._pause(broken, failures, what)

    def _document_once(self, wanted: str, limit_bytes: int, what: str) -> tuple[str, bytes]:
        with self._get(self._base.join(f"manifests/{wanted}"), {"Accept": _ACCEPT}, what) as response:
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            data = self._body(response, limit_bytes, what)
        return media_type or documents.detect_media_type(data, self.name), data

    def _body(self, response: httpx.Response, limit_bytes: int, what: str) -> bytes:
        deadline = self._options.clock() + self._options.document_timeout_s
        parts: list[bytes] = []
        count = 0
        for part in _raw(response):
            count += len(part)
            if count > limit_bytes:
                raise errors.PeerError(f"{what}: more than {limit_bytes} bytes")
            if self._options.clock() > deadline:
                raise errors.PeerError(f"{what}: not there after {self._options.document_timeout_s:g} s")
            parts.append(part)
        return b"".join(parts)

    # A blob's bytes.

    def _pieces(self, descriptor: Descriptor, start: int, what: str) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._get(self._base.join(f"blobs/{descriptor.digest}"), headers, what) as response:
            skip = _already_had(response, start, what)
            for part in _raw(response):
                fresh = part[skip:]
                skip -= len(part) - len(fresh)
                if fresh:
                    yield fresh

    # Requests.

    @contextlib.contextmanager
    def _get(self, url: httpx.URL, headers: dict[str, str], what: str) -> Iterator[httpx.Response]:
        """An answer of 200 or 206, its body still to be read. `_Broken` for what may pass."""
        with contextlib.ExitStack() as stack:
            response = self._follow(stack, url, headers, what)
            if response.status_code == 401 and _origin(response.url) == _origin(url):
                self._authorize(response, what)
                response = self._follow(stack, url, headers, what)
            _check(response, what)
            yield response

    def _follow(
        self, stack: contextlib.ExitStack, url: httpx.URL, headers: dict[str, str], what: str
    ) -> httpx.Response:
        """Through redirects: Authorization goes to the first origin alone."""
        home = _origin(url)
        for _ in range(_MOST_REDIRECTS + 1):
            own = self._own_headers() if _origin(url) == home else {}
            response = self._send(stack, url, headers | own, what)
            if response.status_code not in _REDIRECTS:
                return response
            url = self._redirected(response, what)
        raise errors.PeerError(f"{what}: more than {_MOST_REDIRECTS} redirects")

    def _redirected(self, response: httpx.Response, what: str) -> httpx.URL:
        try:
            url = response.url.join(response.headers["Location"])
        except (KeyError, httpx.InvalidURL) as error:
            raise errors.PeerError(f"{what}: a redirect to nowhere") from error
        self._check_scheme(url, what)
        return url.copy_with(username=None, password=None, fragment=None)

    def _check_scheme(self, url: httpx.URL, what: str) -> None:
        if url.scheme != "https" and not (url.scheme == "http" and self._plain):
            raise errors.PeerError(f"{what}: it leads to {url.scheme}://{url.host}, which is not https")

    def _send(self, stack: contextlib.ExitStack, url: httpx.URL, headers: dict[str, str], what: str) -> httpx.Response:
        # What is hashed are the bytes as they are stored: nobody may compress them on the way.
        request = self._client.build_request(
            "GET", url, headers={"Accept-Encoding": "identity", **headers}, timeout=self._options.timeout_s
        )
        try:
            response = self._client.send(request, stream=True, follow_redirects=False)
        except httpx.TransportError as error:
            raise _Broken(f"{type(error).__name__}: {error}") from error
        except httpx.InvalidURL as error:
            raise errors.PeerError(f"{what}: {error}") from error
        stack.callback(response.close)
        return response

    def _pause(self, broken: _Broken, failures: int, what: str) -> None:
        if failures >= self._options.attempts:
            raise errors.PeerError(f"{what}: {broken} ({failures} times)") from broken
        wanted = self._options.pause_s * 2**failures if broken.after_s is None else broken.after_s
        self._options.sleep(min(wanted, _LONGEST_PAUSE_S))

    # Who we are.

    def _own_headers(self) -> dict[str, str]:
        if self._authorization is None or self._options.clock() >= self._expires_at:
            return {}
        return {"Authorization": self._authorization}

    def _authorize(self, response: httpx.Response, what: str) -> None:
        found = filter(None, map(challenges.parse, response.headers.get_list("WWW-Authenticate")))
        challenge = next((item for item in found if item.scheme in ("bearer", "basic")), None)
        if challenge is None:
            raise errors.PeerError(f"{what}: the registry wants to know who asks, and not in a way known here")
        if challenge.scheme == "bearer":
            self._authorization, lifetime_s = self._token(challenge, what)
        elif self._options.credentials is None:
            raise errors.PeerError(f"{what}: not without name and password", hint=_LOGIN)
        else:
            self._authorization, lifetime_s = _basic(self._options.credentials), float("inf")
        self._expires_at = self._options.clock() + lifetime_s

    def _token(self, challenge: Challenge, what: str) -> tuple[Authorization, float]:
        credentials = self._options.credentials
        query = {"service": challenge.service, "scope": challenge.scope or f"repository:{self._reference.path}:pull"}
        if credentials is not None and credentials.identity_token:
            raise errors.PeerError(f"{what}: an identity token is kept for this registry, and is not exchanged here")
        try:
            url = httpx.URL(challenge.realm)
            realm = url.copy_with(query=urlencode([*url.params.multi_items(), *query.items()]).encode())
        except httpx.InvalidURL as error:
            raise errors.PeerError(f"{what}: tokens from nowhere") from error
        self._check_scheme(realm, what)
        headers: dict[str, str] = {"Authorization": _basic(credentials)} if credentials is not None else {}
        with contextlib.ExitStack() as stack:
            response = self._send(stack, realm, headers, what)
            if response.status_code in (401, 403):
                raise errors.PeerError(f"{what}: {realm.host} gives no token for it", hint=_LOGIN)
            _check(response, f"{what}: token from {realm.host}")
            return _parse_token(self._body(response, _TOKEN_BYTES, what), what)


_LOGIN = "is it there, and may you read it? name and password come from docker's config.json"


def is_loopback(domain: str) -> bool:
    """Whether a domain, port and all, is this machine itself."""
    host = httpx.URL(f"http://{domain}").host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _basic(credentials: Credentials) -> Authorization:
    pair = httpx.BasicAuth(credentials.username, credentials.password)
    request = next(pair.auth_flow(httpx.Request("GET", "http://x/")))
    return Authorization(request.headers["Authorization"])


def _parse_token(data: bytes, what: str) -> tuple[Authorization, float]:
    """The token, and for how long it may be used."""
    try:
        answer = msgspec.json.decode(data, type=_Token)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"{what}: no token in the answer: {error}") from error
    token = answer.token or answer.access_token
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise errors.PeerError(f"{what}: no token in the answer")
    return Authorization(f"Bearer {token}"), min(max(answer.expires_in or 60.0, 60.0), 86400.0)


def _already_had(response: httpx.Response, start: int, what: str) -> int:
    """How much of the answer to leave out: a server may give all of it, and must not give something else."""
    if response.status_code == 200:
        return start
    given = response.headers.get("Content-Range", "")
    if not given.startswith(f"bytes {start}-"):
        raise errors.PeerError(f"{what}: asked for the bytes from {start}, it gives {given[:100]!r}")
    return 0


def _raw(response: httpx.Response) -> Iterator[bytes]:
    """The body as it came over the wire; `_Broken` when the connection does.

    In pieces as they come: with a size, httpx gathers, and what was gathered is lost with the connection.
    """
    try:
        yield from response.iter_raw()
    except httpx.TransportError as error:
        raise _Broken(f"{type(error).__name__}: {error}") from error


def _check(response: httpx.Response, what: str) -> None:
    status = response.status_code
    if status in (200, 206):
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise errors.PeerError(f"{what}: it comes as {encoding[:50]}, which nobody asked for")
        return
    if status in _PASSING:
        raise _Broken(f"{status} {response.reason_phrase}", _retry_after(response))
    text = f"{what}: {status} {response.reason_phrase}{_reason(response)}"
    if status == 404:
        raise errors.NotFound(text)
    raise errors.PeerError(text, hint=_LOGIN if status in (401, 403) else None)


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _reason(response: httpx.Response) -> str:
    """What the registry says about it, when it says so in the specification's form."""
    data = b""
    try:
        for part in response.iter_raw():
            data += part
            if len(data) >= _ERROR_BYTES:
                return ""
        listed = msgspec.json.decode(data, type=_Problems).errors or ()
    except (httpx.TransportError, *errors.UNREADABLE):
        return ""  # the status says enough
    said = "; ".join(f"{item.code or ''} {item.message or ''}".strip() for item in listed[:3])
    return f": {said[:300]}" if said.isprintable() and said else ""
