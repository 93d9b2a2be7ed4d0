"""`imagen collection`: collections of images."""

from __future__ import annotations

import argparse

from .... import Client, InvalidRequestError
from ....library import Collection
from ..._arguments.options import add_client_command, whole
from ..._console import Console, ExitStatus
from ..._output.json_output import kept_record
from .library import find_images

__all__ = ["add_collection_command"]


def add_collection_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Define `imagen collection` and its actions."""
    collection = commands.add_parser(
        "collection",
        help="group images in collections",
        description='NAME is a word, or "outer/inner" for a nested collection.',
    )
    what = collection.add_subparsers(required=True, metavar="WHAT")
    add_client_command(what, "list", "list all collections", _list)
    create = add_client_command(what, "create", "create a collection", _create)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--notes", default="", help="notes about it")
    show = add_client_command(
        what, "show", "list the images of a collection, in their order", _show
    )
    show.add_argument("name", metavar="NAME")
    show.add_argument(
        "--limit",
        type=whole(1, 1_000_000),
        default=100,
        help="number of results (default: %(default)s)",
    )
    for name, help_text, work in (
        ("add", "put images at its end; makes it where it is not there", _add_images),
        ("remove", "take images out of it", _remove_images),
        ("arrange", "put these images first, in this order", _arrange),
    ):
        parser = add_client_command(what, name, help_text, work)
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("ids", nargs="+", metavar="ID")
    rename = add_client_command(what, "rename", "rename a collection", _rename)
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("new_name", metavar="NEW")
    add_client_command(
        what, "delete", "delete a collection; its images stay", _delete
    ).add_argument("name", metavar="NAME")


def _emit(collection: Collection, console: Console) -> None:
    console.emit(
        {
            "kind": "collection",
            "id": collection.id,
            "name": collection.name,
            "notes": collection.notes,
            "images": collection.images,
            "created_at": collection.created_at,
        }
    )


async def _tell(client: Client, name: str, line: str, console: Console) -> ExitStatus:
    if console.json:
        _emit(await client.library.collections.get(name), console)
    else:
        console.say(line)
    return ExitStatus.DONE


async def _list(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    collections = await client.library.collections.list()
    if console.json:
        for one in collections:
            _emit(one, console)
    elif collections:
        rows = [(one.name, f"{one.images:,}", one.notes) for one in collections]
        console.table(rows, ("NAME", "IMAGES", "NOTES"), right={1})
    else:
        console.say("No collections yet: imagen collection create NAME makes one.")
    return ExitStatus.DONE


async def _create(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    made = await client.library.collections.create(options.name, notes=options.notes)
    return await _tell(client, made.id, f"Made {made.name}.", console)


async def _show(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    left, after = int(options.limit), None
    while left:
        page = await client.library.collections.images(
            options.name, limit=min(left, 500), after=after
        )
        for image in page:
            if console.json:
                console.emit(kept_record(image))
            else:
                console.say(
                    f"{image.id}  {image.width}x{image.height}  {image.model}  {image.prompt[:60]}"
                )
        left, after = left - len(page), page.cursor
        if after is None:
            break
    return ExitStatus.DONE


async def _add_images(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    try:
        await client.library.collections.get(options.name)
    except InvalidRequestError:
        await client.library.collections.create(options.name)
    added = await client.library.collections.add(options.name, images)
    return await _tell(client, options.name, f"Put {added} into {options.name}.", console)


async def _remove_images(
    options: argparse.Namespace, client: Client, console: Console
) -> ExitStatus:
    removed = await client.library.collections.remove(
        options.name, await find_images(client, options.ids)
    )
    return await _tell(client, options.name, f"Took {removed} out of {options.name}.", console)


async def _arrange(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    await client.library.collections.arrange(options.name, await find_images(client, options.ids))
    return await _tell(client, options.name, f"Arranged {options.name}.", console)


async def _rename(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    renamed = await client.library.collections.rename(options.name, options.new_name)
    return await _tell(client, renamed.id, f"It is {renamed.name} now.", console)


async def _delete(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    collection = await client.library.collections.get(options.name)
    await client.library.collections.delete(collection.id)
    if console.json:
        console.emit({"kind": "deleted", "id": collection.id})
    else:
        console.say(f"Took {collection.name} away; its {collection.images:,} images stay.")
    return ExitStatus.DONE
