"""What the standard image has from npm and PyPI: Node, npm and uv, as their lock files pin them.

Debian's are years old, or missing. The clients of this machine fetch them (`npm`, `pip`), which know its registries,
and refuse a file whose digest is not the lock's. None of what is fetched is run here.

    programs-<digest>/usr/local/
      bin/{node,npm,npx}, include/node, lib/node_modules/npm, share    as Node's own archives have them: npm looks for
                                                                       what is global beside the node that runs it
      bin/{uv,uvx}, lib/uv                                             links, and the wheel
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
from pathlib import Path

from .. import errors
from . import cache as artefacts
from . import data, digest, tools

_NODE = ("package.json", "package-lock.json")
_PYTHON = "python.lock"
_TIMEOUT_S = 600.0
# Below /usr/local: command → what it is a link to.
_LINKS = {
    "npm": "lib/node_modules/npm/bin/npm-cli.js",
    "npx": "lib/node_modules/npm/bin/npx-cli.js",
    "uv": "lib/uv/bin/uv",
    "uvx": "lib/uv/bin/uvx",
}
# Of the package that carries Node; the last is where it goes.
_PARTS = (("bin/node", "bin/node"), ("include/node", "include/node"), ("LICENSE", "share/doc/node/LICENSE"))


def ensure_programs(cache: str = artefacts.DEFAULT) -> tuple[str, str]:
    """(digest, directory to lay over a root). `HostError` when a client is missing, or what it fetched is not so."""
    inputs = [*(data.path("world", "node", name) for name in _NODE), data.path("world", _PYTHON)]
    layout = [("layout", repr((_LINKS, _PARTS)))]
    name = digest.digest([*layout, *((os.path.basename(path), Path(path).read_bytes()) for path in inputs)])
    return name, artefacts.ensure(cache, "programs", name, _fetch)


def _fetch(target: str) -> None:
    local = os.path.join(target, "usr/local")
    fetched = os.path.join(target, "fetched")
    for directory in ("bin", "include", "lib/node_modules", "share/doc/node"):
        os.makedirs(os.path.join(local, directory))
    _fetch_node(fetched)
    for part, place in _PARTS:
        os.rename(_only(f"{fetched}/node_modules/node-linux-*/{part}"), os.path.join(local, place))
    os.rename(f"{fetched}/node_modules/npm", f"{local}/lib/node_modules/npm")
    shutil.rmtree(fetched)
    _fetch_python(f"{local}/lib/uv")
    for name, place in _LINKS.items():
        os.symlink(os.path.relpath(_only(os.path.join(local, place)), f"{local}/bin"), f"{local}/bin/{name}")


def _fetch_node(directory: str) -> None:
    os.mkdir(directory)
    for name in _NODE:
        shutil.copy(data.path("world", "node", name), directory)
    command = ["npm", "ci", "--ignore-scripts", "--no-bin-links", "--no-audit", "--no-fund", "--loglevel=error"]
    tools.run(command, timeout_s=_TIMEOUT_S, cwd=directory)


def _fetch_python(directory: str) -> None:
    command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", f"--target={directory}", f"--requirement={data.path('world', _PYTHON)}"]
    tools.run(command, timeout_s=_TIMEOUT_S)


def _only(pattern: str) -> str:
    found = glob.glob(pattern)
    if len(found) != 1:
        raise errors.HostError(f"fetch the programs of the standard image: {len(found)} files are {pattern}")
    return found[0]
