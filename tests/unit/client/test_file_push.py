"""A push that breaks is told as what broke it, whatever comes of looking at what is there."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import pytest

from pilot import errors
from pilot.client import context, files, http, words
from pilot.client.account import Account
from pilot.client.api import Api
from pilot.wire import faults


class Broken(Api):
    """Connections break in the middle of the body, and nothing can be read back."""

    def __init__(self, of_reading: errors.PilotError) -> None:
        super().__init__(Account("http://127.0.0.1:1", "token"))
        self._of_reading = of_reading

    def upload(self, path: str, query: Iterable[tuple[str, str]], pieces: Iterable[bytes], length: int | None) -> None:
        raise errors.PeerError("the connection broke")

    def raw(
        self, method: str, path: str, query: Iterable[tuple[str, str]] = (), *, patience_s: float | None = None
    ) -> http.Answer:
        raise self._of_reading


class Pushing(context.Context):
    def __init__(self, used: Api) -> None:
        super().__init__(words.Words())
        self._used = used

    @property
    def api(self) -> Api:
        return self._used


@pytest.mark.parametrize(
    "of_reading", [errors.NotFound("no such file"), faults.PermissionDenied("files:read"), errors.PeerError("gone")]
)
def test_what_broke_it_is_told(tmp_path: pathlib.Path, of_reading: errors.PilotError) -> None:
    (tmp_path / "data").write_bytes(b"some")
    with pytest.raises(errors.PeerError, match="the connection broke"):
        files.push_file(Pushing(Broken(of_reading)), "web", str(tmp_path / "data"), "/data")
