"""Whole exchanges over real sockets: what the client sends, what the provider
takes, and what both of them book.
"""

from __future__ import annotations

import datetime
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image as PillowImage

import imagen
from imagen.testing.simulator import (
    FewerImages,
    Nexos,
    NotAllowed,
    Overloaded,
    RateLimited,
    Refused,
    Reset,
    Simulator,
    WrongMedia,
    open_simulator,
)
from imagen.testing.simulator._core.images import MEDIA_TYPES
from tests.support.drivers import RETRY, http_reply, open_server
from tests.support.images import opened

# Some of the models that are looked at have a last day, and a warning that
# names it.
pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")

TODAY = datetime.datetime.now(datetime.UTC).date()
LIVE = [
    model for model in imagen.providers.load_catalog() if model.lifecycle.state(TODAY) != "retired"
]
OPENAI = [model.id for model in LIVE if model.provider == "openai"]
NEXOS = [model.id for model in LIVE if model.provider == "nexos"]
PRICED = [
    model.id
    for model in LIVE
    if model.provider == "openai"
    and model.price is not None
    and model.price.per_million_tokens is not None
]
KEY = "sk-a-key-that-must-stay-secret"


@asynccontextmanager
async def open_client(
    home: Path,
    simulator: Simulator,
    *,
    library: str | None = "home",
    on_event: imagen.EventHandler | None = None,
) -> AsyncIterator[imagen.Client]:
    settings = imagen.load_settings(
        {
            "OPENAI_BASE_URL": simulator.base_url("openai"),
            "OPENAI_API_KEY": simulator.key,
            "NEXOS_API_BASE_URL": simulator.base_url("nexos"),
            "NEXOS_API_KEY": simulator.key,
            "IMAGEN_HOME": str(home),
        }
    )
    settings = msgspec.structs.replace(settings, retry=RETRY)
    async with imagen.open_client(settings, library=library, on_event=on_event) as client:
        yield client


# --- OpenAI -------------------------------------------------------------------


async def test_one_image_goes_all_the_way_to_the_library_and_the_ledger(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.generate("a cat", model="gpt-image-2", size="1536x864", quality="low")
        assert (image.width, image.height, image.media_type) == (1536, 864, "image/png")
        assert opened(image).size == (1536, 864)
        assert image.cost == imagen.Cost(usd=simulator.billed_usd, source="computed")
        assert await client.library.get(image.id) == image
        assert (await client.spending()).settled_usd == simulator.billed_usd > 0
        (received,) = simulator.received
    assert received.headers["user-agent"].startswith("imagen-trio/")
    assert json.loads(received.body) == {
        "model": "gpt-image-2",
        "prompt": "a cat",
        "n": 1,
        "size": "1536x864",
        "quality": "low",
    }


@pytest.mark.parametrize("model", PRICED)
async def test_the_ledger_says_what_the_provider_billed(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, library=None) as client,
    ):
        outcomes = []
        for together, previews in ((False, 0), (True, 0), (False, 2), (True, 2)):
            batch = client.open_batch(
                "a cat",
                n=3,
                model=model,
                quality="low",
                size="1024x1024",
                together=together,
                previews=previews,
            )
            async with batch as running:
                outcomes += [outcome async for outcome in running]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 12
        spending = await client.spending()
        assert (
            spending.settled_usd
            == simulator.billed_usd
            == sum(outcome.cost.usd for outcome in outcomes)
        )
        assert spending.unknown_usd == spending.reserved_usd == 0
        assert {outcome.cost.source for outcome in outcomes} == {"computed"}
        assert all(bill.delivered for bill in simulator.bills)
        # Previews come in a stream, and a stream is asked for one image.
        assert len(simulator.bills) == 3 + 1 + 3 + 3


async def test_images_that_are_asked_for_together_come_from_one_request(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        async with client.open_batch("a cat", n=12, model="gpt-image-2", together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == list(range(12))
        assert len({outcome.sha256 for outcome in outcomes}) == 12
        assert sorted(json.loads(received.body)["n"] for received in simulator.received) == [2, 10]


async def test_previews_come_before_their_image(tmp_path):
    events: list[imagen.Event] = []
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, on_event=events.append) as client,
    ):
        image = await client.generate(
            "a cat", model="gpt-image-2", size="1024x1024", quality="low", previews=3
        )
        previews = [event for event in events if isinstance(event, imagen.PreviewReceived)]
        assert [event.number for event in previews] == [0, 1, 2]
        assert {PillowImage.open(io.BytesIO(event.data)).size for event in previews} == {
            (1024, 1024)
        }
        assert [type(event) for event in events] == [
            imagen.AttemptQueued,
            imagen.AttemptReserved,
            imagen.AttemptSent,
            *[imagen.PreviewReceived] * 3,
            imagen.AttemptEnded,
        ]
        assert {event.attempt_id for event in events} == {image.attempt_id}
        assert image.cost.usd == simulator.billed_usd


def requests_of(model: imagen.Model) -> Iterator[dict[str, Any]]:
    """Each value that the catalog offers for this model, one at a time, and all
    together.
    """
    can = model.capabilities
    free = ("1536x864", "1024x3072", "2048x2048") if can.free_size else ()
    offers = {
        "size": (*can.sizes, *free),
        "quality": can.qualities,
        "style": can.styles,
        "output_format": can.output_formats,
        # OpenAI has this one for gpt-image-2 as a preview only, which the
        # simulated account has not.
        "background": [
            b for b in can.backgrounds if (model.id, b) != ("gpt-image-2", "transparent")
        ],
    }
    yield {}
    for field, values in offers.items():
        for value in values:
            yield {field: value}
    yield {field: values[-1] for field, values in offers.items() if values}
    yield {"n": can.max_images_per_request}
    yield {"prompt": "x" * can.max_prompt_characters}


