"""A container in a container, as a sprite has it: the machine's runtime, unprivileged on the host, makes the world."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from tests.support import bundles
from tests.support.bundles import Config

import pilot
from pilot.runtime import Runtime, Stdio
from pilot.spec import capability_names

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")

# Runs inside the machine as its first process; prints one line per fact.
_INSIDE = """
import json, os, shutil, sys
from pilot.kernel import cgroups, hierarchies
from pilot.runtime import Runtime, Stdio, Terminal
from pilot.spec import parse
from tests.support import bundles
from pathlib import Path

cgroups.vacate(hierarchies.probe_hierarchies())  # as the agent does
runtime = Runtime("/run/pilot")
bundle = bundles.make_bundle(Path("/run/world"))
os.chown("/run/world/rootfs/tmp", 1000, 1000)
config = bundles.make_config("sleep", "1000", rlimits=[])
config["linux"]["namespaces"] = [{"type": kind} for kind in ("user", "pid", "mount", "ipc", "uts", "cgroup")]
same = [{"containerID": 0, "hostID": 0, "size": 65536}]
config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = same
config["linux"]["resources"] = {"pids": {"limit": 20}}
created = bundles.create(runtime, bundle, config, "world")
world = created.container
world.start()
print("status", world.status().value)
script = "echo map $(cat /proc/self/uid_map); echo net $(ls /sys/class/net); touch /tmp/x && stat -c 'owner %u' /tmp/x"
process = parse.parse_process(json.dumps({
    "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1000, "gid": 1000}}))
sys.stdout.flush()
print("exec", runtime.wait(world.exec(process, Stdio(None, 1, 2)), 20).exit_code())
shell = world.exec(process, Stdio(), terminal=Terminal(24, 80))
print("terminal", runtime.wait(shell, 20).exit_code(), b"map 0 0 65536" in bundles.read_terminal(shell.master_fd))
world.pause()
print("status", world.status().value)
world.resume()
world.delete(force=True)
print("killed", runtime.wait(created.process, 20).signal)
print("left", runtime.list(), [path for path, _, _ in os.walk("/sys/fs/cgroup") if path.endswith("world")])
"""


def _machine_config() -> Config:
    """A machine as `host.vmm.container` makes it, with this test's Python in place of the guest's."""
    capabilities = {name: list(capability_names.CAPABILITIES) for name in ("bounding", "effective", "permitted")}
    config = bundles.with_user_namespace(
        bundles.make_config(
            "/usr/bin/python3", "-c", _INSIDE, noNewPrivileges=False, rlimits=[], capabilities=capabilities,
            env=["PYTHONPATH=/opt/src:/opt/tests:/opt/site", "PATH=/usr/bin", "PYTHONDONTWRITEBYTECODE=1"],
        )
    )  # fmt: skip
    config["root"]["readonly"] = True
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    sources = Path(pilot.__file__).parents[1]
    binds = {
        "/usr": "/usr",
        "/bin/busybox": "/bin/busybox",
        "/opt/src": str(sources),
        "/opt/site": str(Path(msgspec.__file__).parents[1]),
        "/opt/tests/tests": str(Path(__file__).parents[1]),
    }
    for mount in config["mounts"]:
        mount["options"] = [
            option for option in mount.get("options", []) if mount["type"] != "cgroup" or option != "ro"
        ]
    config["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "run", "options": ["mode=755"]})
    for destination, source in binds.items():
        config["mounts"].append(
            {"destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"]}
        )
    return config


def _make_rootfs(path: Path) -> None:
    for name in ("usr", "proc", "sys", "dev", "run", "tmp", "etc", "bin", "opt/src", "opt/site", "opt/tests/tests"):
        (path / name).mkdir(parents=True)
    (path / "bin/busybox").touch()
    for name in ("lib", "lib64"):
        (path / name).symlink_to(f"usr/{name}")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="binds the host's /usr/bin/python3")
def test_a_world_inside_a_machine(runtime: Runtime, tmp_path: Path) -> None:
    _make_rootfs(tmp_path / "machine/rootfs")
    with open(tmp_path / "output", "w+") as output:
        created = bundles.create(
            runtime, tmp_path / "machine", _machine_config(), "machine",
            stdio=Stdio(None, output.fileno(), output.fileno()), idmap_root=True,
        )  # fmt: skip
        created.container.cgroup.delegate(100000, 100000)
        created.container.start()
        status = runtime.wait(created.process, 60)
        output.seek(0)
        text = output.read()
    assert status.exit_code() == 0, text
    assert text.splitlines() == [
        "status running",
        "map 0 0 65536",
        "net lo",
        "owner 1000",
        "exec 0",
        "terminal 0 True",
        "status paused",
        "killed 9",
        "left [] []",
    ]
