"""What a client does with prompts, styles, looks and grids."""

from __future__ import annotations

from decimal import Decimal

import pytest

import imagen
from tests.support.custom_provider import Atelier, open_atelier
from tests.support.scripted_client import FakeProvider, open_test_client

pytestmark = pytest.mark.usefixtures("engine")


async def test_a_grid_is_a_batch_and_a_quote_as_it_is(autojump_clock):
    provider = FakeProvider()
    asked = imagen.prompts.grid(
        imagen.prompts.Template.parse("a {red|blue} car").expand(),
        seeds=[1, 2, 3],
        styles=[None, imagen.prompts.Style(name="ink", suffix="in ink")],
    )
    async with open_test_client(provider) as (client, _):
        assert client.quote(asked).expected_usd == Decimal("0.48")
        async with client.open_batch(asked) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == list(range(12))
        for outcome in outcomes:
            assert outcome.request == asked[outcome.index]
            assert asked.labels(outcome.index)["seed"] == str(outcome.request.seed)
    assert provider.arrived == 12


async def test_a_look_goes_on_with_the_images_that_it_keeps():
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        look = await client.look(
            "watercolour", imagen.prompts.Style(name="own", suffix="for children"), seed=7
        )
        first = await client.generate(look.request("a harbour"))
        assert first.prompt.startswith("a watercolour painting of a harbour, ")
        assert first.prompt.endswith(", for children")
        look.keep(first)
        second = await client.generate(look.request("a boat"))
        look.keep(second)
        look.keep(await client.generate(look.request("a gull")))
        await client.generate(look.request("a harbour"))
        # The atelier takes two.
        assert [len(call.references) for call in atelier.calls] == [0, 1, 2, 2]
        with pytest.raises(imagen.InvalidRequestError, match=r"did you mean watercolour\?"):
            await client.look("watercolor")
        own = await client.look(imagen.prompts.Style(name="own", suffix="x"))
        assert own.request("a").prompt == "a, x"


async def test_styles_of_the_home_and_prompts_that_are_kept_are_the_clients(tmp_path):
    (tmp_path / "styles.toml").write_text('[brand]\nsuffix = "in our colours"\n')
    async with open_atelier(Atelier(), home=tmp_path) as client:
        assert (await client.styles())["brand"].suffix == "in our colours"
        await client.prompts.save(
            "sea", "a {{mood}} sea", styles=["brand"], negative_prompt="boats"
        )
        kept = await client.prompts.get("sea")
        assert kept is not None
        (text,) = imagen.prompts.Template.parse(kept.text).expand({"mood": "calm"})
        styles = imagen.prompts.choose_styles(await client.styles(), kept.styles)
        request = imagen.prompts.apply_styles(
            imagen.Generate(prompt=text), (kept.as_style(), *styles)
        )
        assert request == imagen.Generate(
            prompt="a calm sea, in our colours", negative_prompt="boats"
        )
    async with imagen.prompts.open_prompts(tmp_path) as prompts:
        assert [prompt.name for prompt in await prompts.list()] == ["sea"]
