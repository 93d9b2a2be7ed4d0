"""Prices: quotes and costs, computed from the catalog, in US dollars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal

import msgspec

from .._requests.catalog import Model, Price, TokenPrices
from .._requests.request import Edit, Request, sources_of
from .._requests.sizes import parse_resolution, parse_size
from ..providers._steps import (
    AnyImage,
    GeneratedImage,
    GeneratedImages,
    LostImage,
    UnmadeImage,
    Usage,
    WithheldImage,
)
from .html import table, usd_text
from .images import Cost

__all__ = ["Quote", "cost_of", "quote_request", "share_cost", "tidy_usd"]

_MILLION = Decimal(1_000_000)
_MICRODOLLAR = Decimal("0.000001")
# Each partial image adds about this many output tokens to the bill
# (developers.openai.com, image streaming guide, 2026).
_TOKENS_PER_PREVIEW = 100
_CHARACTERS_PER_TOKEN = 4
_BASE_PIXELS = 1024 * 1024
# Providers count a megapixel as 1024 x 1024 (docs.bfl.ai, pricing), so that the
# usual square is one.
_MEGAPIXEL = 1024 * 1024
_MOST_MEGAPIXELS_PER_INPUT = 4
# Recorded: 64 to 194 for small images, 1,290 for one of a megapixel (OpenAI,
# Google, 2026).
_TOKENS_PER_INPUT = 300
_MOST_TOKENS_PER_INPUT = 6000


# A tenth of the cheapest list price: less is a fault in the reply, such as a
# count that was sent twice.
_LEAST_SHARE = Decimal("0.1")


def tidy_usd(usd: Decimal) -> Decimal:
    """Return the amount without needless zeros or an exponent."""
    return usd.quantize(Decimal(1)) if usd == usd.to_integral() else usd.normalize()


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of requests before they are sent; each figure is None if a price is
    unknown.
    """

    low_usd: Decimal | None
    expected_usd: Decimal | None
    high_usd: Decimal | None

    def _repr_html_(self) -> str:
        figures = (self.low_usd, self.expected_usd, self.high_usd)
        return table([[usd_text(usd) for usd in figures]], ("at least", "expected", "at most"))

    def __add__(self, other: Quote) -> Quote:
        return Quote(
            low_usd=_add(self.low_usd, other.low_usd),
            expected_usd=_add(self.expected_usd, other.expected_usd),
            high_usd=_add(self.high_usd, other.high_usd),
        )


_NOTHING = Quote(low_usd=Decimal(0), expected_usd=Decimal(0), high_usd=Decimal(0))


def quote_request(
    model: Model, request: Request, count: int = 1, *, economy: bool = False
) -> Quote:
    """Return the quote of `count` images of a translated request; `high_usd` is
    what a budget reserves.
    """
    quote = _quote_at_once(model, request, count)
    if quote.expected_usd is None:
        # The caller's assumption for an unknown price is a ceiling.
        return quote
    factor = _factor(model, economy)
    return Quote(
        low_usd=_times(quote.low_usd, factor),
        expected_usd=_times(quote.expected_usd, factor),
        high_usd=_times(quote.high_usd, factor),
    )


def _factor(model: Model, economy: bool) -> Decimal:
    cheaper = model.price.economy if economy and model.price is not None else None
    return Decimal(1) if cheaper is None else cheaper


