"""Images as callers get them."""

from __future__ import annotations

import datetime

import pytest

import imagen
from tests.support.images import png


def image(**changes: object) -> imagen.Image:
    data = png()
    return imagen.Image(
        **{
            "id": "0123456789abcdef",
            "request": imagen.Generate(prompt="a cat"),
            "media_type": "image/png",
            "width": 8,
            "height": 8,
            "size_bytes": len(data),
            "stored_sha256": "0" * 64,
            "inline_data": data,
            "model": "m",
            "provider": "p",
            "created_at": datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC),
            **changes,
        }
    )


def test_an_image_is_what_a_notebook_wants():
    decoded = image()
    assert decoded.prompt == "a cat"
    shown = decoded._repr_html_()
    assert '<img src="data:image/webp;base64,' in shown
    assert 'alt="a cat"' in shown
    assert "8x8" in repr(decoded)
    assert str(decoded.data) not in repr(decoded)


def test_an_image_saves_itself(tmp_path):
    target = image().save(tmp_path / "cat.png", record=False)
    assert target.read_bytes() == png()
    copy = image(path=target, inline_data=None)
    assert copy.save(tmp_path / "copy.png", record=False).read_bytes() == copy.data


def test_an_image_that_is_not_saved_whole_is_not_saved_at_all(tmp_path, monkeypatch):
    kept = image().save(tmp_path / "kept.png")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(
        imagen.StorageError, match=r"No space left on device\. It is still at .*kept\.png"
    ):
        image(path=kept, inline_data=None).save(tmp_path / "copy.png")
    assert list(tmp_path.iterdir()) == [kept]


def test_an_image_that_cannot_be_saved_or_read_says_why(tmp_path):
    with pytest.raises(imagen.StorageError, match="cannot be saved"):
        image().save(tmp_path / "no" / "such" / "folder.png")
    with pytest.raises(imagen.StorageError, match="cannot be read"):
        _ = image(path=tmp_path / "gone.png", inline_data=None).data
    with pytest.raises(imagen.StorageError, match="neither bytes nor a file"):
        _ = image(inline_data=None).data
