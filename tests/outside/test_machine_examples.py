"""examples/machines.py: nginx of Debian's package in an image by buildah, SQLite, and npm's litestream, unmodified."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.support import clients, flyapi, outside, registry
from tests.support.flyapi import Fly
from tests.support.pilotd import Pilotd
from tests.support.registry import Running

pytestmark = pytest.mark.requires(
    "root", "private", "busybox", "fuse", "loop", "userns", "space", "outside", "buildah", "docker-registry"
)

LITESTREAM = "@flydotio/litestream-linux-x64@1.0.1"


@pytest.fixture(scope="module")
def machines() -> Iterator[Pilotd]:
    with flyapi.serving() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry with the images `nginx`, `sqlite`, `box` and `litestream`."""
    where = tmp_path_factory.mktemp("images")
    packages = where / "packages"
    command = ["nsenter", f"--net={outside.namespace()}", "npm", "install", "--ignore-scripts", "--prefix"]
    subprocess.run([*command, str(packages), LITESTREAM], check=True, capture_output=True, timeout=600)
    [litestream] = packages.glob("node_modules/@flydotio/*/litestream")
    with registry.registry(where / "served") as running:
        _push(where, running, "box", {})
        _push(where, running, "nginx", _with_libraries("nginx") | {"etc/group": "/etc/group"})
        _push(where, running, "sqlite", _with_libraries("sqlite3"))
        _push(where, running, "litestream", {"litestream": str(litestream)})
        yield running


def _with_libraries(program: str) -> dict[str, str]:
    """Where it is in an image, and where it is here: of Debian's package, with the libraries that it wants."""
    found = shutil.which(program)
    assert found is not None, f"{program} is not here: make outside-tests installs it"
    listed = subprocess.run(["ldd", found], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"(?:=> )?(/\S+) \(0x", listed)
    return {path.lstrip("/"): path for path in (found, *libraries)}


def _push(where: pathlib.Path, running: Running, name: str, more: dict[str, str]) -> None:
    """busybox and that, as one layer, by buildah."""
    archive = clients.make_image_tar(where / f"{name}.tar")
    with tarfile.open(archive, "a") as tar:
        for path, origin in more.items():
            tar.add(os.path.realpath(origin), path)
    client = clients.buildah(where / f"by-{name}")
    client.run("from", "--name", name, "scratch")
    client.run("add", name, archive, "/")
    client.run("commit", "--quiet", name, f"localhost/{name}")
    client.run("push", "--quiet", "--tls-verify=false", f"localhost/{name}", f"docker://{running.domain}/{name}:1")


def _run(machines: Pilotd, served: Running, which: str, first: str, second: str) -> str:
    """The example as it is; its Machine."""
    environment = os.environ | {"FLY_API_HOSTNAME": machines.url, "FLY_API_TOKEN": machines.token()}
    images = [f"{served.domain}/{name}:1" for name in (first, second)]
    words = [sys.executable, "-m", "examples.machines", which, *images]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=400)
    assert done.returncode == 0, f"{done.stderr}\n{machines.tail()}"
    return done.stdout.strip()


def test_nginx_in_front(machines: Pilotd, served: Running) -> None:
    """It begins when the program is healthy, and passes on what the proxy sends it; suspended and back as well."""
    id, fly = _run(machines, served, "front", "nginx", "box"), Fly(machines, "front")
    host = {"Host": f"front.localhost:{machines.port}"}
    for _ in range(2):
        answer = httpx.get(f"{machines.url}/cgi-bin/hello", headers=host, timeout=60)
        assert (answer.status_code, answer.text.strip()) == (200, "hello through nginx"), machines.tail()
        fly.call("POST", f"/{id}/suspend")
        fly.wait(id, "suspended")


def test_a_replica_beside_a_database(machines: Pilotd, served: Running) -> None:
    id, fly = _run(machines, served, "replica", "sqlite", "litestream"), Fly(machines, "replica")
    _until(lambda: fly.run(id, "ls", "/data/replica", container="program")[0] == 0)
    assert fly.run(id, "sqlite3", "/data/app.db", "INSERT INTO said VALUES ('kept')", container="program")[0] == 0
    restore = ["sh", "-c", "rm -f /data/back.db; /litestream restore -o /data/back.db file:///data/replica"]
    read = ["sqlite3", "/data/back.db", "SELECT word FROM said"]
    _until(
        lambda: (
            fly.run(id, *restore, container="litestream")[0] == 0
            and fly.run(id, *read, container="program") == (0, "kept\n")
        )
    )


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)
