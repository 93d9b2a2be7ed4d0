"""Values: requests and their checks, prices, images, errors, secrets."""

from __future__ import annotations

import datetime
import pickle
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._requests.translation import translate
from imagen._results.prices import cost_of, quote_request, share_cost, tidy_usd
from imagen.metadata._image_header import read_image_header
from imagen.providers._steps import GeneratedImage, GeneratedImages, Usage, WithheldImage
from tests.support.scripted_client import PNG, png

CATALOG = imagen.providers.load_catalog()
TODAY = datetime.date(2026, 11, 22)
money = st.decimals(0, 1000, places=9)


# --- requests -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "model", "sentence"),
    [
        (imagen.Generate(prompt=" \n"), "sketch", "The prompt is empty"),
        (imagen.Generate(prompt="x" * 4001), "imagen-4", "at most 4,000"),
        (imagen.Generate(prompt="\ud800"), "sketch", "lone surrogate"),
        (imagen.Generate(prompt="x", size="1024"), "gpt-image-2", "is no size"),
        (
            imagen.Generate(prompt="x", size="1000x1000", strict=True),
            "gpt-image-2",
            "multiples of 16",
        ),
        (
            imagen.Generate(prompt="x", size="3856x2160", strict=True),
            "gpt-image-2",
            "between 1 and 3840",
        ),
        (imagen.Generate(prompt="x", size="3840x1024", strict=True), "gpt-image-2", "3 times"),
        (imagen.Generate(prompt="x", size="512x512", strict=True), "gpt-image-2", "655,360"),
        (
            imagen.Generate(prompt="x", size="1024x1025", strict=True),
            "gpt-image-1.5",
            "1024x1024 would be sent",
        ),
        (imagen.Generate(prompt="x", quality="bset"), "gpt-image-2", "no quality 'bset'"),
        (imagen.Generate(prompt="x", style="cubist"), "dall-e-3", "vivid, natural"),
        (imagen.Generate(prompt="x", seed=1, strict=True), "gpt-image-2", "seed '1' as it is"),
        (imagen.Generate(prompt="x", previews=-1), "gpt-image-2", "previews must be"),
        (
            imagen.Generate(prompt="x", assume_usd=Decimal(-1)),
            "gpt-image-2",
            "assume_usd is a Decimal, 0 or more",
        ),
        (imagen.Edit(prompt="x", images=(b"",)), "sketch", "cannot edit"),
        (imagen.Vary(image="a.png"), "gpt-image-2", "cannot vary"),
    ],
)
def test_a_request_that_must_fail_is_refused_with_one_sentence(request_, model, sentence):
    with pytest.raises(imagen.InvalidRequestError, match=sentence) as caught:
        translate(request_, CATALOG.find(model))
    assert caught.value.billed == "no"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (imagen.Edit(prompt="x", images=()), "at least one image"),
        (imagen.Edit(prompt=" ", images=(b"x",)), "The prompt is empty"),
        (imagen.Enhance(image=b"x", scale=1.0), "scale must be"),
        (imagen.Vary(image=b"x", strength=1.5), "strength must be"),
        (imagen.Restyle(image=b"x", reference=b"y", strength=-0.1), "strength must be"),
    ],
)
def test_the_other_operations_are_checked_too(request_, sentence):
    able = msgspec.structs.replace(
        CATALOG.find("gpt-image-2"),
        capabilities=imagen.providers.Capabilities(
            operations=("generate", "edit", "vary", "enhance", "restyle")
        ),
    )
    with pytest.raises(imagen.InvalidRequestError, match=sentence):
        translate(request_, able)


@pytest.mark.parametrize("size", ["auto", "1024x1024", "3840x2160", "2160x3840", "816x816"])
def test_sizes_within_the_rules_pass(size):
    translate(imagen.Generate(prompt="x", size=size), CATALOG.find("gpt-image-2"))


def test_what_a_model_lacks_is_left_out_and_named():
    request = imagen.Generate(prompt="x", seed=3, negative_prompt="dogs", size="1024x1024")
    sent, adjustments = translate(request, CATALOG.find("gpt-image-2"))
    assert (sent.seed, sent.negative_prompt, sent.size) == (None, None, "1024x1024")
    assert [(made.field, made.asked, made.sent) for made in adjustments] == [
        ("seed", "3", None),
        ("negative_prompt", "dogs", None),
    ]


