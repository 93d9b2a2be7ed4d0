"""The library as a data frame."""

from __future__ import annotations

import importlib.util

import pytest

import imagen
from imagen.library import _frames
from tests.support.library import open_shelf

COLUMNS = [
    "id", "created_at", "operation", "prompt", "revised_prompt", "provider", "model", "width",
    "height", "media_type", "size_bytes", "seed", "cost_usd", "cost_source", "seconds", "rating",
    "tags", "notes", "parent_id", "sha256", "path",
]  # fmt: skip


@pytest.fixture(params=["pandas", "polars"])
def kind(request):
    pytest.importorskip(request.param)
    return request.param


async def rows_of(shelf, kind, *arguments, **filters):
    frame = await shelf.library.to_frame(kind, *arguments, **filters)
    assert list(frame.columns) == COLUMNS
    return frame.to_dict("records") if kind == "pandas" else frame.to_dicts()


async def test_an_image_is_a_row(tmp_path, kind):
    async with open_shelf(tmp_path) as shelf:
        seed = 2**63 - 1
        image = await shelf.add(prompt="a fox", usd="0.07", seed=seed)
        await shelf.library.tag(image, ["red", "at dusk"])
        await shelf.library.rate(image, 4)
        (row,) = await rows_of(shelf, kind)
        assert row["id"] == image.id
        assert row["prompt"] == "a fox"
        assert row["seed"] == seed
        assert row["created_at"] == image.created_at
        assert (row["cost_usd"], row["rating"]) == (0.07, 4)
        assert set(row["tags"].split(", ")) == {"red", "at dusk"}
        assert row["path"] == str(image.path)
        assert row["operation"] == "generate"


async def test_what_is_unknown_is_missing(tmp_path, kind):
    async with open_shelf(tmp_path) as shelf:
        await shelf.add(usd=None)
        await shelf.add(seed=3)
        newest, oldest = await rows_of(shelf, kind)
        assert newest["seed"] == 3
        for name in ("seed", "cost_usd", "revised_prompt", "parent_id"):
            assert (
                oldest[name] is None or oldest[name] != oldest[name] or str(oldest[name]) == "<NA>"
            )


async def test_a_library_of_pages_has_all_rows_and_filters_hold(tmp_path, kind):
    async with open_shelf(tmp_path) as shelf:
        for number in range(230):
            await shelf.list_row(prompt=f"fox {number}", day=number / 1000, seed=number)
        assert len(await rows_of(shelf, kind)) == 230
        rows = await rows_of(shelf, kind, "fox", order="oldest", seed=7)
        assert [row["prompt"] for row in rows] == ["fox 7"]


async def test_no_image_is_a_frame_without_rows(tmp_path, kind):
    async with open_shelf(tmp_path) as shelf:
        assert await rows_of(shelf, kind) == []


@pytest.mark.parametrize("missing", ["narwhals", "pandas"])
async def test_what_is_not_installed_is_named(tmp_path, monkeypatch, missing):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        _frames.importlib.util, "find_spec", lambda name: None if name == missing else real(name)
    )
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.ConfigurationError, match=r"imagen-trio\[frames\]"):
            await shelf.library.to_frame("pandas")
