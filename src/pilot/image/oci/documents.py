"""The documents of an image as values: index, manifest, config, and the descriptors between them.

An OCI index and docker's manifest list have one shape, as have the two manifests and the two configs: what differs is
the media type. Unknown members are ignored; an absent member and `null` mean the same, as Go's writers have it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from ... import errors
from . import limits
from .digest import Digest, DigestField

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
# How a layer is compressed is read from its first bytes: writers disagree, and both digests are checked.
LAYERS = frozenset(
    {OCI_LAYER, f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+zstd", DOCKER_LAYER, f"{DOCKER_LAYER}.gzip", f"{DOCKER_LAYER}.zstd"}
)

Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
T = TypeVar("T")


class Document(msgspec.Struct, frozen=True, rename="camel"):
    """A JSON object of the image specification."""


class Platform(Document, frozen=True):
    """What a manifest is for; see `platform` for how one is chosen."""

    os: str
    architecture: str
    variant: str | None = None


class Descriptor(Document, frozen=True):
    """Names a blob by what it is: `digest` and `size` must both fit what comes."""

    media_type: str
    digest: DigestField
    size: Size
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None


class Index(Document, frozen=True):
    """Several manifests, or further indexes, of one name."""

    schema_version: Literal[2]
    manifests: tuple[Descriptor, ...] | None = None
    media_type: str | None = None

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """Its descriptors, in its order."""
        return self.manifests or ()


class Manifest(Document, frozen=True):
    """One image for one platform: its config, and its layers from the lowest to the uppermost."""

    schema_version: Literal[2]
    config: Descriptor
    layers: tuple[Descriptor, ...] | None = None
    media_type: str | None = None


class Execution(Document, frozen=True, rename="pascal"):
    """How the image wants to be run."""

    user: str | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    volumes: dict[str, Any] | None = None  # of a set only the keys say something
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None


class _Named(Document, frozen=True):
    media_type: str | None = None


class RootFilesystem(Document, frozen=True, rename={"diff_ids": "diff_ids"}):
    """The digests of the layers when they are not compressed."""

    type: Literal["layers"]
    diff_ids: tuple[DigestField, ...] | None = None


class Config(Document, frozen=True):
    """The image itself: what it is for, how it is run, what it consists of."""

    os: str
    architecture: str
    rootfs: RootFilesystem
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    config: Execution | None = None

    @property
    def platform(self) -> Platform:
        """What it is for."""
        return Platform(self.os, self.architecture, self.variant)


class Layer(msgspec.Struct, frozen=True):
    """One layer by both its names: the blob as it is stored, and the tar that it is."""

    blob: Descriptor
    diff_id: Digest


class Image(msgspec.Struct, frozen=True):
    """A whole image, its parts known to fit each other."""

    digest: Digest
    manifest: Manifest
    config: Config
    layers: tuple[Layer, ...]


def parse_document(data: bytes, media_type: str, what: str) -> Index | Manifest:
    """What `media_type` says it is. SpecError for anything else, or for what could be read as both.

    A document that is an index to one reader and a manifest to another has one digest and two contents
    (CVE-2021-41190): its own `mediaType` must agree, and it must not have the members of the other kind.
    """
    if len(data) > limits.MANIFEST_BYTES:
        raise errors.SpecError("$", f"more than {limits.MANIFEST_BYTES} bytes", file=what)
    _check_kind(data, media_type, what)
    if media_type in INDEXES:
        index = _decode(data, Index, what)
        _at_most(len(index.entries), limits.INDEX_ENTRIES, "$.manifests", what)
        return index
    manifest = _decode(data, Manifest, what)
    _at_most(len(manifest.layers or ()), limits.LAYERS, "$.layers", what)
    return manifest


def parse_config(data: bytes, what: str) -> Config:
    """An image's config; SpecError."""
    if len(data) > limits.CONFIG_BYTES:
        raise errors.SpecError("$", f"more than {limits.CONFIG_BYTES} bytes", file=what)
    return _decode(data, Config, what)


def detect_media_type(data: bytes, what: str) -> str:
    """What a document calls itself, for sources that do not say; OCI's own where `mediaType` is absent."""
    own = _decode(data, _Named, what).media_type
    return own or (OCI_INDEX if "manifests" in _members(data, what) else OCI_MANIFEST)


def assemble(digest: Digest, manifest: Manifest, config: Config, what: str) -> Image:
    """The image of which these are the parts; SpecError when they do not fit, or it is none that can be unpacked."""
    blobs = manifest.layers or ()
    diff_ids = config.rootfs.diff_ids or ()
    if len(blobs) != len(diff_ids):
        problem = f"{len(blobs)} layers in the manifest and {len(diff_ids)} in the config"
        raise errors.SpecError("$.layers", problem, file=what)
    for index, blob in enumerate(blobs):
        _check_layer(blob, f"$.layers[{index}]", what)
    layers = tuple(Layer(blob, diff_id) for blob, diff_id in zip(blobs, diff_ids, strict=True))
    return Image(digest, manifest, config, layers)


def check_is_image(manifest: Manifest, what: str) -> None:
    """SpecError for an artifact, which has the manifest of an image and another kind of config."""
    found = manifest.config.media_type
    if found not in CONFIGS:
        raise errors.SpecError("$.config.mediaType", f"{found[:200]!r} is not the config of an image", file=what)


def _check_layer(blob: Descriptor, at: str, what: str) -> None:
    if blob.urls or "foreign" in blob.media_type or "nondistributable" in blob.media_type:
        raise errors.SpecError(at, "a foreign layer, to be fetched from somewhere else, is refused", file=what)
    if blob.media_type not in LAYERS:
        raise errors.SpecError(f"{at}.mediaType", f"{blob.media_type[:200]!r} is no layer known here", file=what)


def _members(data: bytes, what: str) -> dict[str, msgspec.Raw]:
    return _decode(data, dict[str, msgspec.Raw], what)


def _check_kind(data: bytes, media_type: str, what: str) -> None:
    if media_type not in INDEXES | MANIFESTS:
        raise errors.SpecError("$.mediaType", f"{media_type[:200]!r} is neither an index nor a manifest", file=what)
    own = _decode(data, _Named, what).media_type
    if own and own != media_type:
        raise errors.SpecError("$.mediaType", f"{own[:200]!r} in what came as {media_type}", file=what)
    other = {"config", "layers"} if media_type in INDEXES else {"manifests"}
    if both := sorted(other & _members(data, what).keys()):
        raise errors.SpecError(f"$.{both[0]}", "both an index and a manifest", file=what)


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        raise errors.SpecError(place.strip("`") or "$", problem, file=what) from error
    except errors.UNREADABLE as error:
        raise errors.SpecError("$", f"no JSON: {error}", file=what) from error


def _at_most(count: int, limit: int, at: str, what: str) -> None:
    if count > limit:
        raise errors.SpecError(at, f"{count} entries, at most {limit} are taken", file=what)
