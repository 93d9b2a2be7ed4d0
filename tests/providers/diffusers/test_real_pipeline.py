"""The real packages, on the CPU, with pipelines of a few thousand random
weights. Nothing is downloaded.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from PIL import Image, ImageChops

import imagen
from imagen.providers.diffusers import _pipelines as pipelines
from tests.support.diffusers import tiny
from tests.support.exchanges import input_image, mask_image

pytest.importorskip("torch", reason="torch is not installed; make test-diffusers has it")
pytest.importorskip("diffusers", reason="diffusers is not installed; make test-diffusers has it")

CAT = imagen.Generate(prompt="a cat", seed=7, steps=6)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(autouse=True)
def empty_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "_BENCHES", {})


@asynccontextmanager
async def open_client(
    home: Path, repository: Path, *, on_event: imagen.EventHandler | None = None, **settings: object
) -> AsyncIterator[imagen.Client]:
    """A client whose model is the pipeline in a folder."""
    loaded = imagen.load_settings({"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": "diffusers"})
    access = loaded.access["diffusers"]
    chosen = {**access.settings, "device": "cpu", "local_files_only": True, **settings}
    loaded = msgspec.structs.replace(
        loaded,
        access={**loaded.access, "diffusers": msgspec.structs.replace(access, settings=chosen)},
        models={"diffusers": {"wire": {"repository": str(repository)}}},
    )
    async with imagen.open_client(loaded, on_event=on_event) as client:
        yield client


def image_of(image: imagen.Image) -> Image.Image:
    return Image.open(io.BytesIO(image.data)).convert("RGB")


def is_same(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is None


def only_kept() -> pipelines.Loaded:
    (bench,) = pipelines._BENCHES.values()
    (loaded,) = bench._kept.values()
    return loaded


async def run(client: imagen.Client, request: imagen.Request) -> imagen.Image:
    async with client.open_batch([request]) as batch:
        (outcome,) = [outcome async for outcome in batch]
    if isinstance(outcome, imagen.Failure):
        raise outcome.error
    return outcome


# --- images -------------------------------------------------------------------


async def test_words_become_an_image_that_costs_nothing(tmp_path: Path, repository: Path):
    async with open_client(tmp_path, repository) as client:
        image = await run(client, CAT)
        spending = await client.spending()
    assert (image.width, image.height, image.media_type, image.seed) == (128, 128, "image/png", 7)
    assert (image.cost.usd, image.cost.source, image.adjustments) == (0, "reported", ())
    assert (spending.settled_usd, spending.unknown_usd) == (0, 0)
    extremes = image_of(image).getextrema()
    assert all(low < high for low, high in extremes)


async def test_a_seed_is_one_image_with_or_without_previews(tmp_path: Path, repository: Path):
    async with open_client(tmp_path, repository) as client:
        one = image_of(await run(client, CAT))
        again = image_of(await run(client, msgspec.structs.replace(CAT, previews=3)))
        other = image_of(await run(client, msgspec.structs.replace(CAT, seed=8)))
    assert is_same(one, again)
    assert not is_same(one, other)


async def test_progress_and_previews_come_on_the_way(tmp_path: Path, repository: Path):
    events: list[imagen.Event] = []
    async with open_client(tmp_path, repository, on_event=events.append) as client:
        image = await run(client, msgspec.structs.replace(CAT, previews=2))
    told = [event.fraction for event in events if isinstance(event, imagen.ProgressReported)]
    assert told == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    previews = [
        Image.open(io.BytesIO(event.data))
        for event in events
        if isinstance(event, imagen.PreviewReceived)
    ]
    assert [preview.size for preview in previews] == [(128, 128), (128, 128)]
    assert not is_same(previews[1].convert("RGB"), image_of(image))
    assert image.adjustments == ()


async def test_a_size_between_the_multiples_is_rounded_and_said(tmp_path: Path, repository: Path):
    async with open_client(tmp_path, repository) as client:
        image = await run(client, imagen.Vary(image=input_image(140, 100).data, steps=4, seed=1))
    assert (image.width, image.height) == (144, 96)
    assert [(one.field, one.asked, one.sent) for one in image.adjustments] == [
        ("size", "140x100", "144x96")
    ]


@pytest.mark.parametrize(("strength", "steps"), [(0.1, 1), (0.9, 9)])
async def test_a_variation_takes_its_share_of_the_steps(
    tmp_path: Path, repository: Path, strength: float, steps: int
):
    told: list[imagen.Event] = []
    async with open_client(tmp_path, repository, on_event=told.append) as client:
        image = await run(
            client, imagen.Vary(image=input_image(128, 128).data, steps=10, strength=strength)
        )
    assert sum(isinstance(event, imagen.ProgressReported) for event in told) == 1 + steps
    assert (image.width, image.height, image.adjustments) == (128, 128, ())


async def test_an_edit_without_a_mask_starts_from_the_image(tmp_path: Path, repository: Path):
    events: list[imagen.Event] = []
    async with open_client(tmp_path, repository, on_event=events.append) as client:
        request = imagen.Edit(prompt="a dog", images=(input_image(64, 96).data,), steps=5, seed=1)
        image = await run(client, request)
    assert (image.width, image.height) == (64, 96)
    # The pipeline's own strength is 0.8, so it takes four of five steps.
    assert sum(isinstance(event, imagen.ProgressReported) for event in events) == 1 + 4


async def test_an_edit_with_a_mask_changes_the_white_half_and_nothing_else(
    tmp_path: Path, repository: Path
):
    source, mask = input_image(128, 128), mask_image(128, 128)
    request = imagen.Edit(prompt="a dog", images=(source.data,), mask=mask.data, steps=4, seed=1)
    original = Image.open(io.BytesIO(source.data))
    async with open_client(tmp_path, repository) as client:
        drawn = image_of(await run(client, request))
    white, black = (0, 0, 64, 128), (64, 0, 128, 128)
    assert is_same(drawn.crop(black), original.crop(black))
    assert not is_same(drawn.crop(white), original.crop(white))
    async with open_client(tmp_path, repository, keep_unmasked=False) as client:
        raw = image_of(await run(client, request))
    assert is_same(raw.crop(white), drawn.crop(white))
    assert not is_same(raw.crop(black), original.crop(black))


async def test_the_kinds_of_pipelines_share_their_weights(tmp_path: Path, repository: Path):
    source, mask = input_image(128, 128), mask_image(128, 128)
    async with open_client(tmp_path, repository) as client:
        first = image_of(await run(client, CAT))
        await run(client, imagen.Vary(image=source.data, steps=2, seed=1))
        await run(
            client, imagen.Edit(prompt="x", images=(source.data,), mask=mask.data, steps=2, seed=1)
        )
        assert is_same(image_of(await run(client, CAT)), first)
    loaded = only_kept()
    unets = {id(loaded.pipeline(kind).unet) for kind in ("text2image", "image2image", "inpaint")}
    assert len(unets) == 1


async def test_a_second_client_finds_the_pipeline_loaded(tmp_path: Path, repository: Path):
    async with open_client(tmp_path, repository) as client:
        await run(client, CAT)
        loaded = only_kept()
        async with open_client(tmp_path / "other", repository) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, client, CAT)
                nursery.start_soon(run, other, CAT)
    assert only_kept() is loaded


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_no_more_weights_are_kept_than_allowed(tmp_path: Path, repository: Path, kept: int):
    other = tiny.save_stable_diffusion(tmp_path / "second")
    for folder in (repository, other):
        async with open_client(tmp_path, folder, pipelines_kept=kept) as client:
            await run(client, CAT)
    (bench,) = pipelines._BENCHES.values()
    assert [Path(weights.repository) for weights in bench._kept] == [repository, other][2 - kept :]


async def test_weights_that_are_moved_about_draw_the_same_also_after_a_stop(
    tmp_path: Path, repository: Path
):
    """Offloading from the CPU to itself: the hooks are real, the device is not."""
    weights = pipelines.Weights(repository=str(repository), device="cpu:0", offload="model")
    loaded = pipelines.Loaded(weights)
    pipeline = loaded.pipeline("text2image")

    def draw(tell: Any) -> Image.Image:
        return pipeline(
            "a cat", generator=loaded.generator(3), num_inference_steps=3, callback_on_step_end=tell
        ).images[0]

    def stop(*step: object) -> dict[str, object]:
        raise KeyboardInterrupt

    first = draw(lambda *step: step[-1])
    with pytest.raises(KeyboardInterrupt):
        draw(stop)
    pipeline.maybe_free_model_hooks()
    assert is_same(draw(lambda *step: step[-1]), first)
    assert loaded.pipeline("image2image").unet is pipeline.unet
    assert is_same(draw(lambda *step: step[-1]), first)


# --- stopping, and taking turns -----------------------------------------------


async def test_an_abandoned_image_stops_between_two_steps(tmp_path: Path, repository: Path):
    told: list[float] = []
    third_step = trio.Event()

    def hear(event: imagen.Event) -> None:
        if isinstance(event, imagen.ProgressReported):
            told.append(event.fraction or 0)
            if len(told) == 4:
                third_step.set()

    async with open_client(tmp_path, repository) as client:
        expected = image_of(await run(client, CAT))
    async with open_client(tmp_path, repository, on_event=hear) as client:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, client, msgspec.structs.replace(CAT, steps=190))
                await third_step.wait()
                nursery.cancel_scope.cancel()
            while client.in_flight:
                await trio.sleep(0.005)
        assert 4 <= len(told) < 100
        spending = await client.spending()
        assert (spending.settled_usd, spending.unknown_usd, spending.attempts.unknown) == (0, 0, 0)
        assert is_same(image_of(await run(client, CAT)), expected)


async def test_images_on_one_device_come_one_after_the_other(tmp_path: Path, repository: Path):
    order: list[str] = []

    def hear(event: imagen.Event) -> None:
        if isinstance(event, imagen.ProgressReported):
            order.append(event.attempt_id)

    async with open_client(tmp_path, repository, on_event=hear) as client:
        requests = [msgspec.structs.replace(CAT, seed=seed) for seed in (1, 2, 3)]
        async with client.open_batch(requests, max_at_once=3) as batch:
            outcomes = [outcome async for outcome in batch]
    assert all(isinstance(outcome, imagen.Image) for outcome in outcomes)
    changes = sum(one != other for one, other in pairwise(order))
    assert changes == 2


# --- other families, and what goes wrong --------------------------------------


async def test_another_family_has_other_multiples_and_other_words(tmp_path: Path):
    folder = tiny.save_stable_diffusion_3(tmp_path / "sd3")
    source, mask = input_image(128, 128), mask_image(128, 128)
    events: list[imagen.Event] = []
    async with open_client(tmp_path, folder, on_event=events.append) as client:
        image = await run(
            client, imagen.Generate(prompt="a cat", size="136x104", steps=3, previews=1, seed=1)
        )
        assert (image.width, image.height) == (128, 96)
        assert [(one.field, one.asked, one.sent) for one in image.adjustments] == [
            ("size", "136x104", "128x96")
        ]
        assert sum(isinstance(event, imagen.PreviewReceived) for event in events) == 1
        vary = await run(client, imagen.Vary(image=source.data, steps=4, strength=0.5, seed=1))
        edit = await run(
            client, imagen.Edit(prompt="x", images=(source.data,), mask=mask.data, steps=3, seed=1)
        )
    assert [(one.width, one.height) for one in (vary, edit)] == [(128, 128), (128, 128)]


async def test_an_image_that_alarms_the_safety_checker_is_withheld_and_free(tmp_path: Path):
    folder = tiny.save_stable_diffusion(tmp_path / "alarmed", alarmed=True)
    async with open_client(tmp_path, folder) as client:
        with pytest.raises(imagen.ContentFilterError) as caught:
            await run(client, CAT)
        spending = await client.spending()
    assert caught.value.billed == "no"
    assert (spending.settled_usd, spending.attempts.refused) == (0, 1)


async def test_a_negative_prompt_without_guidance_is_said_to_be_lost(
    tmp_path: Path, repository: Path
):
    request = msgspec.structs.replace(CAT, negative_prompt="dogs", guidance=0.5)
    async with open_client(tmp_path, repository) as client:
        image = await run(client, request)
        with pytest.raises(imagen.InvalidRequestError):
            await run(client, msgspec.structs.replace(request, strict=True))
    assert [(one.field, one.sent) for one in image.adjustments] == [("negative_prompt", None)]


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (msgspec.structs.replace(CAT, options={"guidance_rescale": "much"}), imagen.ProviderError),
        (
            msgspec.structs.replace(CAT, options={"timesteps": [1], "sigmas": [1.0]}),
            imagen.InvalidRequestError,
        ),
        (imagen.Vary(image=input_image().data, steps=2, strength=0.1), imagen.InvalidRequestError),
    ],
)
async def test_whatever_the_pipeline_raises_is_an_error_of_imagen(
    tmp_path: Path, repository: Path, request_: imagen.Request, kind: type[imagen.ImagenError]
):
    async with open_client(tmp_path, repository) as client:
        with pytest.raises(imagen.ImagenError) as caught:
            await run(client, request_)
        assert type(caught.value) is kind
        assert caught.value.billed == "no"
        await run(client, CAT)


@pytest.mark.parametrize(
    ("folder", "kind", "words"),
    [
        ("nothing/at/all", imagen.ModelNotFoundError, "There is no folder nothing/at/all"),
        ("acme/nothing", imagen.ModelNotFoundError, "may not be downloaded"),
        ("no name!", imagen.ModelNotFoundError, "no name! is no folder here"),
        ("empty", imagen.ConfigurationError, "cannot be loaded as a pipeline"),
        ("broken", imagen.ConfigurationError, "cannot be loaded as a pipeline"),
        ("pickled", imagen.ConfigurationError, "Set allow_pickle"),
        ("custom", imagen.ConfigurationError, "custom code"),
    ],
)
async def test_what_cannot_be_loaded_is_said_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    kind: type[imagen.ImagenError],
    words: str,
):
    monkeypatch.chdir(tmp_path)
    spoil(tmp_path, folder)
    async with open_client(tmp_path / "home", Path(folder)) as client:
        with pytest.raises(imagen.ImagenError) as caught:
            await run(client, CAT)
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def spoil(home: Path, how: str) -> None:
    """Makes a folder that is no pipeline, in one of several ways."""
    if how == "empty":
        (home / how).mkdir()
    if how not in ("broken", "pickled", "custom"):
        return
    made = tiny.save_stable_diffusion(home / "made").rename(home / how)
    weights = made / "unet" / "diffusion_pytorch_model.safetensors"
    if how == "broken":
        weights.write_bytes(b"xx")
    elif how == "pickled":
        weights.rename(weights.with_suffix(".bin"))
    else:
        index = made / "model_index.json"
        index.write_text(
            index.read_text().replace('"StableDiffusionPipeline"', '["pipeline", "Mine"]')
        )
        (made / "pipeline.py").write_text("raise SystemExit('this code must not run')\n")
