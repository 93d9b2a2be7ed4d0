"""The command `imagen`."""

from __future__ import annotations

import errno
import signal
import warnings
from collections.abc import Sequence

import trio

from .. import ImagenError
from ._arguments.parser import Options, parse_arguments
from ._console import Console, ExitStatus, drop_broken_output, say_error

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 some failed, 2 usage, 3
    over budget, 130 interrupted.
    """
    try:
        _take_interrupts()
        options = parse_arguments(arguments)
        return _run(options, Console(json=options.json))
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except (OSError, BaseExceptionGroup) as error:
        if not _is_output_gone(error):
            raise
        # The reader of the output has gone, e.g. `head`, or the terminal.
        drop_broken_output()
        return ExitStatus.SOME_FAILED


def _run(options: Options, console: Console) -> int:
    warnings.showwarning = console.show_warning
    _silence_retries()
    try:
        return int(trio.run(options.command, options, console))
    except ImagenError as error:
        say_error(error.message)
        return ExitStatus.USAGE


def _is_output_gone(error: BaseException) -> bool:
    """Return whether all that happened is that the output cannot be written;
    commands write from several tasks.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(_is_output_gone(one) for one in error.exceptions)
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, OSError) and error.errno == errno.EIO
    )


def _take_interrupts() -> None:
    # Until now a handler of this package ended the process at once.
    handler = signal.getsignal(signal.SIGINT)
    if getattr(handler, "__module__", "").startswith("imagen."):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _silence_retries() -> None:
    # stamina logs retries to logging or, if it is installed, to structlog,
    # which writes to standard output.
    import stamina.instrumentation

    stamina.instrumentation.set_on_retry_hooks(())
