"""Containers that join a user namespace by its path: every pod whose containers share one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot import errors
from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private", "busybox")

_SCRIPT = "id -u; cat /proc/self/uid_map; touch /tmp/x && echo wrote"


@pytest.fixture
def pod() -> Iterator[int]:
    """A process in new user, network, ipc and uts namespaces, of which the user namespace owns the others."""
    holder = subprocess.Popen(["unshare", "--user", "--net", "--ipc", "--uts", "sleep", "1000"])
    own = os.readlink("/proc/self/ns/uts")
    try:
        while os.readlink(f"/proc/{holder.pid}/ns/uts") == own:
            os.sched_yield()
        for file in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{file}").write_text("0 100000 65536\n")
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


def _joining(pid: int, *kinds: str, mappings: bool = False, **process: object) -> Config:
    config = bundles.make_config("sh", "-c", _SCRIPT, **process)
    del config["hostname"]
    kept = [n for n in config["linux"]["namespaces"] if n["type"] not in kinds]
    names = {"network": "net"}
    joined = [{"type": kind, "path": f"/proc/{pid}/ns/{names.get(kind, kind)}"} for kind in ("user", *kinds)]
    config["linux"]["namespaces"] = kept + joined
    if mappings:
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = bundles.IDENTITY
    return config


@pytest.mark.parametrize("mappings", [False, True])
@pytest.mark.parametrize("kinds", [(), ("network", "ipc", "uts"), ("network",)], ids=["alone", "pod", "network"])
def test_new_mount_namespace_in_a_joined_user_namespace(
    runtime: Runtime, bundle: Path, pod: int, kinds: tuple[str, ...], mappings: bool
) -> None:
    os.chmod(bundle / "rootfs/tmp", 0o1777)
    code, text = bundles.run_to_end(runtime, bundle, _joining(pod, *kinds, mappings=mappings))
    lines = text.splitlines()
    assert (code, lines[0], lines[1].split(), lines[-1]) == (0, "0", ["0", "100000", "65536"], "wrote")


def test_exec_and_terminal_in_a_joined_user_namespace(runtime: Runtime, bundle: Path, pod: int) -> None:
    config = _joining(pod, "network", "ipc", "uts")
    config["process"]["args"] = ["sleep", "1000"]
    container = bundles.create(runtime, bundle, config).container
    container.start()
    assert os.readlink(f"/proc/{container.pid}/ns/user") == os.readlink(f"/proc/{pod}/ns/user")
    assert os.readlink(f"/proc/{container.pid}/ns/mnt") != os.readlink(f"/proc/{pod}/ns/mnt")


@pytest.mark.parametrize("mappings", [False, True])
def test_idmapped_mount_without_a_mapping_of_its_own(runtime: Runtime, bundle: Path, pod: int, mappings: bool) -> None:
    """It takes that of the user namespace that is joined."""
    (bundle / "volume").mkdir()
    (bundle / "volume/file").touch()
    (bundle / "rootfs/volume").mkdir()
    config = _joining(pod, mappings=mappings)
    config["process"]["args"] = ["stat", "-c", "%u", "/volume/file"]
    config["mounts"].append(
        {"destination": "/volume", "type": "bind", "source": "volume", "options": ["bind", "idmap"]}
    )
    assert bundles.run_to_end(runtime, bundle, config) == (0, "0\n")


def test_a_mapping_that_is_not_that_of_the_namespace_is_refused(runtime: Runtime, bundle: Path, pod: int) -> None:
    config = _joining(pod, mappings=True)
    config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    with pytest.raises(errors.SpecError, match="non-matching mapping"):
        bundles.create(runtime, bundle, config)


# ---- device nodes in a new user namespace -----------------------------------------------------------------------


def _with_device(**device: object) -> Config:
    config = bundles.make_config("sh", "-c", "stat -c '%F %t:%T %a %u:%g' /dev/own && dd if=/dev/own bs=1 count=2")
    config["linux"]["devices"] = [{"path": "/dev/own", "type": "c", "major": 1, "minor": 5, **device}]
    config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
    return bundles.with_user_namespace(config)


def test_a_device_of_the_spec_in_a_user_namespace(runtime: Runtime, bundle: Path) -> None:
    """The host need not have it, and it has the mode and owner that are asked for."""
    (bundle / "rootfs/bin/dd").symlink_to("busybox")
    code, text = bundles.run_to_end(runtime, bundle, _with_device(fileMode=0o604, uid=3, gid=4))
    assert (code, text.split("\n")[0]) == (0, "character special file 1:5 604 3:4")
    assert text.split("\n")[1].startswith("\0\0")


def test_the_host_sees_nothing_of_it(runtime: Runtime, bundle: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    bundles.run_to_end(runtime, bundle, _with_device())
    assert Path("/proc/self/mountinfo").read_text() == before
    assert not Path("/dev/own").exists()
