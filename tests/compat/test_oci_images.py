"""Images by buildah, served by Debian's docker-registry, pulled and unpacked by us: the same tree as buildah's own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import ssl
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support import clients, layers, registry
from tests.support.clients import Client
from tests.support.layers import Item, directory, symlink, tar
from tests.support.registry import Running

from pilot import errors
from pilot.image.oci import docker_save, documents, filesets, layout, platform, reference, source, unpack
from pilot.image.oci import registry as ours
from pilot.image.oci.credentials import Credentials
from pilot.image.oci.documents import Image
from pilot.image.oci.source import Source

pytestmark = pytest.mark.requires("root", "private", "buildah", "skopeo", "docker-registry", "busybox")

# Directories that the upper layer changes and does not speak of: we keep the time of the lower layer, and give the
# epoch to what no layer speaks of; buildah leaves the time of the unpacking.
_UNSPOKEN = ("usr", "usr/bin")
_LOWER = (
    directory("usr/bin"), symlink("bin", "usr/bin"), directory("opaque", mtime=7), Item("opaque/old", data=b"old"),
    Item("gone", data=b"1"), directory("tree"), directory("tree/sub"), Item("tree/sub/f", data=b"2"),
    Item("file-to-dir"), directory("dir-to-file"), Item("dir-to-file/x"),
    Item("capable", data=b"x", pax={"SCHILY.xattr.user.note": "here"}),
)  # fmt: skip
_UPPER = (
    Item("bin/tool", data=b"#!", mode=0o4755, owner=(3, 4), mtime=1.5),
    Item("bin/same", b"1", target="usr/bin/tool", mode=0o4755, owner=(3, 4), mtime=1.5),
    directory("opaque", 0o700), Item("opaque/.wh..wh..opq"), Item("opaque/new", data=b"new"), Item(".wh.gone"),
    directory("tree"), Item("tree/.wh.sub"), directory("file-to-dir"), Item("file-to-dir/in"),
    Item("dir-to-file", data=b"f"),
    Item("ü" * 75, data=b"long"), Item("null", b"3", device=(1, 3), mode=0o666), Item("fifo", b"6"),
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """The images, where they are, and what buildah made of them."""

    client: Client
    served: Running
    directory: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """`box` by buildah's commit, `nasty` of layers by hand, both pushed; gzip and zstd."""
    where = tmp_path_factory.mktemp("images")
    client = clients.buildah(where)
    with registry.registry(where / "served") as served:
        client.run("from", "--name", "w", "scratch")
        client.run("add", "w", clients.make_image_tar(where / "image.tar"), "/")
        client.run("config", "--env", "COLOUR=red", "--cmd", "sh", "w")
        client.run("commit", "--quiet", "w", "localhost/box")
        _nasty(where / "nasty")
        _push(f"oci:{where / 'nasty'}:nasty", served, "nasty")
        client.run("pull", "--quiet", "--tls-verify=false", f"{served.domain}/nasty")
        client.run("push", "--quiet", "--tls-verify=false", "localhost/box", f"docker://{served.domain}/box:gzip")
        words = ("push", "--quiet", "--tls-verify=false", "--compression-format", "zstd")
        client.run(*words, "localhost/box", f"docker://{served.domain}/box:zstd")
        yield Built(client, served, where)


