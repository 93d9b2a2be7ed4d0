"""Palettes: the mood of an image, and its ten inks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .prompt_words import PLACES

Colour = tuple[int, int, int]

# Ten colours a row: four of the sky from the zenith down, sun, far land, near
# land, dark, accent, light.
_MOODS: dict[str, tuple[str, ...]] = {
    "day": (
        "2f86a6 6fb7c2 b9dccf f6edcf fff8df 8fbab4 1f5a57 12343a e4572e fff1c4",
        "3c78b4 7fb0d6 c6dfe6 f9f0d8 fffbe8 93b3c6 2c5d63 16303f e8643c fff1c4",
        "e9c98a f2dba9 f7e8c8 fbf3e0 e76f51 a9c4b4 2a6a68 173c46 d94f30 fff3d0",
    ),
    "dawn": (
        "7fb0c4 bcd0cf f4d8bf fdebd2 fff6e2 c8b4bb 3d6470 1d3644 e2725b ffe9b8",
        "6a7fb0 b79cc0 f2b8b5 fde2c8 fff1d8 ab94ba 39406f 1d2044 f08a6b ffe2a8",
        "4d7c8a 9db8a8 f1cfa0 fbe6c4 fff4d6 b3a99a 2f5560 142f3b e9805c ffe6ad",
    ),
    "dusk": (
        "2b2a5c 7d3f79 e0696b f9b872 ffe9b0 b4577a 2b2350 140f2c e8574a ffd98a",
        "1f3a5f 4f6d8f e8a07c fcdca4 fff3d0 8c7b96 1f3450 0d1b30 d9523c ffdc94",
        "3a1c4a 9b2f5c ee6a4a fdc35a fff0b8 a03c5a 35173a 190a22 f28c3a ffdf85",
    ),
    "night": (
        "070b24 101c45 1f3a6b 41689a f6f1d8 2f5082 0b1533 040818 f2b84b ffd572",
        "081620 10303c 1d505a 4f8a86 f3f0d2 2a6468 0a2430 04101a ee9b4a ffd68a",
        "120a2a 2a1650 552c7c 9a5aa0 fbe9d6 58367f 1a0f38 0a0519 f2a65a ffd37a",
    ),
    "storm": (
        "14333c 2f5f68 6f9c94 cfd0ac f1ebcc 4f7f80 14343b 081a1f e0904a ffdd84",
        "1c2b44 3d5678 7f8fa6 d8c4ac f3e3cc 6d809c 22324d 0b1322 e8744a ffd884",
    ),
    "winter": (
        "6d97b5 a9c5d4 d9e5e8 f7f1e8 fffaf0 a9c0d0 eef3f4 24405a d9583f ffdc94",
        "56769e 9aa9c6 d8cfd9 f8e3d6 fff4e4 a3aecb f0eff5 27315a e2725b ffdc94",
    ),
    "autumn": (
        "d8bf8c ecd6a4 f5e4bf fcf3dc f2994a d3a066 8a3a1f 3a1714 c8452b ffe2a0",
        "5f8390 a9b9a5 ecd0a0 fae9c4 fff3d2 c99556 6a3320 2c1612 d2542a ffe2a0",
    ),
    "sand": (
        "2a9d9a 7cc4b4 d9dfb8 f8e6bd fff6d8 e6b277 b4552f 4a1d22 2f6f73 fff0c0",
        "e8a15c f2c083 f8d9a8 fdeccb fff7de dc8f5e a2452f 431a24 2b6a70 fff0c0",
    ),
    "space": (
        "05060f 0b1026 151b3d 27285a f4ead0 3a2f6b 151233 04050d f29559 ffe0a3",
        "04080f 081a2b 0f3145 1e5566 f7efd9 1f5f70 0a2433 02070d f2785c ffe0a3",
        "0b0512 1f0b2b 421546 7a2a5a ffe8cf 6b2a63 220d30 07030c f2b05e ffe0a3",
    ),
    "print": (
        "d1495b edae49 66a182 f4ead5 edae49 00798c 2e4057 1f2a38 d1495b fff6e0",
        "e4572e f3a712 a8c686 f5eddc f3a712 669bbc 29335c 1b203a e4572e fff6e0",
        "2a9d8f e9c46a f4a261 faf1e0 e9c46a 8ab17d 264653 1a303a e76f51 fff6e0",
        "7768ae e5989b ffcdb2 fbefe3 ffb4a2 b5838d 3d405b 24263b e07a5f fff6e0",
        "0f6e84 f2b134 ed553b f3ead9 f2b134 47ab6c 173f5f 0f2436 ed553b fff6e0",
    ),
}

# Words for a mood, the strongest first: the hour, the sky, the season, the
# weather.
_ASKS: tuple[tuple[str, str], ...] = (
    ("night", "night"), ("dusk", "dusk"), ("dawn", "dawn"), ("day", "day"),
    ("moon stars aurora", "night"), ("storm", "storm"), ("winter", "winter"),
    ("autumn", "autumn"), ("rain", "storm"), ("snow", "winter"),
)  # fmt: skip

# The colour of the ground that a tag brings along.
_SOIL = {
    "desert": "d9854a", "forest": "2f6b4f", "field": "5f8f4a", "hills": "4f8a52", "river": "3f8a5a",
    "autumn": "b5562c",
}  # fmt: skip


@dataclass(frozen=True)
class Palette:
    sky: tuple[Colour, ...]
    sun: Colour
    far: Colour
    near: Colour
    dark: Colour
    accent: Colour
    light: Colour


def choose_mood(tags: Sequence[str], style: str | None, dice: Random) -> str:
    """The strongest mood that the tags name, or a usual one; the style `night`
    overrules the hour.
    """
    if "abstract" in tags:
        return "print night" if style == "night" else "print"
    if "space" in tags:
        return "space"
    named = [mood for asked, mood in _ASKS if any(tag in tags for tag in asked.split())]
    usual = ["sand"] if "desert" in tags else ["day", "day", "dawn", "dusk"]
    return "night" if style == "night" else [*named, dice.choice(usual)][0]


def choose_palette(
    mood: str, tags: Sequence[str], tints: Sequence[Colour], dice: Random
) -> Palette:
    """Return one row of the mood, tuned to the soil, to snow and to the colours
    of the prompt.
    """
    row = [from_hex(code) for code in dice.choice(_MOODS[mood.split()[0]]).split()]
    if mood == "print night":
        row = [mix(colour, row[7], 0.3) for colour in row]
        row[3], row[6] = mix(row[7], (0, 0, 0), 0.3), mix(row[5], row[4], 0.5)
    for tag, code in _SOIL.items():
        if tag in tags and mood not in ("sand", "winter", "space"):
            row[5:7] = _tinted(row[5], from_hex(code), 0.25), _tinted(row[6], from_hex(code), 0.6)
    if mood != "winter" and {"snow", "winter"} & set(tags):
        row[6] = mix(row[6], row[3], 0.6)
    if tints:
        # A subject wears the colour itself; the scene is then only tuned to it.
        worn = "field" in tags or any(tag in PLACES for tag in tags)
        row[:8] = [_tinted(colour, tints[-1], 0.1 if worn else 0.6) for colour in row[:8]]
        row[8] = tints[0]
    return Palette(tuple(row[:4]), *row[4:])


def from_hex(code: str) -> Colour:
    """The colour of six hexadecimal digits."""
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """Return `a` at 0, `b` at 1, and a blend between them."""
    return (
        round(a[0] + (b[0] - a[0]) * t),
        round(a[1] + (b[1] - a[1]) * t),
        round(a[2] + (b[2] - a[2]) * t),
    )


def _tinted(colour: Colour, tint: Colour, amount: float) -> Colour:
    """The colour moved towards the tint's hue at its own lightness, so that
    depth survives tinting.
    """
    want, have = (0.3 * red + 0.59 * green + 0.11 * blue for red, green, blue in (colour, tint))
    if want < have:
        even = mix((0, 0, 0), tint, want / have)
    else:
        even = mix(tint, (255, 255, 255), (want - have) / max(1.0, 255 - have))
    return mix(colour, even, amount)
