"""Addresses of object stores, looked at before anything else is done."""

from __future__ import annotations

import pathlib

import pytest

from pilot.host import main


@pytest.mark.parametrize(
    "text",
    [
        "", "store", "/directory", "file:directory", "file://directory", "file://host/directory", "s3://", "s3:///x",
        "http://x/y", "ftp://x", "s3://bucket/x?y", "s3://bucket#x", "://", "s3:bucket",
    ],
)  # fmt: skip
def test_what_is_none_is_a_usage_error(text: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main.main(["serve", "--state-dir", str(tmp_path / "state"), "--store", text])
    assert (code, "no address of an object store" in capsys.readouterr().err) == (2, True)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("text", ["file:///a/b", "file:///with%20blank", "s3://bucket", "s3://b/prefix/x", "gs://b"])
def test_what_is_one(text: str) -> None:
    main._check_store(text)
