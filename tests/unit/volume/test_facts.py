"""Facts are rows of text on disk and in the store; what is written by one build is read by another."""

from __future__ import annotations

import pytest
from msgspec import structs

from pilot import errors
from pilot.ids import CheckpointId
from pilot.volume import facts
from pilot.volume.checkpoint import Checkpoint
from pilot.volume.facts import Durability, Facts, Tie

POINT = Checkpoint(CheckpointId("v1"), 3, 12.5, "before the upgrade", 1.25, True)
# As builds before this module wrote them.
ROWS = {
    "format": "1", "size": "1073741824", "lineage": '["00000000000000aa"]', "formatted": "1", "vm": "1", "era": "2",
    "generation": "3", "durability": "remote", "dirty_cap_bytes": "1000", "boot": "0 17 5",
    "checkpoint/v1": POINT.text(),
    "local/store": "file:///store", "local/holder": "host-1", "local/key": "wrapped", "local/seq": "9",
    "local/cache_bytes": "65536", "local/noted": "12", "local/durable/at": "11.5",
    "local/durable/checkpoint/v1": "10.5",
    "from/later": "kept", "later": "inherited",
}  # fmt: skip


def test_rows_of_any_build_are_written_as_they_were_read() -> None:
    assert Facts.parse(ROWS).rows() == ROWS


def test_each_row_is_a_typed_field() -> None:
    known = Facts.parse(ROWS)
    assert (known.size_bytes, known.lineage, known.formatted, known.sealed) == (
        1 << 30,
        ("00000000000000aa",),
        True,
        False,
    )
    assert (known.durability, known.boot, known.generation, known.era) == (Durability.REMOTE, (0, 17, 5), 3, 2)
    assert (known.local.seq, known.local.cache_bytes, known.local.durable_at) == (9, 65536, 11.5)
    assert known.list_checkpoints() == [structs.replace(POINT, durable_at=10.5)]


def test_only_what_differs_is_stored() -> None:
    known = Facts.parse(ROWS)
    assert facts.changes(known, known) == {}
    later = structs.replace(known, sealed=True, vm=False, boot=()).replace_local(seq=10)
    assert facts.changes(known, later) == {"sealed": "1", "vm": None, "boot": None, "local/seq": "10"}
    assert known.with_rows(facts.changes(known, later)) == later


def test_a_root_that_goes_takes_with_it_what_is_known_of_it() -> None:
    known = Facts.parse(ROWS)
    gone = facts.changes(known, known.without_root("checkpoint/v1"))
    assert gone == {"checkpoint/v1": None, "local/durable/checkpoint/v1": None}


def test_what_is_about_this_host_does_not_travel() -> None:
    rows = Facts.parse({**ROWS, "local/later": "x"}).travelling().rows()
    assert rows == {key: text for key, text in ROWS.items() if not key.startswith("local/")}


def test_a_fork_inherits_what_is_true_of_its_content() -> None:
    fork = Facts.parse(ROWS).for_fork(["a", "b"]).rows()
    kept = ("size", "formatted", "vm", "era", "durability", "dirty_cap_bytes", "boot", "later")
    assert fork == {"format": "1", "lineage": '["a", "b"]', **{key: ROWS[key] for key in kept}}


def test_a_tie_is_to_one_store() -> None:
    tied = Facts.parse(ROWS).for_fork([]).tied(Tie("file:///other", "host-2", None, Durability.LOCAL, 7))
    assert (tied.local.store, tied.local.holder, tied.local.key, tied.local.cache_bytes) == (
        "file:///other",
        "host-2",
        None,
        7,
    )
    assert tied.durability is Durability.LOCAL


def test_a_fork_is_durable_when_the_store_has_what_it_was_forked_from() -> None:
    known = Facts(size_bytes=1)
    assert not known.is_fork_durable("c")
    assert known.replace_local(durable_roots={"fork/c": 1.0}).is_fork_durable("c")
    assert known.replace_local(durable_sealed=True).is_fork_durable("c")
    assert known.replace_local(foreign=True).is_fork_durable("c")


@pytest.mark.parametrize(
    ("key", "text"), [("size", "x"), ("lineage", "{}"), ("checkpoint/v1", "{}"), ("local/durable/at", "soon")]
)
def test_damage_names_the_row(key: str, text: str) -> None:
    with pytest.raises(errors.HostError, match=f"fact '{key}' is"):
        Facts.parse({**ROWS, key: text})
