"""`imagen transform`, `sheet` and `similar`: conversions, contact sheets,
similar images.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from .... import Client, Image, InvalidRequestError, open_client
from ....library import Transform, apply_transform, contact_sheet, save_file
from ..._arguments.options import add_command, user_path, whole
from ..._console import Console, ExitStatus
from .library import find_images

__all__ = ["add_image_commands", "run_sheet", "run_similar", "run_transform"]

_FORMATS: Mapping[str, Literal["png", "jpeg", "webp", "avif"]] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".avif": "avif",
}
_CAPTIONS: Mapping[str, Callable[[Image], str]] = {
    "prompt": lambda image: image.prompt,
    "model": lambda image: image.model,
    "id": lambda image: image.id,
    "seed": lambda image: "" if image.seed is None else f"seed {image.seed}",
    "size": lambda image: f"{image.width}x{image.height}",
    "date": lambda image: f"{image.created_at.astimezone():%Y-%m-%d %H:%M}",
}


def add_image_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the three commands."""
    transform = commands.add_parser(
        "transform",
        help="convert an image to another size, crop or format",
        description="Crops, then rotates, then resizes. The suffix of FILE is the format.",
    )
    add_command(transform, run_transform)
    transform.add_argument("source", metavar="ID|FILE", help="id of an image, or a file")
    transform.add_argument(
        "--out", type=user_path, required=True, metavar="FILE", help="target file"
    )
    transform.add_argument("--width", type=whole(16, 16384), metavar="PIXELS")
    transform.add_argument("--height", type=whole(16, 16384), metavar="PIXELS")
    transform.add_argument(
        "--fit",
        choices=("contain", "cover", "stretch"),
        default="contain",
        help="how to fit width and height",
    )
    transform.add_argument("--enlarge", action="store_true", help="allow enlarging")
    transform.add_argument("--crop", type=_crop, metavar="X,Y,W,H", help="area to keep, in pixels")
    transform.add_argument(
        "--rotate", type=int, choices=(0, 90, 180, 270), default=0, help="degrees clockwise"
    )
    transform.add_argument(
        "--format", choices=("png", "jpeg", "webp", "avif"), help="format, instead of the suffix"
    )
    transform.add_argument(
        "--quality", type=whole(1, 100), metavar="1..100", help="quality of JPEG, WebP and AVIF"
    )
    sheet = commands.add_parser("sheet", help="make a contact sheet")
    add_command(sheet, run_sheet)
    sheet.add_argument("id", nargs="+", metavar="ID", help="ids of images, in order")
    sheet.add_argument(
        "--out", type=user_path, required=True, metavar="FILE", help="PNG or JPEG file"
    )
    sheet.add_argument("--columns", type=whole(1, 1000), metavar="N", help="images in a row")
    sheet.add_argument("--captions", choices=tuple(_CAPTIONS), help="caption of each image")
    sheet.add_argument(
        "--side", type=whole(48, 4096), default=512, metavar="PIXELS", help="pixels of one image"
    )
    similar = commands.add_parser("similar", help="find similar images")
    add_command(similar, run_similar)
    what = similar.add_mutually_exclusive_group(required=True)
    what.add_argument("source", nargs="?", metavar="ID|FILE", help="id of an image, or a file")
    what.add_argument("--groups", action="store_true", help="list groups of near duplicates")
    similar.add_argument(
        "--limit", type=whole(1, 1000), default=20, help="number of results (default: %(default)s)"
    )


async def run_transform(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Makes one image of another, and writes it to a file."""
    out: Path = options.out
    transform = Transform(
        width=options.width,
        height=options.height,
        fit=options.fit,
        enlarge=options.enlarge,
        crop=options.crop,
        rotate=options.rotate,
        format=options.format or _format_of(out),
        quality=options.quality,
    )
    async with open_client() as client:
        found = await _find(client, options.source)
        data = await trio.to_thread.run_sync(
            lambda: apply_transform(found if isinstance(found, Path) else found.data, transform)
        )
    await trio.to_thread.run_sync(save_file, out, data)
    _tell_file(out, data, console)
    return ExitStatus.DONE


async def run_sheet(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Draws a contact sheet, and writes it to a file."""
    out: Path = options.out
    format = _format_of(out)
    if format not in ("png", "jpeg"):
        raise InvalidRequestError("A contact sheet is a .png or .jpg file.")
    async with open_client() as client:
        images = await find_images(client, options.id)
        captions = None if options.captions is None else _CAPTIONS[options.captions]
        draw = partial(
            contact_sheet,
            images,
            columns=options.columns,
            captions=captions,
            side=options.side,
            format=format,
        )
        data = await trio.to_thread.run_sync(draw)
    await trio.to_thread.run_sync(save_file, out, data)
    _tell_file(out, data, console)
    return ExitStatus.DONE


async def run_similar(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Lists the images that look like one, or groups of those that are nearly
    the same.
    """

    def progress(done: int, total: int) -> None:
        console.live(f"looking at {done} of {total} images for the first time")

    async with open_client() as client:
        if options.groups:
            _tell_groups(await client.similar.groups(progress=progress), console)
            return ExitStatus.DONE
        found = await _find(client, options.source)
        image = (
            found if isinstance(found, Image) else await trio.to_thread.run_sync(found.read_bytes)
        )
        for image_id, distance in await client.similar.to(
            image, limit=options.limit, progress=progress
        ):
            other = await client.library.get(image_id)
            path = None if other is None or other.path is None else str(other.path)
            if console.json:
                console.emit(
                    {"kind": "similar", "id": image_id, "distance": distance, "path": path}
                )
            else:
                console.say(f"{distance:>2}  {image_id}  {path}")
    console.clear_live()
    return ExitStatus.DONE


def _tell_groups(groups: list[tuple[str, ...]], console: Console) -> None:
    console.clear_live()
    for group in groups:
        if console.json:
            console.emit({"kind": "group", "ids": group})
        else:
            console.say(f"{len(group):>4}  {' '.join(group)}")
    if not groups and not console.json:
        console.say("No two images are nearly the same.")


def _tell_file(path: Path, data: bytes, console: Console) -> None:
    if console.json:
        console.emit({"kind": "file", "path": str(path), "size_bytes": len(data)})
    else:
        console.say(f"{path}  {len(data):,} bytes")


async def _find(client: Client, source: str) -> Image | Path:
    """A file of that name, else the image of that id."""
    file = user_path(source)
    if await trio.to_thread.run_sync(os.path.isfile, file):
        return file
    image = await client.library.get(source)
    if image is None:
        raise InvalidRequestError(
            f"There is no image and no file {source}; imagen history lists the images."
        )
    return image


def _format_of(out: Path) -> Literal["png", "jpeg", "webp", "avif"]:
    found = _FORMATS.get(out.suffix.lower())
    if found is None:
        raise InvalidRequestError(f"{out.name} must end in {', '.join(_FORMATS)}.")
    return found


def _crop(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,WIDTH,HEIGHT in pixels") from None
    return left, top, width, height
