"""Whole exchanges with the providers that imitate OpenAI, over real sockets."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import imagen
from imagen.testing.simulator import (
    ExpiredLink,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    Reset,
    ServerError,
    WrongMedia,
    open_simulator,
)
from imagen.testing.simulator._core.faults import Withheld
from imagen.testing.simulator._core.images import MEDIA_TYPES
from imagen.testing.simulator._providers.openai_servers import SIMULATED
from tests.support.exchanges import CATALOG, input_image, mask_image
from tests.support.images import near, opened_rgb
from tests.support.providers.openai import books_balance, open_client

(LOCALAI,) = (server for server in SIMULATED if server.name == "localai")
TEAL, RED = (0, 128, 128), (255, 0, 0)
CAT, HAT = input_image(128, 128).data, input_image(64, 64, color="red").data
PAID = ["grok-imagine-image", "openrouter/gemini-3.1-flash-lite-image", "together/flux-1-schnell"]
LOCAL = ["localai", "vllm-omni", "sglang", "sd-server"]
LIVE = [
    model.id
    for model in CATALOG
    if model.provider in ("xai", "openrouter", "together") and model.lifecycle.retired_on is None
] + LOCAL
EDITORS = [name for name in LIVE if "edit" in CATALOG.find(name).capabilities.operations]
SEVERAL = [name for name in EDITORS if CATALOG.find(name).capabilities.inputs.max_images > 1]
REPORTING = ("xai", "openrouter")
USD = Decimal("0.5")


def provider_of(model: str) -> str:
    return CATALOG.find(model).provider


def offers(model: str) -> list[dict[str, Any]]:
    """Every value that the catalog offers for a model, one at a time."""
    can = CATALOG.find(model).capabilities
    each: dict[str, tuple[Any, ...]] = {
        "aspect_ratio": can.aspect_ratios,
        "quality": can.qualities,
        "resolution": can.resolutions,
        "size": ("768x512", "512x1024") if can.free_size else (),
        "output_format": can.output_formats,
        "seed": (7,) if can.seed else (),
        "negative_prompt": ("dogs",) if can.negative_prompt else (),
        "guidance": (3.5,) if can.guidance else (),
        "steps": (1, 12) if can.steps else (),
        "safety": can.safety,
    }
    return [{}, *({field: value} for field, values in each.items() for value in values)]


@pytest.mark.parametrize("model", LIVE)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        for fields in offers(model):
            image = await client.generate("a cat", model=model, assume_usd=USD, **fields)
            assert not image.adjustments
            if "size" in fields:
                assert f"{image.width}x{image.height}" == fields["size"]
            if "output_format" in fields:
                assert image.media_type == MEDIA_TYPES[fields["output_format"]]
            if fields.get("aspect_ratio", "auto") != "auto":
                wide, _, high = fields["aspect_ratio"].partition(":")
                assert image.width / image.height == pytest.approx(
                    float(wide) / float(high), rel=0.05
                )
        if fields.get("resolution") == "2K":
            assert image.width == 2048
        assert not simulator.leaks


@pytest.mark.parametrize("model", [*PAID, *LOCAL])
async def test_the_ledger_says_what_was_billed(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        most = min(3, CATALOG.find(model).capabilities.max_images_per_request)
        async with client.open_batch("a cat", n=most, model=model, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * most
        assert len(simulator.bills) == 1
        assert {outcome.cost.source for outcome in outcomes} == {
            "reported" if provider_of(model) in REPORTING else "estimated"
        }
        await books_balance(client, simulator)


@pytest.mark.parametrize("model", EDITORS)
async def test_an_edit_sees_its_image(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        image = opened_rgb(await client.edit("a hat", CAT, model=model, assume_usd=USD))
        corner = min(image.size) // 32
        assert near(image.getpixel((corner, corner)), TEAL)
        assert not simulator.leaks


@pytest.mark.parametrize("model", SEVERAL)
async def test_several_images_keep_their_order(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        image = opened_rgb(await client.edit("both", HAT, CAT, model=model, assume_usd=USD))
        corner = min(image.size) // 32
        assert near(image.getpixel((corner, corner)), RED)
        assert near(image.getpixel((3 * corner, corner)), TEAL)


@pytest.mark.parametrize("model", ["openrouter/gemini-3.1-flash-lite-image", "localai"])
async def test_a_generation_looks_at_its_references(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        request = imagen.Generate(prompt="a cat like this", references=(HAT, CAT), model=model)
        image = opened_rgb(await client.generate(request))
        corner = min(image.size) // 32
        assert near(image.getpixel((corner, corner)), RED)


# --- servers of one's own -----------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wire_name"), [("localai", "local-model"), ("sd-server", "default")]
)
async def test_a_mask_changes_its_white_half_and_nothing_else(tmp_path, model, wire_name):
    (tmp_path / "imagen.toml").write_text(f'[models.{model}]\nwire_name = "{wire_name}"\n')
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        image = opened_rgb(
            await client.edit("a hat", CAT, mask=mask_image(128, 128).data, model=model)
        )
        width, height = image.size
        assert near(image.getpixel((width - 10, height // 2)), TEAL)
        assert not near(image.getpixel((10, height // 2)), TEAL)
        assert not simulator.leaks


async def test_localai_makes_an_image_larger_and_keeps_what_it_shows(tmp_path):
    (tmp_path / "imagen.toml").write_text('[models.localai]\nwire_name = "local-model"\n')
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "localai") as client:
        for scale in (2.0, 4.0):
            image = await client.enhance(CAT, model="localai", scale=scale)
            assert (image.width, image.height) == (128 * scale, 128 * scale)
            assert near(opened_rgb(image).getpixel((60, 60)), TEAL)


@pytest.mark.parametrize("relative", [False, True])
async def test_localai_may_answer_with_a_link_to_itself(tmp_path, relative):
    server = msgspec.structs.replace(LOCALAI, relative_links=relative)
    async with (
        open_simulator(server) as simulator,
        open_client(tmp_path, simulator, "localai") as client,
    ):
        await client.generate("a cat", model="localai", options={"response_format": "url"})
        assert [received.kind for received in simulator.received] == ["create", "download"]
        assert simulator.received[1].carries_key


async def test_a_server_without_the_wish_for_base64_is_asked_twice_and_draws_once(tmp_path):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, "sd_server") as client,
    ):
        image = await client.generate("a cat", model="sd-server", seed=3)
        assert image.seed == 3
        assert [
            "response_format" in json.loads(received.body) for received in simulator.received
        ] == [True, False]
        assert len(simulator.bills) == 1


async def test_a_server_of_ones_own_needs_no_key(tmp_path):
    async with open_simulator() as simulator:
        environ = {"IMAGEN_HOME": str(tmp_path), "SGLANG_BASE_URL": simulator.base_url("sglang")}
        async with imagen.open_client(imagen.load_settings(environ)) as client:
            image = await client.generate("a cat")
            assert image.model == "sglang"
            assert not simulator.received[0].carries_key
            assert (await client.probe("sglang")).usable


async def test_no_default_is_a_server_that_may_not_be_there(tmp_path):
    async with imagen.open_client(imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})) as client:
        assert client.default_model.id == "sketch"


# --- lists and keys -----------------------------------------------------------


@pytest.mark.parametrize("model", [*PAID, *LOCAL])
async def test_a_key_is_looked_at_and_the_list_is_there(tmp_path, model):
    name = provider_of(model)
    async with open_simulator() as simulator:
        async with open_client(tmp_path, simulator, name) as client:
            assert (await client.probe(name)).usable
            found = [
                one
                for one in (await client.discover()).models
                if one.provider == name and one.listed
            ]
            assert found
            assert "moonshotai/Kimi-K2" not in [one.wire_name for one in found]
        async with open_client(tmp_path, simulator, name, key="wrong-key") as client:
            with pytest.raises(imagen.AuthenticationError):
                await client.generate("a cat", model=model)


# --- faults -------------------------------------------------------------------


@pytest.mark.parametrize("model", [*PAID, *LOCAL])
async def test_what_was_refused_for_now_is_sent_again_and_paid_once(tmp_path, model):
    # The server that is asked twice anyway meets only one of them.
    faults = [Overloaded(), RateLimited(wait_seconds=0.001, told="text")]
    async with (
        open_simulator(faults=faults) as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        await client.generate("a cat", model=model)
        assert len(simulator.bills) == 1
        await books_balance(client, simulator)


REFUSALS = [(model, Refused(), imagen.ContentFilterError) for model in (*PAID, *LOCAL)]
REFUSALS += [(model, QuotaExhausted(), imagen.QuotaExceededError) for model in PAID]


@pytest.mark.parametrize(("model", "fault", "kind"), REFUSALS, ids=repr)
async def test_a_refusal_costs_nothing(tmp_path, model, fault, kind):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        with pytest.raises(kind):
            await client.generate("a cat", model=model)
        assert len(simulator.received) == 1
        await books_balance(client, simulator)


@pytest.mark.parametrize("model", PAID)
@pytest.mark.parametrize("fault", [Reset(after_billing=True), ServerError()], ids=repr)
async def test_what_may_have_been_billed_is_not_sent_again(tmp_path, model, fault):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a cat", model=model)
        assert caught.value.billed == "unknown"
        assert len(simulator.received) == 1
        assert (await client.spending()).unknown_usd >= simulator.billed_usd


@pytest.mark.parametrize("model", LOCAL)
async def test_a_local_server_that_fails_is_not_asked_again_and_costs_nothing(tmp_path, model):
    async with (
        open_simulator(faults=ServerError()) as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        with pytest.raises(imagen.ProviderError, match="CUDA out of memory"):
            await client.generate("a cat", model=model)
        assert len(simulator.received) == 1
        await books_balance(client, simulator)


async def test_an_image_that_is_withheld_is_paid_and_said_to_be(tmp_path):
    async with (
        open_simulator(faults=Withheld()) as simulator,
        open_client(tmp_path, simulator, "xai") as client,
    ):
        with pytest.raises(imagen.ContentFilterError) as caught:
            await client.generate("a cat", model="grok-imagine-image")
        assert caught.value.billed == "yes"
        assert simulator.billed_usd == Decimal("0.02")
        await books_balance(client, simulator)


@pytest.mark.parametrize("model", ["grok-imagine-image", "together/flux-1-schnell"])
async def test_links_are_fetched_without_the_key_and_one_that_is_gone_was_paid(tmp_path, model):
    options = {"response_format": "url"}
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        await client.generate("a cat", model=model, options=options)
        assert [received.provider for received in simulator.received] == [
            provider_of(model),
            "files",
        ]
        await books_balance(client, simulator)
    async with (
        open_simulator(faults=ExpiredLink()) as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a cat", model=model, options=options)
        assert caught.value.billed == "yes"


async def test_a_link_of_ones_own_server_may_be_gone(tmp_path):
    async with (
        open_simulator(faults=ExpiredLink()) as simulator,
        open_client(tmp_path, simulator, "localai") as client,
    ):
        with pytest.raises(imagen.ProviderError, match="link answers 404") as caught:
            await client.generate("a cat", model="localai", options={"response_format": "url"})
        assert caught.value.billed == "no"


@pytest.mark.parametrize("model", PAID)
async def test_a_web_page_in_place_of_an_image_is_billed(tmp_path, model):
    async with (
        open_simulator(faults=WrongMedia()) as simulator,
        open_client(tmp_path, simulator, provider_of(model)) as client,
    ):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat", model=model)
        await books_balance(client, simulator)