def _nasty(place: Path) -> None:
    """An OCI layout, written with nothing of ours but names of media types."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    tars = [tar(*_LOWER), tar(*_UPPER)]
    listed = [
        put(gzip.compress(tars[0]), f"{documents.OCI_LAYER}+gzip"),
        put(layers.zstd(tars[1]), f"{documents.OCI_LAYER}+zstd"),
    ]
    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in tars]
    config = {
        "os": "linux",
        "architecture": platform.host().architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": documents.OCI_MANIFEST,
        "config": put(json.dumps(config).encode(), documents.OCI_CONFIG),
        "layers": listed,
    }
    entry = put(json.dumps(manifest).encode(), documents.OCI_MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "nasty"}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _skopeo(*arguments: str | Path) -> str:
    words = ["skopeo", "--insecure-policy", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _push(origin: str, served: Running, name: str) -> None:
    _skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", origin, f"docker://{served.domain}/{name}:latest")


def _unpack(origin: Source, place: Path) -> Image:
    image = source.find(origin, platform.host())
    stored = [
        unpack.Stored(layer.blob.digest, layer.diff_id, source.checked(origin, layer.blob)) for layer in image.layers
    ]
    unpack.unpack(stored, os.fspath(place))
    return image


def _pull(name: str, place: Path, who: Credentials | None = None) -> Image:
    with httpx.Client(trust_env=False) as client:
        return _unpack(ours.Registry(reference.parse(name), client, ours.Options(who, sleep=lambda _: None)), place)


def _entries(root: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of each entry: kind, mode, owner, size, time, link, device, attributes, content."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        regular = kind == stat.S_IFREG
        found[name] = (
            kind,
            stat.S_IMODE(info.st_mode),
            (info.st_uid, info.st_gid),
            path.read_bytes() if regular else os.readlink(path) if kind == stat.S_IFLNK else info.st_rdev,
            info.st_mtime_ns,
            inodes.setdefault(info.st_ino, name) if regular else "",
            {key: os.getxattr(path, key) for key in os.listxattr(path)} if regular else {},
        )
    return found


def _buildahs(built: Built, image: str) -> dict[str, tuple[object, ...]]:
    built.client.run("from", "--pull-never", "--name", "seen", image)
    try:
        return _entries(Path(built.client.run("mount", "seen").strip()))
    finally:
        built.client.run("rm", "seen")


@pytest.mark.parametrize("tag", ["gzip", "zstd"])
def test_an_image_of_buildah(built: Built, tmp_path: Path, tag: str) -> None:
    image = _pull(f"{built.served.domain}/box:{tag}", tmp_path / "root")
    assert _entries(tmp_path / "root") == _buildahs(built, "localhost/box")
    assert image.config.config is not None
    assert (image.config.config.env, image.config.config.cmd) == (("COLOUR=red",), ("sh",))


def test_a_nasty_image_is_the_same_tree(built: Built, tmp_path: Path) -> None:
    image = _pull(f"{built.served.domain}/nasty", tmp_path / "root")
    seen = _skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{built.served.domain}/nasty")
    assert image.digest == seen.strip()
    found, expected = _entries(tmp_path / "root"), _buildahs(built, f"{built.served.domain}/nasty")
    for name in _UNSPOKEN:
        found[name], expected[name] = found[name][:4], expected[name][:4]
    assert found == expected


def test_files_of_skopeo(built: Built, tmp_path: Path) -> None:
    """A layout, the tar of one, and docker's archive: the tree of the registry each time."""
    origin = f"docker://{built.served.domain}/box:gzip"
    for words in (
        f"oci:{tmp_path}/layout:v1",
        f"oci-archive:{tmp_path}/oci.tar:v1",
        f"docker-archive:{tmp_path}/d.tar:box:v1",
    ):
        _skopeo("copy", "--src-tls-verify=false", origin, words)
    _pull(f"{built.served.domain}/box:gzip", tmp_path / "expected")
    expected = _entries(tmp_path / "expected")
    with filesets.Directory(f"{tmp_path}/layout") as files:
        _unpack(layout.Layout(files, "v1"), tmp_path / "one")
    with filesets.Archive(f"{tmp_path}/oci.tar") as files:
        _unpack(layout.Layout(files, "v1"), tmp_path / "two")
        with pytest.raises(errors.NotFound, match="no image of that name"):
            _unpack(layout.Layout(files, "v2"), tmp_path / "none")
    with filesets.Archive(f"{tmp_path}/d.tar") as files:
        _unpack(docker_save.DockerSave(files, "box:v1"), tmp_path / "three")
        with pytest.raises(errors.NotFound, match="no image of that name"):
            _unpack(docker_save.DockerSave(files, "other"), tmp_path / "none")
    assert [_entries(tmp_path / name) for name in ("one", "two", "three")] == [expected] * 3


