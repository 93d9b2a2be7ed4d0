"""`imagen history` and `imagen search`: lists of images."""

from __future__ import annotations

import argparse

from .... import Client, Image, open_client
from ....library import Filters, Page
from ..._arguments.options import add_command, since, usd_amount, whole
from ..._arguments.requests import operation_name
from ..._console import Console, ExitStatus, usd
from ..._output.json_output import kept_record
from ..._output.preview import Preview, add_preview

__all__ = ["add_search_commands", "filters_of"]

_OPERATIONS = ("generate", "edit", "vary", "enhance", "restyle")
_ORDERS = ("newest", "oldest", "rating", "cost", "pixels")
_LONGEST_PROMPT = 48


def add_search_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Defines both: a history is a search for no word."""
    history = add_command(
        commands.add_parser("history", help="list images, newest first"),
        _run_search,
    )
    search = add_command(
        commands.add_parser(
            "search",
            help="search images by words of their prompts, tags and notes",
            description=(
                'All words must match. "A phrase" matches exactly, -word excludes, begin* matches'
                " the beginning of a word. Put -- before a query that begins with a minus."
            ),
        ),
        _run_search,
    )
    history.set_defaults(query=None)
    search.add_argument("query", help="words to search for")
    for parser in (history, search):
        parser.add_argument(
            "--limit",
            type=whole(1, 1_000_000),
            default=20,
            help="number of results (default: %(default)s)",
        )
        parser.add_argument(
            "--after", metavar="CURSOR", help="next page, with the value that the last page prints"
        )
        parser.add_argument(
            "--order", choices=_ORDERS, default="newest", help="highest rating, cost or size first"
        )
        parser.add_argument(
            "--grid", action="store_true", help="show the images side by side, on a terminal"
        )
        add_preview(parser)
        _add_filters(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which images")
    group.add_argument("--model")
    group.add_argument("--provider")
    group.add_argument("--operation", choices=_OPERATIONS)
    group.add_argument(
        "--tag",
        dest="tags",
        action="append",
        default=[],
        metavar="TAG",
        help="repeatable",
    )
    group.add_argument("--collection", metavar="NAME", help="collection, with nested ones")
    group.add_argument(
        "--since",
        type=since,
        metavar="WHEN",
        help="date, e.g. 2026-11-01, or span, e.g. 7d",
    )
    group.add_argument(
        "--until", type=since, metavar="WHEN", help="before that date, or longer ago than that span"
    )
    group.add_argument("--min-rating", type=whole(1, 5), metavar="STARS")
    group.add_argument("--size", metavar="WIDTHxHEIGHT")
    group.add_argument("--seed", type=whole(0, 2**63 - 1), metavar="N")
    group.add_argument("--min-usd", type=usd_amount, metavar="USD", help="minimum cost")
    group.add_argument("--max-usd", type=usd_amount, metavar="USD", help="maximum cost")
    group.add_argument(
        "--trashed", action="store_const", dest="state", const="trashed", help="images in the trash"
    )


def filters_of(options: argparse.Namespace) -> Filters:
    """The filters that were given."""
    filters: Filters = {}
    for name in Filters.__annotations__:
        value = getattr(options, name, None)
        if value is not None and value != []:
            filters[name] = value  # type: ignore[literal-required]
    return filters


async def _run_search(options: argparse.Namespace, console: Console) -> ExitStatus:
    async with open_client() as client:
        shown, cursor = await _print_pages(options, client, console)
    if console.json:
        return ExitStatus.DONE
    if cursor is not None:
        console.note(f"There are more: --after {cursor}")
    elif not shown:
        has_made_none = options.query is None and not filters_of(options)
        console.say(
            "No images yet: imagen generate PROMPT makes one."
            if has_made_none
            else "No image is like that."
        )
    return ExitStatus.DONE


async def _print_pages(
    options: argparse.Namespace, client: Client, console: Console
) -> tuple[int, str | None]:
    left, cursor, filters = int(options.limit), options.after, filters_of(options)
    preview = Preview(console, options.preview if options.grid else "off")
    while True:
        limit = min(left, 500)
        if options.query is None:
            page = await client.library.list(
                limit=limit, after=cursor, order=options.order, **filters
            )
        else:
            page = await client.library.search(
                options.query, limit=limit, after=cursor, order=options.order, **filters
            )
        await _print_page(page, preview, console)
        left, cursor = left - len(page), page.cursor
        if cursor is None or left == 0:
            return int(options.limit) - left, cursor


async def _print_page(page: Page, preview: Preview, console: Console) -> None:
    terminal = await preview.find()
    if terminal is not None:
        await preview.show_grid(page, terminal)
        return
    for image in page:
        _print_line(image, console)


def _print_line(image: Image, console: Console) -> None:
    if console.json:
        console.emit(kept_record(image))
        return
    when = image.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    words = image.prompt or f"({operation_name(image.request)})"
    prompt = words if len(words) <= _LONGEST_PROMPT else words[: _LONGEST_PROMPT - 1] + "…"
    stars = f"{'*' * image.rating}  " if image.rating else ""
    tags = "".join(f"  #{tag}" for tag in image.tags)
    console.say(
        f"{when}  {image.id}  {image.width}x{image.height}  {image.model}  {usd(image.cost.usd)} "
        f" {stars}{prompt}{tags}"
    )
