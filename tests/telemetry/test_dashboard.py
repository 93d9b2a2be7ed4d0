"""The dashboard of Grafana asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imagen.telemetry import Prometheus
from tests.support.telemetry import known_metrics

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "docs" / "dashboards" / "grafana.json").read_text("utf-8"))
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
QUERIES += [one["query"] for one in BOARD["templating"]["list"] if one["type"] == "query"]
METRIC = re.compile(r"imagen_\w+")


def labels() -> dict[str, set[str]]:
    """Return the labels of each metric, by the beginning of its name."""
    registered = Prometheus().registry._collector_to_names
    return {
        name: {*collector._labelnames, "le"}
        for collector, names in registered.items()
        for name in names
    }


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_there_is(query):
    asked = METRIC.findall(query)
    assert asked
    assert set(asked) <= known_metrics()
    known = set().union(*(labels()[name] for name in asked))
    used = set(re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", query))
    used |= {word for group in re.findall(r"by \(([^)]*)\)", query) for word in group.split(", ")}
    assert used <= known
    assert query.count("(") == query.count(")")
    assert query.count("{") == query.count("}")


def test_every_metric_is_on_the_dashboard():
    shown = {name for query in QUERIES for name in METRIC.findall(query)}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known_metrics()}
    assert bases == {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(column for column, _ in taken) < 24
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
