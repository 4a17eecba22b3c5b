"""Connectors of an app, with pilotd as a process: curl, git, pip and Python in a Machine's container, of an image that
nobody has prepared for it, use a credential that is nowhere in it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from tests.support import flyapi, images, lookfor, mirror, pythonimage, tlssite
from tests.support import internet as nets
from tests.support.flyapi import Fly
from tests.support.internet import WEB, Internet
from tests.support.layers import Item, tar
from tests.support.pilotd import Pilotd
from tests.support.tlssite import Site

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space", "veth", "nft")

SECRET, PLACEHOLDER = "tok-91c2d7e0b4a85f36", "not-a-secret-at-all"
API, ELSEWHERE = "api.test", "elsewhere.test"
SYSTEM = "etc/ssl/certs/ca-certificates.crt"
PROGRAMS = ("/usr/bin/curl", "/usr/bin/git", "/usr/lib/git-core/git-remote-https")


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        for name in (API, ELSEWHERE):
            made.records[name, "A"] = (60, [WEB])
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tlssite.Authority]:
    """Of the real hosts; pilotd's system believes it, and so does the image's."""
    made = tlssite.Authority(tmp_path_factory.mktemp("authority"))
    os.environ["SSL_CERT_FILE"] = str(made.path)
    yield made
    del os.environ["SSL_CERT_FILE"]


@pytest.fixture(scope="module")
def site(internet: Internet, authority: tlssite.Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    mirror.write_repository(directory)
    mirror.write_python(directory)
    with tlssite.serving(internet.bound(socket.SOCK_STREAM, WEB, 443), authority.context(API, ELSEWHERE)) as made:
        made.answer = tlssite.guarded(directory, SECRET)
        yield made


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory, internet: Internet, site: Site) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("connectors") / "state", extra=("--resolver", nets.DNS)).running() as made:
        yield made


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, authority: tlssite.Authority) -> Iterator[str]:
    """Its system says what it believes by a variable, as images without a shell do."""
    certificates = tar(Item(SYSTEM, data=authority.path.read_bytes()))
    layers = [images.busybox_layer(), pythonimage.layer(), pythonimage.programs(*PROGRAMS), certificates]
    config = {"Cmd": ["sleep", "1000000"], "Env": [f"SSL_CERT_FILE=/{SYSTEM}", "HOME=/root"]}
    with images.serve(images.make_layout(tmp_path_factory.mktemp("image"), layers, config)) as served:
        yield f"{served.domain}/tools:1"


@pytest.fixture
def fly(pilotd: Pilotd) -> Iterator[Fly]:
    with flyapi.app(pilotd, "shop") as made:
        yield made


def said(fly: Fly, id: str, *command: str) -> str:
    code, out = fly.run(id, *command)
    assert code == 0, (command, out, fly.last and fly.last.text)
    return out


def in_the_end(fly: Fly, id: str, *command: str) -> str:
    """The same of one that takes long, where processors are emulated: longer than an exec may."""
    script = '"$@" >/tmp/out 2>/tmp/errors; echo $? >/tmp/ended.new; mv /tmp/ended.new /tmp/ended'
    said(fly, id, "sh", "-c", f"rm -f /tmp/ended; setsid sh -c '{script}' sh \"$@\" >/dev/null 2>&1 &", "sh", *command)
    nets.wait_until(lambda: fly.run(id, "test", "-s", "/tmp/ended")[0] == 0, f"{command[0]} has ended", 600)
    assert said(fly, id, "cat", "/tmp/ended") == "0\n", said(fly, id, "cat", "/tmp/out", "/tmp/errors")
    return said(fly, id, "cat", "/tmp/out")


def connector(pilotd: Pilotd, *words: str, secret: str = "") -> str:
    """`sprite connector … --app shop`, which says nothing of a secret."""
    environment = {
        **os.environ, "HOME": str(pilotd.state), "SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token(),
    }  # fmt: skip
    command = [sys.executable, "-m", "pilot.client.main", "connector", words[0], "--app", "shop", *words[1:]]
    done = subprocess.run(command, check=False, env=environment, input=secret, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout


def _ended(fly: Fly, id: str) -> None:
    fly.call("DELETE", f"/{id}?force=true")
    fly.wait(id, "destroyed")


def test_clients_in_a_container_use_a_credential_that_is_nowhere_in_it(
    fly: Fly, pilotd: Pilotd, site: Site, image: str, authority: tlssite.Authority
) -> None:
    id = fly.create({"image": image}, name="web")["id"]
    assert "who are you?" in said(fly, id, "curl", "-sS", f"https://{API}/")
    assert "/.fly/" not in said(fly, id, "env")
    connector(pilotd, "set", "api", "--host", API, "--bearer", secret=SECRET)
    # What begins from now on; the container itself goes on.
    assert said(fly, id, "env").count("=/.fly/") == 9
    assert "code.git" in said(fly, id, "curl", "-sSf", f"https://{API}/")
    assert "who are you?" in said(fly, id, "curl", "-sS", f"https://{ELSEWHERE}/"), "other hosts are as they were"
    said(fly, id, "git", "clone", "-q", f"https://{API}/code.git", "/tmp/code")
    assert said(fly, id, "cat", "/tmp/code/README") == "cloned\n"
    program = f"import urllib.request as r; print(r.urlopen('https://{API}/').status)"
    assert said(fly, id, "python3", "-c", program) == "200\n"
    # A program that insists on having a key; pip, which has it in an address, says it as Basic.
    connector(pilotd, "set", "api", "--host", API, "--placeholder", PLACEHOLDER, "--keep")
    said(fly, id, "curl", "-sSfo", "/tmp/pip.whl", "-u", f"me:{PLACEHOLDER}", f"https://{API}/pip.whl")
    options = ("-q", "install", "--target", "/tmp/installed", "--index-url", f"https://me:{PLACEHOLDER}@{API}/simple")
    in_the_end(fly, id, "python3", "/tmp/pip.whl/pip", *options, "hello-sprite")
    assert said(fly, id, "python3", "-c", "import sys; sys.path[:0] = ['/tmp/installed']; import hello_sprite") == ""
    said(fly, id, "sh", "-c", f"echo {PLACEHOLDER} > /tmp/kept")
    texts = (SECRET, base64.b64encode(f"me:{SECRET}".encode()).decode(), PLACEHOLDER)
    *found, last = in_the_end(fly, id, *lookfor.command(*texts)).splitlines()
    assert last.startswith("looked at ")
    assert {line.rpartition(" ")[2][::-1] for line in found} == {PLACEHOLDER}, "it looks where that is, too"
    untouched = said(fly, id, "sha256sum", f"/{SYSTEM}").split()[0]
    assert untouched == hashlib.sha256(authority.path.read_bytes()).hexdigest(), "nothing that the image has is changed"
    uses = connector(pilotd, "uses", "api")
    assert f"{id}  answered  200  {API}  GET /code.git/info/refs" in uses
    audit = f"/v1/apps/shop/machines/{id}/audit"
    nets.wait_until(lambda: '"useConnector"' in _text(pilotd, audit), "it is written down in the Machine's log", 60)
    _ended(fly, id)


def test_all_machines_of_the_app_and_no_others_have_it(fly: Fly, pilotd: Pilotd, site: Site, image: str) -> None:
    """Changed and taken away at once, for one that has run before and one that comes later; over a kill of pilotd."""
    curl = ("curl", "-sS", f"https://{API}/")
    first = fly.create({"image": image}, name="first")["id"]
    connector(pilotd, "set", "api", "--host", API, "--bearer", secret="tok-of-nobody-at-all")
    second = fly.create({"image": image}, name="second")["id"]
    with flyapi.app(pilotd, "others") as others:
        stranger = others.create({"image": image}, name="stranger")["id"]
        for each in (first, second):
            assert "who are you?" in said(fly, each, *curl), "with a secret that is another one"
        connector(pilotd, "set", "api", "--host", API, "--bearer", secret=SECRET)
        for each in (first, second):
            assert "code.git" in said(fly, each, *curl)
        assert "who are you?" in said(others, stranger, *curl)
        assert "/.fly/" not in said(others, stranger, "env")
        _ended(others, stranger)
    pilotd.kill()
    pilotd.start()
    assert "code.git" in said(fly, first, *curl)
    fly.call("POST", f"/{second}/restart")
    fly.wait(second, "started")
    assert "code.git" in said(fly, second, *curl)
    fly.call("POST", f"/{second}/suspend")
    fly.wait(second, "suspended")
    connector(pilotd, "delete", "api")
    assert json.loads(connector(pilotd, "list", "--json")) == []
    # Of what believes only our authority nobody is the real host; what its system believes is left.
    assert "who are you?" in said(fly, first, *curl)
    fly.call("POST", f"/{second}/start")
    fly.wait(second, "started")
    assert "who are you?" in said(fly, second, *curl)
    for each in (first, second):
        assert "BEGIN CERT" not in said(fly, each, "cat", "/.fly/authority.pem")
        _ended(fly, each)


def _text(pilotd: Pilotd, path: str) -> str:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.get(f"{pilotd.url}{path}", headers=headers, timeout=60).raise_for_status().text
