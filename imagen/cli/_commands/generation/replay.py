"""`imagen replay`: make an image again with the same request and seed, and
print the differences.
"""

from __future__ import annotations

import argparse

import msgspec

from .... import Quote, Replay, open_client
from ..._arguments.options import add_command, add_out, whole
from ..._console import Console, ExitStatus, say_error, usd
from ..._output.printer import OutcomePrinter, prepare_folder

__all__ = ["add_replay", "run_replay"]


def add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of the command."""
    replay = commands.add_parser(
        "replay",
        help="make an image again and list the differences",
        description=(
            "Send the request of an image again, with the seed that the image reports. It costs as"
            " much as a new image. A model without seeds makes a different image."
        ),
    )
    add_command(replay, run_replay)
    replay.add_argument("id", metavar="ID", help="id of the image, or its beginning")
    replay.add_argument("--model", help="use another model")
    replay.add_argument("--seed", type=whole(0, 2**63 - 1), help="use another seed")
    replay.add_argument(
        "--yes",
        action="store_true",
        help="agree to a cost above confirm_above_usd of imagen.toml",
    )
    add_out(replay)


async def run_replay(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Makes the image again."""

    async def confirm(quote: Quote, images: int) -> bool:
        cost = (
            "have an unknown price"
            if quote.high_usd is None
            else f"cost up to {usd(quote.high_usd)}"
        )
        return bool(options.yes) or await console.ask(
            f"imagen: the image may {cost}. Make it again?"
        )

    if options.out is not None:
        await prepare_folder(options.out)
    async with open_client(confirm=confirm if options.yes or console.can_ask else None) as client:
        image = await client.library.get(options.id)
        if image is None:
            say_error(f"There is no image {options.id}; imagen history lists them.")
            return ExitStatus.USAGE
        replay = await client.replay(image, model=options.model, seed=options.seed)
        teller = OutcomePrinter(console, out=options.out, total=1)
        await teller.tell(replay.image)
    _tell_differences(image.id, replay, console)
    return ExitStatus.SOME_FAILED if teller.not_saved else ExitStatus.DONE


def _tell_differences(first_id: str, replay: Replay, console: Console) -> None:
    if console.json:
        differences = msgspec.to_builtins(replay.differences)
        console.emit(
            {
                "kind": "replay",
                "of": first_id,
                "same_bytes": replay.same_bytes,
                "differences": differences,
            }
        )
        return
    for one in replay.differences:
        console.say(f"{one.field:<17}{one.before or 'none'} -> {one.after or 'none'}")
    console.say("The files are the same." if replay.same_bytes else "The files differ.")
