"""Versions of runtime-spec: what is produced, and the range that is understood."""

from __future__ import annotations

OCI_VERSION = "1.3.0"
OCI_VERSION_MIN = "1.0.0"
