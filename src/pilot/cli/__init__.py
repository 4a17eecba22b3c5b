"""The runc-compatible command line; one file per verb; never asyncio."""

from __future__ import annotations

from .. import lean

lean.load("msgspec")

from .main import main  # noqa: E402  # all of it needs msgspec

__all__ = ["main"]
