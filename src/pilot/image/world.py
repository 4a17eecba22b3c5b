"""The user's Debian as a tar file: what a sprite's disk holds when it is new.

Three layers, so that what is often changed costs a copy and not a bootstrap:

    debian-<variant>-<digest>/    Debian's packages alone
    programs-<digest>/            `standard` only: what comes from npm and PyPI (programs.py)
    world-<variant>-<digest>.tar  both, the overlay, and what `_hooks` do

`minimal` is a shell, Python and an apt that works; `standard` is a developer's machine. Both have the user `sprite`
(1000) with sudo, the directory /.sprite for the machine's gifts, and no trace of the machine that built them.

A sprite's user namespace has the ids 0..65535 only. Debian gives users 65536 subordinate ids from 100000 on, which no
newuidmap(1) could map there; they are given some that there are:

    10000..49999   sprite
    50000..        5000 for each user that useradd(8) makes later: three fit below `nobody` (65534). SUB_UID_MAX stays
                   what it was, as useradd fails where it finds no range: users beyond have one that maps nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from . import cache as artefacts
from . import data, debian, digest, programs, sources, tools

Variant = Literal["minimal", "standard"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)

_SPRITE_UID = 1000
_SUBORDINATE = {"MIN": 10_000, "COUNT": 5_000}
_SPRITE_SUBORDINATE_COUNT = 40_000
_OVERLAYS: dict[Variant, tuple[str, ...]] = {"minimal": ("overlay",), "standard": ("overlay", "standard-overlay")}
_TIMEOUT_S = 600.0
_TAR = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sort=name", "--one-file-system")
# Modes that git does not keep.
_MODES = {"etc/sudoers.d/sprite": "0440"}
_STANDARD_HOOKS = (
    'chroot "$1" locale-gen',
    'rm "$1"/etc/ssh/ssh_host_*',
    'sed -i "s|^PATH=.*|&:/.sprite/bin|" "$1/etc/crontab"',
)


def ensure_world_tar(cache: str = artefacts.DEFAULT, variant: Variant = "minimal") -> str:
    """The tar file (uncompressed, numeric owners, extended attributes, no device nodes) of a variant."""
    debian_digest, base = _ensure_debian(cache, variant)
    archive = sources.render(sources.machine_sources(data.release()), signed=False)
    hooks = _hooks(archive, variant)
    overlays = [data.path("world", name) for name in _OVERLAYS[variant]]
    parts: list[tuple[str, str | bytes]] = [("debian", debian_digest), ("hooks", "\n".join(hooks))]
    parts += [(name, Path(file).read_bytes()) for overlay in overlays for name, file in data.tree(overlay)]
    added = None
    if variant == "standard":
        programs_digest, added = programs.ensure_programs(cache)
        parts.append(("programs", programs_digest))

    def build(target: str) -> None:
        root = f"{target}.root"
        artefacts.remove(root)
        try:
            _assemble(root, base, added, overlays, hooks)
            tools.run(["tar", *_TAR, "--directory", root, "--create", "--file", target, "."], timeout_s=_TIMEOUT_S)
        finally:
            artefacts.remove(root)

    return artefacts.ensure(cache, f"world-{variant}", digest.digest(parts), build, suffix=".tar")


def _ensure_debian(cache: str, variant: Variant) -> tuple[str, str]:
    packages = data.words("world", "minimal.packages")
    if variant == "standard":
        packages += data.words("world", "standard.packages")
    recipe = debian.Recipe(data.release(), packages, variant="minbase", manuals=variant == "standard")
    archive = sources.machine_sources(recipe.release)
    name = digest.digest([("recipe", recipe.describe()), ("archive", sources.render(archive, signed=False))])

    def build(target: str) -> None:
        debian.bootstrap(recipe, target, archive)

    return name, artefacts.ensure(cache, f"debian-{variant}", name, build)


def _assemble(root: str, base: str, added: str | None, overlays: Sequence[str], hooks: Sequence[str]) -> None:
    """The layers become one root; copied, without links, as programs that run in it write in place."""
    _copy(root, base, "--archive", "--reflink=auto")
    if added is not None:
        _copy(root, f"{added}/.", "--recursive", "--no-dereference")
    for overlay in overlays:
        _copy(root, f"{overlay}/.", "--recursive", "--no-preserve=mode,ownership", "--remove-destination")
    for hook in hooks:
        tools.run(["sh", "-ec", hook, "hook", root], timeout_s=_TIMEOUT_S, environment=debian.ENVIRONMENT)


def _copy(root: str, source: str, *options: str) -> None:
    tools.run(["cp", *options, source, root], timeout_s=_TIMEOUT_S)


def _hooks(archive: str, variant: Variant) -> list[str]:
    """Shell commands that get the root as $1; `archive` is what apt inside reads: where the image came from."""
    common = [
        *(f'chmod {mode} "$1/{path}"' for path, mode in _MODES.items()),
        f'printf %s {shlex.quote(archive)} > "$1/etc/apt/sources.list.d/debian.sources"',
        f'sed -i -E {shlex.quote(_login_defs())} "$1/etc/login.defs"',
        f'chroot "$1" useradd --create-home --uid {_SPRITE_UID} --user-group --shell /bin/bash '
        f"-K SUB_UID_COUNT={_SPRITE_SUBORDINATE_COUNT} -K SUB_GID_COUNT={_SPRITE_SUBORDINATE_COUNT} sprite",
        # The machine binds its own things here; it has to exist on a disk that was never mounted before.
        'mkdir -p "$1/.sprite"',
        'rm -rf "$1"/var/log/apt "$1"/var/log/dpkg.log "$1"/var/log/bootstrap.log',
    ]
    return [*common, *_STANDARD_HOOKS] if variant == "standard" else common


def _login_defs() -> str:
    """An edit for sed(1) of what useradd(8) gives to whom it makes."""
    return "; ".join(rf"s/^#?(SUB_[UG]ID_{key})\s.*/\1 {value}/" for key, value in _SUBORDINATE.items())
