"""Command line of `imagen`."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol, cast

from ... import PRESETS, version
from .._commands.account.doctor import run_doctor
from .._commands.account.models import run_models
from .._commands.account.reconcile import run_reconcile
from .._commands.account.spend import run_spend
from .._commands.account.stats import add_stats
from .._commands.account.webhooks import run_webhooks
from .._commands.generation.batch import run_batch
from .._commands.generation.generate import run_make
from .._commands.generation.grid import add_grid_command
from .._commands.generation.prompts import add_prompt_command
from .._commands.generation.replay import add_replay
from .._commands.generation.styles import add_style_command
from .._commands.library.collections import add_collection_command
from .._commands.library.library import add_library_commands
from .._commands.library.migrate import add_migrate_command
from .._commands.library.search import add_search_commands
from .._commands.library.show import add_show
from .._commands.library.transform import add_image_commands
from .._commands.sharing.archive import add_archive_commands
from .._commands.sharing.publish import add_publish_command
from .._commands.sharing.share import add_share_command
from .._commands.web import add_web_command
from .._commands.worker import add_worker_command
from .._console import Console, ExitStatus
from .._output.preview import add_preview
from .options import add_command, add_out, hedge, scale, seconds, share, since, usd_amount, whole
from .template_options import add_filling

__all__ = ["parse_arguments"]

_MOST_IMAGES = 1000
_OPERATIONS = ("generate", "edit", "vary", "enhance", "restyle")
_SOURCES = "A IMAGE is a file, an https URL, or the id of an image that imagen made."


class Options(Protocol):
    """Options that every command has."""

    json: bool
    command: Callable[[object, Console], Awaitable[ExitStatus]]


def parse_arguments(arguments: Sequence[str] | None) -> Options:
    """Parse the command line; exit with status 2 and one sentence if it is
    wrong.
    """
    parser = argparse.ArgumentParser(
        prog="imagen",
        description="Generate images through many providers; what is paid is never lost.",
    )
    parser.add_argument("--version", action="version", version=f"imagen {version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_making_commands(commands)
    add_grid_command(commands)
    _add_batch_command(commands)
    add_prompt_command(commands)
    add_style_command(commands)
    models = add_command(commands.add_parser("models", help="list the models"), run_models)
    models.add_argument("--all", action="store_true", help="include retired models")
    models.add_argument("--provider", help="only models of this provider")
    models.add_argument("--operation", choices=_OPERATIONS, help="only models with this operation")
    models.add_argument(
        "--refresh", action="store_true", help="ask the providers for the models of your keys"
    )
    add_search_commands(commands)
    add_library_commands(commands)
    add_collection_command(commands)
    add_migrate_command(commands)
    _add_money_commands(commands)
    add_stats(commands)
    add_show(commands)
    add_replay(commands)
    add_image_commands(commands)
    add_publish_command(commands)
    add_archive_commands(commands)
    add_share_command(commands)
    _add_webhooks_command(commands)
    add_web_command(commands)
    add_worker_command(commands)
    add_command(
        commands.add_parser("doctor", help="check configuration, providers and packages"),
        run_doctor,
    )
    return cast(Options, parser.parse_args(arguments))


def _add_batch_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    batch = commands.add_parser(
        "batch",
        help="continue a batch that was left",
        description=(
            "List the images of a batch and wait for those that the provider still works on. Sends"
            " nothing. Ctrl-C leaves them with the provider."
        ),
    )
    add_command(batch, run_batch)
    batch.add_argument(
        "id", metavar="ID", help="id from `generate --economy` or `imagen spend --by batch`"
    )
    add_out(batch)


def _add_webhooks_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    webhooks = commands.add_parser(
        "webhooks", help="list webhook messages, newest first, or send one again"
    )
    add_command(webhooks, run_webhooks)
    what = webhooks.add_mutually_exclusive_group()
    what.add_argument(
        "--dead",
        action="store_true",
        help="only messages that failed permanently",
    )
    what.add_argument("--retry", metavar="ID", help="queue this message again")


def _add_money_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spend = add_command(commands.add_parser("spend", help="summarize costs"), run_spend, csv=True)
    spend.add_argument(
        "--since", type=since, help="date, e.g. 2026-11-01, or span, e.g. 24h, 7d, 4w"
    )
    what = spend.add_mutually_exclusive_group()
    what.add_argument(
        "--by",
        choices=("model", "provider", "day", "tag", "batch"),
        help="group by this; days are UTC",
    )
    what.add_argument("--unknown", action="store_true", help="list attempts of unknown outcome")
    reconcile = commands.add_parser(
        "reconcile",
        help="settle attempts of unknown outcome",
        description=(
            "Fetch the images that providers still have, and list what stays unknown. With an ID"
            " and an amount, record the cost that the provider's account shows."
        ),
    )
    add_command(reconcile, run_reconcile)
    reconcile.add_argument(
        "id", nargs="?", metavar="ID", help="id from `imagen spend --unknown`, or its beginning"
    )
    reconcile.add_argument(
        "usd", nargs="?", type=usd_amount, metavar="USD", help="its cost in US dollars, 0 if free"
    )


def _add_making_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    generate = commands.add_parser("generate", help="make images from a prompt, or from a table")
    _add_prompt(generate, nargs="?")
    generate.add_argument(
        "--from",
        dest="table",
        metavar="FILE",
        help="CSV or JSON Lines instead of a prompt: a request a row; - reads standard input",
    )
    generate.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="IMAGE",
        help="image that lends style or subject; repeatable",
    )
    edit = commands.add_parser(
        "edit", help="change an image by a prompt, or combine several", description=_SOURCES
    )
    _add_prompt(edit)
    edit.add_argument(
        "image",
        nargs="+",
        metavar="IMAGE",
        help="image to change; further ones are combined with it",
    )
    edit.add_argument("--mask", metavar="IMAGE", help="mask, white where the image changes")
    vary = commands.add_parser("vary", help="make variations of an image", description=_SOURCES)
    enhance = commands.add_parser(
        "enhance", help="enlarge and refine an image", description=_SOURCES
    )
    restyle = commands.add_parser(
        "restyle", help="redraw an image in the style of another", description=_SOURCES
    )
    for parser in (vary, enhance, restyle):
        parser.add_argument("image", metavar="IMAGE", help="source image")
        parser.add_argument("--prompt", default="", help="prompt, if the model takes one")
        parser.add_argument(
            "--emulate",
            action="store_true",
            help="use an edit if the model has no such operation",
        )
    restyle.add_argument("reference", metavar="LOOK", help="image whose style it gets")
    for parser in (vary, restyle):
        parser.add_argument(
            "--strength",
            type=share,
            metavar="0..1",
            help="how far the result may differ from the image",
        )
    enhance.add_argument("--scale", type=scale, metavar="FACTOR", help="factor of each side")
    enhance.add_argument(
        "--mode",
        choices=("fast", "conservative", "creative"),
        help="how much detail may be invented",
    )
    for name, parser in {
        "generate": generate,
        "edit": edit,
        "vary": vary,
        "enhance": enhance,
        "restyle": restyle,
    }.items():
        add_command(parser, run_make)
        # What only generations have.
        parser.set_defaults(operation=name, economy=False, table=None)
        _add_parameters(parser)
        add_filling(parser)
        _add_batch_options(parser)
        _add_money_options(parser)
        _add_way_options(parser)
    generate.add_argument(
        "--economy",
        action="store_true",
        help="use the provider's batch API: cheaper, but it may take hours",
    )


def _add_prompt(parser: argparse.ArgumentParser, *, nargs: Literal["?"] | None = None) -> None:
    parser.add_argument(
        "prompt",
        nargs=nargs,
        help="description of the image; - reads standard input, @NAME is a saved prompt",
    )


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the image")
    group.add_argument(
        "--model",
        help="model from `imagen models`; default: the first that is configured",
    )
    group.add_argument("--size", help=f"WIDTHxHEIGHT in pixels, or {', '.join(PRESETS)}")
    group.add_argument("--aspect-ratio", metavar="W:H", help="e.g. 16:9, instead of a size")
    group.add_argument("--resolution", metavar="CLASS", help="1K, 2K or 4K, with an aspect ratio")
    group.add_argument("--quality", help="quality of the model, e.g. low or high")
    group.add_argument("--style", help="style of the model, e.g. vivid")
    group.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),
        help="the same seed makes the same image, if the model has seeds",
    )
    group.add_argument(
        "--negative", dest="negative_prompt", metavar="WORDS", help="what the image should not show"
    )
    group.add_argument(
        "--guidance", type=float, metavar="NUMBER", help="how closely the image follows the prompt"
    )
    group.add_argument(
        "--steps", type=whole(1, 1000), metavar="N", help="number of diffusion steps"
    )
    group.add_argument(
        "--safety",
        choices=("strict", "standard", "relaxed"),
        help="strictness of the content filter",
    )
    group.add_argument("--background", choices=("auto", "opaque", "transparent"))
    group.add_argument(
        "--format",
        dest="output_format",
        choices=("png", "jpeg", "webp", "gif", "svg"),
        help="file format",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="field passed to the provider unchanged; repeatable",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="refuse values that the model lacks instead of adjusting them",
    )


def _add_batch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", type=whole(1, _MOST_IMAGES), default=1, help="number of images (default: 1)"
    )
    add_out(parser)
    add_preview(parser)
    parser.add_argument(
        "--max-at-once",
        type=whole(1, _MOST_IMAGES),
        default=4,
        metavar="K",
        help="concurrent requests (default: 4)",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="several images in one provider request, if possible",
    )
    parser.add_argument(
        "--previews",
        type=whole(0, 3),
        default=0,
        metavar="N",
        help="save N unfinished images of each to DIR",
    )
    parser.add_argument(
        "--deadline",
        type=seconds,
        metavar="SECONDS",
        help="send nothing after this time, and stop waiting",
    )


def _add_money_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("money")
    group.add_argument("--dry-run", action="store_true", help="print the cost and send nothing")
    group.add_argument("--budget", type=usd_amount, metavar="USD", help="spend no more than this")
    group.add_argument(
        "--assume",
        type=usd_amount,
        metavar="USD",
        help="most that one image may cost if its price is unknown",
    )
    group.add_argument(
        "--yes",
        action="store_true",
        help="agree to a cost above confirm_above_usd of imagen.toml",
    )
    group.add_argument(
        "--tag", metavar="WORD", help="record the cost under this word: imagen spend --by tag"
    )


def _add_way_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the way")
    group.add_argument(
        "--fallback",
        action="append",
        default=[],
        metavar="MODEL",
        help="model to try if the first one fails; repeatable",
    )
    group.add_argument(
        "--routing",
        choices=("first", "cheapest", "fastest"),
        help="order in which the models are tried",
    )
    group.add_argument(
        "--hedge-after",
        type=hedge,
        metavar="SECONDS|p95",
        help=(
            "ask the next model too if the first has not replied by then; both may be paid. p95: by"
            " experience"
        ),
    )
    group.add_argument(
        "--cache",
        action="store_true",
        help="reuse an image of an equal earlier request, for nothing",
    )
    group.add_argument(
        "--no-wait", action="store_true", help="fail if there is no slot now, instead of waiting"
    )
