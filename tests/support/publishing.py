"""A library's rows and files, without the library, and a publisher of them."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

import imagen
from imagen import StoreSettings
from imagen._requests.request import encode_request
from imagen._storage.database import Database
from imagen._system.threads import ThreadWorkers, Workers
from imagen.sharing import Publisher

REQUEST = encode_request(imagen.Generate(prompt="a test"))
_INSERT = (
    "INSERT INTO images (number, id, batch_index, sha256, media_type, width, height, size_bytes,"
    " provider, model, request, cost_source, adjustments, seconds, created_at) VALUES ((SELECT"
    " coalesce(max(number), 0) + 1 FROM images), ?, 0, ?, 'image/png', 8, 8, 1, 'test', 'test', ?,"
    " 'unknown', '[]', 0.0, 1.0)"
)


class Shelf:
    def __init__(self, home: Path, database: Database, workers: Workers) -> None:
        self.home = home
        self.database = database
        self.workers = workers
        self.made = 0
        (home / "files").mkdir(exist_ok=True)

    def read(self, sha256: str) -> bytes | None:
        path = self.home / "files" / sha256
        return path.read_bytes() if path.exists() else None

    async def add(self, *found: bytes) -> list[imagen.Image]:
        images = []
        for data in found:
            self.made += 1
            sha256 = hashlib.sha256(data).hexdigest()
            (self.home / "files" / sha256).write_bytes(data)
            images.append(image_of(f"{self.made:032x}", sha256))
        await self.database.write(
            (_INSERT, (image.id, image.stored_sha256, REQUEST)) for image in images
        )
        return images

    async def delete(self, images: Iterable[imagen.Image]) -> None:
        await self.database.write(
            ("DELETE FROM images WHERE id = ?", (image.id,)) for image in images
        )

    def publisher(
        self, settings: StoreSettings, *, now: Callable[[], float] = time.time
    ) -> Publisher:
        return Publisher(self.database, self.workers, settings, read=self.read, now=now)


def image_of(id: str, sha256: str) -> imagen.Image:
    return imagen.Image(
        id=id,
        request=imagen.Generate(prompt="a test"),
        media_type="image/png",
        width=8,
        height=8,
        size_bytes=1,
        stored_sha256=sha256,
        model="test",
        provider="test",
        created_at=datetime.datetime(2027, 11, 1, tzinfo=datetime.UTC),
    )


@asynccontextmanager
async def open_shelf(home: Path, workers: Workers | None = None) -> AsyncIterator[Shelf]:
    workers = workers or ThreadWorkers(images=8)
    database = await Database.open(home / "imagen.sqlite3", workers)
    try:
        yield Shelf(home, database, workers)
    finally:
        with trio.CancelScope(shield=True):
            await database.aclose()


@asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[Publisher]:
    async with trio.open_nursery() as nursery:
        await nursery.start(publisher.run)
        try:
            yield publisher
        finally:
            publisher.close()
