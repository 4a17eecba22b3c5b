"""Builds the standard image: the machine's root, the user's Debian, the guest kernel.

Every `ensure_*` returns the path of a finished artefact in `cache`, after building it when it is missing. Building
needs root, the tools that a `HostError` names, and an archive in the machine's apt configuration.
"""

from __future__ import annotations

from .guest import ensure_guest_disk, ensure_guest_root
from .kernel import ensure_kernel
from .world import VARIANTS, Variant, ensure_world_tar

__all__ = ["VARIANTS", "Variant", "ensure_guest_disk", "ensure_guest_root", "ensure_kernel", "ensure_world_tar"]
