"""A library without a client, and images to put into it."""

from __future__ import annotations

import datetime
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import imagen
from imagen._policy.store_settings import ImageStoreSettings
from imagen._storage.database import Database
from imagen._system.threads import Workers
from imagen.library import Library
from imagen.library._rows import insert_image, row_of
from imagen.library._uploads import open_image_store
from imagen.testing import InlineWorkers
from tests.support.images import png

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Clock:
    """Unix time that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = START.timestamp() + 86_400 * 400

    def __call__(self) -> float:
        return self.now


class Shelf:
    """A library, its database, and a clock."""

    def __init__(self, library: Library, database: Database, clock: Clock) -> None:
        self.library = library
        self.database = database
        self.clock = clock
        self._made = 0

    async def list_row(self, **fields: object) -> imagen.Image:
        """Lists an image without a file."""
        image = self.image(**fields)
        await self.database.write([insert_image(row_of(image))])
        return image

    async def add(self, *, data: bytes | None = None, **fields: object) -> imagen.Image:
        """Lists an image whose file is there; by default one that no other
        image has.
        """
        self._made += 1
        data = data or png((self._made % 256, self._made // 256, 7))
        image = self.image(data=data, **fields)
        await self.library.adopt(row_of(image), data)
        found = await self.library.get(image.id)
        assert found is not None
        return found

    def image(
        self,
        prompt: str = "a cat",
        *,
        day: float = 0.0,
        usd: str | None = "0.04",
        data: bytes | None = None,
        operation: type[imagen.Generate] | None = None,
        **fields: object,
    ) -> imagen.Image:
        body = secrets.token_bytes(8) if data is None else data
        image = {
            "id": secrets.token_hex(8),
            "request": imagen.Generate(prompt=prompt),
            "media_type": "image/png",
            "width": 8,
            "height": 8,
            "size_bytes": len(body),
            "stored_sha256": hashlib.sha256(body).hexdigest(),
            "model": "test-model",
            "provider": "openai",
            "cost": imagen.Cost(usd=None if usd is None else Decimal(usd), source="reported"),
            "created_at": START + datetime.timedelta(days=day),
            **fields,
        }
        return imagen.Image(**image)


@asynccontextmanager
async def open_shelf(
    home: Path,
    workers: Workers | None = None,
    on_removed: Callable[[str], object] = lambda sha256: None,
    *,
    images: ImageStoreSettings | None = None,
    folder: Path | None = None,
) -> AsyncIterator[Shelf]:
    """A library below `home`, as a client would have it; its files in `folder`,
    or in the store `images`.
    """
    workers = workers or InlineWorkers()
    clock = Clock()
    database = await Database.open(home / "imagen.sqlite3", workers)
    try:
        folder = folder or home / "images"
        store = None
        if images is not None:
            store = await open_image_store(images, folder, database, workers, clock)
        library = Library(folder, database, workers, now=clock, on_removed=on_removed, store=store)
        yield Shelf(library, database, clock)
    finally:
        await database.aclose()
