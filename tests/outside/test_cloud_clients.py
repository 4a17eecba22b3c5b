"""google-auth and azure-identity, unmodified, with what a machine's agent has written; PyJWT and openssl believe
its tokens by discovery alone. They have an environment of their own: `make cloud-clients`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.api.test_identity import ME, machine_row
from tests.support.fake_machine import FakeMachine
from tests.support.host import HostUnderTest
from tests.support.tlssite import Authority

from pilot.agent.identity import clouds
from pilot.host.identity.machine_tokens import MachineTokens
from pilot.host.outward import identity_rows
from pilot.host.outward.sockets import Outward
from pilot.host.store import fly, tokens
from pilot.host.store.fly import App
from pilot.kernel import mounts
from pilot.wire import outward

pytestmark = pytest.mark.requires("root", "private", "outside")

PYTHON = os.path.join(sys.prefix, "clouds/bin/python")
PROGRAM = pathlib.Path(__file__).with_name("cloud_clients.py")
PROVIDER = "projects/1/locations/global/workloadIdentityPools/p/providers/q"
SUBJECT = "acme:shop:web"


class Discovered(HostUnderTest):
    """Its issuer is found where it is served."""

    oidc_path = "/oidc"


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Iterator[FakeMachine]:
    made = FakeMachine(str(tmp_path / "run"))
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: pathlib.Path, machine: FakeMachine) -> Iterator[Discovered]:
    """With the Machine `web` of the app `shop`, which asks it."""
    whole = Discovered(tmp_path / "host")
    owner = tokens.ensure_organisation(whole.database, "acme").id
    with whole.database.transaction() as tx:
        fly.add_app(tx, App("0a" * 8, owner, "shop", "default", 0))
        fly.add(tx, machine_row(ME, "0a" * 8))
    asked = Outward(identity_rows.rows(whole.database, whole.issuer, MachineTokens(whole.roots)))
    asked.ensure(ME, outward.socket_in(machine.paths.outward))
    yield whole
    asked.close()
    whole.close()


def free_port() -> int:
    """Of a network that is this test's alone."""
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        port: int = probing.getsockname()[1]
    return port


def given(machine: FakeMachine, environment: dict[str, str]) -> dict[str, str]:
    """What a process of a container with that environment is given, once it is there."""

    async def write() -> None:
        async with asyncio.timeout(60), machine.agent() as app:
            await app.broker.before_use("app", environment)

    asyncio.run(write())
    return {**environment, **clouds.variables(environment, "web")}


@pytest.mark.parametrize("subject", [SUBJECT, "acme:shop:other"])
def test_both_get_what_their_clouds_give(
    host: Discovered, machine: FakeMachine, tmp_path: pathlib.Path, subject: str
) -> None:
    port, authority = free_port(), Authority(tmp_path)
    authority.context("localhost")
    asked = {
        "GCP_WORKLOAD_IDENTITY_PROVIDER": PROVIDER, "GCP_STS_URL": f"http://127.0.0.1:{port}/v1/token",
        "AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant",
    }  # fmt: skip
    environment = given(machine, asked)
    os.makedirs("/.fly", exist_ok=True)
    mounts.bind(os.path.join(machine.paths.run, "fly/app"), "/.fly")
    try:
        done = subprocess.run(
            [PYTHON, PROGRAM, f"{host.url}/oidc/acme", subject, tmp_path / "localhost.pem"],
            check=False, capture_output=True, text=True, timeout=120,
            env={"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": str(authority.path), "GOOGLE_PORT": str(port),
                 "NO_PROXY": "*", "GOOGLE_CLOUD_PROJECT": "p", **environment},
        )  # fmt: skip
    finally:
        mounts.umount("/.fly", mounts.Unmount.DETACH)
        with contextlib.suppress(OSError):  # somebody else's, too
            os.rmdir("/.fly")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if subject == SUBJECT:
        assert said == {"google": f"for //iam.googleapis.com/{PROVIDER}", "azure": "for client"}
    else:
        assert [each.partition(":")[0] for each in said.values()] == ["refused", "refused"], said
