"""`imagen publish`: images in the object store."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Sequence

from .... import Client, Image, InvalidRequestError, open_client
from ....sharing import Publication
from ..._arguments.options import add_command
from ..._console import Console, ExitStatus
from ..library.library import find_images

__all__ = ["add_publish_command", "run_publish"]

_PAGE = 500
_FAILURES_SHOWN = 20


def add_publish_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    publish = commands.add_parser(
        "publish",
        help="publish images to the object store, or unpublish them",
        description=(
            "Waits until they are published. Ctrl-C leaves the rest queued for the next command."
        ),
    )
    add_command(publish, run_publish)
    publish.add_argument("id", nargs="*", metavar="ID", help="ids of images")
    what = publish.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="all images that are not in the trash")
    what.add_argument("--collection", metavar="NAME", help="images of a collection")
    what.add_argument(
        "--status",
        action="store_true",
        help="print the state of the publications, and the reasons of failures",
    )
    what.add_argument(
        "--unpublish", nargs="+", default=[], metavar="ID", help="unpublish these images"
    )


async def run_publish(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Publish the named images, or print their state."""
    if not (options.id or options.all or options.collection or options.status or options.unpublish):
        raise InvalidRequestError(
            "Say which images: ID..., --all or --collection NAME; or --status."
        )
    if options.id and (options.all or options.collection or options.status or options.unpublish):
        raise InvalidRequestError(
            "Images are named by their ids, or by --all or --collection, and not by both."
        )
    async with open_client() as client:
        if options.status:
            return await _tell_status(client, console)
        all_done = True
        taking = bool(options.unpublish)
        async for page in _pages(client, options):
            work = client.publisher.unpublish if taking else client.publisher.publish
            done = await work(page, progress=lambda done, total: console.live(f"{done} of {total}"))
            all_done &= _tell(page, done, client, console)
    return ExitStatus.DONE if all_done else ExitStatus.SOME_FAILED


async def _pages(client: Client, options: argparse.Namespace) -> AsyncIterator[Sequence[Image]]:
    """Some images at a time, as there may be a million."""
    if ids := options.id or options.unpublish:
        yield await find_images(client, ids)
        return
    after: str | None = None
    while True:
        if options.collection is None:
            page = await client.library.list(limit=_PAGE, after=after)
        else:
            page = await client.library.list(
                limit=_PAGE, after=after, collection=options.collection
            )
        if page:
            yield page
        if (after := page.cursor) is None:
            return


def _tell(
    page: Sequence[Image], done: Sequence[Publication], client: Client, console: Console
) -> bool:
    """Print a line for each image; return True if all succeeded."""
    found = {one.sha256: one for one in done}
    for image in page:
        one = found.get(image.sha256)
        state = "not published" if one is None else one.state
        url = client.publisher.url_of(image) if state == "published" else None
        error = None if one is None else one.last_error
        if console.json:
            console.emit(
                {
                    "kind": "publication",
                    "id": image.id,
                    "state": state,
                    "url": url,
                    "message": error,
                }
            )
        else:
            console.say(f"{state:<9}  {image.id}  {url or error or ''}".rstrip())
    return all(one.state in ("published", "removed") for one in done)


async def _tell_status(client: Client, console: Console) -> ExitStatus:
    status = await client.publisher.status()
    failed = await client.publisher.of_state("failed", limit=_FAILURES_SHOWN)
    counts = {
        name: getattr(status, name)
        for name in ("queued", "published", "failed", "removing", "removed")
    }
    if console.json:
        console.emit({"kind": "publishing", "store": status.store, **counts})
        for one in failed:
            console.emit(
                {
                    "kind": "publication",
                    "sha256": one.sha256,
                    "state": one.state,
                    "message": one.last_error,
                }
            )
        return ExitStatus.DONE
    console.say(f"store      {status.store}")
    for name, count in counts.items():
        console.say(f"{name:<9}  {count:,}")
    for message in dict.fromkeys(one.last_error for one in failed):
        console.say(f"failed     {message}")
    return ExitStatus.DONE
