"""The way back: the images in a terminal's text."""

from __future__ import annotations

import base64
import io
import re

import PIL.Image

KITTY = re.compile(rb"\x1b_G([^;\x1b]*);([^\x1b]*)\x1b\\")
ITERM2 = re.compile(rb"\x1b\]1337;File=([^:]*):([^\x07]*)\x07")
SIXEL = re.compile(rb"\x1bP0;1q(.*?)\x1b\\", re.DOTALL)
ESCAPE = re.compile(r"\x1b\[([\d;]*)m|(▀)|(\n)")


def from_kitty(text: bytes) -> PIL.Image.Image:
    # Before it stands the question to the terminal.
    parts = KITTY.findall(text[text.index(b"\x1b_Ga=T") :])
    assert [head.endswith(b"m=1") for head, _ in parts] == [True] * (len(parts) - 1) + [False]
    return PIL.Image.open(io.BytesIO(base64.b64decode(b"".join(data for _, data in parts))))


def from_iterm2(text: bytes) -> PIL.Image.Image:
    ((head, data),) = ITERM2.findall(text)
    file = base64.b64decode(data)
    assert f"size={len(file)}".encode() in head.split(b";")
    return PIL.Image.open(io.BytesIO(file))


def from_sixel(text: bytes) -> PIL.Image.Image:
    (body,) = SIXEL.findall(text)
    width, height = map(int, re.match(rb'"1;1;(\d+);(\d+)', body).groups())
    image = PIL.Image.new("RGB", (width, height), (255, 0, 255))
    palette = {
        int(number): tuple(round(int(share) * 2.55) for share in shares)
        for number, *shares in re.findall(rb"#(\d+);2;(\d+);(\d+);(\d+)", body)
    }
    column, top, colour = 0, 0, 0
    drawn = re.sub(rb'^"[\d;]+|#\d+;2;\d+;\d+;\d+', b"", body)
    for number, count, letter, mark in re.findall(rb"#(\d+)|(?:!(\d+))?([?-~])|([$-])", drawn):
        if number:
            colour = int(number)
        elif mark:
            column, top = 0, top + 6 * (mark == b"-")
        else:
            end = column + int(count or 1)
            for row in range(6):
                if letter[0] - 63 >> row & 1:
                    image.paste(palette[colour], (column, top + row, end, top + row + 1))
            column = end
    return image


def from_blocks(text: str) -> PIL.Image.Image:
    rows: list[list[tuple[tuple[int, ...], tuple[int, ...]]]] = [[]]
    ink = ground = (0, 0, 0)
    for codes, block, line in ESCAPE.findall(text):
        if block:
            rows[-1].append((ink, ground))
        elif line:
            rows.append([])
        elif codes.startswith("38;2;"):
            numbers = [int(code) for code in codes.split(";")]
            ink, ground = tuple(numbers[2:5]), tuple(numbers[7:10])
    rows = [row for row in rows if row]
    image = PIL.Image.new("RGB", (len(rows[0]), 2 * len(rows)))
    for y, row in enumerate(rows):
        for x, (upper, lower) in enumerate(row):
            image.putpixel((x, 2 * y), upper)
            image.putpixel((x, 2 * y + 1), lower)
    return image
