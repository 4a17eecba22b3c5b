"""Stores for tests, and waiting, with a deadline, for what other processes do with them."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
_TIMEOUT_S = 60.0


def wait_for(what: Callable[[], T | None]) -> T:
    """Ask until the answer is something; AssertionError after a minute."""
    end = time.monotonic() + _TIMEOUT_S
    while not (found := what()):
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)
    return found


def use_s3(monkeypatch: pytest.MonkeyPatch, endpoint: str, bucket: str) -> None:
    """Have s3:// mean the server at `endpoint`, and make a bucket there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT"), timeout=10).close()