def test_what_is_not_there(built: Built, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="MANIFEST_UNKNOWN"):
        _pull(f"{built.served.domain}/box:none", tmp_path / "root")
    with pytest.raises(errors.NotFound):
        _pull(f"{built.served.domain}/none", tmp_path / "root")


@pytest.mark.requires("openssl")
def test_bearer(built: Built, tmp_path: Path) -> None:
    """The registry believes a token that our token server has signed (RS256, with its certificate)."""
    token = _signed(tmp_path, repository="box")
    with registry.token_server(token, "me", "secret") as tokens:
        auth: dict[str, object] = {
            "token": {
                "realm": tokens.realm,
                "service": "ours",
                "issuer": "us",
                "rootcertbundle": str(tmp_path / "certificate.pem"),
            }
        }
        _copied(built, tmp_path)
        with registry.registry(tmp_path / "served", auth) as served:
            _pull(f"{served.domain}/box:gzip", tmp_path / "root", Credentials("me", "secret"))
            with pytest.raises(errors.PeerError, match="gives no token"):
                _pull(f"{served.domain}/box:gzip", tmp_path / "none", Credentials("me", "wrong"))
            with pytest.raises(errors.PeerError, match="401"):
                _pull(f"{served.domain}/nasty", tmp_path / "none", Credentials("me", "secret"))
    assert tokens.asked[0] == {"service": ["ours"], "scope": ["repository:box:pull"]}
    assert _entries(tmp_path / "root") == _buildahs(built, "localhost/box")


def test_basic(built: Built, tmp_path: Path) -> None:
    _copied(built, tmp_path)
    words = ["perl", "-e", 'print crypt("secret", q($2y$05$abcdefghijklmnopqrstuu))']
    hashed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (tmp_path / "htpasswd").write_text(f"me:{hashed}\n")
    auth: dict[str, object] = {"htpasswd": {"realm": "ours", "path": str(tmp_path / "htpasswd")}}
    with registry.registry(tmp_path / "served", auth) as served:
        _pull(f"{served.domain}/box:gzip", tmp_path / "root", Credentials("me", "secret"))
        for who in (None, Credentials("me", "wrong")):
            with pytest.raises(errors.PeerError):
                _pull(f"{served.domain}/box:gzip", tmp_path / "none", who)


def _copied(built: Built, tmp_path: Path) -> None:
    """What the open registry has, for another."""
    shutil.copytree(built.served.directory / "registry", tmp_path / "served" / "registry")


def _signed(directory: Path, repository: str) -> str:
    """A token as the distribution project documents it, signed with a key of `certificate.pem`."""
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=us", "-out", "certificate.pem"]
    subprocess.run([*words, "-keyout", "key.pem"], cwd=directory, capture_output=True, check=True)
    certificate = ssl.PEM_cert_to_DER_cert((directory / "certificate.pem").read_text())
    now = int(time.time())
    access = [{"type": "repository", "name": repository, "actions": ["pull"]}]
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(certificate).decode()]}
    claims = {"iss": "us", "sub": "me", "aud": "ours", "exp": now + 600, "nbf": now - 60, "iat": now - 60, "jti": "1"}
    signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims | {"access": access}))
    sign = ["openssl", "dgst", "-sha256", "-sign", "key.pem"]
    signature = subprocess.run(sign, cwd=directory, input=signed, capture_output=True, check=True).stdout
    return (signed + b"." + _encoded(signature)).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def test_a_blob_that_rots_in_the_registry(built: Built, tmp_path: Path) -> None:
    _push(f"oci:{built.directory / 'nasty'}:nasty", built.served, "rotten")
    (stored,) = (built.served.directory / "registry").rglob("sha256/*/" + _upper_layer(built) + "/data")
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(errors.PilotError):
            _pull(f"{built.served.domain}/rotten", tmp_path / "root")
        assert not (tmp_path / "root").exists()
    finally:
        stored.write_bytes(whole)


def _upper_layer(built: Built) -> str:
    with filesets.Directory(str(built.directory / "nasty")) as files:
        found = source.find(layout.Layout(files, "nasty"), platform.host())
    return found.layers[-1].blob.digest.partition(":")[2]
