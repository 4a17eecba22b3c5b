"""A backup is of one moment, and whole or none; so is what is restored of it."""

from __future__ import annotations

import io
import os
import pathlib
import sqlite3
import subprocess
import sys
import tarfile
import threading

import pytest

from pilot import errors
from pilot.host import backup, main
from pilot.host.store import tokens
from pilot.host.store.sqlite import SqliteDatabase
from pilot.kernel import files


@pytest.fixture
def state(tmp_path: pathlib.Path) -> pathlib.Path:
    place = tmp_path / "state"
    for name, text in (
        ("token", "t"), ("secrets.key", "s"), ("identity/seal", "i"), ("identity/roots", "r"), ("identity/.half", "x"),
        ("ca/ca.pem", "c"), ("network/defaults", "d"), ("network/resolver.log", "l"), ("volumes/disks/slab", "v"),
    ):  # fmt: skip
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def backed_up(state: pathlib.Path) -> bytes:
    out = io.BytesIO()
    backup.write(str(state), out)
    return out.getvalue()


def organisations(state: pathlib.Path) -> int:
    database = SqliteDatabase(str(state / "state.db"))
    try:
        return int(database.query("SELECT count(*) AS n FROM organisations")[0]["n"])
    finally:
        database.close()


def test_it_is_of_one_moment_while_others_write(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    database = SqliteDatabase(str(state / "state.db"))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            tokens.ensure_organisation(database, f"o-{os.urandom(4).hex()}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backed_up(state) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
        database.close()
    for number, data in enumerate(made):
        about = backup.restore(str(tmp_path / str(number)), io.BytesIO(data))
        assert about.version == backup.VERSION
    counts = [organisations(tmp_path / str(number)) for number in range(5)]
    assert counts == sorted(counts)


def test_what_is_in_it_and_in_what_is_restored(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    data = backed_up(state)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [
            "backup.json", "state.db", "token", "secrets.key", "network/defaults", "identity/roots", "identity/seal",
            "ca/ca.pem", "SHA256SUMS",
        ]  # fmt: skip
    other = tmp_path / "other"
    (other / "volumes").mkdir(parents=True)
    backup.restore(str(other), io.BytesIO(data))
    assert sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()) == [
        "ca/ca.pem", "identity/roots", "identity/seal", "lock", "network/defaults", "secrets.key", "state.db", "token",
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in other.rglob("*") if path.is_file()} == {0o600}
    assert (other / "token").read_text() == "t"


def test_a_database_that_is_there_is_not_replaced(state: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    with pytest.raises(errors.Conflict, match=r"it has a state\.db"):
        backup.restore(str(state), io.BytesIO(backed_up(state)))


def test_a_pilotd_that_serves_it_is_in_the_way(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    data = backed_up(state)
    (tmp_path / "served").mkdir()
    with files.held(str(tmp_path / "served/lock")), pytest.raises(errors.Conflict, match="a pilotd serves it"):
        backup.restore(str(tmp_path / "served"), io.BytesIO(data))


def _tar(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


ABOUT = ("backup.json", b'{"version": 1, "made_at": "now", "pilotd": "0"}')


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x" * 2000, _tar(("token", b"")), _tar(ABOUT), _tar(ABOUT, ("state.db", b"no database" * 100)),
        _tar(ABOUT, ("state.db", b"")), _tar(ABOUT, ("../token", b"")), _tar(ABOUT, ("/etc/passwd", b"")),
        _tar(ABOUT, ("identity/../token", b"")), _tar(ABOUT, ("identity/a/b", b"")), _tar(ABOUT, ("volumes/x", b"")),
        _tar(("backup.json", b'{"version": 3, "made_at": "", "pilotd": ""}')), _tar(("backup.json", b"{")),
    ],
)  # fmt: skip
def test_what_is_no_backup_leaves_no_database(tmp_path: pathlib.Path, data: bytes) -> None:
    with pytest.raises(errors.SpecError):
        backup.restore(str(tmp_path / "state"), io.BytesIO(data))
    assert not (tmp_path / "state/state.db").exists()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize("left", ["state.db-wal", "state.db-shm", "state.db-journal"])
def test_the_log_of_another_database_is_not_written_into_a_restored_one(
    state: pathlib.Path, tmp_path: pathlib.Path, left: str
) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    other = tmp_path / "other"
    other.mkdir()
    (other / left).write_text("of before")
    with pytest.raises(errors.Conflict, match=rf"it has a {left}"):
        backup.restore(str(other), io.BytesIO(backed_up(state)))
    assert (other / left).read_text() == "of before"


def _sparse(name: str, size: int) -> bytes:
    """A member of a few bytes that says it is a file of `size`."""
    member = tarfile.TarInfo(name)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
                          "GNU.sparse.realsize": str(size)}  # fmt: skip
    content = f"1\n{size}\n0\n".encode().ljust(512, b"\0")
    member.size = len(content)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        about = tarfile.TarInfo(ABOUT[0])
        about.size = len(ABOUT[1])
        archive.addfile(about, io.BytesIO(ABOUT[1]))
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_a_file_that_is_no_backup_changes_no_key(state: pathlib.Path) -> None:
    """It may begin as one, and be cut off, or have no database, or one that is damaged, or of holes."""
    SqliteDatabase(str(state / "state.db")).close()
    whole = backed_up(state)
    (state / "state.db").unlink()
    keys = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    foreign = [("token", b"theirs"), ("identity/seal", b"theirs"), ("ca/new", b"theirs")]
    for data in (
        _tar(ABOUT, *foreign), _tar(ABOUT, *foreign, ("state.db", b"x" * 8192)), whole[: -len(whole) // 4],
        _tar(ABOUT, *foreign, ("volumes/x", b"")), _sparse("state.db", 1 << 20),
    ):  # fmt: skip
        with pytest.raises(errors.SpecError):
            backup.restore(str(state), io.BytesIO(data))
        assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file() and path.name != "lock"} == keys


def test_what_a_killed_one_has_left_is_swept_and_one_at_work_stays(state: pathlib.Path) -> None:
    for name in (".backup-killed", ".restore-killed", ".backup-at-work", ".other"):
        (state / name).mkdir()
        (state / name / "state.db").write_text("large")
    with files.directory_held(str(state / ".backup-at-work")):
        backup.sweep(str(state))
    assert sorted(path.name for path in state.iterdir() if path.name.startswith(".")) == [".backup-at-work", ".other"]


def test_one_that_breaks_off_is_none(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    data = backed_up(state)
    for size in (512, 2000, len(data) // 2):
        with pytest.raises(errors.SpecError):
            backup.restore(str(tmp_path / "other"), io.BytesIO(data[:size]))
        assert not (tmp_path / "other/state.db").exists()


def test_what_has_changed_in_any_byte_is_not_restored(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Also where SQLite does not look, and in keys, which have no structure."""
    database = SqliteDatabase(str(state / "state.db"))
    tokens.ensure_organisation(database, "someone-whose-name-is-a-row")
    database.close()
    whole = backed_up(state)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        places = {(each.name, each.offset_data + at) for each in archive for at in (0, each.size // 2, each.size - 1)}
    places.add(("state.db", whole.index(b"someone-whose-name-is-a-row")))
    for number, (name, place) in enumerate(sorted(places)):
        data = bytearray(whole)
        data[place] ^= 0x01
        target = tmp_path / str(number)
        with pytest.raises(errors.SpecError):
            backup.restore(str(target), io.BytesIO(data))
        assert [path.name for path in target.iterdir()] == ["lock"], name


def _without(data: bytes, *names: str) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = [(each.name, archive.extractfile(each)) for each in archive if each.name not in names]
    return [(name, file.read()) for name, file in found if file is not None]


def test_files_that_are_missing_or_more_or_of_another_backup(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    whole = backed_up(state)
    (state / "token").write_text("another")
    other = _without(backed_up(state))
    for members in (
        _without(whole, "token"), _without(whole, "SHA256SUMS"), [("ca/new", b"x"), *_without(whole)][::-1],
        [*_without(whole), ("ca/new", b"x")], [*_without(whole, "SHA256SUMS"), other[-1]],
    ):  # fmt: skip
        with pytest.raises(errors.SpecError):
            backup.restore(str(tmp_path / "other"), io.BytesIO(_tar(*members)))
        assert [path.name for path in (tmp_path / "other").iterdir()] == ["lock"]


def test_one_of_the_version_without_sums(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    about = backup.restore(
        str(tmp_path / "other"), io.BytesIO(_tar(ABOUT, *_without(backed_up(state), "backup.json", "SHA256SUMS")))
    )
    assert about.version == 1
    assert (tmp_path / "other/token").read_text() == "t"


def test_a_time_to_wait_that_is_none(state: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("-1", "nan", "inf", "x", ""):
        with pytest.raises(SystemExit):
            main.main(["drain", "--state-dir", str(state), "--patience", words])
        assert "--patience" in capsys.readouterr().err


def test_a_device_and_a_link_that_it_is_written_to_stay(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    os.mkfifo(tmp_path / "pipe")
    assert main.main(["backup", "--state-dir", str(state), str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    backup.restore(str(tmp_path / "new"), io.BytesIO((tmp_path / "far").read_bytes()))
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert main.main(["backup", "--state-dir", str(state), str(tmp_path / "pipe")]) == 0
    reader.join()
    backup.restore(str(tmp_path / "piped"), io.BytesIO(taken[0]))
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "piped/token").read_text() == "t"


def test_by_the_command_line(state: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    SqliteDatabase(str(state / "state.db")).close()
    target = tmp_path / "backup.tar"
    assert main.main(["backup", "--state-dir", str(state), str(target)]) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert main.main(["restore", "--state-dir", str(tmp_path / "new"), str(target)]) == 0
    assert "restored" in capsys.readouterr().out
    with sqlite3.connect(tmp_path / "new/state.db") as found:
        assert found.execute("SELECT max(version) FROM schema_version").fetchone()[0] > 0
    for words in (["backup", "--state-dir", str(tmp_path / "none"), str(tmp_path / "x")],
                  ["restore", "--state-dir", str(tmp_path / "y"), str(tmp_path / "absent")],
                  ["drain", "--state-dir", str(state)], ["drain", "--state-dir", str(tmp_path / "none")]):  # fmt: skip
        assert main.main(words) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.parametrize("words", ["backup - --state-dir", "audit --state-dir"])
def test_a_closed_stdout_is_no_place_for_it(state: pathlib.Path, words: str) -> None:
    command = f"{sys.executable} -m pilot.host.main {words} {state} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, b"stdout is closed" in done.stderr) == (1, True)


@pytest.mark.parametrize("place", ["", "file/state", "/proc/none"])
def test_a_state_directory_that_cannot_be_is_told_in_words(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "file").touch()
    assert main.main(["serve", "--state-dir", place]) == 1
    assert "make the state directory" in capsys.readouterr().err
