"""`pilot image`: what it prints and how it ends, on a store of its own."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.support import images
from tests.support.images import Layout
from tests.support.layers import Item, tar

from pilot import command, errors
from pilot.image.oci.digest import Digest
from pilot.image.oci.documents import Descriptor
from pilot.images import cli, progress


@pytest.fixture
def made(tmp_path: Path) -> Layout:
    return images.make_layout(tmp_path / "layout", [tar(Item("f", data=b"one" * 1000))], {"Cmd": ["sh"], "User": "app"})


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> object:
    def pilot_image(*words: str) -> str:
        assert cli.main(["--cache-dir", str(tmp_path / "cache"), *words]) == 0
        return capsys.readouterr().out

    return pilot_image


def test_import_list_show_remove(run, made: Layout) -> None:  # type: ignore[no-untyped-def]
    assert run("import", str(made.path), "box:v1") == f"{made.digest}\n"
    (title, row) = run("list").splitlines()
    assert title.split() == ["NAME", "DIGEST", "PLATFORM", "SIZE"]
    assert row.split()[:2] == ["docker.io/library/box:v1", made.digest[:19]]
    shown = json.loads(run("show", "box:v1"))
    assert shown["digest"] == made.digest
    assert (shown["config"]["Cmd"], shown["config"]["User"]) == (["sh"], "app")
    assert [layer["digest"] for layer in shown["layers"]] == list(made.layers)
    assert json.loads(run("list", "--json"))[0]["name"] == "docker.io/library/box:v1"
    assert run("remove", "box:v1") == "docker.io/library/box:v1\n"
    assert run("list").split() == title.split()


def test_pull_is_seen_by_what_it_prints(run, made: Layout) -> None:  # type: ignore[no-untyped-def]
    with images.serve(made) as served:
        assert run("pull", f"{served.domain}/team/app:2") == f"{made.digest}\n"
        assert run("pull", f"{served.domain}/team/app@{made.digest}") == f"{made.digest}\n"
        with pytest.raises(errors.NotFound):
            run("pull", f"{served.domain}/team/app@sha256:{'0' * 64}")
        names = [row["name"] for row in json.loads(run("list", "--json"))]
        assert names == [f"{served.domain}/team/app:2", f"{served.domain}/team/app@{made.digest}"]


def test_archives(run, made: Layout, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive = tmp_path / "app.tar"
    with tarfile.open(archive, "w") as file:
        file.add(made.path, ".")
    assert run("import", str(archive)) == f"{made.digest}\n"
    assert json.loads(run("list", "--json"))[0]["name"] == "docker.io/library/app:latest"


def test_another_platform_is_not_taken(run, made: Layout) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(errors.NotFound, match="none for this platform"):
        run("import", "--platform", "linux/s390x", str(made.path), "box")
    with pytest.raises(errors.PilotError, match="OS/ARCHITECTURE"):
        run("import", "--platform", "linux", str(made.path), "box")


def test_what_was_built_is_listed_and_pruned_as_ever(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("guest-1", "guest-2"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    assert len(run("list", "--built").splitlines()) == 2
    assert len(run("prune").splitlines()) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_are_for_terminals() -> None:
    blob = Descriptor("x", Digest(f"sha256:{'ab' * 32}"), 4 << 20)
    for out in (_Terminal(), io.StringIO()):
        times = iter(range(100))
        bars = progress.Bars(out, lambda times=times: float(next(times)))  # type: ignore[misc]
        for count in (1 << 20, 2 << 20, 4 << 20, 4 << 20):
            bars(blob, count)
        lines = out.getvalue().split("\r\x1b[K")[1:]
        assert len(lines) == (3 if out.isatty() else 0)
    assert progress.line(blob, 2 << 20) == f"{'ab' * 6}  [{'█' * 12}{' ' * 12}]     2.0 /    4.0 MiB"


@pytest.mark.parametrize(
    ("words", "is_ours"),
    [
        (["--image", "x", "--", "sh"], True),
        (["--env", "A=1", "--image=x"], True),
        (["--bundle", ".", "id"], False),
        (["--bundle", ".", "id", "--", "--image"], False),
    ],
)
def test_which_run_is_of_an_image(words: list[str], is_ours: bool) -> None:
    assert command._names_an_image(words) is is_ours
