"""What the standard image promises (docs/reference/images.md), in a fresh sprite. `make outside-tests`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.pilotd import Pilotd

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside"),
    pytest.mark.timeout(900),  # the disk of the image is made first
]

# What says its version otherwise than by `--version`.
OTHERWISE = {
    "cron": "test -x $(command -v cron)",
    "go": "go version",
    "gofmt": "echo 'package main' | gofmt",
    "ksh": "ksh -c 'echo $KSH_VERSION'",
    "lsof": "lsof -v",
    "netcat": "netcat -h",
    "socat": "socat -V",
    "ssh": "ssh -V",
    "sshd": "test -x $(command -v sshd)",
    "tmux": "tmux -V",
    "unzip": "unzip -v",
    "venv": "python3 -m venv --help",
    "zip": "zip -v",
}
PROGRAMS = (
    "bash fish ksh tcsh zsh tmux less tree file htop man fzf batcat fdfind rg jq lsof",
    "vim nano nvim emacs",
    "git git-lfs gh gcc g++ make cmake ninja autoconf automake bison flex gdb strace shellcheck pkg-config",
    "python python3 pip venv uv uvx node npm npx go gofmt rustc cargo rustfmt cargo-clippy ruby gem bundle java javac",
    "sqlite3 psql redis-cli",
    "curl wget rsync socat netcat ssh gpg",
    "bzip2 unzip xz zip zstd",
    "docker dockerd docker-compose podman buildah skopeo crun runc fuse-overlayfs slirp4netns iptables nft",
    "sudo cron sshd",
)
WAYS = {
    "a command": ["bash", "-c"],
    "a login": ["bash", "-lc"],
    "sudo": ["sudo", "bash", "-c"],
}
HELLOS = {
    "c": "echo 'int puts(const char *); int main() { puts(\"hello\"); }' >h.c && gcc -w -o h h.c && ./h",
    "go": 'echo \'package main; import "fmt"; func main() { fmt.Println("hello") }\' >h.go && go run h.go',
    "java": "echo 'class H { public static void main(String[] a) { System.out.println(\"hello\"); } }' >H.java"
    " && javac H.java && java H",
    "node": "node -p '\"hello\"'",
    "ruby": "ruby -e 'puts \"hello\"'",
    "rust": "cargo init -q --vcs none --name h && cargo run -q | sed 's/Hello, world!/hello/'",
    "uv": "uv venv -q e && e/bin/python -c 'print(\"hello\")'",
    "venv": "python3 -m venv e && e/bin/pip --version >&2 && e/bin/python -c 'print(\"hello\")'",
}
KEYS = "/etc/ssh/ssh_host_*"


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("standard")
        yield made
        made.destroy()


def _says(sprite: Any, *command: str) -> str:
    done = sprite.run(*command, capture_output=True, timeout=300)
    said = bytes(done.stdout).decode(errors="replace")
    assert done.returncode == 0, f"{command}: {done.returncode}: {said}{done.stderr.decode(errors='replace')}"
    return said


@pytest.mark.parametrize("way", WAYS)
def test_every_program_is_found_and_starts(sprite: Any, way: str) -> None:
    asked = {name: OTHERWISE.get(name, f"{name} --version") for name in " ".join(PROGRAMS).split()}
    script = "\n".join(f"({command}) </dev/null >/dev/null 2>&1 || echo {name}" for name, command in asked.items())
    assert _says(sprite, *WAYS[way], script).split() == []


@pytest.mark.parametrize("language", HELLOS)
def test_a_program_is_made_and_run(sprite: Any, language: str) -> None:
    assert _says(sprite, "bash", "-c", f"cd $(mktemp -d) && {HELLOS[language]}") == "hello\n"


def test_node_is_that_of_npm_and_what_is_global_is_found(sprite: Any) -> None:
    assert _says(sprite, "node", "--version").startswith("v24.")
    script = (
        'cd $(mktemp -d) && echo \'{"name": "hi", "version": "1.0.0", "bin": "hi"}\' >package.json'
        " && printf '#!/bin/sh\\necho hi\\n' >hi && sudo npm install -g --silent --offline . >&2 && hi"
    )
    assert _says(sprite, "bash", "-c", script) == "hi\n"


def test_languages_and_manuals_are_there(sprite: Any) -> None:
    assert {"C.utf8", "en_US.utf8"} <= set(_says(sprite, "locale", "-a").split())
    assert _says(sprite, "bash", "-c", "LC_ALL=en_US.UTF-8 date +%A 2>&1").strip().endswith("day")
    for page in ("ls", "2 open", "rustc", "podman"):
        assert "/man" in _says(sprite, "man", "-w", *page.split())


def test_servers_are_off_until_they_are_started(sprite: Any) -> None:
    """And each sprite's sshd has keys of its own: none is in the image."""
    assert sprite.run("pgrep", "-x", "cron|sshd|dockerd|containerd", capture_output=True).returncode == 1
    assert _says(sprite, "bash", "-c", f"compgen -G '{KEYS}' || true") == ""
    _says(sprite, "sudo", "service", "ssh", "start")
    assert "ed25519" in _says(sprite, "bash", "-c", f"ls {KEYS}")
    script = (
        "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519 && cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys"
        " && ssh -o StrictHostKeyChecking=accept-new localhost 'printenv PATH; ulimit -n'"
    )
    _is_as_a_command(sprite, _says(sprite, "bash", "-c", f"mkdir -pm700 ~/.ssh && {script}"))


def test_cron_starts_what_a_command_would_be(sprite: Any) -> None:
    """By /etc/crontab: those of users begin with cron's own PATH, which nothing else sets."""
    job = "* * * * * sprite (printenv PATH; ulimit -n) >/tmp/new && mv /tmp/new /tmp/cron"
    _says(sprite, "sudo", "bash", "-c", f"echo '{job}' >>/etc/crontab && service cron start")
    _is_as_a_command(sprite, _says(sprite, "bash", "-c", "until cat /tmp/cron 2>/dev/null; do sleep 1; done"))


def _is_as_a_command(sprite: Any, said: str) -> None:
    path, files = said.split()
    assert [set(path.split(":")), files] == [
        set(_says(sprite, "printenv", "PATH").strip().split(":")),
        _says(sprite, "bash", "-c", "ulimit -n").strip(),
    ]
