"""Ctrl-C while the command is still being imported.

Python imports the whole package before the first line of the command runs, and
a signal in that third of a second would end in a traceback from anywhere. So this
module is imported first, and `imagen.cli.main` takes its handler away.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import PurePath
from types import FrameType

__all__ = ["end_early_on_interrupt"]

_INTERRUPTED = 130


def end_early_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, if it is the command `imagen`; other
    programs that import the package keep their handler.
    """
    if _is_the_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _is_the_command() -> bool:
    if sys.argv[:1] == ["-m"]:
        at = sys.orig_argv.index("-m") if "-m" in sys.orig_argv else len(sys.orig_argv)
        return sys.orig_argv[at + 1 : at + 2] == ["imagen"]
    return PurePath(sys.argv[0] if sys.argv else "").name in ("imagen", "imagen.exe")


def _end(number: int, frame: FrameType | None) -> None:
    # Nothing is open yet, and an exception would be shown as a traceback.
    os._exit(_INTERRUPTED)


end_early_on_interrupt()
