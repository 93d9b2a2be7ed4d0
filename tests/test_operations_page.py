"""The page for operators lists what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import imagen
from imagen.telemetry import names
from tests.support.telemetry import known_metrics

PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text("utf-8")


def test_every_event_and_field_stands_on_the_page():
    for event in get_args(imagen.Event):
        assert f"`{event.__name__}`" in PAGE, event
        for field in event.__struct_fields__:
            assert f"`{field}`" in PAGE, f"{event.__name__}.{field}"


def test_every_event_on_the_page_is_there():
    names = {event.__name__ for event in get_args(imagen.Event)}
    for row in re.findall(r"^\| (`[A-Z].*?) \|", PAGE, re.MULTILINE):
        assert set(re.findall(r"`(\w+)`", row)) <= names, row


def test_every_name_of_telemetry_stands_on_the_page():
    for name, value in vars(names).items():
        if name.isupper() and isinstance(value, str) and "." in value:
            assert f"`{value}`" in PAGE, name


def test_every_query_names_a_metric_that_is_there():
    page = set(re.findall(r"imagen_\w+", PAGE))
    assert page <= known_metrics()
    assert known_metrics() - page <= {
        name for name in known_metrics() if name.endswith(("_bucket", "_sum", "_count"))
    }