def test_a_request_survives_json():
    request = imagen.Generate(
        prompt="x", options={"a": [1, {"b": None}]}, assume_usd=Decimal("0.1")
    )
    assert msgspec.json.decode(msgspec.json.encode(request), type=imagen.Generate) == request


# --- catalog ------------------------------------------------------------------


def test_the_catalog_has_what_was_promised():
    nexos = {model.id for model in CATALOG if model.provider == "nexos"}
    assert nexos == {
        "imagen-4",
        "imagen-4-fast",
        "imagen-4-ultra",
        "flux-1.1-pro",
        "gpt-image-1",
        "gpt-image-1-mini",
        "dall-e-3",
    }
    for name in nexos:
        model = CATALOG.find(name)
        assert model.rate_limit == imagen.providers.RateLimit(images=100, period_seconds=3 * 3600)
        assert model.use_cases
        assert model.strengths
        assert model.weaknesses
        assert model.price is None
    assert CATALOG.find("openai/gpt-image-1").provider == "openai"
    assert CATALOG.find("nexos/gpt-image-1") is CATALOG.find("gpt-image-1")
    assert CATALOG.find("openai/gpt-image-2") is CATALOG.find("gpt-image-2")


def test_every_successor_is_a_model_that_can_be_had():
    for model in CATALOG:
        if model.lifecycle.successor:
            assert CATALOG.find(model.lifecycle.successor).lifecycle.state(TODAY) == "live"


def test_a_retired_model_fails_with_its_successor():
    with pytest.raises(
        imagen.ModelNotFoundError, match=r"retired on 2026-05-12\. Use gpt-image-2"
    ) as caught:
        CATALOG.select("openai/dall-e-3", today=TODAY)
    assert caught.value.details == {"successor": "gpt-image-2"}


def test_a_retiring_model_warns_until_its_day_and_fails_from_then_on():
    with pytest.warns(
        imagen.providers.ModelRetiringWarning,
        match=r"will be retired on 2026-12-01\. Use gpt-image-2",
    ):
        CATALOG.select("gpt-image-1.5", today=TODAY)
    with pytest.raises(imagen.ModelNotFoundError, match="was retired on 2026-12-01"):
        CATALOG.select("gpt-image-1.5", today=datetime.date(2026, 12, 1))


def test_a_gateways_model_without_a_maker_warns_and_can_be_had():
    with pytest.warns(
        imagen.providers.ModelRetiringWarning, match="only while nexos still lists it"
    ):
        assert CATALOG.select("imagen-4", today=TODAY).provider == "nexos"


def test_a_misspelt_model_gets_a_suggestion():
    with pytest.raises(imagen.ModelNotFoundError, match="did you mean"):
        CATALOG.find("imagen4")


def test_users_add_and_override_entries():
    catalog = imagen.providers.load_catalog(
        {
            "mine": {"provider": "openai", "price": {"usd_per_image": "0.02"}},
            "gpt-image-2": {"price": {"estimate_margin": "2"}},
            "cousin": {"like": "gpt-image-2", "wire_name": "gpt-image-2-2026-04-21"},
        }
    )
    assert catalog.find("mine").price.usd_per_image == Decimal("0.02")
    assert catalog.find("gpt-image-2").price.estimate_margin == 2
    assert catalog.find("gpt-image-2").price.table
    assert catalog.find("cousin").wire_name == "gpt-image-2-2026-04-21"
    assert catalog.find("cousin").capabilities == catalog.find("gpt-image-2").capabilities


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"provider": 3}, "Expected `str`"),
        ({"provider": "openai", "colour": "red"}, "colour"),
        ({"like": "nothing"}, "names no entry"),
        ({"provider": "openai", "price": {"usd_per_image": "cheap"}}, "usd_per_image"),
        ({}, "provider"),
    ],
)
def test_a_wrong_entry_is_said_to_be_wrong(table, sentence):
    with pytest.raises(imagen.ConfigurationError, match=sentence):
        imagen.providers.load_catalog({"mine": table})


# --- prices -------------------------------------------------------------------


def usd(text: str) -> Decimal:
    return Decimal(text)


def test_a_quote_for_tokens_bounds_the_prompt_by_its_bytes():
    quote = quote_request(
        CATALOG.find("gpt-image-2"), imagen.Generate(prompt="é" * 100, quality="low")
    )
    assert quote.low_usd == usd("0.006")
    assert quote.high_usd == usd("0.006") * usd("1.5") + 200 * usd("5") / 1_000_000


def test_auto_quality_is_quoted_from_the_cheapest_to_the_dearest():
    quote = quote_request(CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x"))
    assert quote.low_usd == usd("0.006")
    assert quote.high_usd >= usd("0.211")


def test_a_larger_size_is_quoted_by_its_pixels():
    small, large = (
        quote_request(
            CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x", quality="high", size=size)
        ).low_usd
        for size in ("1024x1024", "2048x2048")
    )
    assert large == 4 * small


def test_an_unknown_price_stays_unknown_unless_the_caller_names_a_ceiling():
    model = CATALOG.find("imagen-4")
    assert quote_request(model, imagen.Generate(prompt="x")).high_usd is None
    assert quote_request(
        model, imagen.Generate(prompt="x", assume_usd=usd("0.1")), 3
    ).high_usd == usd("0.3")
    assert (
        cost_of(
            model, imagen.Generate(prompt="x"), GeneratedImages(images=(GeneratedImage(data=b""),))
        )
        == imagen.Cost()
    )


def test_costs_say_where_they_come_from():
    request = imagen.Generate(prompt="x", quality="low", size="1024x1024")
    model = CATALOG.find("gpt-image-2")
    decoded = (GeneratedImage(data=b""),)
    usage = Usage(text_input_tokens=14, image_output_tokens=272)
    assert cost_of(model, request, GeneratedImages(images=decoded, usage=usage)) == imagen.Cost(
        usd=usd("0.00823"), source="computed"
    )
    assert (
        cost_of(
            model, request, GeneratedImages(images=decoded, reported_cost_usd=usd("0.5"))
        ).source
        == "reported"
    )
    assert cost_of(model, request, GeneratedImages(images=decoded)).source == "estimated"


@given(
    st.lists(st.sampled_from(["low", "medium", "high", "auto"]), min_size=1), st.text(max_size=50)
)
def test_the_high_end_covers_any_usage_that_the_price_list_expects(qualities, prompt):
    prompt = prompt.encode(errors="ignore").decode().strip() or "x"
    for model in CATALOG:
        if (
            model.price is None
            or "generate" not in model.capabilities.operations
            or model.capabilities.required_options
        ):
            continue
        for quality in qualities:
            asked = imagen.Generate(prompt=prompt, quality=None if quality == "auto" else quality)
            quote = quote_request(model, translate(asked, model)[0])
            if quote.high_usd is None:
                # Billed by tokens, with no price of an image published.
                assert not model.price.table
                continue
            assert 0 <= quote.low_usd <= quote.expected_usd <= quote.high_usd


@given(money, st.integers(1, 20))
def test_shares_sum_up_to_the_whole(total, shares):
    parts = list(
        share_cost(imagen.Cost(usd=total, source="computed"), [GeneratedImage(data=b"")] * shares)
    )
    assert len(parts) == shares
    assert sum(part.usd for part in parts) == total
    assert all(part.usd >= 0 for part in parts)


@given(money, st.lists(st.booleans(), min_size=1, max_size=10))
def test_what_was_withheld_and_not_billed_has_no_share(total, billed):
    images = [
        GeneratedImage(data=b"") if one else WithheldImage(reason="x", billed=False)
        for one in billed
    ]
    parts = [part.usd for part in share_cost(imagen.Cost(usd=total, source="reported"), images)]
    assert len(parts) == len(billed)
    if any(billed):
        assert sum(parts) == total
        assert all(part == 0 for part, one in zip(parts, billed, strict=True) if not one)


@given(money)
def test_tidying_changes_the_looks_and_not_the_amount(amount):
    tidy = tidy_usd(amount)
    assert tidy == amount
    assert "E" not in str(f"{tidy:f}")
    assert not f"{tidy:f}".endswith("0") or tidy == tidy.to_integral()


# --- images -------------------------------------------------------------------


def encoded(kind: str, mode: str, width: int, height: int, **options: object) -> bytes:
    from io import BytesIO

    from PIL import Image as PillowImage

    out = BytesIO()
    PillowImage.new(mode, (width, height)).save(out, kind, **options)
    return out.getvalue()


@given(st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_an_image_is_measured_by_its_head(width, height):
    ways = [
        ("PNG", "RGBA", {}),
        ("GIF", "P", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"progressive": True}),
        ("JPEG", "RGB", {"exif": b"Exif\x00\x00" + bytes(3000), "comment": b"by hand"}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"exif": b"Exif\x00\x00" + bytes(30)}),
    ]
    for kind, mode, options in ways:
        found = read_image_header(encoded(kind, mode, width, height, **options))
        assert (found.width, found.height) == (width, height), (kind, options)
        assert found.media_type == f"image/{kind.lower()}"


HEADS = [
    PNG[:30],
    encoded("JPEG", "RGB", 9, 7)[:200],
    encoded("GIF", "P", 9, 7)[:12],
    *(
        encoded("WEBP", "RGBA", 9, 7, **options)[:40]
        for options in ({}, {"lossless": True}, {"exif": b"Exif"})
    ),
]


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(bytes.__add__, st.sampled_from(HEADS), st.binary(max_size=60)),
    )
)
@settings(max_examples=300)
def test_any_bytes_are_an_image_or_a_provider_error(data):
    try:
        found = read_image_header(data)
        assert found.width > 0 < found.height
    except imagen.ProviderError as error:
        assert error.billed == "yes"


@given(st.sampled_from(HEADS), st.integers(0, 200), st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=300)
def test_a_cut_or_bent_head_is_an_image_or_a_provider_error(head, cut, at, byte):
    bent = bytearray(head[:cut])
    if at < len(bent):
        bent[at] = byte
    try:
        read_image_header(bytes(bent))
    except imagen.ProviderError as error:
        assert error.billed == "yes"


def image(**changes: object) -> imagen.Image:
    data = png()
    return imagen.Image(
        **{
            "id": "0123456789abcdef",
            "request": imagen.Generate(prompt="a cat"),
            "media_type": "image/png",
            "width": 8,
            "height": 8,
            "size_bytes": len(data),
            "stored_sha256": "0" * 64,
            "inline_data": data,
            "model": "m",
            "provider": "p",
            "created_at": datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC),
            **changes,
        }
    )


def test_an_image_is_what_a_notebook_wants():
    decoded = image()
    assert decoded.prompt == "a cat"
    assert decoded._repr_png_() == decoded.data
    assert decoded._repr_mimebundle_()["image/png"] == decoded.data
    assert image(media_type="image/jpeg")._repr_png_() is None
    assert "8x8" in repr(decoded)
    assert str(decoded.data) not in repr(decoded)


def test_an_image_saves_itself(tmp_path):
    target = image().save(tmp_path / "cat.png", record=False)
    assert target.read_bytes() == png()
    copy = image(path=target, inline_data=None)
    assert copy.save(tmp_path / "copy.png", record=False).read_bytes() == copy.data


def test_an_image_that_is_not_saved_whole_is_not_saved_at_all(tmp_path, monkeypatch):
    kept = image().save(tmp_path / "kept.png")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(
        imagen.StorageError, match=r"No space left on device\. It is still at .*kept\.png"
    ):
        image(path=kept, inline_data=None).save(tmp_path / "copy.png")
    assert list(tmp_path.iterdir()) == [kept]


def test_an_image_that_cannot_be_saved_or_read_says_why(tmp_path):
    with pytest.raises(imagen.StorageError, match="cannot be saved"):
        image().save(tmp_path / "no" / "such" / "folder.png")
    with pytest.raises(imagen.StorageError, match="cannot be read"):
        _ = image(path=tmp_path / "gone.png", inline_data=None).data
    with pytest.raises(imagen.StorageError, match="neither bytes nor a file"):
        _ = image(inline_data=None).data


# --- errors and secrets -------------------------------------------------------


def test_every_error_has_a_code_and_says_whether_it_was_billed():
    def leaves(kind: type[imagen.ImagenError]) -> list[type[imagen.ImagenError]]:
        return [kind, *(leaf for below in kind.__subclasses__() for leaf in leaves(below))]

    for kind in leaves(imagen.ImagenError):
        if kind.__name__.startswith("_"):
            continue
        error = kind("A sentence.")
        assert error.code == error.code.upper()
        assert error.billed in ("yes", "no", "unknown")
        assert isinstance(error.retryable, bool)
        assert str(error) == "A sentence."
        assert kind.__name__ in imagen.__all__


def test_a_secret_shows_nowhere():
    secret = imagen.Secret("sk-very-secret")
    assert "very" not in repr(secret) + str(secret) + f"{secret}"
    assert secret.reveal() == "sk-very-secret"
    assert secret.hide_in("the key sk-very-secret is wrong") == "the key [hidden] is wrong"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
