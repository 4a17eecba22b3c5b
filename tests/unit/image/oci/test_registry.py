"""The registry client against registries that answer whatever they like."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.image.oci import challenge, credentials, digest, documents, limits, reference, registry, source
from pilot.image.oci.credentials import Credentials
from pilot.image.oci.documents import Descriptor, Platform

_LAYER = bytes(range(256)) * 40
_CONFIG = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest.of(b"x")]}}
).encode()


def _descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest.of(data), "size": len(data)}


_MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "config": _descriptor(_CONFIG, documents.OCI_CONFIG),
        "layers": [_descriptor(_LAYER, documents.OCI_LAYER)],
    }
).encode()
_BLOB = Descriptor(documents.OCI_LAYER, digest.of(_LAYER), len(_LAYER))
_WANTED = Platform("linux", "amd64")
Answer = Callable[[httpx.Request], httpx.Response]


class _Cut(httpx.SyncByteStream):
    """A body whose connection breaks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("broken")


def _serve(request: httpx.Request) -> httpx.Response:
    """An honest one."""
    if "/manifests/" in request.url.path:
        return httpx.Response(
            200, content=_MANIFEST, headers={"Content-Type": f"{documents.OCI_MANIFEST}; charset=utf-8"}
        )
    name = request.url.path.rpartition("/")[2]
    for data in (_CONFIG, _LAYER):
        if digest.of(data) == name:
            return httpx.Response(200, content=data)
    return httpx.Response(404, json={"errors": [{"code": "BLOB_UNKNOWN", "message": "what?"}]})


class _Body(httpx.SyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data


def _streamed(answer: Answer) -> Answer:
    """As it comes over a connection: not read yet."""

    def inner(request: httpx.Request) -> httpx.Response:
        response = answer(request)
        if not response.is_stream_consumed:
            return response
        return httpx.Response(response.status_code, headers=response.headers, stream=_Body(response.content))

    return inner


def _registry(answer: Answer, who: Credentials | None = None, name: str = "r.io/app") -> registry.Registry:
    client = httpx.Client(transport=httpx.MockTransport(_streamed(answer)))
    return registry.Registry(reference.parse(name), client, registry.Options(credentials=who, sleep=lambda _: None))


def _pull(answer: Answer, who: Credentials | None = None) -> bytes:
    found = _registry(answer, who)
    image = source.find(found, _WANTED)
    return b"".join(source.checked(found, image.layers[0].blob))


def test_an_honest_registry() -> None:
    assert _pull(_serve) == _LAYER


def test_of_what_is_known_nothing_but_the_name_is_asked() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return _serve(request)

    known: dict[digest.Digest, documents.Image] = {}
    first = source.find(_registry(answer), _WANTED, known=known)
    assert len(asked) == 2
    assert source.find(_registry(answer), _WANTED, known=known) == first
    assert asked[2:] == ["/v2/app/manifests/latest"]


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_is_asked_for_once(key: str) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.io":
            asked.append(request)
            return httpx.Response(200, json={key: "t0ken"})
        if request.headers.get("Authorization") != "Bearer t0ken":
            header = 'Bearer realm="https://auth.io/t?a=b",service="r, io",scope="repository:app:pull"'
            return httpx.Response(401, headers={"WWW-Authenticate": header})
        return _serve(request)

    assert _pull(answer, Credentials("me", "secret")) == _LAYER
    (one,) = asked
    assert dict(one.url.params) == {"a": "b", "service": "r, io", "scope": "repository:app:pull"}
    assert one.headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()


def test_a_token_that_has_ended_is_asked_for_again() -> None:
    """Half a minute passes with each look at the clock; the shortest life of a token is one minute."""
    given: list[str] = []
    seconds = iter(range(0, 30 * 1000, 30))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.io":
            given.append(f"t{len(given)}")
            return httpx.Response(200, json={"token": given[-1], "expires_in": 1})
        if not given or request.headers.get("Authorization") != f"Bearer {given[-1]}":
            return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.io/t"'})
        return _serve(request)

    client = httpx.Client(transport=httpx.MockTransport(_streamed(answer)))
    options = registry.Options(sleep=lambda _: None, clock=lambda: next(seconds), document_timeout_s=1e6)
    found = registry.Registry(reference.parse("r.io/app"), client, options)
    image = source.find(found, _WANTED)
    for _ in range(3):
        assert b"".join(source.checked(found, image.layers[0].blob)) == _LAYER
    assert len(given) > 1


def test_basic() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:secret").decode():
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return _serve(request)

    assert _pull(answer, Credentials("me", "secret")) == _LAYER
    for who in (None, Credentials("me", "wrong")):
        with pytest.raises(errors.PeerError) as raised:
            _pull(answer, who)
        assert "wrong" not in str(raised.value) + repr(who)


def test_a_redirect_gets_no_credentials() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "cdn.io":
            seen.append(request.headers.get("Authorization"))
            return httpx.Response(200, content=_LAYER)
        if not request.headers.get("Authorization"):
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if _BLOB.digest in request.url.path:
            return httpx.Response(307, headers={"Location": "https://cdn.io/blob?signed"})
        return _serve(request)

    assert _pull(answer, Credentials("me", "secret")) == _LAYER
    assert seen == [None]


def test_where_a_redirect_leads_asks_in_vain_who_we_are() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "evil.io":
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return httpx.Response(302, headers={"Location": "https://evil.io/"})

    with pytest.raises(errors.PeerError, match="401"):
        _pull(answer, Credentials("me", "secret"))


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("http://cdn.io/", "not https"),
        ("file:///etc/passwd", "not https"),
        ("https://r.io/v2/app/manifests/x", "redirects"),
    ],
)
def test_redirects_that_are_not_followed(location: str, problem: str) -> None:
    with pytest.raises(errors.PeerError, match=problem):
        _pull(lambda _: httpx.Response(307, headers={"Location": location}))


