"""`imagen export` and `imagen import`: images as one file that opens anywhere,
and back.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from .... import Client, Image, InvalidRequestError, open_client
from ....sharing import ExportResult, ImportResult, RejectedEntry
from ..._arguments.options import add_command, user_path
from ..._console import Console, ExitStatus, file_size
from ..library.library import find_images

__all__ = ["add_archive_commands", "run_export", "run_import"]

_MOST_SHOWN = 20


def add_archive_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Defines both."""
    export = commands.add_parser(
        "export",
        help="export images to a zip file with a gallery",
        description=(
            "The images as the provider sent them, their records, and index.html, which opens"
            " without a network. `imagen import` restores all of it."
        ),
    )
    add_command(export, run_export)
    export.add_argument(
        "ids", nargs="*", metavar="ID", help="id from `imagen history`, or its beginning"
    )
    what = export.add_mutually_exclusive_group()
    what.add_argument(
        "--all",
        action="store_true",
        help="all images that are not in the trash, and all collections",
    )
    what.add_argument(
        "--collection", metavar="NAME", help="images of a collection and of nested ones"
    )
    export.add_argument(
        "--out",
        type=user_path,
        required=True,
        metavar="FILE",
        help="zip file; an existing one is replaced",
    )
    export.add_argument(
        "--public",
        action="store_true",
        help="for publication: without costs, tags, stars, notes and provider options",
    )
    taking = commands.add_parser(
        "import",
        help="import archives, zip files, folders or images",
        description=(
            "With their records by imagen, AUTOMATIC1111, Forge, ComfyUI, Fooocus, InvokeAI,"
            " NovelAI or SwarmUI. Existing images are skipped, so an interrupted import can be"
            " repeated."
        ),
    )
    add_command(taking, run_import)
    taking.add_argument(
        "files", nargs="+", type=_source, metavar="FILE", help="zip file, folder or image"
    )
    taking.add_argument(
        "--trusted",
        action="store_true",
        help="your own images: keep the options of requests, and use them for --cache",
    )


async def run_export(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Writes the archive."""
    if bool(options.ids) + bool(options.all) + bool(options.collection) != 1:
        raise InvalidRequestError("Say which images: ID..., --all or --collection NAME.")
    async with open_client() as client:
        images: Sequence[Image] | None = (
            await find_images(client, options.ids) if options.ids else None
        )
        done = await client.archives.export_to(
            options.out,
            images,
            collection=options.collection,
            public=options.public,
            on_progress=lambda count: console.live(f"{count:,} images"),
        )
    return _tell_export(done, options.out, console)


def _tell_export(done: ExportResult, path: Path, console: Console) -> ExitStatus:
    if console.json:
        console.emit({"kind": "export", "path": str(path), **msgspec.to_builtins(done)})
    else:
        console.say(f"{_count(done.images)}, {file_size(done.size_bytes)}, in {path}")
        _say_refusals("Left out:", done.left_out, console)
    return ExitStatus.SOME_FAILED if done.left_out else ExitStatus.DONE


async def run_import(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Import the named archives and folders, one after the other."""
    status = ExitStatus.DONE
    async with open_client() as client:
        for path in options.files:
            done = await _import(client, path, options.trusted, console)
            if done.refused or not (done.added or done.already_there):
                status = ExitStatus.SOME_FAILED
    return status


async def _import(client: Client, path: Path, trusted: bool, console: Console) -> ImportResult:
    done = await client.archives.import_from(
        path, trusted=trusted, on_progress=partial(_live, console, path)
    )
    if console.json:
        console.emit({"kind": "import", "path": str(path), **msgspec.to_builtins(done)})
        return done
    there = f", {done.already_there:,} were there already" if done.already_there else ""
    if done.added or done.already_there or done.refused:
        console.say(f"{path}: {_count(done.added)} added{there}.")
    else:
        console.say(f"{path}: there is no image in it.")
    _say_refusals("Not taken:", done.refused, console)
    _say_refusals("Ignored:", done.ignored, console)
    _say_refusals("Taken, and not all of it believed:", done.doubted, console)
    return done


def _live(console: Console, path: Path, seen: int) -> None:
    console.live(f"{path.name}: {seen:,} images looked at")


def _say_refusals(heading: str, refusals: Sequence[RejectedEntry], console: Console) -> None:
    if refusals:
        console.say(heading)
    for refusal in refusals[:_MOST_SHOWN]:
        console.say(f"  {refusal.reason}")
    if len(refusals) > _MOST_SHOWN:
        console.say(f"  and {len(refusals) - _MOST_SHOWN:,} more; --json lists them all.")


def _count(images: int) -> str:
    return f"{images:,} {'image' if images == 1 else 'images'}"


def _source(text: str) -> Path:
    # A variable of the shell that is not set would be the current folder.
    if not text:
        raise argparse.ArgumentTypeError("an empty name is not a file")
    return user_path(text)
