"""Which processors a machine gets, of sets that are given; and how a v1 tree of them is moved, on directories that
refuse what the kernel refuses."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot.host.vmm.container import processors


@pytest.mark.parametrize(
    ("count", "others", "wanted"),
    [
        (1, [], (0,)),
        (2, [], (0, 1)),
        (1, [(0,)], (1,)),
        (2, [(0, 1), (2,)], (0, 3)),
        (4, [(0,)], (0, 1, 2, 3)),
        (9, [], (0, 1, 2, 3)),
    ],
)
def test_those_that_fewest_have(count: int, others: list[tuple[int, ...]], wanted: tuple[int, ...]) -> None:
    assert processors.choose(count, range(4), others) == wanted


def test_many_machines_are_spread() -> None:
    given_out: list[tuple[int, ...]] = []
    for _ in range(32):
        given_out.append(processors.choose(2, range(8), given_out))
    assert {sum(number in each for each in given_out) for number in range(8)} == {8}


class Tree:
    """Cpusets of v1 as directories: each within the one above, and holding what those below it have."""

    def __init__(self, top: pathlib.Path) -> None:
        self.top = top

    def put(self, name: str, numbers: Iterable[int]) -> None:
        (self.top / name).mkdir(parents=True, exist_ok=True)
        (self.top / name / "cpuset.cpus").write_text(",".join(map(str, sorted(numbers))))

    def get(self, name: str) -> set[int]:
        return {int(number) for number in (self.top / name / "cpuset.cpus").read_text().split(",")}

    def write(self, directory: str, numbers: Iterable[int]) -> None:
        path, wanted = pathlib.Path(directory), set(numbers)
        above = path.parent / "cpuset.cpus"
        if above.exists() and not wanted <= self.get(os.path.relpath(path.parent, self.top)):
            raise OSError(errno.EACCES, "more than above")
        for below in path.iterdir():
            if below.is_dir() and not self.get(os.path.relpath(below, self.top)) <= wanted:
                raise OSError(errno.EBUSY, "less than below")
        self.put(os.path.relpath(path, self.top), wanted)


_SETS = st.sets(st.integers(0, 5), min_size=1)


@settings(deadline=None, max_examples=60)
@given(had=_SETS, will=_SETS, data=st.data())
def test_a_tree_is_moved_whatever_is_in_it(
    had: set[int], will: set[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = Tree(tmp_path_factory.mktemp("cpusets"))
    tree.put("m", had)
    for above, name in (
        ("m", "m/world"),
        ("m/world", "m/world/a"),
        ("m/world", "m/world/b"),
        ("m/world/a", "m/world/a/c"),
    ):
        tree.put(name, data.draw(st.sets(st.sampled_from(sorted(tree.get(above))), min_size=1)))
    before = {name: tree.get(name) for name in ("m/world", "m/world/a", "m/world/b", "m/world/a/c")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processors, "_write", tree.write)
        processors._move_v1(str(tree.top / "m"), had, will)
    assert tree.get("m") == will
    for name, was in before.items():
        assert was != had or tree.get(name) == will
        assert tree.get(name) <= will
        if was & will and was != had:
            assert tree.get(name) == was & will, "narrowed by somebody inside"
