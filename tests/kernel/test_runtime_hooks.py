"""Hooks that change the container's mounts, as injection tools do: they see the bundle and the container's root.

prestart, createRuntime    in the runtime namespace; they enter the container's mount namespace
createContainer            in the container's namespaces, before its root becomes /
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support import bundles

from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private", "busybox")

# The container's filesystems are mounted at the rootfs's own path; what is mounted there is in the container.
_INJECT = """
set -e
test -d {rootfs}/proc/self && test -c {rootfs}/dev/null && test -f {bundle}/tool
touch {rootfs}/usr-lib-tool
mount --bind {bundle}/tool {rootfs}/usr-lib-tool
"""
_ENTER = """
pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
exec nsenter --mount=/proc/$pid/ns/mnt -- sh -e {bundle}/inject
"""


@pytest.fixture
def injector(bundle: Path) -> Path:
    (bundle / "tool").write_text("injected\n")
    places = {"bundle": bundle, "rootfs": bundle / "rootfs"}
    for name, script in (("inject", _INJECT), ("enter", _ENTER)):
        (bundle / name).write_text(script.format(**places))
    return bundle


@pytest.mark.parametrize("user_namespace", [False, True])
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_injects_a_file(runtime: Runtime, injector: Path, kind: str, user_namespace: bool) -> None:
    if user_namespace:
        (injector / "rootfs").chmod(0o777)
    config = bundles.make_config("cat", "/usr-lib-tool")
    script = "inject" if kind == "createContainer" else "enter"
    config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", f"{injector}/{script}"], "env": ["PATH=/usr/bin:/bin"]}]
    }
    if user_namespace:
        config = bundles.with_user_namespace(config)
    before = Path("/proc/self/mountinfo").read_text()
    assert bundles.run_to_end(runtime, injector, config) == (0, "injected\n")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_without_the_permission_to_reach_the_rootfs(runtime: Runtime, bundle: Path) -> None:
    """Then the root tree covers / instead, and the container runs all the same."""
    config = bundles.with_user_namespace(bundles.make_config("sh", "-c", "echo /*"))
    bundle.chmod(0o700)
    os.chown(bundle, 12345, 12345)
    try:
        assert bundles.run_to_end(runtime, bundle, config) == (0, "/bin /dev /etc /proc /sys /tmp\n")
    finally:
        os.chown(bundle, 0, 0)
