"""Who gives up recorded output when there is too much of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilot.agent.record_budget import MOST_BYTES, RecordBudget, most_bytes

MIB = 1 << 20


class Stream:
    """Keeps what it is told to; `held` bytes are on their way to somebody."""

    def __init__(self, budget: RecordBudget) -> None:
        self._budget = budget
        self.kept_bytes = 0
        self.held = 0
        budget.join(self)

    @property
    def spare_bytes(self) -> int:
        return self.kept_bytes - self.held

    @property
    def share_bytes(self) -> int:
        return self.spare_bytes

    def write(self, count: int) -> None:
        self.kept_bytes += count
        self._budget.changed(count)
        self._budget.settle()

    def give_up(self, wanted_bytes: int) -> None:
        assert 0 < wanted_bytes <= self.spare_bytes
        self.kept_bytes -= wanted_bytes
        self._budget.changed(-wanted_bytes)


def test_the_record_is_a_share_of_the_memory() -> None:
    assert most_bytes(512 * MIB) == 32 * MIB
    assert most_bytes(64 << 30) == MOST_BYTES
    assert most_bytes(None) == MOST_BYTES


def test_the_chatty_share_and_the_quiet_keep_all() -> None:
    budget = RecordBudget(30 * MIB)
    quiet, *chatty = [Stream(budget) for _ in range(5)]
    quiet.write(MIB)
    for _ in range(100):
        for stream in chatty:
            stream.write(MIB)
    assert quiet.kept_bytes == MIB
    assert sum(stream.kept_bytes for stream in [quiet, *chatty]) <= budget.limit_bytes == 20 * MIB
    for stream in chatty:
        assert abs(stream.kept_bytes - 19 * MIB / 4) <= MIB


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4 * MIB)), max_size=60), st.integers(0, 2 * MIB))
def test_what_is_kept_is_bounded_but_for_what_is_held(writes: list[tuple[int, int]], held: int) -> None:
    budget = RecordBudget(6 * MIB)
    streams = [Stream(budget) for _ in range(5)]
    for number, count in writes:
        streams[number].write(count)
        streams[0].held = min(held, streams[0].kept_bytes)
    budget.settle()
    total = sum(stream.kept_bytes for stream in streams)
    assert budget.kept_bytes == total
    assert total <= max(budget.limit_bytes, streams[0].held)


def test_the_more_clients_there_are_the_less_each_may_be_behind() -> None:
    budget = RecordBudget(MOST_BYTES)
    assert budget.window_bytes == 8 * MIB
    budget.attached(512)
    assert budget.window_bytes * 512 <= budget.limit_bytes // 2
    budget.attached(-512)
    assert budget.window_bytes == 8 * MIB
