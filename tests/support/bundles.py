"""Bundles for tests: a rootfs of one static busybox, and a config.json to change."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

from pilot.runtime import Runtime, Stdio
from pilot.runtime.runtime import Created
from pilot.spec import defaults, parse
from pilot.spec.config import Spec

APPLETS = (
    "sh",
    "cat",
    "echo",
    "env",
    "id",
    "ls",
    "mount",
    "ps",
    "sleep",
    "stat",
    "stty",
    "test",
    "touch",
    "true",
    "tty",
)
IDENTITY = [{"containerID": 0, "hostID": 100000, "size": 65536}]

Config = dict[str, Any]


def make_rootfs(path: Path) -> Path:
    """A root with busybox at /bin/busybox and links to it; owned by root."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", path / "bin" / "busybox")
    for name in APPLETS:
        (path / "bin" / name).symlink_to("busybox")
    (path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nsome:x:7:8::/home/some:/bin/sh\n")
    return path


def make_bundle(path: Path) -> Path:
    """A bundle directory with a rootfs."""
    path.mkdir(parents=True, exist_ok=True)
    # What is in pytest's directories is for its owner alone; container users have to get there, too.
    for parent in (path, *path.parents):
        if parent != Path(parent.root) and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o111)
    make_rootfs(path / "rootfs")
    return path


def make_config(*args: str, **process: Any) -> Config:
    """The default config without a terminal, running `args`."""
    config: Config = json.loads(json.dumps(defaults.default_config()))
    config["process"].update({"terminal": False, "args": list(args) or ["sleep", "1000"], **process})
    config["root"]["readonly"] = False
    return config


def with_user_namespace(config: Config) -> Config:
    """The same in a new user namespace whose root is uid 100000."""
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = IDENTITY
    return config


def parse_config(config: Config) -> Spec:
    return parse.parse_spec(json.dumps(config))


def read_terminal(master_fd: int) -> bytes:
    """All that was written to a pty whose other end is closed: then reading it gives EIO."""
    found = b""
    while True:
        try:
            found += os.read(master_fd, 4096)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return found


def run_to_end(runtime: Runtime, bundle: Path, config: Config, id: str = "web", **more: Any) -> tuple[int, str]:
    """Create, start, wait, delete; the exit code and what was written to stdout and stderr."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as output:
        try:
            created = create(runtime, bundle, config, id, stdio=Stdio(None, write_fd, write_fd), **more)
        finally:
            os.close(write_fd)
        try:
            created.container.start()
            text = output.read().decode()
            status = runtime.wait(created.process, 60)
        finally:
            created.process.close()
            created.container.delete(force=True)
    return status.exit_code(), text


def create(runtime: Runtime, bundle: Path, config: Config, id: str = "web", **more: Any) -> Created:
    return runtime.create(id, bundle, spec=parse_config(config), **more)
