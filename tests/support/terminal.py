"""The command at a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.support.shell import Shell


class Terminal:
    """A command that a person runs: what is asked and told stands in `shown`,
    results in `result`.
    """

    def __init__(self, process: trio.Process, master: trio.lowlevel.FdStream) -> None:
        self.process = process
        self.shown = ""
        self.result = b""
        self._master = master

    async def wait_shown(self, words: str) -> None:
        while words not in self.shown:
            chunk = await self._master.receive_some()
            assert chunk, self.shown
            self.shown += chunk.decode()

    async def type(self, keys: bytes) -> None:
        await self._master.send_all(keys)

    async def finish(self) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_on)
            self.result = b"".join([chunk async for chunk in self.process.stdout])
            status = await self.process.wait()
            nursery.cancel_scope.cancel()
        return status

    async def _read_on(self) -> None:
        try:
            async for chunk in self._master:
                self.shown += chunk.decode()
        except trio.BrokenResourceError:
            return  # Linux says so when the last process has closed the terminal


@asynccontextmanager
async def at_terminal(shell: Shell, *arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    async with trio.lowlevel.FdStream(ours) as master:
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "imagen", *arguments],
                env=shell.environ | {"TERM": "xterm"},
                cwd=shell.home,
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=theirs,
            )
        finally:
            os.close(theirs)
        try:
            with trio.fail_after(30):
                yield Terminal(process, master)
        finally:
            if process.returncode is None:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
