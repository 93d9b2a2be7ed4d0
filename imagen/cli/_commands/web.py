"""`imagen web`: the page in a browser."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from ... import ConfigurationError, web
from .._arguments.options import add_command, whole
from .._console import Console, ExitStatus, ending_signals

__all__ = ["add_web_command"]

_ENDING = (
    "The page ends once what is paid has come; Ctrl-C again does not wait for it.",
    "What is under way is left: `imagen spend --unknown` lists it.",
)


def add_web_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of the command."""
    parser = commands.add_parser(
        "web",
        help="open the page: make, find and change images in a browser",
        description=(
            "Serve the page on this machine until Ctrl-C. Its address stays the same, and is"
            " secret: who knows it can spend your money. Batches run here, also while no browser"
            " is open."
        ),
    )
    add_command(parser, run_web)
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1 (default), localhost or ::1")
    parser.add_argument(
        "--port",
        type=whole(0, 65535),
        help="another port than that of this home; 0 for any. The browser keeps drafts by the port",
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")


async def run_web(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Serve the page until a signal comes."""
    serve = _serve()
    sentences = iter(_ENDING)

    def show(url: str, opener: Path) -> None:
        if console.json:
            console.emit({"kind": "page", "url": url})
        else:
            console.say(url)
        if options.open:
            _open(opener)

    with trio.open_signal_receiver(*ending_signals()) as signals:

        async def stop() -> None:
            console.notice(await anext(signals))
            console.note(next(sentences))

        await serve(host=options.host, port=options.port, stop=stop, on_listening=show)
    return ExitStatus.DONE


def _serve() -> Callable[..., Awaitable[None]]:
    try:
        return web.serve
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'The page needs {error.name}: pip install "imagen-trio[web]".'
        ) from error


def _open(opener: Path) -> None:
    # A file, as others see the arguments of a program. A browser of the
    # terminal would hold the server.
    open_file = partial(webbrowser.open, opener.as_uri())
    threading.Thread(target=open_file, name="imagen web browser", daemon=True).start()