@pytest.mark.parametrize(
    "model",
    [model for model in LIVE if model.provider in ("openai", "nexos")],
    ids=lambda model: model.id,
)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, library=None) as client,
    ):
        for fields in requests_of(model):
            prompt, n = fields.pop("prompt", "a cat"), fields.pop("n", 1)
            async with client.open_batch(
                prompt, n=n, model=model.id, together=True, **fields
            ) as batch:
                outcomes = [outcome async for outcome in batch]
            assert [type(outcome) for outcome in outcomes] == [imagen.Image] * n, (fields, outcomes)
            size = fields.get("size", "auto")
            if size != "auto":
                assert f"{outcomes[0].width}x{outcomes[0].height}" == size
            if "output_format" in fields:
                assert outcomes[0].media_type == MEDIA_TYPES[fields["output_format"]]
            assert not outcomes[0].adjustments


# --- nexos.ai -----------------------------------------------------------------


@pytest.mark.parametrize("credits", [None, Decimal("0.0433")])
async def test_the_gateway_is_asked_for_its_list_once_and_its_price_is_booked(tmp_path, credits):
    gateway = Nexos(credits_per_image=credits)
    async with open_simulator(gateway) as simulator, open_client(tmp_path, simulator) as client:
        for together in (False, True):
            async with client.open_batch(
                "a cat", n=3, model="flux-1.1-pro", size="512x512", together=together
            ) as batch:
                outcomes = [outcome async for outcome in batch]
            assert [(outcome.width, outcome.height) for outcome in outcomes] == [(512, 512)] * 3
        assert {outcome.revised_prompt for outcome in outcomes} == {"a cat"}
        assert [received.kind for received in simulator.received].count("list") == 1
        assert len(simulator.bills) == 4
        spending = await client.spending()
        assert spending.settled_usd == (0 if credits is None else 6 * credits)
        assert not simulator.leaks


async def test_links_of_the_gateway_are_fetched_without_the_key(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.generate("a cat", model="imagen-4", options={"response_format": "url"})
        assert opened(image).size == (1024, 1024)
        assert [received.kind for received in simulator.received] == ["list", "create", "download"]
        assert not simulator.leaks


@pytest.mark.parametrize("status", [400, 404])
async def test_a_model_that_the_workspace_has_lost_is_not_found(tmp_path, status):
    gateway = Nexos(models=(), unknown_model_status=status)
    async with open_simulator(gateway) as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.ModelNotFoundError, match="no image model 'Imagen 4'"):
            await client.generate("a cat", model="imagen-4")
        assert simulator.billed_usd == 0


# --- faults, as the caller and the ledger see them ----------------------------


@pytest.mark.parametrize("previews", [0, 2])
async def test_what_was_refused_for_now_is_sent_again_and_paid_once(tmp_path, previews):
    faults = [Overloaded(), RateLimited(wait_seconds=0.001, told="text")]
    async with (
        open_simulator(faults=faults) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        await client.generate(
            "a cat", model="gpt-image-2", size="1024x1024", quality="low", previews=previews
        )
        assert len(simulator.received) == 3
        assert (await client.spending()).settled_usd == simulator.billed_usd


@pytest.mark.parametrize("fault", [Refused(), NotAllowed()], ids=repr)
async def test_a_refusal_costs_nothing_and_is_not_repeated(tmp_path, fault):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ImagenError) as caught:
            await client.generate("a cat", model="gpt-image-2")
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1
        assert (await client.spending()).settled_usd == simulator.billed_usd == 0


async def test_a_lost_answer_is_unknown_and_is_not_ordered_again(tmp_path):
    fault = Reset(after_billing=True)
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.OutcomeUnknownError):
            await client.generate("a cat", model="gpt-image-2", size="1024x1024", quality="low")
        assert len(simulator.received) == 1
        spending = await client.spending()
        assert spending.settled_usd == 0
        assert spending.unknown_usd >= simulator.billed_usd > 0


async def test_a_web_page_in_place_of_an_image_is_billed_and_kept_out_of_the_library(tmp_path):
    async with (
        open_simulator(faults=WrongMedia()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat", model="gpt-image-2", size="1024x1024", quality="low")
        assert (await client.spending()).settled_usd == simulator.billed_usd > 0
        assert not await client.library.list(limit=10)


async def test_only_the_images_that_came_are_paid(tmp_path):
    async with (
        open_simulator(faults=FewerImages()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        async with client.open_batch(
            "a cat", n=3, model="gpt-image-2", size="1024x1024", quality="low", together=True
        ) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [
            imagen.Image,
            imagen.Image,
            imagen.Failure,
        ]
        assert (await client.spending()).settled_usd == simulator.billed_usd


async def test_a_key_that_the_server_repeats_is_hidden(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    said = f"The header 'Authorization: Bearer {KEY}' is wrong, said {KEY}."
    body = http_reply({"error": {"message": said, "code": None}}, status="400 Bad Request")

    async def handler(stream: Any, request: bytes) -> None:
        await stream.send_all(body)

    async with open_server(handler) as server:
        settings = imagen.load_settings(
            {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY, "IMAGEN_HOME": str(tmp_path)}
        )
        assert KEY not in repr(settings)
        async with imagen.open_client(settings) as client:
            async with client.open_batch("a cat", model="gpt-image-2") as batch:
                (failure,) = [outcome async for outcome in batch]
            assert isinstance(failure, imagen.Failure)
    assert "[hidden]" in failure.error.message
    for text in (repr(failure), repr(failure.error), str(failure.error), caplog.text):
        assert KEY not in text
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept
