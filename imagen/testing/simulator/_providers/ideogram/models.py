"""Ideogram's version 2 endpoints: fields and prices, as of 2026-11
(developer.ideogram.ai; ideogram.ai/blog).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


Work = Literal[
    "draw", "edit", "mask", "erase", "remix", "reframe", "upscale", "cut out", "background"
]

_UPRIGHT = _words("""
    512x1536 576x1408 576x1472 576x1536 640x1344 640x1408 640x1472 640x1536 704x1152 704x1216
    704x1280 704x1344 704x1408 704x1472 736x1312 768x1088 768x1216 768x1280 768x1344 800x1280
    832x960 832x1024 832x1088 832x1152 832x1216 832x1248 864x1152 896x960 896x1024 896x1088
    896x1120 896x1152 960x1024 960x1088 1024x1024
    """)
RESOLUTIONS_3 = tuple(
    dict.fromkeys([*_UPRIGHT, *("x".join(reversed(size.split("x"))) for size in _UPRIGHT)])
)
RESOLUTIONS_4 = _words("""
    2048x2048 1440x2880 2880x1440 1664x2496 2496x1664 1792x2240 2240x1792 1440x2560 2560x1440
    1600x2560 2560x1600 1728x2304 2304x1728 1296x3168 3168x1296 1152x2944 2944x1152 1248x3328
    3328x1248 1280x3072 3072x1280 1024x3072 3072x1024 1024x1024 896x1120 1120x896 864x1152
    1152x864 832x1248 1248x832 800x1280 1280x800 720x1280 1280x720 720x1440 1440x720 512x1536
    1536x512
    """)
RATIOS = _words("1x3 3x1 1x2 2x1 9x16 16x9 10x16 16x10 2x3 3x2 3x4 4x3 4x5 5x4 1x1")
STYLE_TYPES = _words("auto general realistic design custom fiction stylized")
STYLE_PRESETS = _words("""
    80s_illustration 90s_nostalgia abstract_organic analog_nostalgia art_brut art_deco
    art_poster aura avant_garde bauhaus blueprint blurry_motion bright_art c4d_cartoon
    childrens_book collage coloring_book_i coloring_book_ii cubism dark_aura doodle
    double_exposure dramatic_cinema editorial emotional_minimal ethereal_party expired_film
    flat_art flat_vector forest_reverie geo_minimalist glass_prism golden_hour graffiti_i
    graffiti_ii halftone_print high_contrast hippie_era iconic japandi_fusion jazzy
    long_exposure magazine_editorial minimal_illustration mixed_media monochrome nightlife
    oil_painting old_cartoons paint_gesture pop_art retro_etching riviera_pop spotlight_80s
    stylized_red surreal_collage travel_poster vintage_geo vintage_poster watercolor weird
    woodblock_print
    """)
_COMMON = ("webhook_url", "target_collection_id")
_SPEEDS = ("flash", "turbo", "default", "quality")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint.

    Attributes:
        files: fields for files, with the least and the most of them.
        choices: fields with the words they take.
        numbers: fields for whole numbers, with the least and the most.
        texts: other fields, which may hold anything.
        prompt: None if the endpoint has no such field.
        free_size: True if the field `size` takes more than its list when there
            are images.
        usd: the price of an image, by the word in the field `priced_by`; the
            first one is the default.
    """

    work: Work = "draw"
    files: Mapping[str, tuple[int, int]] = {}
    choices: Mapping[str, tuple[str, ...]] = {}
    numbers: Mapping[str, tuple[int, int]] = {}
    texts: tuple[str, ...] = _COMMON
    prompt: Literal["required", "optional"] | None = "required"
    required: tuple[str, ...] = ()
    free_size: bool = False
    always_asynchronous: bool = False
    priced_by: str = "rendering_speed"
    usd: Mapping[str, str] = msgspec.field(default_factory=lambda: {"": "0.06"})
    default_size: tuple[int, int] = (1024, 1024)

    def price_usd(self, word: str | None) -> Decimal:
        """Return the price of one image."""
        return Decimal(self.usd.get(word or "", next(iter(self.usd.values()))))


_MAGIC = {"magic_prompt": ("auto", "on", "off")}
_SPEED = {"rendering_speed": _SPEEDS}
_SPEED_4 = {"rendering_speed": _SPEEDS[1:]}
_MANY = {"num_images": (1, 8)}
_SEED = {"seed": (0, 2147483647)}
_SHAPE_3 = {"resolution": RESOLUTIONS_3, "aspect_ratio": RATIOS}
_LOOK_3 = {"style_type": STYLE_TYPES, "style_preset": STYLE_PRESETS}
_LOOK_TEXTS = ("color_palette", "style_codes")
_STYLE_FILES = {"style_reference_images": (0, 10)}
_USD_3 = {"default": "0.06", "flash": "0.03", "turbo": "0.03", "quality": "0.09"}
_USD_3_CHARACTER = {"default": "0.15", "turbo": "0.10", "quality": "0.20"}
_USD_4 = {"default": "0.06", "turbo": "0.03", "quality": "0.10"}
_USD_45 = {"high": "0.10", "medium": "0.06", "low": "0.03", "very_low": "0.02"}
_QUALITIES = ("very_low", "low", "medium", "high")
_ONE_IMAGE = {"image": (1, 1)}
_MASKED = {"image": (1, 1), "mask": (1, 1)}

_GENERATE_3 = Endpoint(
    files=_STYLE_FILES,
    choices={**_MAGIC, **_SPEED, **_SHAPE_3, **_LOOK_3},
    numbers={**_MANY, **_SEED},
    texts=(*_COMMON, *_LOOK_TEXTS, "negative_prompt"),
    usd=_USD_3,
)
_CHARACTER = msgspec.structs.replace(
    _GENERATE_3,
    files={"character_reference_images": (1, 1), "character_reference_mask": (0, 1)},
    choices={**_MAGIC, **_SPEED, **_SHAPE_3, "style_type": ("auto", "realistic", "fiction")},
    usd=_USD_3_CHARACTER,
)
_GENERATE_4 = Endpoint(
    choices={**_MAGIC, **_SPEED_4, "resolution": RESOLUTIONS_4},
    numbers={**_MANY, **_SEED},
    usd=_USD_4,
    default_size=(2048, 2048),
)
_GENERATE_45 = Endpoint(
    files={"images": (0, 5), "mask": (0, 1)},
    choices={**_MAGIC, "quality": _QUALITIES, "size": ("auto", "source", *RESOLUTIONS_4)},
    numbers={**_MANY, **_SEED},
    free_size=True,
    priced_by="quality",
    usd=_USD_45,
    default_size=(2048, 2048),
)
_INPAINT_3 = Endpoint(
    work="mask",
    files={**_MASKED, **_STYLE_FILES},
    choices={**_MAGIC, **_SPEED, **_LOOK_3},
    numbers={**_MANY, **_SEED},
    texts=(*_COMMON, *_LOOK_TEXTS),
    usd=_USD_3,
)
_CUSTOM = ("custom_model_uri",)


def _upscale(usd: str, *, prompt: bool = False) -> Endpoint:
    return Endpoint(
        work="upscale",
        files=_ONE_IMAGE,
        choices={"upscale_factor": ("x2", "x4", "x8")},
        numbers={"creativity": (0, 100)} if prompt else {},
        prompt="optional" if prompt else None,
        usd={"": usd},
    )


def _hosted(usd: str) -> Endpoint:
    return Endpoint(choices={"aspect_ratio": RATIOS}, numbers={**_MANY, **_SEED}, usd={"": usd})


ENDPOINTS: Mapping[str, Endpoint] = {
    "generate/ideogram-4-6": _GENERATE_45,
    "generate/ideogram-4-5": _GENERATE_45,
    "generate/ideogram-4": _GENERATE_4,
    "generate/ideogram-3": _GENERATE_3,
    "generate/ideogram-3-character": _CHARACTER,
    "generate/ideogram-3-transparent": Endpoint(
        choices={**_MAGIC, **_SPEED, "aspect_ratio": RATIOS, "upscale_factor": ("x1", "x2", "x4")},
        numbers={**_MANY, **_SEED},
        texts=(*_COMMON, "negative_prompt"),
        usd={"": "0.07"},
    ),
    "generate/ideogram-4-transparent": Endpoint(
        choices={"aspect_ratio": RATIOS, "output_resolution": ("1k", "2k", "4k", "8k")},
        numbers={**_MANY, **_SEED},
        usd={"": "0.06"},
    ),
    "generate/ideogram-3-custom-model": msgspec.structs.replace(
        _GENERATE_3, texts=(*_GENERATE_3.texts, *_CUSTOM), required=_CUSTOM
    ),
    "generate/ideogram-4-custom-model": msgspec.structs.replace(
        _GENERATE_4, texts=(*_GENERATE_4.texts, *_CUSTOM), required=_CUSTOM
    ),
    "generate/ideogram-2": _hosted("0.08"),
    "generate/ideogram-2a": _hosted("0.04"),
    "generate/auto": _hosted("0.06"),
    "generate/gpt-image-2": _hosted("0.211"),
    "generate/gpt-image-2-5-flare": _hosted("0.0529"),
    "generate/gpt-image-2-5-sunburst": _hosted("0.0529"),
    "generate/nano-banana-2": _hosted("0.0672"),
    "generate/nano-banana-pro": _hosted("0.1344"),
    "generate/p-image-ideogram": _hosted("0.01"),
    "generate/z-image": _hosted("0.005"),
    "precise-edit/ideogram-4-5": Endpoint(
        work="edit",
        files={**_ONE_IMAGE, "mask": (0, 1), "reference_images": (0, 4)},
        choices={"quality": _QUALITIES},
        numbers={**_MANY, **_SEED},
        texts=(*_COMMON, "context_window"),
        priced_by="quality",
        usd={"medium": "0.06", "very_low": "0.008", "low": "0.03", "high": "0.22"},
    ),
    "inpaint/ideogram-3": _INPAINT_3,
    "inpaint/ideogram-3-character": msgspec.structs.replace(
        _INPAINT_3,
        files={**_MASKED, "character_reference_images": (1, 1), "character_reference_mask": (0, 1)},
        choices={**_MAGIC, **_SPEED, "style_type": ("auto", "realistic", "fiction")},
        usd=_USD_3_CHARACTER,
    ),
    "remix/ideogram-3": msgspec.structs.replace(
        _GENERATE_3,
        work="remix",
        files={**_ONE_IMAGE, **_STYLE_FILES},
        numbers={**_MANY, **_SEED, "image_weight": (1, 100)},
    ),
    "remix/ideogram-4": Endpoint(
        work="remix",
        files=_ONE_IMAGE,
        choices={**_SPEED_4, "resolution": RESOLUTIONS_4},
        numbers={"image_weight": (1, 100)},
        usd=_USD_4,
        default_size=(2048, 2048),
    ),
    "reframe/ideogram-3": Endpoint(
        work="reframe",
        files={**_ONE_IMAGE, **_STYLE_FILES},
        choices={**_SPEED, "resolution": RESOLUTIONS_3, "style_preset": STYLE_PRESETS},
        numbers={**_MANY, **_SEED},
        texts=(*_COMMON, *_LOOK_TEXTS),
        prompt=None,
        required=("resolution",),
        usd=_USD_3,
    ),
    "reframe/nano-banana-2": Endpoint(
        work="reframe",
        files=_ONE_IMAGE,
        choices={"aspect_ratio": RATIOS},
        prompt=None,
        required=("aspect_ratio",),
        always_asynchronous=True,
    ),
    "replace-background/ideogram-3": Endpoint(
        work="background",
        files={**_ONE_IMAGE, **_STYLE_FILES},
        choices={**_MAGIC, **_SPEED, "style_preset": STYLE_PRESETS},
        numbers={**_MANY, **_SEED},
        texts=(*_COMMON, *_LOOK_TEXTS),
        always_asynchronous=True,
        usd=_USD_3,
    ),
    "replace-background/gpt-image-2": Endpoint(
        work="background", files=_ONE_IMAGE, always_asynchronous=True
    ),
    "remove-background/ideogram-1": Endpoint(
        work="cut out", files=_ONE_IMAGE, prompt=None, usd={"": "0.01"}
    ),
    "remove-object/ideogram-1": Endpoint(
        work="erase", files=_MASKED, prompt=None, always_asynchronous=True, usd={"": "0.03"}
    ),
    "upscale/auto": _upscale("0.2517"),
    "upscale/topaz-standard-2": _upscale("0.1258"),
    "upscale/topaz-text-refine": _upscale("0.1258"),
    "upscale/topaz-wonder-3-5": _upscale("0.1258"),
    "upscale/topaz-bloom-2": _upscale("0.3775", prompt=True),
    "upscale/topaz-redefine": _upscale("0.3775", prompt=True),
    "upscale/nano-banana-pro": _upscale("0.1344"),
}
"""By the path below /v2/image. Unpublished prices are made up: 4.6, very low
quality and the rarer upscalers.
"""