def test_a_realm_without_tls_gets_no_credentials() -> None:
    header = {"WWW-Authenticate": 'Bearer realm="http://auth.io/"'}
    with pytest.raises(errors.PeerError, match="not https"):
        _pull(lambda _: httpx.Response(401, headers=header), Credentials("me", "secret"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_blob_that_breaks_off_is_resumed(ranges: bool) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if _BLOB.digest not in request.url.path:
            return _serve(request)
        asked.append(request.headers.get("Range"))
        start = int((asked[-1] or "bytes=0-")[6:-1])
        rest = _LAYER[start if ranges else 0 :]
        stream = _Cut(rest[: start + 4000] if not ranges else rest[:4000])
        if not start:
            return httpx.Response(200, stream=stream)
        headers = {"Content-Range": f"bytes {start}-{len(_LAYER) - 1}/{len(_LAYER)}"}
        return httpx.Response(206 if ranges else 200, headers=headers if ranges else {}, stream=stream)

    assert _pull(answer) == _LAYER
    assert asked == [None, "bytes=4000-", "bytes=8000-"]


_GZIP = {"Content-Encoding": "gzip"}
_BAD_BLOBS: dict[str, tuple[Answer, str]] = {
    "another": (lambda _: httpx.Response(200, content=b"y" * len(_LAYER)), "it should be sha256"),
    "longer": (lambda _: httpx.Response(200, content=_LAYER + b"y"), "more than the"),
    "endless": (lambda _: httpx.Response(200, content=iter(lambda: b"y" * 65536, b"")), "more than the"),
    "always cut": (lambda _: httpx.Response(200, stream=_Cut(b"")), r"\(4 times\)"),
    "compressed": (lambda _: httpx.Response(200, stream=_Cut(b""), headers=_GZIP), "nobody asked"),
    "busy": (lambda _: httpx.Response(429, headers={"Retry-After": "1"}), "429"),
    "gone": (lambda _: httpx.Response(404, json={"errors": [{"code": "BLOB_UNKNOWN"}]}), "BLOB_UNKNOWN"),
    "odd error": (lambda _: httpx.Response(400, content=b"\xff" * 100), "400"),
    "endless error": (lambda _: httpx.Response(400, content=iter(lambda: b"y" * 65536, b"")), "400"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(_BAD_BLOBS))
def test_bad_blobs(name: str) -> None:
    bad, problem = _BAD_BLOBS[name]
    with pytest.raises(errors.PilotError, match=problem):
        _pull(lambda request: bad(request) if _BLOB.digest in request.url.path else _serve(request))


def test_a_range_that_nobody_asked_for() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "Range" in request.headers:
            return httpx.Response(206, headers={"Content-Range": "bytes 0-9/10"}, content=b"y" * 10)
        return httpx.Response(200, stream=_Cut(_LAYER[:100])) if _BLOB.digest in request.url.path else _serve(request)

    with pytest.raises(errors.PeerError, match="asked for the bytes from 100"):
        _pull(answer)


@pytest.mark.parametrize(
    ("content", "media_type", "problem"),
    [
        (b"x" * (limits.MANIFEST_BYTES + 1), documents.OCI_MANIFEST, "more than"),
        (b"<html>", "text/html", "neither an index nor a manifest"),
        (b"{", documents.OCI_MANIFEST, "no JSON"),
        (_MANIFEST, documents.OCI_INDEX, "both"),
    ],
)
def test_bad_manifests(content: bytes, media_type: str, problem: str) -> None:
    with pytest.raises(errors.PilotError, match=problem):
        _pull(lambda _: httpx.Response(200, content=content, headers={"Content-Type": media_type}))


def test_a_tag_that_was_named_by_digest_must_be_it() -> None:
    found = _registry(_serve, name=f"r.io/app@{digest.of(b'other')}")
    with pytest.raises(errors.PeerError, match="it should be"):
        source.find(found, _WANTED, digest.of(b"other"))


def _index(data: bytes, depth: int) -> bytes:
    for _ in range(depth):
        media_type = documents.OCI_INDEX if b"manifests" in data else documents.OCI_MANIFEST
        data = json.dumps({"schemaVersion": 2, "manifests": [_descriptor(data, media_type)]}).encode()
    return data


@pytest.mark.parametrize("depth", [1, limits.INDEX_DEPTH, limits.INDEX_DEPTH + 1])
def test_indexes_in_indexes(depth: int) -> None:
    known = {digest.of(data): data for data in (_index(_MANIFEST, n) for n in range(depth + 1))}

    def answer(request: httpx.Request) -> httpx.Response:
        if "/manifests/" not in request.url.path:
            return _serve(request)
        name = request.url.path.rpartition("/")[2]
        return httpx.Response(200, content=known.get(digest.Digest(name), _index(_MANIFEST, depth)))

    if depth <= limits.INDEX_DEPTH:
        assert _pull(answer) == _LAYER
    else:
        with pytest.raises(errors.SpecError, match="indexes in indexes"):
            _pull(answer)


def test_none_for_this_platform() -> None:
    with pytest.raises(errors.NotFound, match="linux/s390x"):
        source.find(_registry(_serve), Platform("linux", "s390x"))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("alpine", "https://registry-1.docker.io/v2/library/alpine/"),
        ("r.io:5000/a", "https://r.io:5000/v2/a/"),
        ("localhost:5000/a", "http://localhost:5000/v2/a/"),
        ("127.0.0.9/a", "http://127.0.0.9/v2/a/"),
        ("[::1]:5/a", "http://[::1]:5/v2/a/"),
    ],
)
def test_where_it_is_asked(name: str, url: str) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return _serve(request)

    _registry(answer, name=name).root()
    assert seen[0] == f"{url}manifests/latest"


@given(st.text(max_size=80))
def test_challenges_are_read_or_not(text: str) -> None:
    for header in (text, f"Bearer {text}", f'Bearer realm="{text}'):
        found = challenge.parse(header)
        assert found is None or found.scheme.isalpha()


def _config_file(tmp_path: Path, content: object) -> str:
    (tmp_path / "config.json").write_text(json.dumps(content))
    return str(tmp_path / "config.json")


def test_credentials_of_dockers_file(tmp_path: Path) -> None:
    encoded = base64.b64encode(b"me:a:b").decode()
    path = _config_file(
        tmp_path, {"auths": {"r.io": {"auth": encoded}, "https://index.docker.io/v1/": {"auth": encoded}}}
    )
    assert credentials.find("r.io", path) == credentials.find("docker.io", path) == Credentials("me", "a:b")
    assert credentials.find("other.io", path) is None
    assert credentials.find("r.io", str(tmp_path / "none")) is None


@pytest.mark.parametrize("content", [[], {"auths": {"r.io": {"auth": "%"}}}, {"auths": 7}, {"credsStore": "../x"}])
def test_a_damaged_file_says_so(tmp_path: Path, content: object) -> None:
    with pytest.raises(errors.SpecError):
        credentials.find("r.io", _config_file(tmp_path, content))


def test_credential_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-mine"
    helper.write_text('#!/bin/sh\nread name\n[ "$name" = r.io ] || { echo credentials not found; exit 1; }\n'
                      'echo \'{"Username": "me", "Secret": "kept"}\'\n')  # fmt: skip
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = _config_file(tmp_path, {"credHelpers": {"r.io": "mine", "s.io": "mine", "t.io": "none"}})
    assert credentials.find("r.io", path) == Credentials("me", "kept")
    assert credentials.find("s.io", path) is None
    with pytest.raises(errors.HostError, match="docker-credential-none"):
        credentials.find("t.io", path)
