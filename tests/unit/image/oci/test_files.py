"""Layouts and archives that somebody else wrote: read, or refused, and never somebody's other file."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.layers import Item, link, symlink, tar

from pilot import errors
from pilot.image.oci import digest, docker_save, documents, filesets, layout, limits, source
from pilot.image.oci.documents import Platform

_LAYER = tar(Item("f"))
_CONFIG = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest.of(_LAYER)]}}
).encode()
_SAVED = json.dumps([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["a/layer.tar"]}]).encode()
_WANTED = Platform("linux", "amd64")


def _saved(place: Path, *items: Item) -> bytes:
    """The one layer of a `docker save` of these files."""
    place.write_bytes(tar(Item("manifest.json", data=_SAVED), Item("c.json", data=_CONFIG), *items))
    with filesets.Archive(str(place)) as files:
        origin = docker_save.DockerSave(files, "docker.io/library/app:1")
        image = source.find(origin, _WANTED)
        return b"".join(source.checked(origin, image.layers[0].blob))


@pytest.mark.parametrize(
    "items",
    [
        (Item("a/layer.tar", data=_LAYER),),
        (Item("./a//layer.tar", data=_LAYER),),
        (symlink("a/layer.tar", "../b/layer.tar"), Item("b/layer.tar", data=_LAYER)),
        (Item("b/layer.tar", data=_LAYER), link("a/layer.tar", "b/layer.tar")),
    ],
)
def test_docker_save(tmp_path: Path, items: tuple[Item, ...]) -> None:
    assert _saved(tmp_path / "s.tar", *items) == _LAYER


@pytest.mark.parametrize(
    "items",
    [
        (),
        (symlink("a/layer.tar", "/etc/passwd"),),
        (symlink("a/layer.tar", "../../../../etc/passwd"),),
        (symlink("a/layer.tar", "../a/layer.tar"),),
        (Item("a/layer.tar", tarfile.FIFOTYPE),),
        (Item("a/layer.tar", tarfile.DIRTYPE),),
    ],
)
def test_links_lead_to_the_archives_own_files(tmp_path: Path, items: tuple[Item, ...]) -> None:
    with pytest.raises(errors.NotFound, match="no regular file"):
        _saved(tmp_path / "s.tar", *items)


def test_an_archive_that_is_compressed_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(gzip.compress(tar(Item("f"))))
    with pytest.raises(errors.SpecError) as raised:
        filesets.Archive(str(tmp_path / "s.tar"))
    assert raised.value.hint == "gunzip it first"


def test_an_archive_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_FILES", 10)
    (tmp_path / "s.tar").write_bytes(tar(*(Item(f"f{number}") for number in range(11))))
    with pytest.raises(errors.SpecError, match="more than 10 files"):
        filesets.Archive(str(tmp_path / "s.tar"))


def _layout(place: Path) -> None:
    """One image, as a directory."""

    def put(data: bytes, media_type: str) -> dict[str, object]:
        name = digest.of(data)
        path = place / "blobs" / "sha256" / name.partition(":")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"mediaType": media_type, "digest": name, "size": len(data)}

    config, layer = put(_CONFIG, documents.OCI_CONFIG), put(_LAYER, documents.OCI_LAYER)
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode()
    entry = put(manifest, documents.OCI_MANIFEST)
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _read_layout(place: Path) -> bytes:
    with filesets.Directory(str(place)) as files:
        origin = layout.Layout(files)
        image = source.find(origin, _WANTED)
        return b"".join(source.checked(origin, image.layers[0].blob))


def test_a_layout(tmp_path: Path) -> None:
    _layout(tmp_path)
    assert _read_layout(tmp_path) == _LAYER


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "absent"])
def test_a_layout_leads_nowhere_else(tmp_path: Path, kind: str) -> None:
    """The right content lies outside: a link to it is not followed there."""
    (tmp_path / "in").mkdir()
    _layout(tmp_path / "in")
    blob = tmp_path / "in" / "blobs" / "sha256" / digest.of(_LAYER).partition(":")[2]
    blob.rename(tmp_path / "outside")
    if kind == "link":
        blob.symlink_to("../../../outside")
    elif kind == "fifo":
        os.mkfifo(blob)
    elif kind == "directory":
        blob.mkdir()
    with pytest.raises(errors.NotFound):
        _read_layout(tmp_path / "in")


@pytest.mark.parametrize("content", ["", "{}", '{"imageLayoutVersion": "2.0.0"}', " " * 5000])
def test_a_layout_of_another_version(tmp_path: Path, content: str) -> None:
    _layout(tmp_path)
    (tmp_path / "oci-layout").write_text(content)
    with pytest.raises(errors.SpecError, match="oci-layout"):
        _read_layout(tmp_path)


def test_a_layout_whose_layer_is_another(tmp_path: Path) -> None:
    _layout(tmp_path)
    blob = tmp_path / "blobs" / "sha256" / digest.of(_LAYER).partition(":")[2]
    blob.write_bytes(b"x" * len(_LAYER))
    with pytest.raises(errors.PeerError, match="it should be"):
        _read_layout(tmp_path)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 8000), value=st.integers(0, 255))
def test_a_damaged_archive_is_read_or_refused(place: int, value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("saved") / "s.tar"
    data = bytearray(
        tar(Item("manifest.json", data=_SAVED), Item("c.json", data=_CONFIG), Item("a/layer.tar", data=_LAYER))
    )
    data[place % len(data)] = value
    path.write_bytes(data)
    try:
        with filesets.Archive(str(path)) as files:
            source.find(docker_save.DockerSave(files, "app:1"), _WANTED)
    except errors.PilotError:
        return
