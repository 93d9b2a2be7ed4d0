"""Images in the terminal, at terminals that answer, that answer late or
nothing, and where there is none.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import termios
import threading
import time

import PIL.Image
import pytest
import trio

from imagen.cli._output.terminal import Terminal, find_terminal
from imagen.cli._output.terminal_images import draw_image
from tests.support.shell import Shell
from tests.support.shown_images import from_blocks, from_iterm2, from_kitty, from_sixel

KITTY = b"\x1b_Gi=31;OK\x1b\\\x1b[6;40;20t\x1bP>|kitty(0.42)\x1b\\\x1b[?62;c"
WEZTERM = b"\x1b[6;20;10t\x1bP>|WezTerm 20260101\x1b\\\x1b[?65;4;6;18;22c"
ITERM2 = b"\x1bP>|iTerm2 3.5.2\x1b\\\x1b[?64;4c"
FOOT = b"\x1b[6;18;9t\x1bP>|foot(1.23)\x1b\\\x1b[?62;4;22;28;29c"
GNOME = b"\x1bP>|VTE(7800)\x1b\\\x1b[?61;1;21;22c"
XTERM = b"\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c"
# 4 alone is the level of the terminal, not the letter of sixel.
LEVEL_4 = b"\x1b[?4c"
READERS = {"kitty": from_kitty, "iterm2": from_iterm2, "sixel": from_sixel}
LIGHTHOUSE = ("generate", "a lighthouse", "--model", "sketch", "--size", "256x128")


class FakeTerminal:
    """A terminal that answers the question once."""

    def __init__(self, answer: bytes, *, columns: int = 80, rows: int = 24) -> None:
        self.ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (rows, columns))
        self.shown = b""
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        answered = False
        while True:
            try:
                chunk = os.read(self.ours, 65536)
            except OSError:
                return  # the last process has left the terminal
            self.shown += chunk
            if not answered and b"\x1b[c" in self.shown:
                answered = True
                os.write(self.ours, self._answer)

    def leave(self) -> bytes:
        """Close our end of the command's side, and return all that was shown."""
        os.close(self.theirs)
        self._thread.join(30)
        os.close(self.ours)
        return self.shown.replace(b"\r\n", b"\n")


async def at(terminal: FakeTerminal, shell: Shell, *arguments: str, **environ: str) -> bytes:
    with trio.fail_after(60):
        process = await trio.run_process(
            [sys.executable, "-m", "imagen", *arguments],
            env=shell.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | environ,
            cwd=shell.home,
            stdin=terminal.theirs,
            stdout=terminal.theirs,
            capture_stderr=True,
            check=False,
        )
    shown = terminal.leave()
    assert process.returncode == 0, process.stderr.decode()
    assert b"Traceback" not in process.stderr
    return shown


@pytest.mark.parametrize(
    ("answer", "protocol", "size"),
    [
        (KITTY, "kitty", (256, 128)),
        (WEZTERM, "iterm2", (256, 128)),
        (ITERM2, "iterm2", (256, 128)),
        (FOOT, "sixel", (256, 128)),
    ],
)
async def test_a_terminal_shows_images_as_it_says(shell, answer, protocol, size):
    shown = await at(FakeTerminal(answer), shell, *LIGHTHOUSE)
    image = READERS[protocol](shown)
    assert image.size == size
    assert b"1 of 1 made" in shown


@pytest.mark.parametrize("answer", [GNOME, XTERM, LEVEL_4, b"", b"\x1b[?", b"4;4;4c"])
async def test_others_show_half_blocks(shell, answer):
    started = time.monotonic()
    shown = await at(FakeTerminal(answer), shell, *LIGHTHOUSE)
    assert time.monotonic() - started < 20
    image = from_blocks(shown.decode())
    assert image.size == (26, 12)
    assert not any(mark in shown for mark in (b"\x1bP0", b"1337", b"f=100"))


@pytest.mark.parametrize(
    "environ",
    [{"TMUX": "/tmp/x,1,0"}, {"STY": "1.tty"}, {"TERM": "tmux-256color"}, {"TERM": "linux"}],
)
async def test_a_multiplexer_is_not_asked(shell, environ):
    shown = await at(FakeTerminal(KITTY), shell, *LIGHTHOUSE, **environ)
    assert b"\x1b[c" not in shown
    assert b"\xe2\x96\x80" in shown


@pytest.mark.parametrize(
    ("more", "environ"),
    [
        (("--preview", "off"), {}),
        (("--json",), {}),
        (("--json", "--preview", "kitty"), {}),
        ((), {"TERM": "dumb"}),
        (("--preview", "sixel"), {"TERM": "dumb"}),
    ],
)
async def test_no_image_and_no_question_where_it_is_unwanted(shell, more, environ):
    shown = await at(FakeTerminal(KITTY), shell, *LIGHTHOUSE, *more, **environ)
    assert b"\x1b" not in shown
    assert b"\xe2\x96\x80" not in shown


