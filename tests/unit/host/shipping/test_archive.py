"""The tar of an OCI layout, read by the reader that Machines' images are read with, and by skopeo."""

from __future__ import annotations

import io
import json
import pathlib
import shutil
import subprocess
import tarfile

import pytest

from pilot.host.shipping import archive
from pilot.host.shipping.archive import Archive, Image, Layer
from pilot.image.oci import platform, source
from pilot.image.oci.documents import Execution
from pilot.images import origins


def layer(*names: str) -> Layer:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name in names:
            made.addfile(tarfile.TarInfo(name))
    file.seek(0)
    return Layer(file, archive.digest_of(file), len(file.getvalue()), f"made {names}")


def image() -> Image:
    config = Execution(user="sprite", env=("A=b",), cmd=("serve",), labels={"pilot.sprite": "web"})
    return Image("web:v1", "2026-01-02T03:04:05.000000Z", platform.host(), (layer("./base"), layer("./own")), config)


def written(path: pathlib.Path) -> Archive:
    made = Archive(image())
    path.write_bytes(b"".join(made.pieces()))
    made.close()
    return made


def test_its_length_and_digest_are_told_before(tmp_path: pathlib.Path) -> None:
    made = written(tmp_path / "a.tar")
    assert (tmp_path / "a.tar").stat().st_size == made.size
    with origins.of_files(str(tmp_path / "a.tar"), "web:v1") as origin:
        found = source.find(origin, platform.host(), None)
        assert found.digest == made.digest
        assert [each.blob.digest for each in found.layers] == [each.diff_id for each in found.layers]
        assert found.config.config == image().config
        with tarfile.open(fileobj=io.BytesIO(b"".join(origin.blob(found.layers[1].blob)))) as own:
            assert own.getnames() == ["./own"]


def test_the_same_makes_the_same(tmp_path: pathlib.Path) -> None:
    assert written(tmp_path / "a").digest == written(tmp_path / "b").digest
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_skopeo_reads_it(tmp_path: pathlib.Path) -> None:
    made = written(tmp_path / "a.tar")
    command = ["skopeo", "inspect", f"oci-archive:{tmp_path}/a.tar"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["Digest"], told["Labels"]) == (made.digest, {"pilot.sprite": "web"})
