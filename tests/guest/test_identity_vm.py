"""Who a virtual machine is, as it says to others, and what is in it: tests of `tests/kernel` in machines of their own
kernel, and what root of such a machine finds beside the agent."""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.kernel import test_cloud_roles as roles
from tests.kernel import test_identity as identity
from tests.kernel import test_locked_mounts as locked
from tests.support import flyapi, images, lookfor, pythonimage
from tests.support import internet as nets
from tests.support.pilotd import Pilotd

from pilot.conformance.subject import Subject
from pilot.wire import exec_frames, operations, websocket

pytestmark = [
    pytest.mark.requires(
        "root", "private", "busybox", "qemu", "mmdebstrap", "fuse", "space", "veth", "nft", "tun", "vm-tests"
    ),
    pytest.mark.timeout(1200),
]

internet, aws = roles.internet, roles.aws
test_a_sprite_says_who_it_is = identity.test_a_sprite_says_who_it_is
test_a_machine_says_who_it_is = identity.test_a_machine_says_who_it_is
test_a_machine_takes_a_snapshot_of_its_volume_by_itself = (
    identity.test_a_machine_takes_a_snapshot_of_its_volume_by_itself
)
test_boto3_in_a_sprite = roles.test_in_a_sprite
test_boto3_in_a_machines_container = roles.test_in_a_machines_container
test_nothing_shown_is_written_in_a_sprite = locked.test_in_a_sprite
test_nothing_shown_is_written_in_a_machines_container = locked.test_in_a_machines_container

# All macaroons in the memory of the process that has them.
_TAKE = """\
import re, sys
pid = sys.argv[1]
found = set()
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in maps:
        first, _, last = line.split()[0].partition("-")
        if line.split()[1].startswith("r") and "[v" not in line:
            memory.seek(int(first, 16))
            found |= set(re.findall(rb"fm2_[A-Za-z0-9+/_=-]{40,}", memory.read(int(last, 16) - int(first, 16))))
print(*(each.decode() for each in found), sep="\\n")
"""

_AGENT = """\
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    words = open(f"/proc/{pid}/cmdline").read().split("\\0")
    if open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1] == "1" and "/usr/lib/pilot" in words:
        print(pid)
"""


@pytest.fixture(scope="module")
def pilotd(internet: nets.Internet) -> Iterator[Pilotd]:
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as directory:
        daemon = Pilotd(Path(directory, "s"), isolation="vm")
        daemon.stop_machines_on_exit = True
        daemon.extra = ("--oidc-issuer", f"{daemon.url}/oidc", "--resolver", nets.DNS)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


def beside(pilotd: Pilotd, machine: str, *command: str) -> str:
    """What root of the machine says, in the machine's own namespaces: whom root of a world can become there."""
    subject = Subject(str(pilotd.state / "machines" / machine / "dial.sock"), 300.0, "identity")
    said = b""
    with subject.open(operations.OPEN_MACHINE_SESSION, [("cmd", word) for word in command]) as socket:
        while not isinstance(frame := socket.receive(), websocket.Closed):
            if isinstance(frame, bytes) and frame[:1] == bytes([exec_frames.Stream.STDOUT]):
                said += frame[1:]
    return said.decode()


def agent(pilotd: Pilotd, machine: str) -> str:
    """The number of its process, a child of init's."""
    (pid,) = beside(pilotd, machine, "python3", "-c", _AGENT).split()
    return pid


def test_root_of_the_machine_finds_its_own_token_and_nothing_else(pilotd: Pilotd, tmp_path: Path) -> None:
    """Beside the agent. That token is of no use anywhere else."""
    made = images.make_layout(
        tmp_path / "image", [images.busybox_layer(), pythonimage.layer()], {"Cmd": ["sleep", "9999"]}
    )
    with images.serve(made) as served, flyapi.app(pilotd, "beside") as fly:
        id = fly.create({"image": f"{served.domain}/python:1"})["id"]
        key = secrets.token_hex(16)
        value = base64.b64encode(key.encode()).decode()
        wanted = {"type": "xaes256gcm", "value": value}
        assert fly.raw("POST", "/v1/apps/beside/secretkeys/orders", wanted).status_code == 201
        own = f"/v1/apps/beside/machines/{id}/metadata"
        asked = fly.run(id, "python3", "-c", identity._ASK, "/.fly/api", "GET", own, "")
        assert asked[1].startswith("200 "), asked
        texts = ("fm2_", lookfor.PRIVATE_KEY, pilotd.token().rpartition("/")[2], key, value, f"FLY_MACHINE_ID={id}")
        found = lookfor.found(beside(pilotd, id, *lookfor.command(*texts)), texts[-1])
        found = [each for each in found if not each.startswith("/usr/lib/pilot/")]  # our own source has the word
        pid = agent(pilotd, id)
        assert set(found) == {f"{pid} memory {'fm2_'[::-1]}"}
        tokens = beside(pilotd, id, "python3", "-c", _TAKE, pid).split()
        assert tokens
        for token in tokens:
            for scheme in ("Bearer", "FlyV1"):
                headers = {"Authorization": f"{scheme} {token}"}
                answer = httpx.get(f"{pilotd.url}{own}", headers=headers, timeout=60)
                assert answer.status_code == 401, answer.text
        fly.call("DELETE", f"/{id}?force=true")
        fly.wait(id, "destroyed")


def claims(token: str) -> Mapping[str, Any]:
    body = token.split(".")[1]
    read: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return read


def test_a_token_in_a_file_is_another_one_when_the_clock_has_moved(pilotd: Pilotd) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    body = {"name": "later", "environment": roles.ENVIRONMENT}
    made = httpx.post(f"{pilotd.url}/v1/sprites", json=body, headers=headers, timeout=300)
    assert made.status_code == 201, made.text
    with pilotd.client() as client:
        sprite = client.sprite("later")

        def token() -> str:
            return str(sprite.run("cat", "/.fly/oidc_token", capture_output=True, check=True).stdout.decode())

        first = token()
        assert identity.believed(first, f"{pilotd.url}/oidc/local")["sub"] == "local:_sprites:later"
        told = json.loads(sprite.run("/.sprite/bin/sprite-env", "curl", "/v1/self", capture_output=True).stdout)
        beside(pilotd, told["machine"], "sh", "-c", "date -s @$(($(date +%s) + 60))")
        nets.wait_until(lambda: token() != first, "there is another token", 120)
        second = claims(token())
        assert second["jti"] != claims(first)["jti"]
        assert identity.believed(token(), f"{pilotd.url}/oidc/local")["sub"] == "local:_sprites:later"
        sprite.destroy()
