"""The user's Debian as a tar file: what a sprite's disk holds when it is new.

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
from pathlib import Path
from typing import Literal, get_args

from . import cache as artefacts
from . import data, debian, digest, sources, tools

Variant = Literal["minimal", "standard"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)

_SPRITE_UID = 1000
_SUBORDINATE = {"MIN": 10_000, "COUNT": 5_000}
_SPRITE_SUBORDINATE_COUNT = 40_000
_OVERLAY = ("world", "overlay")
_TIMEOUT_S = 600.0
_TAR = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sort=name", "--one-file-system")
# Modes that git does not keep.
_MODES = {"etc/sudoers.d/sprite": "0440"}


def ensure_world_tar(cache: str = artefacts.DEFAULT, variant: Variant = "minimal") -> str:
    """The tar file (uncompressed, numeric owners, extended attributes, no device nodes) of a variant."""
    archive = sources.machine_sources(data.release())
    recipe = _recipe(variant, sources.render(archive, signed=False))
    overlay = [(name, Path(file).read_bytes()) for name, file in data.tree(data.path(*_OVERLAY))]
    # Where this checkout lies is not part of what is built.
    name = digest.digest([("recipe", recipe.describe().replace(data.path(*_OVERLAY), "overlay")), *overlay])

    def build(target: str) -> None:
        root = f"{target}.root"
        artefacts.remove(root)
        try:
            debian.bootstrap(recipe, root, archive)
            tools.run(["tar", *_TAR, "--directory", root, "--create", "--file", target, "."], timeout_s=_TIMEOUT_S)
        finally:
            artefacts.remove(root)

    return artefacts.ensure(cache, f"world-{variant}", name, build, suffix=".tar")


def _recipe(variant: Variant, archive: str) -> debian.Recipe:
    """`archive` is what apt inside reads: the archive that the image came from."""
    packages = data.words("world", "minimal.packages")
    if variant == "standard":
        packages += data.words("world", "standard.packages")
    return debian.Recipe(
        data.release(), packages, variant="minbase", manuals=variant == "standard", hooks=tuple(_hooks(archive))
    )


def _hooks(archive: str) -> list[str]:
    overlay = data.path(*_OVERLAY)
    return [
        f'cp --recursive --no-preserve=mode,ownership {shlex.quote(overlay)}/. "$1/"',
        *(f'chmod {mode} "$1/{path}"' for path, mode in _MODES.items()),
        f'printf %s {shlex.quote(archive)} > "$1/etc/apt/sources.list.d/debian.sources"',
        f'sed -i -E {shlex.quote(_login_defs())} "$1/etc/login.defs"',
        f'chroot "$1" useradd --create-home --uid {_SPRITE_UID} --user-group --shell /bin/bash '
        f"-K SUB_UID_COUNT={_SPRITE_SUBORDINATE_COUNT} -K SUB_GID_COUNT={_SPRITE_SUBORDINATE_COUNT} sprite",
        # The machine binds its own things here; it has to exist on a disk that was never mounted before.
        'mkdir -p "$1/.sprite"',
        'rm -rf "$1"/var/log/apt "$1"/var/log/dpkg.log "$1"/var/log/bootstrap.log',
    ]


def _login_defs() -> str:
    """An edit for sed(1) of what useradd(8) gives to whom it makes."""
    return "; ".join(rf"s/^#?(SUB_[UG]ID_{key})\s.*/\1 {value}/" for key, value in _SUBORDINATE.items())
