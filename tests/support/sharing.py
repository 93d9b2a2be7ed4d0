"""A library with its archives and its links, and zip files as no honest program
writes them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zipfile import ZipInfo

import imagen
from imagen._system.threads import Workers
from imagen.library import Renditions
from imagen.sharing import Archives, Shares
from imagen.testing import InlineWorkers
from tests.support.library import Shelf, open_shelf

SECRET = "a secret of these tests"
URL = "https://pictures.example/look"


class Desk:
    """A shelf, and what can be done with it for others."""

    def __init__(
        self, shelf: Shelf, home: Path, workers: Workers, secret: str | None = SECRET
    ) -> None:
        self.shelf = shelf
        self.library = shelf.library
        parts = (shelf.database, shelf.library, Renditions(home / "renditions", workers), workers)
        self.archives = Archives(*parts, now=shelf.clock)
        self.shares = Shares(
            *parts,
            secret=None if secret is None else imagen.Secret(secret),
            url=URL,
            now=shelf.clock,
        )

    async def everything(self) -> list[imagen.Image]:
        return [image async for image in self.library.find(state="any", order="oldest")]


@asynccontextmanager
async def open_desk(
    home: Path, workers: Workers | None = None, *, secret: str | None = SECRET
) -> AsyncIterator[Desk]:
    workers = workers or InlineWorkers()
    async with open_shelf(home, workers) as shelf:
        yield Desk(shelf, home, workers, secret)


def zip_of(
    files: dict[str, bytes] | list[tuple[str | ZipInfo, bytes]],
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """A zip file of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return out.getvalue()


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def read_from(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)
