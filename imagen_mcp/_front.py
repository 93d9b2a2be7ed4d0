"""The process that a host starts, in front of the one that serves.

A host that restarts ends its servers within 2 seconds, by the end of their
input, by a signal, or by `kill -9`, and requests in flight are paid. So the
server is a process of its own session, which reads the host's pipes itself. The
process that the host knows waits for it and passes signals on. It ends in time;
the server closes its pipes, finishes what is paid, and ends by itself.

Only the system knows for sure that a process has died: each holds the end of a
pipe that the other one reads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

__all__ = ["Front", "ending_signals", "serve_behind"]

# Hosts wait 2 seconds between closing standard input and killing (shutdown
# order of the MCP specification). Should the server be stuck, this ends first.
_LONGEST_END_SECONDS = 1.9


class Front:
    """What the server knows of the process in front of it; without one, as on
    Windows, it does not outlive its host.
    """

    def __init__(self, alive: int | None = None, left: int | None = None) -> None:
        self.alive = alive
        self._left = left

    @property
    def is_there(self) -> bool:
        """True if the server is behind a front."""
        return self.alive is not None

    def leave(self) -> None:
        """Let the host's process end: the server closes what it shares with the
        host, and goes on alone.
        """
        if self._left is None:
            return
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.close(nothing)
        # The front may be dead.
        with contextlib.suppress(OSError):
            os.write(self._left, b"0")
        os.close(self._left)
        self._left = None


def serve_behind(serve: Callable[[Front], int], *, seconds: float = _LONGEST_END_SECONDS) -> int:
    """Serve in a process of its own session, and return its exit status: at the
    latest `seconds` after a signal.
    """
    if not hasattr(os, "fork"):
        return serve(Front())
    alive, kept_by_front = os.pipe()
    left, kept_by_server = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(kept_by_front)
        os.close(left)
        os.setsid()
        return serve(Front(alive, kept_by_server))
    os.close(alive)
    os.close(kept_by_server)
    return _wait(server, left, seconds)


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end the server; the end of the terminal is one,
    unless nohup ignores it.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


def _wait(server: int, left: int, seconds: float) -> int:
    _pass_on_signals(server, seconds)
    _let_go_of_pipes()
    # The server says that it has left, or its end closes the pipe.
    if os.read(left, 1) and not _is_init():
        return 0
    _, status = os.waitpid(server, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _pass_on_signals(server: int, seconds: float) -> None:
    def pass_on(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, number)
        if not _is_init():
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def end(number: int, _: FrameType | None) -> None:
        os._exit(0)

    signal.signal(signal.SIGALRM, end)
    for number in ending_signals():
        signal.signal(number, pass_on)


def _is_init() -> bool:
    """Return True if a container ends with this process, and its server too."""
    return os.getpid() == 1


def _let_go_of_pipes() -> None:
    """Close the host's pipes, which the server holds, too."""
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
