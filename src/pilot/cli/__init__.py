"""The runc-compatible command line; one file per verb; never asyncio."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
