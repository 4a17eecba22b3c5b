"""A Debian file system from package names, by mmdebstrap.

It must leave nothing on the host: mmdebstrap runs in a mount namespace of its own, so its mounts die with it. What the
machine's own network configuration would put into the result (host name, resolver) is replaced.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from .. import errors
from . import cache, sources, tools

# A build must not depend on who runs it: a fixed path, no locale.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
_TIMEOUT_S = 1800.0
_UNWANTED = ("/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/lintian/*")
_MANUALS = "/usr/share/man/*"
_WANTED = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")
# In every image: nothing of the build machine's identity, nothing that starts services while packages are installed.
_HOOKS = (
    'printf localhost > "$1/etc/hostname"',
    'printf "127.0.0.1\\tlocalhost\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n" > "$1/etc/hosts"',
    ': > "$1/etc/resolv.conf"',
    'chmod 644 "$1/etc/hostname" "$1/etc/resolv.conf"',
    'rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*',
)


@dataclass(frozen=True)
class Recipe:
    """What decides the content of a Debian; `hooks` are shell commands that get the root directory as $1."""

    release: str
    packages: tuple[str, ...]
    variant: str = "essential"
    manuals: bool = False
    hooks: tuple[str, ...] = ()

    def describe(self) -> str:
        """All of it as text: the input of a digest."""
        filters = (*_UNWANTED, *_WANTED, str(self.manuals))
        return "\n".join((self.release, self.variant, *self.packages, *filters, *_HOOKS, *self.hooks))


def bootstrap(recipe: Recipe, target: str, archive: Sequence[sources.Source]) -> None:
    """Make the directory `target`, with an empty /dev; needs root."""
    if os.geteuid() != 0:
        raise errors.HostError("build a Debian root: not root", hint="run as root")
    with tempfile.NamedTemporaryFile("w", suffix=".sources") as listed:
        listed.write(sources.render(tuple(archive)))
        listed.flush()
        command = ["unshare", "--mount", "--propagation", "private", "mmdebstrap", "--quiet", "--mode=root"]
        command += ["--format=directory", *_options(recipe), recipe.release, target, listed.name]
        environment = ENVIRONMENT | {
            name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")
        }
        tools.run(command, timeout_s=_TIMEOUT_S, environment=environment)
    # mmdebstrap's device nodes: whoever runs this file system brings its own /dev.
    for entry in os.scandir(os.path.join(target, "dev")):
        cache.remove(entry.path)


def _options(recipe: Recipe) -> list[str]:
    unwanted = _UNWANTED if recipe.manuals else (*_UNWANTED, _MANUALS)
    filters = [f"--dpkgopt=path-exclude={pattern}" for pattern in unwanted]
    filters += [f"--dpkgopt=path-include={pattern}" for pattern in _WANTED]
    hooks = [f"--customize-hook={hook}" for hook in (*_HOOKS, *recipe.hooks)]
    return [f"--variant={recipe.variant}", f"--include={','.join(recipe.packages)}", *filters, *hooks]
