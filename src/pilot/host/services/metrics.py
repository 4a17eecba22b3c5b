"""What an operator watches, in Prometheus' terms.

    pilotd_run_seconds{action, ending}   create, wake, checkpoint, restore, …: from the begin of a run to its end
    pilotd_exec_seconds                  from a command's request to the machine's first answer, a wake included
    pilotd_sprites{status}               counted when asked, as are the next three
    pilotd_pool_ready
    pilotd_machine_pool_ready
    pilotd_active_runs{action}

Histograms belong to this process; nothing is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..fsm.journal import Record
from ..fsm.outcome import Outcome

# From a checkpoint (milliseconds) to a restore that waits for a store (minutes).
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
STATUSES = ("running", "warm", "cold")


class Now(Protocol):
    """What is counted when somebody asks; it may block."""

    def statuses(self) -> Mapping[str, str]: ...
    def pooled(self) -> int: ...
    def active_runs(self) -> list[Record]: ...


class Metrics:
    """Of one pilotd. Safe to use from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._runs = Histogram(
            "pilotd_run_seconds",
            "Runs, from their begin to their end.",
            ["action", "ending"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._execs = Histogram(
            "pilotd_exec_seconds",
            "Commands, from their request to the first answer of the machine.",
            buckets=BUCKETS_S,
            registry=self._registry,
        )

    def count(self, now: Now) -> None:
        """From here on these are told, too."""
        self._registry.register(_Counted(now))

    def count_machines(self, ready: Callable[[], int]) -> None:
        """As `count`, of the pool of Machines."""
        told = "Members of the pool of Machines that are ready."
        Gauge("pilotd_machine_pool_ready", told, registry=self._registry).set_function(ready)

    def run_ended(self, run: Record, outcome: Outcome, seconds: float) -> None:
        self._runs.labels(run.action, outcome.ending.value).observe(seconds)

    def exec_answered(self, seconds: float) -> None:
        self._execs.observe(seconds)

    def text(self) -> bytes:
        """In the text format, version 0.0.4. May block."""
        return generate_latest(self._registry)


class _Counted(Collector):
    def __init__(self, now: Now) -> None:
        self._now = now

    def describe(self) -> list[Metric]:
        return []  # so that registering it asks nothing

    def collect(self) -> Iterator[Metric]:
        found = Counter(self._now.statuses().values())
        sprites = GaugeMetricFamily("pilotd_sprites", "Sprites by status.", labels=["status"])
        for status in STATUSES:
            sprites.add_metric([status], found[status])
        yield sprites
        yield GaugeMetricFamily("pilotd_pool_ready", "Members of the pool that are ready.", value=self._now.pooled())
        runs = GaugeMetricFamily("pilotd_active_runs", "Runs that have not ended.", labels=["action"])
        for action, count in sorted(Counter(run.action for run in self._now.active_runs()).items()):
            runs.add_metric([action], count)
        yield runs
