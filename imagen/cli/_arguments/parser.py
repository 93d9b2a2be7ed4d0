"""Command line of `imagen`."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, cast

from ... import PRESETS, version
from .._commands.account.doctor import run_doctor
from .._commands.account.models import run_models
from .._commands.account.reconcile import run_reconcile
from .._commands.account.spend import run_spend
from .._commands.account.webhooks import run_webhooks
from .._commands.generation.batch import run_batch
from .._commands.generation.generate import run_make
from .._commands.generation.grid import add_grid_command
from .._commands.generation.prompts import add_prompt_command
from .._commands.generation.replay import add_replay
from .._commands.generation.styles import add_style_command
from .._commands.library.collections import add_collection_command
from .._commands.library.library import add_library_commands
from .._commands.library.search import add_search_commands
from .._commands.library.show import add_show
from .._commands.library.transform import add_image_commands
from .._commands.sharing.archive import add_archive_commands
from .._commands.sharing.publish import add_publish_command
from .._commands.sharing.share import add_share_command
from .._console import Console, ExitStatus
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
    models.add_argument("--all", action="store_true", help="retired models too")
    models.add_argument("--provider", help="of one provider only")
    models.add_argument("--operation", choices=_OPERATIONS, help="that can do this only")
    models.add_argument(
        "--refresh", action="store_true", help="ask the providers what they have for your keys"
    )
    add_search_commands(commands)
    add_library_commands(commands)
    add_collection_command(commands)
    _add_money_commands(commands)
    add_show(commands)
    add_replay(commands)
    add_image_commands(commands)
    add_publish_command(commands)
    add_archive_commands(commands)
    add_share_command(commands)
    _add_webhooks_command(commands)
    add_command(
        commands.add_parser("doctor", help="what is set up, what answers, what is missing"),
        run_doctor,
    )
    return cast(Options, parser.parse_args(arguments))


def _add_batch_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    batch = commands.add_parser(
        "batch",
        help="go on with a batch that was left",
        description=(
            "Lists the images of a batch, waits for those that the provider still works on, and"
            " sends nothing. Ctrl-C leaves them with the provider."
        ),
    )
    add_command(batch, run_batch)
    batch.add_argument(
        "id", metavar="ID", help="of `generate --economy`, or of `imagen spend --by batch`"
    )
    add_out(batch)


def _add_webhooks_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    webhooks = commands.add_parser(
        "webhooks", help="list what your server was told, newest first, or tell it again"
    )
    add_command(webhooks, run_webhooks)
    what = webhooks.add_mutually_exclusive_group()
    what.add_argument(
        "--dead",
        action="store_true",
        help="only what could not be delivered, and is not tried again",
    )
    what.add_argument("--retry", metavar="ID", help="send this one again, with all its tries")


def _add_money_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spend = add_command(
        commands.add_parser("spend", help="sum up what was spent"), run_spend, csv=True
    )
    spend.add_argument(
        "--since", type=since, help="a date such as 2026-11-01, or a span such as 24h, 7d, 4w"
    )
    what = spend.add_mutually_exclusive_group()
    what.add_argument(
        "--by",
        choices=("model", "provider", "day", "tag", "batch"),
        help="split by this; a day is one of UTC",
    )
    what.add_argument(
        "--unknown", action="store_true", help="list the requests whose answer was lost"
    )
    reconcile = commands.add_parser(
        "reconcile",
        help="clear up the requests whose answer was lost",
        description=(
            "Fetches the images that a provider still has, and says what stays unknown. With an ID"
            " and an amount, books what the provider's account says that this one did cost."
        ),
    )
    add_command(reconcile, run_reconcile)
    reconcile.add_argument(
        "id", nargs="?", metavar="ID", help="of `imagen spend --unknown`, or the beginning of it"
    )
    reconcile.add_argument(
        "usd", nargs="?", type=usd_amount, metavar="USD", help="what it did cost, 0 where nothing"
    )


def _add_making_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    generate = commands.add_parser("generate", help="make images from a prompt")
    _add_prompt(generate)
    generate.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="IMAGE",
        help="an image that lends its look or subject; can be given several times",
    )
    edit = commands.add_parser(
        "edit", help="change an image by words, or mix several", description=_SOURCES
    )
    _add_prompt(edit)
    edit.add_argument(
        "image", nargs="+", metavar="IMAGE", help="what to change; further ones are mixed in"
    )
    edit.add_argument("--mask", metavar="IMAGE", help="white where the image is to change")
    vary = commands.add_parser("vary", help="make other images like one", description=_SOURCES)
    enhance = commands.add_parser(
        "enhance", help="make an image larger and finer", description=_SOURCES
    )
    restyle = commands.add_parser(
        "restyle", help="draw an image in the look of another", description=_SOURCES
    )
    for parser in (vary, enhance, restyle):
        parser.add_argument("image", metavar="IMAGE", help="the image to start from")
        parser.add_argument(
            "--prompt", default="", help="words to go by, where the model takes any"
        )
        parser.add_argument(
            "--emulate",
            action="store_true",
            help="by an edit, where the model has no such operation",
        )
    restyle.add_argument("reference", metavar="LOOK", help="the image whose look it gets")
    for parser in (vary, restyle):
        parser.add_argument(
            "--strength", type=share, metavar="0..1", help="how far it may go from the image"
        )
    enhance.add_argument(
        "--scale", type=scale, metavar="FACTOR", help="how much larger each side gets"
    )
    enhance.add_argument(
        "--mode", choices=("fast", "conservative", "creative"), help="how much may be invented"
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
        parser.set_defaults(operation=name, economy=False)
        _add_parameters(parser)
        add_filling(parser)
        _add_batch_options(parser)
        _add_money_options(parser)
        _add_way_options(parser)
    generate.add_argument(
        "--economy",
        action="store_true",
        help="by the provider's batch API: for less, and it may take hours",
    )


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt",
        help="what the image should show; - reads it from standard input, @NAME takes a kept one",
    )


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the image")
    group.add_argument(
        "--model",
        help="a model of `imagen models`; the default is the first that is set up for this",
    )
    group.add_argument("--size", help=f"WIDTHxHEIGHT in pixels, or {', '.join(PRESETS)}")
    group.add_argument("--aspect-ratio", metavar="W:H", help="such as 16:9, in place of a size")
    group.add_argument("--resolution", metavar="CLASS", help="1K, 2K or 4K, beside an aspect ratio")
    group.add_argument("--quality", help="the model's own word for it, such as low or high")
    group.add_argument("--style", help="the model's own word for it, such as vivid")
    group.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),
        help="the same seed gives the same image, where there are seeds",
    )
    group.add_argument(
        "--negative", dest="negative_prompt", metavar="WORDS", help="what it should not show"
    )
    group.add_argument(
        "--guidance", type=float, metavar="NUMBER", help="how closely it follows the prompt"
    )
    group.add_argument(
        "--steps", type=whole(1, 1000), metavar="N", help="how many steps it is drawn in"
    )
    group.add_argument(
        "--safety",
        choices=("strict", "standard", "relaxed"),
        help="how much the filter lets through",
    )
    group.add_argument("--background", choices=("auto", "opaque", "transparent"))
    group.add_argument(
        "--format",
        dest="output_format",
        choices=("png", "jpeg", "webp", "gif"),
        help="of the file that is made",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field that goes to the provider as it is; can be given several times",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="refuse what the model does not take, instead of adjusting it",
    )


def _add_batch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", type=whole(1, _MOST_IMAGES), default=1, help="how many images (default: 1)"
    )
    add_out(parser)
    parser.add_argument(
        "--max-at-once",
        type=whole(1, _MOST_IMAGES),
        default=4,
        metavar="K",
        help="requests side by side (default: 4)",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="several images in one provider request, where possible",
    )
    parser.add_argument(
        "--previews",
        type=whole(0, 3),
        default=0,
        metavar="N",
        help="unfinished images on the way, in DIR",
    )
    parser.add_argument(
        "--deadline",
        type=seconds,
        metavar="SECONDS",
        help="start nothing after this, and stop waiting",
    )


def _add_money_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("money")
    group.add_argument(
        "--dry-run", action="store_true", help="say what it would cost, and send nothing"
    )
    group.add_argument("--budget", type=usd_amount, metavar="USD", help="spend no more than this")
    group.add_argument(
        "--assume",
        type=usd_amount,
        metavar="USD",
        help="what one image may cost where its price is unknown",
    )
    group.add_argument(
        "--yes",
        action="store_true",
        help="agree beforehand to a cost above confirm_above_usd of imagen.toml",
    )
    group.add_argument(
        "--tag", metavar="WORD", help="book it under this word: imagen spend --by tag"
    )


def _add_way_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the way")
    group.add_argument(
        "--fallback",
        action="append",
        default=[],
        metavar="MODEL",
        help="a model to go to where the first one fails; can be given several times",
    )
    group.add_argument(
        "--routing",
        choices=("first", "cheapest", "fastest"),
        help="in which order the models are tried",
    )
    group.add_argument(
        "--hedge-after",
        type=hedge,
        metavar="SECONDS|p95",
        help=(
            "ask the next model too where the first has not answered by then; both may be paid."
            " p95: by experience"
        ),
    )
    group.add_argument(
        "--cache",
        action="store_true",
        help="take an image that was made by the same request, for nothing",
    )
    group.add_argument(
        "--no-wait", action="store_true", help="fail if there is no slot now, instead of waiting"
    )
