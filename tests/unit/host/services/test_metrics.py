"""What /metrics says: histograms of runs by how they ended, and of commands; gauges that are counted when asked."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.support.host import WAIT_S, HostUnderTest


def _samples(host: HostUnderTest) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels."""
    text = httpx.get(f"{host.url}/metrics", timeout=WAIT_S).text
    families = text_string_to_metric_families(text)
    return {(row.name, *row.labels.values()): row.value for family in families for row in family.samples}


def test_runs_and_commands_are_counted_by_how_long_they_took(host: HostUnderTest) -> None:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=WAIT_S) as http:
        assert http.post("/v1/sprites", json={"name": "web"}).status_code == 201
        assert "complete" in http.post("/v1/sprites/web/checkpoint").text
        assert "complete" in http.post("/v1/sprites/web/checkpoints/v1/restore").text
        assert http.post("/v1/sprites/web/stop").status_code == 200
        assert http.post("/v1/sprites/web/exec?cmd=true").status_code == 200  # which wakes it
        host.vmm.fail_start = 100
        assert http.post("/v1/sprites", json={"name": "not"}).status_code == 503
        host.vmm.fail_start = 0
    found = _samples(host)
    for action in ("create", "checkpoint", "restore", "stop", "wake"):
        assert found["pilotd_run_seconds_count", action, "done"] == 1
        assert found["pilotd_run_seconds_sum", action, "done"] > 0
    assert found["pilotd_run_seconds_count", "create", "aborted"] == 1
    assert found["pilotd_exec_seconds_count",] == 1
    assert found["pilotd_exec_seconds_sum",] >= found["pilotd_run_seconds_sum", "wake", "done"]
    assert [found["pilotd_sprites", status] for status in ("running", "warm", "cold")] == [1, 0, 0]
    assert found["pilotd_pool_ready",] == 0
    assert not [name for name in found if name[0] == "pilotd_active_runs"]
