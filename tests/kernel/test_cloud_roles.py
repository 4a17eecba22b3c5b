"""boto3 with its default credential chain, as it is, in a sprite and in a Machine's container: no key is anywhere, and
AWS (moto, behind an STS that verifies by our published keys) believes who it is."""

from __future__ import annotations

import io
import json
import pathlib
import socket
import tarfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import flyapi, images, lookfor, pythonimage, sts
from tests.support import internet as nets
from tests.support.internet import PORT, WEB, Internet
from tests.support.layers import Item, tar
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space", "veth", "nft")

WAIT_S = 240  # emulated processors take long to begin
ROLE = "arn:aws:iam::123456789012:role/reader"
ENVIRONMENT = {
    "AWS_ROLE_ARN": ROLE, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{WEB}:{PORT}",
}  # fmt: skip
PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
# The first process of a container asks at once: what it looks for has to be there before it.
PROGRAM = """\
import boto3, json
who = boto3.client("sts").get_caller_identity()["Arn"]
s3 = boto3.client("s3")
s3.create_bucket(Bucket="bucket")
s3.put_object(Bucket="bucket", Key="k", Body=b"hello")
print(json.dumps({"who": who, "read": s3.get_object(Bucket="bucket", Key="k")["Body"].read().decode()}), flush=True)
"""
FIRST = [
    "sh", "-c",
    'trap "exit 0" INT; python3 -c "$0" > /tmp/new 2>&1; mv /tmp/new /tmp/said; while :; do sleep 0.1; done',
]  # fmt: skip


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        yield made


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory, internet: Internet) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path_factory.mktemp("roles") / "state")
    daemon.extra = ("--oidc-issuer", f"{daemon.url}/oidc", "--resolver", nets.DNS)
    with daemon.running():
        yield daemon


@pytest.fixture(scope="module")
def aws(pilotd: Pilotd, internet: Internet) -> Iterator[sts.Aws]:
    made = sts.Aws(f"{pilotd.url}/oidc/local", "")
    with sts.serving(made, internet.bound(socket.SOCK_STREAM, WEB, PORT)):
        yield made


def _wanted(path: str) -> bool:
    """Of botocore's descriptions of all of AWS those of two services."""
    parts = path.split("/")
    return parts[:2] != ["botocore", "data"] or len(parts) == 3 or parts[2] in ("sts", "s3")


def _site() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for path, data in pythonimage.packages(*PACKAGES, wanted=_wanted):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_in_a_sprite(pilotd: Pilotd, aws: sts.Aws) -> None:
    aws.subject = "local:_sprites:reads"
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    body = {"name": "reads", "environment": ENVIRONMENT}
    assert httpx.post(f"{pilotd.url}/v1/sprites", json=body, headers=headers, timeout=WAIT_S).status_code == 201
    with pilotd.client() as client:
        sprite = client.sprite("reads")
        place = {"path": "/home/sprite/site.tar.gz"}
        write = f"{pilotd.url}/v1/sprites/reads/fs/write"
        written = httpx.put(write, params=place, content=_site(), headers=headers, timeout=WAIT_S)
        assert written.status_code == 200, written.text
        sprite.run("sh", "-c", "mkdir site && tar xzf site.tar.gz -C site", check=True)
        done = sprite.run("env", "PYTHONPATH=site", "python3", "-c", PROGRAM, capture_output=True)
        assert done.returncode == 0, (done.stderr, aws.refused)
        assert json.loads(done.stdout) == {
            "who": "arn:aws:sts::123456789012:assumed-role/reader/reads", "read": "hello",
        }  # fmt: skip
        listed = sprite.run("sh", "-c", "env; cat /.fly/oidc_token", capture_output=True).stdout.decode()
        assert "AWS_WEB_IDENTITY_TOKEN_FILE=/.fly/oidc_token" in listed
        assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & {each.partition("=")[0] for each in listed.split()}
        assert aws.believed[-1]["sub"] == aws.subject
        assert found_inside(pilotd, sprite, aws) == []
        sprite.destroy()


def found_inside(pilotd: Pilotd, sprite: Any, aws: sts.Aws) -> list[str]:
    """Where root of the sprite finds a key: of ours, of AWS's for whom it was lent, or any private one."""
    assert aws.secrets
    # The environment has the role; a file has what may be had for it, for ten minutes, which is no key.
    texts = ("fm2_", lookfor.PRIVATE_KEY, pilotd.token().rpartition("/")[2], *aws.secrets, f"AWS_ROLE_ARN={ROLE}")
    done = sprite.run("sudo", "--preserve-env=AWS_ROLE_ARN", *lookfor.command(*texts), capture_output=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return lookfor.found(done.stdout.decode(), texts[-1])


def test_in_a_machines_container(pilotd: Pilotd, aws: sts.Aws, tmp_path: pathlib.Path) -> None:
    """As its first process, of a user who is not root."""
    packages = pythonimage.packages(*PACKAGES, wanted=_wanted)
    site = [Item(f"{pythonimage.SITE}/{path}", data=data) for path, data in packages]
    config = {"Cmd": [*FIRST, PROGRAM], "User": "app"}
    layers = [images.busybox_layer(), pythonimage.layer(), tar(*site)]
    layout = images.make_layout(tmp_path / "image", layers, config)
    with images.serve(layout) as served, flyapi.app(pilotd, "roles") as fly:
        aws.subject = "local:roles:worker"
        id = fly.create({"image": f"{served.domain}/boto:1", "env": ENVIRONMENT}, name="worker")["id"]
        said = _said(fly, id)
        assert json.loads(said) == {
            "who": f"arn:aws:sts::123456789012:assumed-role/reader/{id}", "read": "hello",
        }, aws.refused  # fmt: skip
        aws.subject = "local:roles:another"
        assert fly.run(id, "python3", "-c", PROGRAM)[0] == 1, "of another machine nothing is believed"
        assert aws.refused
        fly.call("DELETE", f"/{id}?force=true")
        fly.wait(id, "destroyed")


def _said(fly: flyapi.Fly, id: str) -> str:
    """What its first process has written, when it has."""
    nets.wait_until(lambda: fly.run(id, "test", "-s", "/tmp/said")[0] == 0, "the first process has said it", WAIT_S)
    return fly.run(id, "cat", "/tmp/said")[1]
