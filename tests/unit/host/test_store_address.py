"""Addresses of object stores, looked at before anything else is done."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.host import main


@pytest.mark.parametrize(
    "text",
    [
        "", "store", "/directory", "file:directory", "file://directory", "file://host/directory", "s3://", "s3:///x",
        "http://x/y", "ftp://x", "s3://bucket/x?y", "s3://bucket#x", "://", "s3:bucket",
    ],
)  # fmt: skip
def test_what_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(errors.PilotError, match="no address of an object store"):
        main._settings(main._parser().parse_args(["serve", "--state-dir", "/nowhere", "--store", text]))


@pytest.mark.parametrize("text", ["file:///a/b", "file:///with%20blank", "s3://bucket", "s3://b/prefix/x", "gs://b"])
def test_what_is_one(text: str) -> None:
    main._check_store(text)
