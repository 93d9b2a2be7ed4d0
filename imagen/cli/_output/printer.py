"""Printer of outcomes: a line or an object each, and copies with readable
names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import trio

from ... import Failure, Image, InvalidRequestError, Outcome, StorageError
from .._arguments.requests import operation_name
from .._console import Console, usd
from .json_output import failure_record, image_record
from .preview import Preview

__all__ = ["Costs", "OutcomePrinter", "prepare_folder", "slug"]

_IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg", ".avif", ".bmp", ".tif", ".tiff"),
)


class Costs:
    """Sum of the costs of outcomes, and the number of unknown ones."""

    def __init__(self) -> None:
        self.usd = Decimal(0)
        self.unknown = 0

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Counts these as well."""
        for outcome in outcomes:
            self.usd += outcome.cost.usd or 0
            self.unknown += outcome.cost.usd is None

    @property
    def known_usd(self) -> Decimal | None:
        """Sum, if no cost is unknown."""
        return None if self.unknown else self.usd

    def __str__(self) -> str:
        unknown = f" and {self.unknown} of unknown cost" if self.unknown else ""
        return f"{usd(self.usd)}{unknown}"


class OutcomePrinter:
    """Printer of each image and failure once. `out` is a folder for copies,
    `total` the number expected, if known; `preview` shows each image.
    """

    def __init__(
        self,
        console: Console,
        *,
        out: Path | None,
        total: int | None = None,
        preview: Preview | None = None,
    ) -> None:
        self.made: list[Image] = []
        self.failures: list[Failure] = []
        self.not_saved = False
        self._console = console
        self._out = out
        self._preview = preview
        self._of = "" if total is None else f"/{total}"
        self._told: set[str] = set()

    def expect(self, total: int) -> None:
        """Take the number of outcomes that will come."""
        self._of = f"/{total}"

    @property
    def done(self) -> int:
        """Number of printed outcomes."""
        return len(self.made) + len(self.failures)

    async def tell(self, outcome: Outcome) -> None:
        """Print one outcome."""
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            self._tell_failure(outcome)
        elif outcome.id not in self._told:
            self._told.add(outcome.id)
            self.made.append(outcome)
            await self._tell_image(outcome)

    async def _tell_image(self, image: Image) -> None:
        path = image.path
        if self._out is not None or path is None:
            folder = self._out or Path.cwd()
            try:
                with trio.CancelScope(shield=True):
                    path = await trio.to_thread.run_sync(partial(_save_copy, image, folder))
            except StorageError as error:
                self.not_saved = True
                self._console.note(f"imagen: {error.message}")
        if image.storage_error is not None:
            self.not_saved = True
            self._console.note(f"imagen: {image.storage_error} The image is at {path} instead.")
        if self._console.json:
            self._console.emit(image_record(image, path))
            return
        when = "from the library" if image.cached else f"{image.seconds:.1f} s"
        self._console.say(
            f"{self.done}{self._of}  {path}  {image.width}x{image.height}  {usd(image.cost.usd)} "
            f" {when}"
        )
        for adjustment in image.adjustments:
            sent = "was left out" if adjustment.sent is None else f"became {adjustment.sent!r}"
            self._console.note(
                f"imagen: {adjustment.field} {adjustment.asked!r} {sent}: {adjustment.reason}."
            )
        if self._preview is not None:
            await self._preview.show(image)

    def _tell_failure(self, failure: Failure) -> None:
        if self._console.json:
            self._console.emit(failure_record(failure))
        else:
            self._console.say(
                f"{self.done}{self._of}  failed [{failure.error.code}] {failure.error.message}"
            )


# --- files --------------------------------------------------------------------


async def prepare_folder(folder: Path) -> None:
    """Makes sure that copies can be written, before anything is paid.

    Raises:
        StorageError: they cannot.
    """
    await trio.to_thread.run_sync(_prepare_folder, folder)


def _prepare_folder(folder: Path) -> None:
    if folder.suffix.lower() in _IMAGE_ENDINGS and not folder.is_dir():
        raise InvalidRequestError(
            f"--out names the folder for copies, and {folder} would be a folder with the name of an"
            " image: give a folder, e.g. --out images."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".imagen-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"The folder {folder} cannot be written: {error.strerror or error}. Choose another"
            " --out."
        ) from error


def _save_copy(image: Image, folder: Path) -> Path:
    return image.save(
        _free_path(
            folder,
            f"{slug(image.prompt or operation_name(image.request))}-{image.index + 1}",
            image.suffix,
        )
    )


def _free_path(folder: Path, stem: str, suffix: str) -> Path:
    path = folder / f"{stem}{suffix}"
    again = 2
    while path.exists():
        path = folder / f"{stem}-{again}{suffix}"
        again += 1
    return path


def slug(prompt: str) -> str:
    """The beginning of a prompt as a file name that every system takes."""
    words: Sequence[str] = re.findall(r"[a-z0-9]+", prompt.lower())
    return "-".join(words)[:40].rstrip("-") or "image"