def _quote_at_once(model: Model, request: Request, count: int) -> Quote:
    price = model.price
    if price is not None and price.usd_per_image is not None:
        flat = price.usd_per_image * count
        least, most = _input_prices(price, _count_inputs(request), count)
        return Quote(low_usd=flat + least, expected_usd=flat + least, high_usd=flat + most)
    figures = [] if price is None else sorted(_figures(price, request))
    if price is None or not figures:
        assumed = request.assume_usd
        return Quote(low_usd=None, expected_usd=None, high_usd=_times(assumed, count))
    tokens = price.per_million_tokens or TokenPrices()
    extra = tokens.image_output / _MILLION * _TOKENS_PER_PREVIEW * request.previews
    text_rate, images = tokens.text_input / _MILLION, _count_inputs(request)
    # A tokenizer makes at most one token per byte, so the high end is a bound.
    most_input = (
        text_rate * len(request.prompt.encode())
        + tokens.image_input / _MILLION * _MOST_TOKENS_PER_INPUT * images
    )
    usual_input = text_rate * len(request.prompt) / _CHARACTERS_PER_TOKEN
    usual_input += tokens.image_input / _MILLION * _TOKENS_PER_INPUT * images
    least, most = _input_prices(price, images, count)
    return Quote(
        low_usd=figures[0] * count + least,
        expected_usd=(figures[len(figures) // 2] + extra) * count + usual_input + least,
        high_usd=(figures[-1] * price.estimate_margin + extra) * count + most_input + most,
    )


def cost_of(
    model: Model, request: Request, result: GeneratedImages, *, economy: bool = False
) -> Cost:
    """Return the cost of an exchange and its source: the provider, its usage,
    or the price list.

    A figure of the reply that is absent or impossible never makes the cost
    lower than the estimate.
    """
    reported = result.reported_cost_usd
    if reported is not None and reported > 0:
        return Cost(usd=tidy_usd(reported), source="reported")
    billed = sum(_is_billed(image) for image in result.images)
    quote = quote_request(model, request, billed, economy=economy) if billed else _NOTHING
    is_made = any(isinstance(image, (GeneratedImage, LostImage)) for image in result.images)
    least = (quote.low_usd or Decimal(0)) * _LEAST_SHARE if is_made else Decimal(0)
    if reported is not None and not least:
        return Cost(usd=tidy_usd(reported), source="reported")
    estimate = None if model.price is None else quote.expected_usd
    computed = _computed_cost(model.price, result)
    if computed is None:
        return _estimated(estimate)
    computed *= _factor(model, economy)
    too_low = result.usage is not None and computed < least
    doubtful = too_low or (is_made and _lacks_counts(result))
    if doubtful and (estimate is None or computed < estimate):
        return _estimated(estimate)
    return Cost(usd=tidy_usd(computed), source="computed")


def _estimated(usd: Decimal | None) -> Cost:
    return Cost() if usd is None else Cost(usd=tidy_usd(usd), source="estimated")


def _computed_cost(price: Price | None, result: GeneratedImages) -> Decimal | None:
    if price is not None and price.per_million_tokens is not None and result.usage is not None:
        return _usage_cost(price.per_million_tokens, result.usage)
    if price is not None and price.usd_per_unit is not None and result.units is not None:
        return price.usd_per_unit * result.units
    return None


def _lacks_counts(result: GeneratedImages) -> bool:
    """Return True if the reply does not account for all of the images."""
    if result.usage is None:
        return not result.units
    counts = msgspec.structs.astuple(result.usage)
    return None in counts or not (
        result.usage.image_output_tokens or result.usage.text_output_tokens
    )


def share_cost(total: Cost, images: Sequence[AnyImage]) -> Iterator[Cost]:
    """Splits the cost of one exchange over the images that are billed, so that
    the shares sum up to it exactly.
    """
    shares = sum(_is_billed(image) for image in images) or len(images)
    none_billed = not any(_is_billed(image) for image in images)
    left = total.usd
    each = (
        None
        if total.usd is None
        else (total.usd / max(1, shares)).quantize(_MICRODOLLAR, ROUND_DOWN)
    )
    first = True
    for image in images:
        if not none_billed and not _is_billed(image):
            yield Cost(usd=Decimal(0), source="reported")
        elif left is None or each is None or shares == 1:
            yield total
        else:
            usd = left - each * (shares - 1) if first else each
            first = False
            yield Cost(usd=tidy_usd(usd), source=total.source)


def _is_billed(image: AnyImage) -> bool:
    """Return True if an image was made and is charged for."""
    if isinstance(image, UnmadeImage):
        return False
    return not isinstance(image, WithheldImage) or image.billed


def _usage_cost(rates: TokenPrices, usage: Usage) -> Decimal:
    return (
        rates.text_input * (usage.text_input_tokens or 0)
        + rates.image_input * (usage.image_input_tokens or 0)
        + rates.text_output * (usage.text_output_tokens or 0)
        + rates.image_output * (usage.image_output_tokens or 0)
    ) / _MILLION


def _figures(price: Price, request: Request) -> Iterable[Decimal]:
    """Return the possible costs of one image: one figure if all is given,
    several if the model decides.
    """
    if price.per_megapixel is not None:
        rates = price.per_megapixel
        counts = [math.ceil(_pixels_of(request) / _MEGAPIXEL)]
        if sources_of(request) and request.size is None and request.resolution is None:
            # It gets the size of its input, which has not been read yet.
            counts.append(_MOST_MEGAPIXELS_PER_INPUT)
        return [rates.first + rates.next * max(0, count - 1) for count in counts]
    if price.usd_per_unit is not None and not price.table:
        return [price.usd_per_unit * price.typical_units]
    return _table_figures(price, request)


def _table_figures(price: Price, request: Request) -> Iterable[Decimal]:
    quality, size = request.quality or "auto", request.size or request.resolution or "auto"
    if set(price.table) == {"auto"} or (quality == "auto" and "auto" in price.table):
        rows = [price.table["auto"]]
    elif quality == "auto":
        rows = list(price.table.values())
    else:
        rows = [price.table.get(quality, {})]
    for row in rows:
        if size in row:
            yield row[size]
        elif size == "auto":
            yield from row.values()
        elif "*" in row:
            yield row["*"]
        elif "1024x1024" in row:
            yield row["1024x1024"] * max(Decimal(1), Decimal(_pixels_of(request)) / _BASE_PIXELS)
        elif request.size is not None:
            yield from _class_figures(row, _pixels_of(request))


def _class_figures(row: Mapping[str, Decimal], pixels: float) -> Iterable[Decimal]:
    """The price of an exact size where the list is by resolution: that of the
    smallest class that holds its pixels.
    """
    classes = {
        area: usd for name, usd in row.items() if (area := parse_resolution(name)) is not None
    }
    if holding := [area for area in classes if area >= pixels]:
        yield classes[min(holding)]


def _count_inputs(request: Request) -> int:
    """The images that are paid for as input; a mask is none."""
    return len(sources_of(request)) - (isinstance(request, Edit) and request.mask is not None)


def _input_prices(price: Price, images: int, count: int) -> tuple[Decimal, Decimal]:
    """The least and the most that input images add: how large they are is not
    looked at before they are read, and they may be billed for each new image.
    """
    rate = price.per_megapixel.input if price.per_megapixel is not None else Decimal(0)
    each = price.usd_per_input_image * images
    return rate * images + each, rate * images * _MOST_MEGAPIXELS_PER_INPUT + each * count


def _pixels_of(request: Request) -> float:
    if request.size is not None and (pair := parse_size(request.size)) is not None:
        return pair[0] * pair[1]
    if (
        request.resolution is not None
        and (pixels := parse_resolution(request.resolution)) is not None
    ):
        return pixels
    return _BASE_PIXELS


def _add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


def _times(usd: Decimal | None, factor: Decimal | int) -> Decimal | None:
    return None if usd is None else usd * factor
