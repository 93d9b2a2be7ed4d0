"""The styles that the page shows are read as they stand there."""

from __future__ import annotations

import re

from imagen.prompts import load_styles
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "prompts.md"


def test_the_styles_of_the_page_are_read(tmp_path):
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "styles.toml").write_text(shown)
    assert load_styles(tmp_path)["brand"].suffix == "in teal and orange, no outlines"


def test_every_builtin_style_can_be_shown_by_the_name_that_it_has(tmp_path):
    for name, style in load_styles(tmp_path).items():
        assert style.name == name
        assert re.fullmatch("[a-z-]+", name)
