"""OpenAI's image models as of 2026-11-22: fields, token counts and prices."""

from decimal import Decimal
from typing import ClassVar

import msgspec

RETIRED = frozenset({"gpt-image-1", "dall-e-3", "dall-e-2"})
"""Shut down by that day. All but dall-e-2 can be brought back:
`OpenAI(retired=())`.
"""

_OUTPUT_TOKENS = {  # square, portrait, landscape; several of them recorded
    "low": (272, 408, 400),
    "medium": (1056, 1584, 1568),
    "high": (4160, 6240, 6208),
}
# gpt-image-2 has no fixed count: these are the list prices per 1024x1024 image
# (0.006, 0.053, 0.211) at 30 USD a million tokens. xhigh and max are this
# simulator's guess; no price of theirs is published.
_TOKENS_PER_MEGAPIXEL = {"low": 200, "medium": 1767, "high": 7033, "xhigh": 14066, "max": 28132}
_EACH_PARTIAL_TOKENS = 100


class OpenAIModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model. Prices are USD per million tokens."""

    id: str
    qualities: tuple[str, ...] = ("low", "medium", "high")
    formats: tuple[str, ...] = ("png", "jpeg", "webp")
    sizes: tuple[str, ...] = (
        "1024x1024",
        "1024x1536",
        "1536x1024",
    )  # empty: any that the rules allow
    auto_quality: str = "medium"
    transparent: bool = True
    complexity: bool = False
    longest_prompt: int = 32_000
    most_images: int = 10
    thirst: Decimal = Decimal(1)  # of low and medium quality, against gpt-image-2
    text_in_usd: Decimal = Decimal(5)
    image_in_usd: Decimal = Decimal(8)
    text_out_usd: Decimal = Decimal(0)
    image_out_usd: Decimal = Decimal(30)
    input_tokens: int = 64  # for an image to edit; recorded for small ones
    text_out: int = 0  # for each image to edit
    chooses_fidelity: bool = False
    shutdown_date: str | None = None

    speaks_gpt_image: ClassVar[bool] = True

    def image_tokens(self, width: int, height: int, quality: str) -> int:
        if self.sizes:
            square, portrait, landscape = _OUTPUT_TOKENS[quality]
            return square if width == height else portrait if width < height else landscape
        tokens = Decimal(_TOKENS_PER_MEGAPIXEL[quality]) * width * height / (1024 * 1024)
        return round(tokens * self.thirst if quality in ("low", "medium") else tokens)

    def usage(
        self, prompt: str, image_tokens: int, *, partials: int = 0, inputs: int = 0
    ) -> "Usage":
        # 10 tokens were recorded for 13 characters; four characters a token is
        # OpenAI's own rule of thumb.
        return Usage(
            text_in=7 + len(prompt) // 4,
            image_in=inputs * self.input_tokens,
            text_out=inputs * self.text_out,
            image_out=image_tokens + partials * _EACH_PARTIAL_TOKENS,
        )

    def price_usd(self, usage: "Usage") -> Decimal:
        into = usage.text_in * self.text_in_usd + usage.image_in * self.image_in_usd
        return (
            into + usage.text_out * self.text_out_usd + usage.image_out * self.image_out_usd
        ) / 1_000_000


class Dalle3(msgspec.Struct, frozen=True, kw_only=True):
    """dall-e-3, for tests of the url shape: no usage, a fixed price per image."""

    id: str = "dall-e-3"
    qualities: tuple[str, ...] = ("standard", "hd")
    sizes: tuple[str, ...] = ("1024x1024", "1792x1024", "1024x1792")
    shutdown_date: str | None = "2026-05-12"

    speaks_gpt_image: ClassVar[bool] = False

    def image_usd(self, width: int, height: int, quality: str) -> Decimal:
        square = width == height
        if quality == "standard":
            return Decimal("0.04") if square else Decimal("0.08")
        return Decimal("0.08") if square else Decimal("0.12")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    text_in: int = 0
    image_in: int = 0
    text_out: int = 0
    image_out: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            text_in=self.text_in + other.text_in,
            image_in=self.image_in + other.image_in,
            text_out=self.text_out + other.text_out,
            image_out=self.image_out + other.image_out,
        )

    def as_json(self) -> dict[str, object]:
        return {
            "input_tokens": self.text_in + self.image_in,
            "input_tokens_details": {"image_tokens": self.image_in, "text_tokens": self.text_in},
            "output_tokens": self.text_out + self.image_out,
            "output_tokens_details": {"image_tokens": self.image_out, "text_tokens": self.text_out},
            "total_tokens": self.text_in + self.image_in + self.text_out + self.image_out,
        }


_FIVE_QUALITIES = ("low", "medium", "high", "xhigh", "max")


def _models() -> list[OpenAIModel | Dalle3]:
    models: list[OpenAIModel | Dalle3] = []
    for variant in ("sunburst", "flare"):
        # 2.6 takes three to four times the tokens of 2.5 at low and medium, by a
        # third party's count.
        newest = OpenAIModel(
            id=f"gpt-image-2.6-{variant}",
            qualities=_FIVE_QUALITIES,
            formats=("png", "jpeg", "webp", "gif", "svg"),
            sizes=(),
            complexity=True,
            thirst=Decimal("3.5"),
        )
        before = OpenAIModel(id=f"gpt-image-2.5-{variant}", qualities=_FIVE_QUALITIES, sizes=())
        models += [newest, before, msgspec.structs.replace(before, id=f"{before.id}-2026-09-08")]
    two = OpenAIModel(id="gpt-image-2", sizes=(), transparent=False)
    models += [two, msgspec.structs.replace(two, id="gpt-image-2-2026-04-21")]
    # 1.5 returns text too when it edits, 308 tokens for two images in a
    # recorded reply.
    older = OpenAIModel(
        id="gpt-image-1.5",
        text_out_usd=Decimal(10),
        image_out_usd=Decimal(32),
        input_tokens=194,
        text_out=154,
        chooses_fidelity=True,
        shutdown_date="2026-12-01",
    )
    # chatgpt-image-latest has no line in the price list; it is assumed to cost
    # as much as 1.5.
    names = ("gpt-image-1.5", "gpt-image-1.5-2025-12-16", "chatgpt-image-latest")
    models += [msgspec.structs.replace(older, id=name) for name in names]
    mini = OpenAIModel(
        id="gpt-image-1-mini",
        text_in_usd=Decimal(2),
        image_in_usd=Decimal("2.5"),
        image_out_usd=Decimal(8),
        input_tokens=194,
        shutdown_date="2026-12-01",
    )
    one = OpenAIModel(
        id="gpt-image-1",
        auto_quality="high",
        image_in_usd=Decimal(10),
        image_out_usd=Decimal(40),
        input_tokens=194,
        chooses_fidelity=True,
        shutdown_date="2026-10-23",
    )
    return [*models, mini, one, Dalle3()]


MODELS = {model.id: model for model in _models()}
