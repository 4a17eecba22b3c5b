"""The dashboard for Grafana asks for metrics and labels that there are, and leaves none out."""

from __future__ import annotations

import itertools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pilot.host.fsm.documents import Document
from pilot.host.fsm.journal import Record
from pilot.host.fsm.outcome import Ending, Outcome
from pilot.host.services.metrics import Metrics
from pilot.ids import RunId

BOARD = json.loads((pathlib.Path(__file__).parents[4] / "packaging/grafana/pilotd.json").read_text())
PANELS: list[dict[str, Any]] = BOARD["panels"]
# What the scraper adds.
ADDED = {"instance", "job"}
RUN = Record(RunId("1"), "sprite", "create", "a", Document(1, None), (), None)


class Now:
    def statuses(self) -> Mapping[str, str]:
        return {"a": "running"}

    def pooled(self) -> int:
        return 1

    def active_runs(self) -> list[Record]:
        return [RUN]


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Labels by the name of what is served."""
    metrics = Metrics()
    metrics.count(Now())
    metrics.run_ended(RUN, Outcome(Ending.DONE), 1.0)
    metrics.exec_answered(1.0)
    families = text_string_to_metric_families(metrics.text().decode())
    return {row.name: {*row.labels, *ADDED} for family in families for row in family.samples}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any], served: Mapping[str, set[str]]) -> None:
    for target in panel["targets"]:
        [name] = set(re.findall(r"\bpilotd_\w+", target["expr"]))
        assert name in served
        chosen = re.findall(r"(\w+)[=!]~?\"", target["expr"])
        grouped = [
            label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")
        ]
        assert {*chosen, *grouped} <= served[name]
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= set(grouped) - {"le"}
        assert target["expr"].count("(") == target["expr"].count(")")


def test_nothing_is_left_out(served: Mapping[str, set[str]]) -> None:
    asked = {
        name for panel in PANELS for target in panel["targets"] for name in re.findall(r"pilotd_\w+", target["expr"])
    }
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in served}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} == families


def test_panels_have_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    cells = [
        {*itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))} for at in places
    ]
    assert sum(map(len, cells)) == len(set[tuple[int, int]]().union(*cells))
    assert all(at["x"] + at["w"] <= 24 for at in places)
