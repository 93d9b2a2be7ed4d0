"""Images from elsewhere come in whole, once, and with what is known of them."""

from __future__ import annotations

import errno

import pytest

import imagen
from imagen.library._rows import row_of
from tests.support.images import PNG, png
from tests.support.library import open_shelf

pytestmark = pytest.mark.usefixtures("engine")


async def test_an_image_comes_in_once(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = shelf.image(data=PNG, tags=("sea",), rating=4, notes="from a friend")
        assert await shelf.library.adopt(row_of(image), PNG)
        assert not await shelf.library.adopt(row_of(image), PNG)
        (found,) = await shelf.library.list(tags=["sea"], min_rating=4)
        assert (found.data, found.notes, found.attempt_id) == (PNG, "from a friend", "")
        assert await shelf.library.check() == []


async def test_a_file_that_was_lost_comes_back(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(data=PNG)
        image.path.unlink()
        assert not await shelf.library.adopt(row_of(image), PNG)
        assert image.data == PNG


async def test_another_image_of_the_same_id_is_left_out_with_its_file(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image, other = await shelf.add(data=PNG), png((9, 9, 9))
        assert not await shelf.library.adopt(row_of(shelf.image(id=image.id, data=other)), other)
        assert await shelf.library.check() == []
        await shelf.library.delete([])
        assert [path.stem for path in shelf.library.folder.rglob("*.png")] == [image.sha256]


async def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    async with open_shelf(tmp_path) as shelf:

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("imagen.library._files.write_atomically", fail)
            with pytest.raises(imagen.StorageError, match="No space left"):
                await shelf.library.adopt(row_of(shelf.image(data=PNG)), PNG)
        assert await shelf.library.list() == []
        assert await shelf.library.check() == []
