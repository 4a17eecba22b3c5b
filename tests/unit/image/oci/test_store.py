"""The store of images: what is brought whole, what is gone on with, what goes with its last name."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support import images
from tests.support.images import Layout, Served
from tests.support.layers import Item, tar

from pilot import errors
from pilot.image.oci import filesets, layout, platform, reference, registry
from pilot.image.oci.documents import Descriptor
from pilot.image.oci.store import Held, Store

_COMMON = tar(Item("common", data=random.Random(1).randbytes(100_000)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def made(tmp_path: Path) -> Layout:
    return images.make_layout(tmp_path / "layout", [_COMMON, tar(Item("f", data=b"one"))], {"Cmd": ["sh"]})


@pytest.fixture
def served(made: Layout) -> Iterator[Served]:
    with images.serve(made) as running:
        yield running


def _import(store: Store, made: Layout, name: str = "x.io/app:1") -> Held:
    with filesets.Directory(str(made.path)) as files:
        return store.bring(layout.Layout(files), name, platform.host())


def _pull(store: Store, served: Served, attempts: int = 1) -> Held:
    wanted = reference.parse(f"{served.domain}/app:1")
    with httpx.Client(trust_env=False) as client:
        origin = registry.Registry(wanted, client, registry.Options(attempts=attempts, sleep=lambda _: None))
        return store.bring(origin, str(wanted), platform.host())


def _entries(tmp_path: Path, part: str) -> set[str]:
    place = tmp_path / "store" / part
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def test_what_was_brought_is_found(store: Store, made: Layout) -> None:
    _import(store, made)
    for name in ("x.io/app:1", made.digest):
        held = store.find(name)
        assert (held.name, held.image.digest) == ("x.io/app:1", made.digest)
        assert held.image.config.config is not None
        assert held.image.config.config.cmd == ("sh",)
    assert [held.name for held in store.every()] == ["x.io/app:1"]
    assert store.find(made.digest).size_bytes == sum(made.blob(each).stat().st_size for each in made.layers)


def test_what_is_not_here_says_so(store: Store, made: Layout) -> None:
    for act in (store.find, store.remove):
        with pytest.raises(errors.NotFound, match="it is not here"):
            act("x.io/app:1")
    assert store.every() == []
    assert store.collect() == 0


def test_what_is_here_is_not_fetched_again(store: Store, served: Served) -> None:
    _pull(store, served)
    served.asked.clear()
    _pull(store, served)
    # The config is small, and needed to know whether the image is for this machine.
    assert [path.rpartition("/")[0].rpartition("/")[2] for path in served.asked] == ["manifests", "blobs"]


def test_a_pull_that_broke_off_is_gone_on_with(store: Store, made: Layout, served: Served, tmp_path: Path) -> None:
    served.cut = 1000
    with pytest.raises(errors.PeerError):
        _pull(store, served)
    assert store.every() == []
    (left,) = _entries(tmp_path, "partial")
    held_bytes = (tmp_path / "store" / "partial" / left).stat().st_size
    assert 0 < held_bytes < made.blob(made.layers[0]).stat().st_size
    served.cut = None
    served.ranges.clear()
    assert _pull(store, served).image.digest == made.digest
    assert served.ranges == [f"bytes={held_bytes}-"]
    assert _entries(tmp_path, "partial") == set()
    assert (
        b"".join(store.pieces(store.find(made.digest).image.layers[0].blob.digest))
        == made.blob(made.layers[0]).read_bytes()
    )


def test_a_beginning_that_has_rotted_is_forgotten(store: Store, made: Layout, served: Served, tmp_path: Path) -> None:
    served.cut = 1000
    with pytest.raises(errors.PeerError):
        _pull(store, served)
    served.cut = None
    (left,) = (tmp_path / "store" / "partial").iterdir()
    left.write_bytes(b"x" * left.stat().st_size)
    with pytest.raises(errors.PeerError, match="it should be"):
        _pull(store, served)
    assert store.every() == []
    assert _pull(store, served).image.digest == made.digest


def test_another_blob_than_was_named_is_nothing(store: Store, made: Layout, served: Served, tmp_path: Path) -> None:
    place = made.blob(made.layers[1])
    place.write_bytes(bytes(len(place.read_bytes())))
    with pytest.raises(errors.PeerError, match="it should be"):
        _pull(store, served)
    assert store.every() == []
    assert made.layers[1].replace(":", "-") not in _entries(tmp_path, "blobs")


def test_a_name_keeps_what_it_leads_to_and_nothing_else(store: Store, made: Layout, tmp_path: Path) -> None:
    other = images.make_layout(tmp_path / "other", [_COMMON, tar(Item("f", data=b"two"))])
    _import(store, made, "x.io/one:1")
    _import(store, other, "x.io/two:1")
    assert store.remove("x.io/one:1") == ["x.io/one:1"]
    left = _entries(tmp_path, "blobs")
    assert made.layers[0].replace(":", "-") in left  # the other one has it, too
    assert made.layers[1].replace(":", "-") not in left
    assert store.find("x.io/two:1").image.digest == other.digest
    store.remove(other.digest)
    assert _entries(tmp_path, "blobs") == set()


def test_a_name_that_leads_elsewhere_by_now(store: Store, made: Layout, tmp_path: Path) -> None:
    other = images.make_layout(tmp_path / "other", [tar(Item("f", data=b"two"))])
    _import(store, made)
    _import(store, other)
    assert store.find("x.io/app:1").image.digest == other.digest
    assert (store.collect() or 0) > 0
    assert made.layers[0].replace(":", "-") not in _entries(tmp_path, "blobs")


def test_nothing_is_collected_while_an_image_is_brought(store: Store, made: Layout, tmp_path: Path) -> None:
    seen: list[int | None] = []

    def watch(blob: Descriptor, count: int) -> None:
        seen.append(store.collect())

    with filesets.Directory(str(made.path)) as files:
        store.bring(layout.Layout(files), "x.io/app:1", platform.host(), None, watch)
    assert seen
    assert set(seen) == {None}
    assert store.find("x.io/app:1").image.digest == made.digest


def test_names_that_cannot_be_read_say_what_to_do(store: Store, made: Layout, tmp_path: Path) -> None:
    _import(store, made)
    (tmp_path / "store" / "names.json").write_text("nonsense")
    with pytest.raises(errors.HostError) as raised:
        store.every()
    assert raised.value.hint is not None
