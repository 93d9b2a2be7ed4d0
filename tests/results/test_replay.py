"""An image is made again from what is remembered of it."""

from __future__ import annotations

import msgspec
import pytest

import imagen
from imagen._results.replay import replay_request
from tests.support.custom_provider import Atelier, open_atelier


@pytest.fixture
def settings(tmp_path):
    return imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})


async def test_an_engine_with_seeds_draws_the_same_image_again(settings):
    async with imagen.open_client(settings) as client:
        first = await client.generate("a lighthouse", model="sketch", size="64x64")
        kept = await client.library.get(first.id)
        again = await client.replay(kept)
        assert again.same_bytes
        assert again.differences == ()
        assert again.image.id != first.id
        assert again.image.request.seed == first.seed
        assert (await client.spending()).images == 2


async def test_the_seed_that_the_image_reports_goes_before_the_one_that_was_asked_for(settings):
    async with imagen.open_client(settings) as client:
        image = await client.generate("a lighthouse", model="sketch", size="64x64", seed=1)
        model = client.catalog.find("sketch")
    reported = msgspec.structs.replace(image, seed=9)
    silent = msgspec.structs.replace(image, seed=None)
    assert replay_request(reported, model).seed == 9
    assert replay_request(silent, model).seed == 1
    assert replay_request(reported, model, 0).seed == 0


async def test_another_seed_is_another_image(settings):
    async with imagen.open_client(settings) as client:
        first = await client.generate("a lighthouse", model="sketch", size="64x64", seed=1)
        again = await client.replay(first, seed=2)
    assert not again.same_bytes
    assert again.differences == (imagen.Difference(field="seed", before="1", after="2"),)


async def test_an_image_made_from_others_is_made_again_from_the_same_ones(tmp_path):
    atelier = Atelier()
    async with open_atelier(atelier, home=tmp_path / "home") as client:
        source = tmp_path / "source.png"
        first = await client.generate("a fox")
        first.save(source, record=False)
        edited = await client.edit("at night", source, strict=True)
        source.unlink()
        again = await client.replay(await client.library.get(edited.id))
        assert again.image.request == msgspec.structs.replace(edited.request, model="atelier-1")
        asked, repeated = atelier.calls[-2:]
        assert repeated.images == asked.images


async def test_an_image_whose_source_is_gone_is_a_sentence(tmp_path):
    atelier = Atelier()
    async with open_atelier(atelier, home=tmp_path / "home") as client:
        first = await client.generate("a fox")
        varied = await client.vary(first)
        first.path.unlink()
        with pytest.raises(imagen.ImagenError) as caught:
            await client.replay(varied)
        assert caught.value.billed == "no"
    assert len(atelier.calls) == 2


async def test_elsewhere_the_options_of_the_first_provider_are_left_out_and_told(tmp_path):
    atelier = Atelier()
    async with open_atelier(atelier, home=tmp_path / "home") as client:
        first = await client.generate("a fox", options={"brushes": 5})
        again = await client.replay(first, model="sketch")
    told = {one.field: (one.before, one.after) for one in again.differences}
    assert told["model"] == ("atelier-1", "sketch")
    assert told["provider"] == ("atelier", "sketch")
    assert told["options"] == ('{"brushes":5}', None)
    assert again.image.prompt == "a fox"


async def test_a_model_that_is_gone_is_a_sentence(tmp_path):
    atelier = Atelier()
    async with open_atelier(atelier, home=tmp_path / "home") as client:
        first = await client.generate("a fox")
        with pytest.raises(imagen.ModelNotFoundError):
            await client.replay(msgspec.structs.replace(first, model="gone-1"))
