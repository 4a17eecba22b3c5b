"""What a Prometheus reads of a machine: by a parser that is not ours."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pilot.agent import metrics_text, sysinfo
from pilot.wire import facts, graph

_STAT = "cpu  1 2 3\ncpu0 150 0 50 1000 0 0 0 0 0 0 0\n"
_NET = "a\nb\n    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"


def _machine() -> facts.Sysinfo:
    return facts.Sysinfo(
        memory=sysinfo.parse_memory("MemTotal: 4 kB\nMemFree: 1 kB\n"),
        load_average=[0.5, 1.0, 2.25],
        cpus=sysinfo.parse_cpus(_STAT),
        disks=[],
        net=sysinfo.parse_net(_NET),
        filefd=sysinfo.parse_files("10 0 99\n"),
    )


def _samples(text: str) -> dict[tuple[str, ...], float]:
    """The parser calls a counter so, whatever it is called."""
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_the_machine_has_the_series_that_platforms_publish() -> None:
    found = _samples(metrics_text.text(_machine(), {}))
    assert found[("fly_instance_memory_mem_total",)] == 4096
    assert found[("fly_instance_load_average", "15")] == 2.25
    assert found[("fly_instance_cpu_total", "0", "user")] == 150, "hundredths of a second"
    assert found[("fly_instance_net_sent_bytes_total", "eth0")] == 9
    assert found[("fly_instance_filefd_maximum",)] == 99
    assert not any(name.startswith(("fly_instance_disk", "pilot_container")) for name, *_ in found)


def test_each_container_has_its_own_and_nothing_that_is_not_known() -> None:
    limited = graph.ContainerStats(
        cpu_ns=1_500_000_000, memory_bytes=7, memory_peak_bytes=9, processes=2, memory_limit_bytes=64,
        io_pressure=graph.Pressure(some_avg10=50.0, some_avg60=0.0, full_avg10=0.0, full_avg60=0.0),
    )  # fmt: skip
    free = graph.ContainerStats(cpu_ns=0, memory_bytes=1, memory_peak_bytes=1, processes=1)
    found = _samples(metrics_text.text(_machine(), {"web": limited, "world": free}))
    assert found[("pilot_container_cpu_seconds_total", "web")] == 1.5
    assert found[("pilot_container_memory_limit_bytes", "web")] == 64
    assert found[("pilot_container_io_pressure_ratio", "web")] == 0.5
    assert found[("pilot_container_processes", "world")] == 1
    assert ("pilot_container_memory_limit_bytes", "world") not in found
