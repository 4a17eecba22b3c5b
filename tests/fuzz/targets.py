"""All targets in Python, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz import http, network, oci, tokens, volume, wire
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    **volume.TARGETS,
    **http.TARGETS,
    **wire.TARGETS,
    **tokens.TARGETS,
    **oci.TARGETS,
    **network.TARGETS,
}
