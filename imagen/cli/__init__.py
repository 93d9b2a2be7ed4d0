"""The command `imagen`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import trio

from .. import ImagenError
from ._arguments.parser import parse_arguments
from ._console import Console, ExitStatus, say_error

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 some failed, 2 usage, 3
    over budget, 130 interrupted.
    """
    options = parse_arguments(arguments)
    console = Console(json=options.json)
    warnings.showwarning = console.show_warning
    _silence_retries()
    try:
        return int(trio.run(options.command, options, console))
    except ImagenError as error:
        say_error(error.message)
        return ExitStatus.USAGE
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has gone; the interpreter must not flush to
        # it at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return ExitStatus.SOME_FAILED


def _silence_retries() -> None:
    # stamina logs retries to logging or, if it is installed, to structlog,
    # which writes to standard output.
    import stamina.instrumentation

    stamina.instrumentation.set_on_retry_hooks(())
