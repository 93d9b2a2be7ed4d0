"""Contact sheets show every image in a square of its own, with a caption that
can be read.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageFont

import imagen
from imagen.library import contact_sheet
from imagen.library._imaging.captions import set_caption
from imagen.library._imaging.contact_sheets import _lay_out
from imagen.library._imaging.decoding import MAX_PIXELS
from tests.support.drawings import bomb, decoded, encoded, halves, image_of

WIDE, TALL = encoded(halves((100, 50))), encoded(halves((50, 100)))


def colours(image: PillowImage.Image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in image.getcolors(1 << 24)}


def test_images_stand_in_equal_squares_in_order_row_by_row():
    sheet = decoded(
        contact_sheet([image_of(WIDE), image_of(TALL), image_of(WIDE)], side=64, columns=2)
    )
    gap = 6
    assert sheet.size == (gap + 2 * (64 + gap), gap + 2 * (64 + gap))
    # The first in the middle of its square, red on its left.
    assert sheet.getpixel((gap + 4, gap + 32)) == (220, 30, 30)
    assert sheet.getpixel((gap + 4, gap + 4)) == (236, 236, 236)
    # The second is tall.
    assert sheet.getpixel((gap + 64 + gap + 20, gap + 4)) == (220, 30, 30)
    # No fourth one.
    assert sheet.getpixel((gap + 64 + gap + 32, gap + 64 + gap + 32)) == (246, 246, 246)


def test_there_are_about_as_many_columns_as_rows():
    sheet = decoded(contact_sheet([image_of(WIDE)] * 9, side=48))
    assert sheet.width == sheet.height


def test_a_caption_is_written_below_its_image():
    images = [image_of(WIDE, prompt="a lighthouse at dusk")]
    bare = decoded(contact_sheet(images, side=200))
    captioned = decoded(contact_sheet(images, side=200, captions=lambda image: image.prompt))
    assert captioned.height > bare.height
    below = captioned.crop((0, bare.height, *captioned.size))
    assert min(min(colour) for colour in colours(below)) < 100


def test_a_jpeg_is_made_on_request():
    assert decoded(contact_sheet([image_of(WIDE)], side=64, format="jpeg")).format == "JPEG"


def test_an_image_that_cannot_be_read_leaves_an_empty_square_and_the_others():
    sheet = decoded(
        contact_sheet([image_of(bomb()), image_of(b"nothing"), image_of(WIDE)], side=64, columns=3)
    )
    assert (220, 30, 30) in colours(sheet)
    assert colours(sheet.crop((0, 0, 140, sheet.height))) == {(246, 246, 246), (236, 236, 236)}


def test_a_sheet_of_many_images_gets_smaller_squares_and_one_of_too_many_is_refused():
    assert _lay_out(20, None, 512, with_captions=True).side == 512
    many = _lay_out(2000, None, 512, with_captions=True)
    assert 48 <= many.side < 512
    assert many.size[0] * many.size[1] <= MAX_PIXELS
    with pytest.raises(imagen.InvalidRequestError, match="do not fit on one contact sheet"):
        _lay_out(100_000, None, 512, with_captions=False)


@pytest.mark.parametrize("wrong", [{"side": 10}, {"side": 5000}, {"columns": 0}])
def test_a_sheet_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(imagen.InvalidRequestError, match=r"\.$"):
        contact_sheet([image_of(WIDE)], **wrong)
    with pytest.raises(imagen.InvalidRequestError, match="at least one image"):
        contact_sheet([])


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300) | st.text("abc ", max_size=300), width=st.integers(60, 300))
def test_no_caption_is_wider_than_its_image_or_longer_than_two_lines(text, width):
    font, lines = set_caption(text, size=12, width=width, lines=2)
    assert len(lines) <= 2
    assert all(font.getlength(line) <= width + 1 for line in lines)


def test_a_caption_that_does_not_fit_ends_in_dots_and_one_that_does_stays():
    assert set_caption("a lighthouse", size=12, width=300, lines=2)[1] == ["a lighthouse"]
    lines = set_caption("one two three four five six " * 4000, size=12, width=100, lines=2)[1]
    assert len(lines) == 2
    assert lines[1].endswith("...")
    assert set_caption("x" * 100, size=12, width=100, lines=2)[1][1].endswith("...")
    assert set_caption("", size=12, width=100, lines=2)[1] in ([], [""])


def test_control_characters_and_line_breaks_are_blanks():
    assert set_caption("a\x1b[31m\n\nb\x00c", size=12, width=300, lines=2)[1] == ["a [31m b c"]


def test_letters_that_no_font_has_become_plain_ones_or_a_dot(monkeypatch):
    from imagen.library._imaging import captions as _lettering

    own = ImageFont.load_default(12)
    monkeypatch.setattr(_lettering, "_fonts", lambda size: (own,))
    assert set_caption("café — 山 ok", size=12, width=300, lines=1)[1] == ["cafe - . ok"]


def test_the_font_that_has_most_of_the_letters_is_taken(monkeypatch):
    from imagen.library._imaging import captions as _lettering

    class Font:
        def __init__(self, letters: str) -> None:
            self.letters = letters

        def getmask(self, letter: str) -> bytes:
            return letter.encode() if letter in self.letters else b"box"

        def getlength(self, text: str) -> float:
            return len(text)

    latin, greek = Font("abc "), Font("αβγ ")
    monkeypatch.setattr(_lettering, "_fonts", lambda size: (latin, greek))
    assert set_caption("abc", size=12, width=50, lines=1) == (latin, ["abc"])
    assert set_caption("αβγ a", size=12, width=50, lines=1) == (greek, ["αβγ a"[:4] + "a"])


def test_a_pillow_without_freetype_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setattr(ImageFont, "load_default", lambda size: ImageFont.ImageFont())
    with pytest.raises(imagen.ConfigurationError, match="without FreeType"):
        set_caption("words", size=13.5, width=100, lines=2)
