"""What a pipeline is called with, and what its image comes back with."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from PIL import Image

import imagen
from imagen import Adjustment
from imagen.providers import Cancellable, GeneratedImage, Render, WithheldImage
from imagen.providers.diffusers._adapter import generate
from tests.support import exchanges as stepping
from tests.support.diffusers.fakes import (
    EditPipe,
    Latents,
    Left,
    Listener,
    MaskPipe,
    Pipe,
    Shop,
    SilentPipe,
    ask,
    draw,
    frames_of,
    model,
    refusal,
    shop,
)
from tests.support.exchanges import input_image, mask_image

__all__ = ["shop"]


def opened(result: imagen.providers.GeneratedImages) -> Image.Image:
    image = result.images[0]
    assert isinstance(image, GeneratedImage)
    return Image.open(io.BytesIO(image.data))


def words(result: imagen.providers.GeneratedImages) -> dict[str, tuple[str, str | None]]:
    return {one.field: (one.asked, one.sent) for one in result.adjustments}


def test_it_can_be_stopped_from_the_start_and_draws_on_its_device(shop: Shop):
    exchange = generate(stepping.call(model(), settings={"device": "cuda:1"}))
    assert next(exchange) == Cancellable(request=None, stops_bill=True)
    step = exchange.send(None)
    assert isinstance(step, Render)
    assert step.device == "cuda:1"
    exchange.close()
    assert shop.loads == []


def test_a_generation_says_everything_to_the_pipeline(shop: Shop):
    result = ask(
        imagen.Generate(
            prompt="a cat",
            size="640x384",
            seed=258,
            steps=5,
            guidance=4.5,
            negative_prompt="dogs",
            options={"eta": 0.5},
        )
    )
    arguments = shop.arguments
    assert callable(arguments.pop("callback_on_step_end"))
    assert arguments == {
        "prompt": "a cat",
        "width": 640,
        "height": 384,
        "num_inference_steps": 5,
        "guidance_scale": 4.5,
        "negative_prompt": "dogs",
        "generator": 258,
        "output_type": "pil",
        "eta": 0.5,
    }
    assert opened(result).format == "PNG"
    assert opened(result).getpixel((0, 0)) == (2, 1, 99)
    assert result.images[0].seed == 258
    assert (result.reported_cost_usd, result.adjustments) == (Decimal(0), ())


def test_what_is_not_asked_for_is_left_to_the_pipeline(shop: Shop):
    assert opened(ask()).size == (512, 512)
    assert set(shop.arguments) == {
        "prompt",
        "output_type",
        "callback_on_step_end",
        "num_inference_steps",
        "guidance_scale",
        "eta",
    }
    assert shop.arguments["guidance_scale"] == 7.5


def test_several_images_have_seeds_in_a_row(shop: Shop):
    result = ask(
        imagen.Generate(prompt="x", seed=7, negative_prompt=None, size="1000x600"), count=3
    )
    assert [image.seed for image in result.images] == [7, 8, 9]
    assert len(shop.loads) == 1
    assert words(result) == {}


@pytest.mark.parametrize(("name", "format"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_image_has_the_format_that_was_asked_for(shop: Shop, name: str, format: str):
    assert opened(ask(imagen.Generate(prompt="x", output_format=name))).format == format


# --- what the pipeline lacks --------------------------------------------------


def test_what_the_pipeline_lacks_is_left_out_and_said(shop: Shop):
    shop.base = SilentPipe
    result = ask(
        imagen.Generate(
            prompt="x",
            size="520x640",
            steps=3,
            guidance=2.0,
            negative_prompt="y",
            previews=2,
            seed=1,
        )
    )
    lost = {
        "size": "520x640",
        "steps": "3",
        "guidance": "2.0",
        "negative_prompt": "y",
        "previews": "2",
    }
    assert words(result) == {field: (asked, None) for field, asked in lost.items()}
    assert len(result.adjustments) == len(lost)
    assert result.adjustments[0] == Adjustment(
        field="negative_prompt",
        asked="y",
        sent=None,
        reason="diffusers: SilentPipe has no such parameter",
    )


def test_strict_refuses_before_anything_is_drawn(shop: Shop):
    shop.base = SilentPipe
    error = refusal(imagen.Generate(prompt="x", steps=3, strict=True))
    assert isinstance(error, imagen.InvalidRequestError)
    assert "SilentPipe has no such parameter, so it would be left out" in error.message
    assert not any(pipe.calls for pipe in shop.pipes)


def test_a_size_between_the_patches_is_rounded_and_said(shop: Shop):
    shop.base = EditPipe
    result = ask(imagen.Generate(prompt="x", size="1000x600"))
    # Both are multiples of 8, not of 16: 62.5 and 37.5 patches.
    assert (shop.arguments["width"], shop.arguments["height"]) == (992, 608)
    assert words(result) == {"size": ("1000x600", "992x608")}
    assert "multiples of 16 pixels" in result.adjustments[0].reason


def test_a_size_that_the_pipeline_changes_is_said(shop: Shop):
    class Stubborn(Pipe):
        def draw(self, **arguments):
            return super().draw(**(arguments | {"width": 1024, "height": 1024}))

    shop.base = Stubborn
    result = ask(imagen.Generate(prompt="x", size="512x512", strict=True))
    assert opened(result).size == (1024, 1024)
    assert words(result) == {"size": ("512x512", "1024x1024")}


def test_a_negative_prompt_that_is_not_looked_at_is_said(shop: Shop):
    class Distilled(Pipe):
        do_classifier_free_guidance = False

    shop.base = Distilled
    assert words(ask(imagen.Generate(prompt="x", negative_prompt="y"))) == {
        "negative_prompt": ("y", None)
    }


@pytest.mark.parametrize(("options", "heard"), [({}, False), ({"true_cfg_scale": 4.0}, True)])
def test_two_kinds_of_guidance_are_told_apart(shop: Shop, options: dict[str, object], heard: bool):
    shop.base = EditPipe
    result = ask(imagen.Generate(prompt="x", negative_prompt="y", options=options))
    assert words(result) == ({} if heard else {"negative_prompt": ("y", None)})


def test_guidance_goes_where_the_pipeline_has_it(shop: Shop):
    shop.base = EditPipe
    result = ask(imagen.Generate(prompt="x", guidance=3.0, negative_prompt="y"))
    assert shop.arguments["true_cfg_scale"] == 3.0
    assert "guidance_scale" not in shop.arguments
    assert words(result) == {}


def test_options_are_the_pipelines_own_parameters_and_no_others(shop: Shop):
    error = refusal(imagen.Generate(prompt="x", options={"colour": "red"}))
    assert "Pipe takes no colour" in error.message
    error = refusal(imagen.Generate(prompt="x", options={"generator": 3}))
    assert "options may not hold generator" in error.message
    assert all(isinstance(one, imagen.InvalidRequestError) for one in (error,))


# --- images to work on --------------------------------------------------------


def test_a_variation_starts_from_the_image(shop: Shop):
    image = input_image(96, 64, color="red")
    result = ask(imagen.Vary(image=b"", prompt="other", strength=0.4), images=(image,))
    arguments = shop.arguments
    assert arguments["image"].size == (96, 64)
    assert arguments["image"].getpixel((5, 5)) == (255, 0, 0)
    assert arguments["strength"] == 0.4
    assert (opened(result).size, words(result)) == ((96, 64), {})


def test_an_image_that_is_no_multiple_is_scaled_and_said(shop: Shop):
    result = ask(imagen.Vary(image=b"", strength=0.4), images=(input_image(100, 60),))
    assert shop.arguments["image"].size == (96, 64)
    assert words(result) == {"size": ("100x60", "96x64")}


@pytest.mark.parametrize(("strength", "steps"), [(0.3, 3), (0.1, None)])
def test_less_than_a_step_is_refused_before_anything_is_drawn(
    shop: Shop, strength: float, steps: int | None
):
    error = refusal(imagen.Vary(image=b"", strength=strength, steps=steps), images=(input_image(),))
    assert isinstance(error, imagen.InvalidRequestError)
    assert f"A strength of {strength} leaves less than one of {steps or 8} steps" in error.message
    assert not any(pipe.calls for pipe in shop.pipes)


def test_a_transparent_image_lies_on_white(shop: Shop):
    file = io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(file, "PNG")
    image = imagen.providers.EncodedImage(
        data=file.getvalue(), media_type="image/png", width=64, height=64
    )
    ask(imagen.Vary(image=b""), images=(image,))
    assert shop.arguments["image"].getpixel((1, 1)) == (255, 255, 255)


def test_a_broken_image_is_refused(shop: Shop):
    image = imagen.providers.EncodedImage(
        data=b"GIF89a", media_type="image/gif", width=64, height=64
    )
    error = refusal(imagen.Vary(image=b""), images=(image,))
    assert isinstance(error, imagen.InvalidRequestError)
    assert "cannot be read" in error.message


def test_an_edit_changes_the_white_area_only(shop: Shop):
    request = imagen.Edit(prompt="x", images=(b"",), mask=b"", seed=1)
    result = ask(request, images=(input_image(color="red"),), mask=mask_image())
    assert shop.arguments["mask_image"].getpixel((5, 5)) == 255
    assert shop.arguments["mask_image"].getpixel((60, 5)) == 0
    assert (shop.arguments["width"], shop.arguments["height"]) == (64, 64)
    assert opened(result).getpixel((5, 5)) == (1, 0, 99)
    assert opened(result).getpixel((60, 5)) == (255, 0, 0)


def test_what_the_pipeline_made_of_the_rest_can_be_kept(shop: Shop):
    request = imagen.Edit(prompt="x", images=(b"",), mask=b"", seed=1)
    images = {"images": (input_image(color="red"),), "mask": mask_image()}
    assert opened(ask(request, settings={"keep_unmasked": False}, **images)).getpixel((60, 5)) == (
        1,
        0,
        99,
    )


def test_a_pipeline_that_looks_at_images_gets_them_as_they_are(shop: Shop):
    shop.base = EditPipe
    call = stepping.call(
        model(),
        request=imagen.Edit(prompt="x", images=(b"",)),
        images=(input_image(100, 64), input_image()),
    )
    result = draw(call)
    assert [image.size for image in shop.arguments["image"]] == [(100, 64), (64, 64)]
    assert (shop.arguments["width"], shop.arguments["height"]) == (96, 64)
    assert words(result) == {"size": ("100x64", "96x64")}


def test_one_that_starts_from_the_image_takes_one(shop: Shop):
    error = refusal(imagen.Vary(image=b""), images=(input_image(), input_image()))
    assert "leave out the others" in error.message


@pytest.mark.parametrize(
    ("request_", "more", "what"),
    [
        (imagen.Vary(image=b""), {}, "Pipe cannot draw from an image"),
        (
            imagen.Edit(prompt="x", images=(b"",), mask=b""),
            {"mask": mask_image()},
            "Pipe cannot draw inside a mask",
        ),
    ],
)
def test_what_the_weights_cannot_do_is_refused(shop: Shop, request_, more, what: str):
    shop.kin.clear()
    error = refusal(request_, images=(input_image(),), **more)
    assert isinstance(error, imagen.InvalidRequestError)
    assert what in error.message
    # What comes up while it is drawn holds nothing of it, either.
    assert (error.__cause__, error.__context__) == (None, None)
    assert not frames_of(error) & {"Drawing._draw", "Loaded.pipeline"}


def test_a_mask_needs_a_pipeline_for_masks(shop: Shop):
    shop.base = EditPipe
    request = imagen.Edit(prompt="x", images=(b"",), mask=b"")
    ask(request, images=(input_image(),), mask=mask_image())
    assert type(shop.pipe) is MaskPipe


# --- on the way ---------------------------------------------------------------


def test_every_step_is_told(shop: Shop):
    listener = Listener()
    ask(imagen.Generate(prompt="x", steps=4), listener=listener)
    assert listener.fractions == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("previews", "steps", "given"), [(1, 8, 1), (3, 8, 3), (8, 4, 3), (2, 1, 0)]
)
def test_no_more_previews_are_given_than_asked_for(
    shop: Shop, previews: int, steps: int, given: int
):
    listener = Listener()
    result = ask(imagen.Generate(prompt="x", steps=steps, previews=previews), listener=listener)
    assert len(listener.previews) == given
    assert all(Image.open(io.BytesIO(data)).size == (64, 64) for data in listener.previews)
    assert words(result) == {}


def test_small_latents_are_shown_as_they_are(shop: Shop):
    class Small(Pipe):
        latents = Latents(1, 4, 32, 32)

    ask(imagen.Generate(prompt="x", previews=1))
    assert (shop.interpolated, shop.pipe.decoded) == (1, [1.0 / 0.5 + 0.25])
    shop.base = Small
    ask(imagen.Generate(prompt="x", previews=1), wire={"repository": "acme/small"})
    assert shop.interpolated == 1


@pytest.mark.parametrize("latents", [Latents(1, 4096, 64), None])
def test_latents_that_are_no_image_are_not_shown_and_that_is_said(shop: Shop, latents: object):
    class Packed(Pipe):
        pass

    Packed.latents = latents
    shop.base = Packed
    listener = Listener()
    result = ask(imagen.Generate(prompt="x", previews=3), listener=listener)
    assert (listener.previews, words(result)) == ([], {"previews": ("3", None)})
    assert isinstance(
        refusal(imagen.Generate(prompt="x", previews=3, strict=True)), imagen.InvalidRequestError
    )


def test_a_preview_that_fails_does_not_cost_the_image(shop: Shop):
    class Failing(Pipe):
        def __init__(self) -> None:
            super().__init__()
            decode, rounds = self.vae.decode, iter(range(9))

            def fail(latents, return_dict):
                if next(rounds):
                    raise RuntimeError("CUDA out of memory")
                return decode(latents, return_dict)

            self.vae.decode = fail

    shop.base = Failing
    listener = Listener()
    result = ask(imagen.Generate(prompt="x", previews=3, strict=True), listener=listener)
    assert opened(result).size == (512, 512)
    assert (len(listener.previews), words(result)) == (1, {"previews": ("3", "1")})


def test_a_preview_without_numbers_is_not_shown(shop: Shop):
    class Blown(Pipe):
        latents = Latents(1, 4, 32, 32, value=float("nan"))

    shop.base = Blown
    assert words(ask(imagen.Generate(prompt="x", previews=3))) == {"previews": ("3", None)}


def test_leaving_ends_it_between_two_steps_and_the_pipeline_draws_again(shop: Shop):
    request = imagen.Generate(prompt="x", steps=8, seed=5)
    with pytest.raises(Left):
        ask(request, listener=Listener(leaves_at=4))
    assert shop.pipe.log[-1] == "freed"
    assert opened(ask(request)).getpixel((0, 0)) == (5, 0, 99)
    assert len(shop.loads) == 1


# --- at the end ---------------------------------------------------------------


def test_an_image_that_the_safety_checker_blackened_is_withheld(shop: Shop):
    class Alarmed(Pipe):
        alarms = (True,)

    shop.base = Alarmed
    result = ask()
    assert isinstance(result.images[0], WithheldImage)
    assert not result.images[0].billed
    assert "safety checker" in result.images[0].reason


def test_an_image_that_it_let_pass_is_an_image(shop: Shop):
    class Calm(MaskPipe):
        alarms = (False,)

    shop.kin["Inpainting"] = Calm
    request = imagen.Edit(prompt="x", images=(b"",), mask=b"")
    assert opened(ask(request, images=(input_image(),), mask=mask_image())).size == (64, 64)


@pytest.mark.parametrize("images", [None, [], ["film"]])
def test_a_pipeline_that_makes_no_images_is_said_to_be_one(shop: Shop, images: object):
    class Film(Pipe):
        def draw(self, **arguments):
            result = super().draw(**arguments)
            result.images = images
            return result

    shop.base = Film
    error = refusal()
    assert isinstance(error, imagen.ProviderError)
    assert "made for something else" in error.message
