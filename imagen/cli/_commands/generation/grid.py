"""`imagen grid`: every prompt with every model, seed, style, size and quality,
as one batch with one quote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from .... import Generate, Image, ImagenError, InvalidRequestError, open_client
from ....library import contact_sheet, save_file
from ....prompts import Grid, grid
from ..._arguments.options import add_command, add_out, seconds, usd_amount, user_path, whole
from ..._arguments.template_options import add_values, choose, fill, read_words
from ..._console import Console, ExitStatus
from ..._output.json_output import quote_record
from ..._output.preview import add_preview
from ..._output.printer import prepare_folder
from .dry_run import figures, open_quoting_client, tell_limits
from .generate import Run, carry_out, warn_of_sketch

__all__ = ["add_grid_command"]

_MOST_REQUESTS = 10_000
_PLURALS = {"quality": "qualities"}
# Options of a batch that a grid does not have.
_WITHOUT = {
    "together": False,
    "economy": False,
    "fallback": [],
    "routing": None,
    "hedge_after": None,
    "no_wait": False,
}


def add_grid_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`imagen grid`."""
    parser = commands.add_parser(
        "grid",
        help="compare prompts, models, seeds and styles in one batch",
        description=(
            "PROMPT is a template: a {red|blue} car, __animals__, {{name}}. Each repeated option"
            " adds a list, and every combination is made."
        ),
    )
    add_command(parser, run_grid).set_defaults(**_WITHOUT)
    parser.add_argument(
        "prompt", metavar="PROMPT", help="- reads standard input, @NAME is a saved prompt"
    )
    add_values(parser)
    parser.add_argument(
        "--sample",
        type=whole(1, _MOST_REQUESTS),
        metavar="N",
        help="only N of the prompts, at random",
    )
    lists = parser.add_argument_group("lists", "Each can be given several times.")
    for option, metavar, kind, words in (
        ("--model", "MODEL", str, "a model of `imagen models`"),
        (
            "--seed",
            "SEED",
            whole(0, 2**63 - 1),
            "the same seed makes the same image, if the model has seeds",
        ),
        ("--apply-style", "STYLE", str, "a style of `imagen style list`"),
        ("--size", "SIZE", str, "WIDTHxHEIGHT in pixels, or a name such as square"),
        ("--quality", "QUALITY", str, "the model's own word for it"),
    ):
        lists.add_argument(
            option, action="append", type=kind, default=[], metavar=metavar, help=words
        )
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--aspect-ratio", metavar="W:H", help="e.g. 16:9, instead of a size")
    parser.add_argument(
        "--negative", dest="negative_prompt", metavar="WORDS", help="what no image should show"
    )
    parser.add_argument(
        "--sheet",
        type=user_path,
        metavar="FILE",
        help=".png or .jpg with all images and their differences",
    )
    add_out(parser)
    add_preview(parser)
    parser.add_argument(
        "--most",
        type=whole(1, 1_000_000),
        default=_MOST_REQUESTS,
        metavar="N",
        help="largest number of images (default: %(default)s)",
    )
    parser.add_argument(
        "--max-at-once",
        type=whole(1, 1000),
        default=4,
        metavar="K",
        help="concurrent requests (default: 4)",
    )
    parser.add_argument(
        "--deadline",
        type=seconds,
        metavar="SECONDS",
        help="send nothing after this time, and stop waiting",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the cost and send nothing")
    parser.add_argument("--budget", type=usd_amount, metavar="USD", help="spend no more than this")
    parser.add_argument(
        "--assume",
        type=usd_amount,
        metavar="USD",
        help="most that one image may cost if the price is unknown",
    )
    parser.add_argument(
        "--yes", action="store_true", help="agree to a cost above confirm_above_usd"
    )
    parser.add_argument(
        "--tag", metavar="WORD", help="record the cost under this word: imagen spend --by tag"
    )


async def run_grid(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Make the grid or print its cost; finally write the sheet of the images
    there are.
    """
    if options.sheet is not None and options.sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InvalidRequestError(
            f"--sheet is a file that ends in .png or .jpg, not {options.sheet.name!r}."
        )
    asked = await _read_grid(options)
    if options.dry_run:
        return await _run_dry(asked, console)
    options.n = len(asked)
    if options.out is not None:
        await prepare_folder(options.out)
    run = Run(options, console)
    async with open_client(
        confirm=run.confirm if options.yes or console.can_ask else None
    ) as client:
        client.quote(asked)
        if not options.model:
            warn_of_sketch(client, console)
        opened = client.open_batch(
            asked, max_at_once=options.max_at_once, budget=run.budget, on_event=run.hear
        )
        await carry_out(run, client, opened)
    if options.sheet is not None and run.made:
        await _write_sheet(asked, run.made, options.sheet, console)
    run.finish()
    return run.status


async def _read_grid(options: argparse.Namespace) -> Grid:
    request = Generate(
        prompt=await read_words(options.prompt),
        # One of the list stands for all, so that the shape of a kept prompt
        # does not count beside it.
        size=options.size[0] if options.size else None,
        aspect_ratio=options.aspect_ratio,
        negative_prompt=options.negative_prompt,
        assume_usd=options.assume,
        tag=options.tag,
    )
    filled = await fill(request, options.set)
    prompts = (
        filled.prompts if options.sample is None else filled.prompts.sample(options.sample, seed=0)
    )
    chosen = await choose(options.apply_style)
    styles = [(*filled.styles, style) for style in chosen] or (
        [filled.styles] if filled.styles else []
    )
    lists = {
        "model": options.model,
        "seed": options.seed,
        "size": options.size,
        "quality": options.quality,
    }
    given = {"prompt", *(name for name, values in lists.items() if values)}
    return grid(
        prompts,
        models=options.model,
        seeds=options.seed,
        styles=styles,
        sizes=options.size,
        qualities=options.quality,
        most=options.most,
        **{
            name: getattr(filled.base, name)
            for name in Generate.__struct_fields__
            if name not in given
        },
    )


async def _run_dry(asked: Grid, console: Console) -> ExitStatus:
    async with open_quoting_client() as client:
        quote, limit = client.quote(asked), client.settings.confirm_above_usd
    if console.json:
        console.emit({"axes": asked.axes, **quote_record("*", len(asked), quote)})
        return ExitStatus.DONE
    console.say(f"{len(asked):,} images: {_lists_text(asked)}")
    console.table([figures(quote)], ("AT LEAST", "EXPECTED", "AT MOST"), right=range(3))
    tell_limits([quote], limit, console)
    return ExitStatus.DONE


def _lists_text(asked: Grid) -> str:
    return " x ".join(
        f"{size} {name if size == 1 else _PLURALS.get(name, name + 's')}"
        for name, size in asked.axes.items()
    )


async def _write_sheet(asked: Grid, made: Sequence[Image], path: Path, console: Console) -> None:
    form: Literal["png", "jpeg"] = "png" if path.suffix.lower() == ".png" else "jpeg"
    images = sorted(made, key=lambda image: image.index)
    draw = partial(
        contact_sheet, images, captions=lambda image: asked.caption(image.index), format=form
    )
    try:
        await trio.to_thread.run_sync(lambda: save_file(path, draw()))
    except ImagenError as error:
        # The images are there all the same.
        console.note(f"imagen: There is no sheet {path}: {error}")
        return
    if console.json:
        console.emit({"kind": "sheet", "path": str(path), "images": len(images)})
    else:
        console.note(f"imagen: All of them are on {path}.")
