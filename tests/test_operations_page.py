"""The page for operators lists what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import imagen

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
