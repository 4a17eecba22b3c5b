"""`pilot spec`: write a config.json to start from."""

from __future__ import annotations

import json
import os

from .. import errors
from ..spec import defaults
from . import launching
from .options import Arguments, Kind, Option
from .verb import Context

SUMMARY = "create a new specification file"
USAGE = ""
OPTIONS = (launching.BUNDLE, Option(("rootless",), Kind.FLAG, "generate a configuration for a rootless container"))
ARGUMENTS = (0, 0)


def run(context: Context, arguments: Arguments) -> int:
    config = defaults.default_config(
        arguments.flag("rootless"), os.geteuid(), os.getegid(), cgroup_namespace=_has_pure_v2()
    )
    path = os.path.join(arguments.text("bundle", ""), "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(config, indent="\t") + "\n")
    except FileExistsError as error:
        raise errors.Conflict(f"File {path} exists. Remove it first") from error
    except OSError as error:
        raise errors.HostError(f"write {path}: {(error.strerror or '').lower()}") from error
    return 0


def _has_pure_v2() -> bool:
    """As runc: with v1 a cgroup namespace is for those who ask for one."""
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")
