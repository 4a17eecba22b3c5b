"""Documents of images: what registries serve, what only looks like it, and what somebody damaged."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.image.oci import documents, limits, platform
from pilot.image.oci.digest import Digest
from pilot.image.oci.documents import Descriptor, Platform

_SHA = Digest("sha256:" + "0f" * 32)
_CONFIG = {"mediaType": documents.OCI_CONFIG, "digest": _SHA, "size": 2}
_LAYER = {"mediaType": f"{documents.OCI_LAYER}+gzip", "digest": _SHA, "size": 100}
_MANIFEST: dict[str, Any] = {"schemaVersion": 2, "config": _CONFIG, "layers": [_LAYER]}
_INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "manifests": [
        {
            "mediaType": documents.OCI_MANIFEST,
            "digest": _SHA,
            "size": 7,
            "platform": {"os": "linux", "architecture": "amd64", "os.version": "1", "features": ["x"]},
        }
    ],
}
_IMAGE_CONFIG: dict[str, Any] = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"Env": ["A=b"], "Cmd": None, "ExposedPorts": {"80/tcp": {}}, "WorkingDir": "/x", "Healthcheck": {}},
    "rootfs": {"type": "layers", "diff_ids": [_SHA]},
    "history": [{"created": "x"}],
}


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("media_type", sorted(documents.MANIFESTS))
def test_both_manifests(media_type: str) -> None:
    parsed = documents.parse_document(_bytes(_MANIFEST | {"mediaType": media_type}), media_type, "m")
    assert isinstance(parsed, documents.Manifest)
    assert parsed.config.digest == _SHA
    assert [layer.size for layer in parsed.layers or ()] == [100]


@pytest.mark.parametrize("media_type", sorted(documents.INDEXES))
def test_both_indexes(media_type: str) -> None:
    parsed = documents.parse_document(_bytes(_INDEX), media_type, "i")
    assert isinstance(parsed, documents.Index)
    assert parsed.entries[0].platform == Platform("linux", "amd64")


def test_null_is_nothing() -> None:
    parsed = documents.parse_document(_bytes({"schemaVersion": 2, "manifests": None}), documents.OCI_INDEX, "i")
    assert isinstance(parsed, documents.Index)
    assert parsed.entries == ()


def test_a_config_says_how_it_is_run() -> None:
    config = documents.parse_config(_bytes(_IMAGE_CONFIG), "c")
    assert config.config is not None
    assert config.config.env == ("A=b",)
    assert config.config.cmd is None
    assert config.config.working_dir == "/x"
    assert list(config.config.exposed_ports or ()) == ["80/tcp"]
    assert config.rootfs.diff_ids == (_SHA,)


@pytest.mark.parametrize(
    ("document", "media_type", "problem"),
    [
        (_MANIFEST | {"manifests": []}, documents.OCI_MANIFEST, "both an index and a manifest"),
        (_INDEX | {"layers": []}, documents.OCI_INDEX, "both an index and a manifest"),
        (_INDEX | {"config": _CONFIG}, documents.DOCKER_LIST, "both an index and a manifest"),
        (_MANIFEST | {"mediaType": documents.OCI_INDEX}, documents.OCI_MANIFEST, "in what came as"),
        (_MANIFEST | {"mediaType": 7}, documents.OCI_MANIFEST, "Expected"),
        (_MANIFEST, "application/vnd.docker.distribution.manifest.v1+json", "neither an index nor a manifest"),
        (_MANIFEST, "text/html", "neither an index nor a manifest"),
        (_MANIFEST | {"schemaVersion": 1}, documents.OCI_MANIFEST, r"\$\.schemaVersion"),
        (_MANIFEST | {"layers": [_LAYER | {"size": -1}]}, documents.OCI_MANIFEST, r"\$\.layers\[0\]\.size"),
        (_MANIFEST | {"layers": [_LAYER | {"size": 2**63}]}, documents.OCI_MANIFEST, r"\$\.layers\[0\]\.size"),
        (_MANIFEST | {"layers": [_LAYER | {"digest": "sha256:../x"}]}, documents.OCI_MANIFEST, "digest"),
        (_MANIFEST | {"layers": [_LAYER | {"digest": f"{_SHA}\n"}]}, documents.OCI_MANIFEST, "digest"),
        (_MANIFEST | {"layers": [_LAYER] * (limits.LAYERS + 1)}, documents.OCI_MANIFEST, "at most"),
        ([], documents.OCI_MANIFEST, "Expected"),
        ("x", documents.OCI_INDEX, "Expected"),
    ],
)
def test_is_refused(document: Any, media_type: str, problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        documents.parse_document(_bytes(document), media_type, "r.io/a")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"schemaVersion":' + b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    for read in (
        lambda d: documents.parse_document(d, documents.OCI_INDEX, "x"),
        lambda d: documents.parse_config(d, "x"),
    ):
        with pytest.raises(errors.SpecError):
            read(data)


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(errors.SpecError, match="more than"):
        documents.parse_document(b" " * (limits.MANIFEST_BYTES + 1), documents.OCI_INDEX, "x")
    with pytest.raises(errors.SpecError, match="more than"):
        documents.parse_config(b" " * (limits.CONFIG_BYTES + 1), "x")


def _assemble(layer: dict[str, Any], diff_ids: list[str]) -> documents.Image:
    manifest = documents.parse_document(_bytes(_MANIFEST | {"layers": [layer]}), documents.OCI_MANIFEST, "m")
    assert isinstance(manifest, documents.Manifest)
    config = documents.parse_config(_bytes(_IMAGE_CONFIG | {"rootfs": {"type": "layers", "diff_ids": diff_ids}}), "c")
    return documents.assemble(_SHA, manifest, config, "a")


@pytest.mark.parametrize("media_type", sorted(documents.LAYERS))
def test_layers_are_known_by_both_their_names(media_type: str) -> None:
    (layer,) = _assemble(_LAYER | {"mediaType": media_type}, [_SHA]).layers
    assert (layer.blob.size, layer.diff_id) == (100, _SHA)


@pytest.mark.parametrize(
    ("layer", "diff_ids", "problem"),
    [
        (_LAYER, [], "1 layers in the manifest and 0"),
        (_LAYER, [_SHA, _SHA], "1 layers in the manifest and 2"),
        (_LAYER | {"urls": ["https://elsewhere/"]}, [_SHA], "foreign"),
        (_LAYER | {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}, [_SHA], "foreign"),
        (_LAYER | {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar"}, [_SHA], "foreign"),
        (_LAYER | {"mediaType": f"{documents.OCI_LAYER}+gzip+encrypted"}, [_SHA], "no layer known here"),
    ],
)
def test_layers_that_are_refused(layer: dict[str, Any], diff_ids: list[str], problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        _assemble(layer, diff_ids)


def test_an_artifact_is_no_image() -> None:
    chart = _CONFIG | {"mediaType": "application/vnd.cncf.helm.config.v1+json"}
    manifest = documents.parse_document(_bytes(_MANIFEST | {"config": chart}), documents.OCI_MANIFEST, "m")
    assert isinstance(manifest, documents.Manifest)
    with pytest.raises(errors.SpecError, match="not the config of an image"):
        documents.check_is_image(manifest, "m")


_ODD = st.sampled_from(
    (None, True, 0, -1, 2**63, 2**200, 0.5, "", "sha256:", "\ud800", "é" * 999, [], {}, [None], {"": 0})
)


def _places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, child in children for place in _places(child, (*at, name)))]


@given(st.data(), st.sampled_from((_MANIFEST, _INDEX, _IMAGE_CONFIG)), _ODD)
def test_damaged_in_one_place_it_is_refused_by_its_path_or_has_a_value(
    data: st.DataObject, document: Any, odd: Any
) -> None:
    place = data.draw(st.sampled_from(_places(document)))
    damaged = copy.deepcopy({"": document})
    parent: Any = damaged
    for step in ("", *place)[:-1]:
        parent = parent[step]
    parent[("", *place)[-1]] = odd
    encoded = _bytes(damaged[""])
    kinds = sorted(documents.INDEXES | documents.MANIFESTS)
    readers: list[Callable[[], object]] = [partial(documents.parse_document, encoded, kind, "x") for kind in kinds]
    readers.append(partial(documents.parse_config, encoded, "x"))
    for read in readers:
        refused = _refusal(read)
        assert refused is None or refused.path.startswith("$")


def _refusal(read: Callable[[], object]) -> errors.SpecError | None:
    try:
        read()
    except errors.SpecError as error:
        return error
    return None


def _entry(system: str, architecture: str, variant: str | None = None) -> Descriptor:
    return Descriptor(documents.OCI_MANIFEST, _SHA, 1, platform=Platform(system, architecture, variant))


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        (("linux", "amd64"), [("linux", "arm64"), ("linux", "amd64")], ("linux", "amd64")),
        (("linux", "amd64"), [("windows", "amd64"), ("linux", "x86_64")], ("linux", "x86_64")),
        (("linux", "amd64"), [("linux", "amd64", "v2"), ("linux", "amd64")], ("linux", "amd64")),
        (("linux", "amd64", "v3"), [("linux", "amd64"), ("linux", "amd64", "v2")], ("linux", "amd64", "v2")),
        (("linux", "arm64"), [("linux", "arm64", "v9"), ("linux", "arm64", "v8")], ("linux", "arm64", "v8")),
        (("linux", "arm", "v6"), [("linux", "arm", "v7"), ("linux", "arm", "v5")], ("linux", "arm", "v5")),
        (("linux", "arm"), [("linux", "arm", "v6"), ("linux", "arm", "v7")], ("linux", "arm", "v7")),
        (("linux", "amd64"), [("unknown", "unknown")], None),
        (("linux", "amd64"), [("linux", "amd64", "odd")], None),
    ],
)
def test_the_platform_is_chosen(
    wanted: tuple[str, ...], offered: list[tuple[str, ...]], chosen: tuple[str, ...] | None
) -> None:
    found = platform.candidates([_entry(*row) for row in offered], Platform(*wanted))
    assert [row.platform for row in found[:1]] == ([Platform(*chosen)] if chosen else [])


def test_what_has_no_platform_comes_last_and_indexes_after_manifests() -> None:
    index = Descriptor(documents.OCI_INDEX, _SHA, 1)
    manifest = Descriptor(documents.OCI_MANIFEST, _SHA, 1)
    fitting = _entry("linux", "amd64")
    assert platform.candidates([index, manifest, fitting], Platform("linux", "amd64")) == (fitting, manifest, index)
