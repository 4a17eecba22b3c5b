"""The disk that tests in virtual machines boot from: a Debian with Python and systemd, and what starts the tests.

    Debian + /sbin/guest-tests + guest-tests.service      cached by digest, made once, outside of private namespaces:
                                                          python -m tests.support.guestimage [host]

guest-tests mounts the disk with the serial `tests` on /opt and runs /opt/run; systemd starts it when the kernel's
command line has `guest.tests`. Which tests they are is that disk's affair (`guestvm`); nothing here changes with them.
"""

from __future__ import annotations

import shlex
import shutil
import sys

from pilot.image import cache, data, debian, digest, sources, tools

_PACKAGES = (
    "busybox-static",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "libseccomp2",
    "procps",
    "python3",
    "runc",
    "systemd",
    "systemd-sysv",
)
# And what pilotd finds on a host.
_HOST_PACKAGES = ("e2fsprogs", "kmod", "nftables")
_START = r"""#!/bin/sh
# The disk of the tests, found by its serial: there is no udev.
for disk in /sys/block/*; do
  [ "$(cat "$disk/serial" 2>/dev/null)" = tests ] && mount -t erofs -o ro "/dev/${disk##*/}" /opt
done
exec /opt/run
"""
_UNIT = """[Unit]
ConditionKernelCommandLine=guest.tests
After=dbus.socket
[Service]
Type=exec
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/sbin/guest-tests
StandardOutput=journal+console
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""
_COMPILE = (
    "/usr/bin/python3 -BISE -m compileall -q -f --invalidation-mode unchecked-hash -x /lib2to3/ /usr/lib/python3.*"
)
_TIMEOUT_S = 300.0


def _hooks() -> tuple[str, ...]:
    units = "/etc/systemd/system"
    unit = f"{units}/guest-tests.service"
    return (
        f'printf %s {shlex.quote(_START)} > "$1/sbin/guest-tests"; chmod 755 "$1/sbin/guest-tests"',
        f'printf %s {shlex.quote(_UNIT)} > "$1{unit}"',
        f'mkdir -p "$1{units}/multi-user.target.wants"; ln -sf {unit} "$1{units}/multi-user.target.wants/"',
        f'chroot "$1" sh -c "{_COMPILE}"',
    )


def ensure_test_disk(where: str = cache.DEFAULT) -> str:
    """The path of the disk, an erofs image."""
    return _ensure(where, _PACKAGES)


def ensure_host_disk(where: str = cache.DEFAULT) -> str:
    """One with which pilotd itself can be started."""
    return _ensure(where, tuple(sorted((*_PACKAGES, *_HOST_PACKAGES))))


def _ensure(where: str, packages: tuple[str, ...]) -> str:
    recipe = debian.Recipe(data.release(), packages, hooks=_hooks())
    archive = sources.machine_sources(recipe.release)
    name = digest.digest([("recipe", recipe.describe()), ("archive", sources.render(archive, signed=False))])

    def build(target: str) -> None:
        root = f"{target}.root"
        try:
            debian.bootstrap(recipe, root, archive)
            tools.run(["mkfs.erofs", "--quiet", "-T0", target, root], timeout_s=_TIMEOUT_S)
        finally:
            cache.remove(root)

    assert shutil.which("mkfs.erofs")
    return cache.ensure(where, "test", name, build, suffix=".erofs")


if __name__ == "__main__":
    print(ensure_host_disk() if sys.argv[1:] == ["host"] else ensure_test_disk())