async def test_colours_that_are_unwanted_or_unwritable_stay_out(shell):
    shown = await at(FakeTerminal(GNOME), shell, *LIGHTHOUSE, NO_COLOR="1")
    assert b"\xe2\x96\x80" not in shown
    shown = await at(FakeTerminal(GNOME), shell, *LIGHTHOUSE, PYTHONIOENCODING="latin-1")
    assert b"38;2" not in shown
    shown = await at(FakeTerminal(KITTY), shell, *LIGHTHOUSE, NO_COLOR="1")
    assert from_kitty(shown).size == (256, 128)


async def test_a_pipe_gets_lines_alone(shell):
    for more in ((), ("--preview", "kitty"), ("--preview", "blocks")):
        done = await shell.run(*LIGHTHOUSE, *more)
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("protocol", ["kitty", "iterm2", "sixel"])
async def test_the_user_chooses_the_way(shell, protocol):
    shown = await at(FakeTerminal(GNOME), shell, *LIGHTHOUSE, "--preview", protocol)
    assert READERS[protocol](shown).size == (256, 128)


async def test_a_terminal_of_few_colours_gets_these(shell):
    shown = await at(FakeTerminal(GNOME), shell, *LIGHTHOUSE, COLORTERM="")
    assert b"38;2" not in shown
    codes = [int(code) for code in re.findall(rb"[34]8;5;(\d+)", shown)]
    assert codes
    assert all(16 <= code <= 255 for code in codes)


async def test_show_draws_an_image_of_the_library_and_a_file(shell):
    _, records, _ = await shell.run_json(*LIGHTHOUSE)
    for name in (str(records[0]["id"]), str(records[0]["path"])):
        shown = await at(FakeTerminal(KITTY), shell, "show", name)
        assert from_kitty(shown).size == (256, 128)
        assert shown.index(b"256x128") < shown.index(b"a=T")


async def test_history_shows_a_grid(shell):
    await shell.run(*LIGHTHOUSE, "-n", "4")
    plain = (await shell.run("history", "--grid")).stdout
    assert plain == (await shell.run("history")).stdout
    shown = await at(FakeTerminal(GNOME), shell, "history", "--grid", COLUMNS="80")
    ids = [line.split()[2] for line in plain.decode().splitlines()]
    assert len(ids) == 4
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode().rpartition("\x1b[K")[2])
    assert [word for word in re.findall(r"[0-9a-z]{10,}", text) if word in ids] == ids
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "▀" in text


async def test_the_terminal_is_as_it_was(shell):
    terminal = FakeTerminal(b"")
    before = termios.tcgetattr(terminal.theirs)
    theirs = os.dup(terminal.theirs)
    found = await trio.to_thread.run_sync(find_terminal, terminal.theirs, "auto", {"TERM": "xterm"})
    assert found is not None
    assert found.protocol == "blocks"
    assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    terminal.leave()


def noise(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    PIL.Image.frombytes(mode, (width, height), os.urandom(width * height * len(mode))).save(
        file, "PNG"
    )
    return file.getvalue()


@pytest.mark.parametrize("protocol", ["kitty", "iterm2", "sixel", "blocks"])
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 500), (500, 1), (3, 7), (640, 480), (480, 2000), (2000, 31)]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_any_shape_stays_within_its_box(protocol, size, mode):
    terminal = Terminal(protocol=protocol, columns=80, rows=24)
    text = draw_image(noise(*size, mode), terminal, columns=20, rows=10)
    if protocol == "blocks":
        shown = from_blocks(text.decode())
        assert shown.width <= 20
        assert shown.height <= 20
    else:
        shown = READERS[protocol](text)
        assert shown.width <= 200
        assert shown.height <= 200
    assert text.endswith(b"\n")


@pytest.mark.parametrize("protocol", ["kitty", "iterm2", "sixel", "blocks"])
def test_colours_are_those_of_the_image(protocol):
    file = io.BytesIO()
    image = PIL.Image.new("RGB", (200, 200), (200, 40, 60))
    image.paste((20, 90, 240), (0, 100, 200, 200))
    image.save(file, "PNG")
    terminal = Terminal(protocol=protocol, columns=80, rows=24)
    text = draw_image(file.getvalue(), terminal, columns=20, rows=10)
    shown = from_blocks(text.decode()) if protocol == "blocks" else READERS[protocol](text)
    shown = shown.convert("RGB")
    for share, colour in ((0.1, (200, 40, 60)), (0.9, (20, 90, 240))):
        seen = shown.getpixel((shown.width // 2, int(shown.height * share)))
        assert all(abs(one - other) <= 3 for one, other in zip(seen, colour, strict=True))


def test_what_is_transparent_is_white_without_transparency():
    file = io.BytesIO()
    PIL.Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(file, "PNG")
    terminal = Terminal(protocol="blocks", columns=80, rows=24)
    shown = from_blocks(draw_image(file.getvalue(), terminal, columns=4, rows=2).decode())
    assert set(shown.get_flattened_data()) == {(255, 255, 255)}
