#!/usr/bin/python3
"""sprite-agents: coding agents from npm, for this sprite: which there are, and to install them on request.

    /opt/agents/            package.json, node_modules: the agents, and a Node of their own, whatever the system has
    /usr/local/bin/NAME     starts one of them with that Node

A program of its own, in the sprite; it asks npm's registry and nobody else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

# Command, npm package.
AGENTS = {
    "amp": "@sourcegraph/amp",
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "copilot": "@github/copilot",
    "gemini": "@google/gemini-cli",
    "opencode": "opencode-ai",
    "qwen": "@qwen-code/qwen-code",
}
NODE = "node@24"
PLACE = os.environ.get("SPRITE_AGENTS_PLACE", "/opt/agents")
COMMANDS = os.environ.get("SPRITE_AGENTS_COMMANDS", "/usr/local/bin")
_OURS = "# sprite-agents"
_WRAPPER = """\
#!/bin/sh
{ours}
PATH={bin}:$PATH exec {bin}/{name} "$@"
"""


def listed() -> int:
    """Each, and whether it is here."""
    for name, package in sorted(AGENTS.items()):
        is_here = os.path.exists(os.path.join(PLACE, "node_modules", ".bin", name))
        print(f"{name:<10} {'installed' if is_here else '-':<10} {package}")
    return 0


def install(names: Sequence[str]) -> int:
    """The exit status of what failed first, else 0. One that is here becomes the newest."""
    unknown = [name for name in names if name not in AGENTS]
    if unknown:
        print(f"sprite-agents: {', '.join(unknown)}: none of {', '.join(sorted(AGENTS))}", file=sys.stderr)
        return 2
    if shutil.which("npm") is None:
        print("sprite-agents: there is no npm here: sudo apt install npm", file=sys.stderr)
        return 1
    if taken := [name for name in names if not _is_ours(name)]:
        print(f"sprite-agents: {COMMANDS}/{taken[0]} is somebody else's; remove it first", file=sys.stderr)
        return 1
    os.makedirs(PLACE, exist_ok=True)
    # Its Node first: with that the agents are installed, and run.
    for packages in ([NODE], [f"{AGENTS[name]}@latest" for name in names]):
        if code := _npm(packages):
            return code
    for name in names:
        _wrap(name)
    return 0


def _npm(packages: Sequence[str]) -> int:
    bin = os.path.join(PLACE, "node_modules", ".bin")
    environment = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}"}
    command = ["npm", "install", "--prefix", PLACE, "--no-audit", "--no-fund", "--loglevel=error", *packages]
    return subprocess.run(command, env=environment, check=False).returncode


def _is_ours(name: str) -> bool:
    """Whether that command may be written: it is not there, or was made here."""
    try:
        with open(os.path.join(COMMANDS, name), "rb") as file:
            return _OURS.encode() in file.read(200)
    except FileNotFoundError:
        return True


def _wrap(name: str) -> None:
    path = os.path.join(COMMANDS, name)
    text = _WRAPPER.format(ours=_OURS, bin=os.path.join(PLACE, "node_modules", ".bin"), name=name)
    with open(f"{path}.new", "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    os.replace(f"{path}.new", path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="sprite-agents", description="coding agents from npm, for this sprite")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="those that there are, and which of them are here")
    verbs.add_parser("install", help="or bring to the newest").add_argument("name", nargs="+")
    said = parser.parse_args()
    if said.verb == "list":
        return listed()
    if os.geteuid() and not os.access(os.path.dirname(PLACE), os.W_OK):
        os.execvp("sudo", ["sudo", "-E", sys.executable, "-I", os.path.abspath(__file__), "install", *said.name])
    return install(said.name)


if __name__ == "__main__":
    sys.exit(main())
