"""What volumes wrote since samples are kept is read by this build; and a format that changes gets another version."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pilot import errors
from pilot.ids import CheckpointId
from pilot.volume import answers, checkpoint, facts, layout, names
from pilot.volume.books import delta
from pilot.volume.disk import disk as disks
from pilot.volume.disk import journal, meta, slab
from pilot.volume.operator import archive, importing
from pilot.volume.remote.live import adopt, link
from pilot.volume.remote.log import codec, head, segment, snapshot
from pilot.volume.remote.objects import opening
from pilot.volume.requests import base as requests
from pilot.volume.requests import to_errand, to_volumed, to_worker, to_zygote
from tests.formats import volumes
from tests.formats.volumes import BASE, FORK, SAVED

SAMPLES = sorted(Path(__file__).parent.glob("volumes-*.tar.gz"))


@pytest.fixture(params=SAMPLES, ids=lambda path: path.name)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> volumes.Sample:
    return volumes.unpack(request.param, tmp_path)


def test_there_is_a_sample() -> None:
    assert SAMPLES


def test_a_disk_opens_with_its_journal(sample: volumes.Sample) -> None:
    """…and with what this build writes then, once more."""
    base = str(sample.top / "disks" / BASE)
    with contextlib.closing(disks.Disk(base, [])) as disk:
        assert volumes.content_of(disk.read) == sample.expected["journaled"]
        assert volumes.content_of(disk.reader(SAVED)) == sample.expected["checkpoint"]
        (saved,) = disk.checkpoints()
        assert (saved.comment, saved.created_at, saved.clean) == ("of the sample", 1.5, True)
        disk.write(30 * layout.CHUNK_BYTES, memoryview(b"z" * layout.CHUNK_BYTES))
    with contextlib.closing(disks.Disk(base, [])) as disk:
        assert volumes.content_of(disk.read) == {**sample.expected["journaled"], 30: "z"}
        disk.roots.restore(SAVED)
        assert volumes.content_of(disk.read) == sample.expected["checkpoint"]


def test_a_worker_takes_over_the_log_of_changes_of_another_build(sample: volumes.Sample) -> None:
    """Hot upgrade: what a worker of another build had acknowledged, and not flushed, is there."""
    log_fd = os.open(sample.top / "delta", os.O_RDWR)
    with contextlib.closing(disks.Disk(str(sample.top / "disks" / BASE), [], log_fd)) as disk:
        assert volumes.content_of(disk.read) == sample.expected["noted"]
    os.close(log_fd)


def test_a_fork_opens_with_its_ancestor(sample: volumes.Sample) -> None:
    fork, base = str(sample.top / "disks" / FORK), str(sample.top / "disks" / BASE)
    with contextlib.closing(disks.Disk(fork, [base])) as disk:
        assert volumes.content_of(disk.read) == sample.expected["fork"]


def test_it_is_adopted_from_its_store(sample: volumes.Sample) -> None:
    objects = opening.open_store(f"file://{sample.top}/store")
    here = sample.top / "here" / BASE
    here.mkdir(parents=True)
    adopt.take_over(objects, BASE, str(here), "this build")
    with contextlib.closing(disks.Disk(str(here), [])) as disk:
        tied = link.Link(disk, [])
        try:
            assert volumes.content_of(disk.read) == sample.expected["stored"]
            assert volumes.content_of(disk.reader(SAVED)) == sample.expected["checkpoint"]
        finally:
            tied.close(0.0)


def test_an_export_is_imported(sample: volumes.Sample) -> None:
    there = sample.top / "imported"
    there.mkdir()
    with (sample.top / "archive").open("rb") as file:
        archive.read(file.read, importing._Filler(str(there), vm=False))
    with contextlib.closing(disks.Disk(str(there), [])) as disk:
        assert volumes.content_of(disk.read) == sample.expected["stored"]
        assert volumes.content_of(disk.reader(CheckpointId("v1"))) == sample.expected["checkpoint"]


# ---- a format that changes


def _layout_of(struct: type[msgspec.Struct]) -> str:
    return repr([(field.encode_name, str(field.type)) for field in msgspec.structs.fields(struct)])


def _layouts_of(kinds: requests.Kinds) -> str:
    """Of requests and answers. A new one, or a new field with a default, is no new version (`requests.base`): write the
    digest down, and a sample into `requests-<version>.jsonl`."""
    return "".join(f"{requests.op_of(kind)}{_layout_of(kind)}{_layout_of(requests._answer_of(kind))}" for kind in kinds)


def _values_of_answers() -> str:
    kinds = (answers.Volume, answers.Outcome, checkpoint.Checkpoint)
    return repr([(name, text) for kind in kinds for name, text in kind.__annotations__.items()])


# Format → (its version, what it consists of). When one of these changes, the digest below does: then give the format
# its next version, keep a reader of the one before, make a sample (`volumes`), and write both down here.
FORMATS: dict[str, Callable[[], tuple[object, str]]] = {
    "meta.db": lambda: (layout.FORMAT, meta._SCHEMA + meta._REMOTE_SCHEMA + meta._PLACE),
    "facts": lambda: (layout.FORMAT, repr(sorted([*facts._FIELDS, *facts._LOCAL_FIELDS]))),
    "journal": lambda: (journal._MAGIC, journal._HEADER.format + str(journal.BLOCKS) + delta._RECORD.format),
    "slab": lambda: (slab._HEADER, str(layout.CHUNK_BYTES)),
    "log of changes": lambda: (delta._MAGIC, delta._HEADER.format + delta._RECORD.format + str(delta.CAPACITY)),
    "segment": lambda: (segment.MAGIC, segment.PRELUDE.format + _layout_of(segment.Delta)),
    "snapshot": lambda: (snapshot.MAGIC, snapshot._HEAD.format + _layout_of(snapshot.Image)),
    "HEAD": lambda: (head.FORMAT, _layout_of(head.Head)),
    "requests to volumed": lambda: (requests.VERSION, _layouts_of(to_volumed.KINDS) + _values_of_answers()),
    "requests to workers": lambda: (requests.VERSION, _layouts_of(to_worker.KINDS)),
    "requests to zygotes": lambda: (requests.VERSION, _layouts_of(to_zygote.KINDS) + _layouts_of(to_errand.KINDS)),
    "archive": lambda: (archive.FORMAT, archive._FRAME.format + _layout_of(archive.Header) + _layout_of(archive.End)),
}
KNOWN: dict[str, tuple[object, str]] = {
    "meta.db": (1, "3286b9fa96b4"),
    # local/quota came without a new version: a build that does not know it keeps the row, and bounds nothing.
    "facts": (1, "c0e4166185c7"),
    "journal": (0x324C4E4A544C4950, "c1e642cde037"),
    "slab": (b"pilot slab 1\n", "62c0a3616f1d"),
    "log of changes": (0x31544C4450494C54, "c096ecee5377"),
    "segment": (b"pilotsg1", "549ff1a7de7d"),
    "snapshot": (b"pilotmp1", "ea85ad7cd135"),
    "HEAD": (1, "551ec3429378"),
    # `limit`, and what `status` and `stat` tell more, came without a new version: see `requests.base`.
    "requests to volumed": (1, "efd109e7fe51"),
    "requests to workers": (1, "51da921cf37d"),
    "requests to zygotes": (1, "4df68b0284f3"),
    "archive": (1, "128cfbdd5193"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_changes_has_another_version(name: str) -> None:
    version, what = FORMATS[name]()
    assert (version, hashlib.blake2b(what.encode(), digest_size=6).hexdigest()) == KNOWN[name]


# ---- one that is later than this build


def test_a_later_slab_is_refused_by_name(sample: volumes.Sample) -> None:
    path = sample.top / "disks" / BASE / "slab"
    with path.open("r+b") as file:
        file.write(b"pilot slab 2\n")
    with pytest.raises(errors.HostError, match=r"slab: is a 'pilot slab 2', this program knows 'pilot slab 1'") as told:
        disks.Disk(str(path.parent), [])
    assert told.value.hint == layout.OTHER_BUILD


def test_a_later_journal_is_refused_and_not_taken_for_empty(sample: volumes.Sample) -> None:
    path = sample.top / "disks" / BASE / "journal"
    with path.open("r+b") as file:
        file.write(b"PILTJNL3")
    with pytest.raises(errors.HostError, match=r"journal: is of format '3', this program knows '2'"):
        disks.Disk(str(path.parent), [])


def test_a_later_segment_is_refused_by_name(sample: volumes.Sample) -> None:
    path = sorted((sample.top / "store" / "vol" / BASE / "seg").iterdir())[-1]
    stamp = names.parse(path.name)
    assert stamp is not None
    data = path.read_bytes()
    assert segment.decode_head(data, stamp, len(data)).stamp == stamp
    with pytest.raises(codec.Damaged, match=r"is of format b'pilotsg2', this program knows b'pilotsg1'"):
        segment.decode_head(b"pilotsg2" + data[8:], stamp, len(data))


def test_a_later_snapshot_is_refused_by_name(sample: volumes.Sample) -> None:
    (path,) = (sample.top / "store" / "vol" / BASE / "map").iterdir()
    stamp = names.parse(path.name)
    assert stamp is not None
    later = b"pilotmp2" + path.read_bytes()[8:]
    with pytest.raises(codec.Damaged, match=r"is of format b'pilotmp2', this program knows b'pilotmp1'"):
        snapshot.decode(later, stamp, codec.digest(later), codec.Codec())
