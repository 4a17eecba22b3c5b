"""All modules that any verb needs, now: a planner must never load those of the build that has replaced its own."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import pkgutil

from .. import kernel, plan, runtime, spec


def load() -> None:
    """Import them; the systemd driver only where its library is there."""
    _ = json, logging  # the standard library's part that verbs load late
    for package in (kernel, plan, runtime, spec):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name != "pilot.kernel.systemd" or importlib.util.find_spec("jeepney"):
                importlib.import_module(module.name)
