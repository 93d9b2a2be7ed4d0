"""What an assistant may spend: estimates, limits, the user's consent, and
batches that an end of the server interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio
from mcp import Client
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitResult

import imagen
from imagen_mcp.server import make_server
from tests.support.custom_provider import Atelier
from tests.support.images import PNG
from tests.support.mcp_client import ERAS, Painter, connect, text_of
from tests.support.mcp_process import SERVER, process, read_url

CENTS = "four-cents"
MODELS = {
    CENTS: {"provider": "openai", "price": {"usd_per_image": "0.04"}},
    "no-price": {"provider": "openai"},
}
BATCH = {"prompt": "a lighthouse", "model": CENTS}
LIMIT = {"models": MODELS, "confirm_above_usd": Decimal("0.10")}


class User:
    """Answers every question in the same way, and keeps what was asked."""

    def __init__(self, action: str = "accept") -> None:
        self.questions: list[str] = []
        self._action = action

    async def __call__(self, context: object, params: object) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.questions.append(params.message)
        return ElicitResult(action=self._action, content={} if self._action == "accept" else None)


async def call(client: Client, tool: str, /, **arguments: object) -> CallToolResult:
    return await client.call_tool(tool, arguments)


# --- the estimate -------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_an_estimate_makes_nothing_and_says_whether_the_user_must_agree(
    tmp_path: Path, mode: str
) -> None:
    painter = Painter()
    async with connect(tmp_path, painter, mode=mode, **LIMIT) as client:
        few = await call(client, "estimate_cost", **BATCH, count=2)
        many = await call(client, "estimate_cost", **BATCH, count=100)
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert few.structured_content == {
        "model": CENTS,
        "count": 2,
        "low_usd": "0.08",
        "expected_usd": "0.08",
        "high_usd": "0.08",
        "needs_confirmation": False,
    }
    assert (many.structured_content["high_usd"], many.structured_content["needs_confirmation"]) == (
        "4",
        True,
    )
    assert "about $4.00" in text_of(many)
    assert "must agree" in text_of(many)
    assert "must agree" not in text_of(few)
    assert painter.requests == 0
    assert tools["estimate_cost"].annotations.read_only_hint


async def test_an_estimate_names_the_default_model_and_admits_that_a_price_is_unknown(
    tmp_path: Path,
) -> None:
    async with connect(tmp_path, models=MODELS, default_model="no-price") as client:
        result = await call(client, "estimate_cost", prompt="a lighthouse")
        free = await call(client, "estimate_cost", prompt="a lighthouse", model="sketch", count=1)
    assert text_of(free) == "1 image by sketch would cost nothing. Nothing was made."
    assert result.structured_content == {
        "model": "no-price",
        "count": 4,
        "low_usd": None,
        "expected_usd": None,
        "high_usd": None,
        "needs_confirmation": False,
    }
    assert "The price of 4 images by no-price is unknown" in text_of(result)


async def test_a_model_that_will_be_retired_is_told_of_once(tmp_path: Path) -> None:
    models = {
        CENTS: {**MODELS[CENTS], "lifecycle": {"retires_on": "2099-01-01", "successor": "sketch"}}
    }
    async with connect(tmp_path, models=models) as client:
        result = await call(client, "estimate_cost", **BATCH, count=7)
    assert text_of(result).count("will be retired on 2099-01-01") == 1


# --- the limit of a call ------------------------------------------------------


async def test_what_may_cost_more_than_the_call_allows_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    painter = Painter()
    async with connect(tmp_path, painter, models=MODELS) as client:
        refused = await call(client, "start_image_batch", **BATCH, count=3, max_cost_usd=0.1)
        unknown = await call(
            client, "generate_image", prompt="a lighthouse", model="no-price", max_cost_usd=5
        )
        assert painter.requests == 0
        made = await call(client, "start_image_batch", **BATCH, count=3, max_cost_usd=0.12)
    assert refused.is_error
    assert text_of(refused).startswith("[BUDGET] 3 images by four-cents will cost about 12 cents")
    assert "max_cost_usd is 10 cents" in text_of(refused)
    assert text_of(unknown).startswith("[BUDGET] The price of 1 image by no-price is unknown")
    assert not made.is_error


# --- the user's consent -------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_the_user_is_asked_once_above_the_limit_and_never_below(
    tmp_path: Path, mode: str
) -> None:
    user = User()
    painter = Painter()
    async with connect(tmp_path, painter, mode=mode, user=user, **LIMIT) as client:
        cheap = await call(client, "start_image_batch", **BATCH, count=2)
        assert user.questions == []
        dear = await call(client, "start_image_batch", **BATCH, count=3)
        await call(
            client, "get_next_image", session_id=dear.structured_content["session_id"], after=1
        )
    assert not cheap.is_error
    assert dear.structured_content["requested_count"] == 3
    assert user.questions == [
        "3 images by four-cents will cost about 12 cents and may cost up to 12 cents."
        " Shall they be made?"
    ]
    assert painter.requests == 5


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_who_does_not_agree_pays_nothing(
    tmp_path: Path, mode: str, action: str
) -> None:
    user, painter = User(action), Painter()
    async with connect(tmp_path, painter, mode=mode, user=user, **LIMIT) as client:
        # The assistant's word does not count where the user can be asked.
        result = await call(client, "start_image_batch", **BATCH, count=3, confirm_cost=True)
    assert result.is_error
    assert text_of(result).startswith("[BUDGET] The user did not agree")
    assert (len(user.questions), painter.requests) == (1, 0)


@pytest.mark.parametrize("mode", ERAS)
async def test_without_elicitation_the_assistant_must_confirm_that_the_user_agreed(
    tmp_path: Path, mode: str
) -> None:
    painter = Painter()
    async with connect(tmp_path, painter, mode=mode, **LIMIT) as client:
        refused = await call(client, "start_image_batch", **BATCH, count=3)
        assert painter.requests == 0
        made = await call(client, "start_image_batch", **BATCH, count=3, confirm_cost=True)
    assert refused.is_error
    assert "may cost up to 12 cents" in text_of(refused)
    assert "confirm_cost=true" in text_of(refused)
    assert not made.is_error


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
# The SDK's HTTP client leaves generators of its streams of events to the
# garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_the_user_is_asked_over_http_too(tmp_path: Path, mode: str, action: str) -> None:
    dear = (
        '[models.dear]\nlike = "sketch"\nwire_name = "sketch"\nprice = { usd_per_image = "0.20" }\n'
    )
    (tmp_path / "imagen.toml").write_text(f'confirm_above_usd = "0.10"\n{dear}')
    user = User(action)
    with trio.fail_after(20):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"]) as child:
            async with Client(
                await read_url(child), mode=mode, elicitation_callback=user
            ) as client:
                result = await call(
                    client, "generate_image", prompt="a cat", model="dear", size="64x64"
                )
            child.send_signal(signal.SIGTERM)
            await child.wait()
    assert len(user.questions) == 1
    assert result.is_error == (action == "decline"), text_of(result)


async def test_an_unknown_price_needs_the_user_too(tmp_path: Path) -> None:
    user = User()
    async with connect(tmp_path, Painter(), user=user, **LIMIT) as client:
        result = await call(client, "generate_image", prompt="a lighthouse", model="no-price")
    assert not result.is_error
    assert user.questions == ["The price of 1 image by no-price is unknown. Shall they be made?"]


SPENDING = {
    "generate_image": {"prompt": "a cat"},
    "start_image_batch": {"prompt": "a cat"},
    "edit_image": {"prompt": "a dog", "images": ["image.png"]},
    "create_variations": {"image": "image.png"},
    "enhance_image": {"image": "image.png"},
    "restyle_image": {"image": "image.png", "reference": "image.png"},
}


@asynccontextmanager
async def serve(
    home: Path, atelier: Atelier, *, price: str = "0.05", limit: str | None = None
) -> AsyncIterator[Client]:
    """A server whose only provider can do everything, at a price on its list
    that is perhaps not the one that it bills.
    """
    provider = atelier.provider()
    models = {
        name: {**table, "price": {"usd_per_image": price}}
        for name, table in provider.models.items()
    }
    provider = msgspec.structs.replace(provider, models=models)
    environ = {"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": "atelier-1"}
    settings = imagen.load_settings(environ, providers=[provider])
    settings = msgspec.structs.replace(
        settings, confirm_above_usd=None if limit is None else Decimal(limit)
    )
    with trio.fail_after(15):
        async with Client(make_server(settings)) as client:
            yield client


async def test_every_tool_that_spends_asks_and_obeys(tmp_path: Path) -> None:
    atelier = Atelier()
    image = tmp_path / "image.png"
    image.write_bytes(PNG)
    async with serve(tmp_path / "home", atelier, limit="0.01") as client:
        spending = {
            tool.name
            for tool in (await client.list_tools()).tools
            if "confirm_cost" in tool.input_schema["properties"]
        }
        assert spending == set(SPENDING)
        for tool, arguments in SPENDING.items():
            named = json.loads(json.dumps(arguments).replace("image.png", str(image)))
            asked = await call(client, tool, **named)
            assert "confirm_cost=true" in text_of(asked), tool
            dear = await call(client, tool, **named, max_cost_usd=0.01, confirm_cost=True)
            assert "max_cost_usd is 1 cent" in text_of(dear), tool
            assert not atelier.calls, tool
            made = await call(client, tool, **named, max_cost_usd=0.2, confirm_cost=True)
            assert not made.is_error, tool
            if "session_id" in made.structured_content:
                await pull_all(client, made.structured_content["session_id"])
            atelier.calls.clear()


async def test_a_provider_that_bills_more_than_its_list_says_is_stopped_by_the_limit(
    tmp_path: Path,
) -> None:
    atelier = Atelier()
    async with serve(tmp_path, atelier, price="0.01") as client:
        started = await call(
            client, "start_image_batch", prompt="a cat", count=8, max_cost_usd=0.08
        )
        _, end = await pull_all(client, started.structured_content["session_id"])
    made = end.structured_content["completed_count"]
    assert made == len(atelier.calls) < 8
    assert {error["code"] for error in end.structured_content["errors"]} == {"BUDGET"}


# --- batches that were interrupted --------------------------------------------


async def start_and_stop(home: Path) -> tuple[str, str]:
    """A server that ends when one image of six has been pulled and four are on
    their way; the sixth was never sent.
    """
    painter = Painter(gated=True)
    async with connect(home, painter, models=MODELS) as client:
        started = await call(client, "start_image_batch", **BATCH, count=6, timeout=0)
        session_id = started.structured_content["session_id"]
        painter.answer()
        first = await call(client, "get_next_image", session_id=session_id)
        await painter.wait_asked(5)
        painter.answer(4)
    return session_id, first.structured_content["image"]["id"]


async def pull_all(client: Client, session_id: str) -> tuple[list[str], CallToolResult]:
    ids: list[str] = []
    after = None
    while True:
        result = await call(client, "get_next_image", session_id=session_id, after=after)
        if (image := result.structured_content["image"]) is None:
            return ids, result
        ids.append(image["id"])
        after = image["index"]


async def test_a_later_server_gives_what_is_finished_and_makes_the_rest_when_told_to(
    tmp_path: Path,
) -> None:
    session_id, first = await start_and_stop(tmp_path)
    painter = Painter()
    async with connect(tmp_path, painter, models=MODELS) as client:
        ids, over = await pull_all(client, session_id)
        status = await call(client, "get_batch_status", session_id=session_id)
        assert painter.requests == 0
        resumed = await call(client, "resume_batch", session_id=session_id)
        more, end = await pull_all(client, session_id)
        again = await call(client, "resume_batch", session_id=session_id)
    assert ids[0] == first
    assert over.structured_content["status"] == "cancelled"
    for result in (over, status):
        assert f'resume_batch(session_id="{session_id}") makes the rest' in text_of(result)
    assert not resumed.is_error
    assert more[: len(ids)] == ids
    assert (end.structured_content["status"], len(set(more))) == ("completed", 6)
    assert "resume_batch" not in text_of(end)
    assert again.structured_content["completed_count"] == 6
    assert painter.requests == 6 - len(ids)


async def test_a_batch_that_the_user_stopped_can_be_resumed(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter, models=MODELS) as client:
        started = await call(client, "start_image_batch", **BATCH, count=10, timeout=0)
        session_id = started.structured_content["session_id"]
        await painter.wait_asked(4)
        await call(client, "cancel_batch", session_id=session_id)
        stopped = await call(client, "get_next_image", session_id=session_id)
        painter.answer(10)
        while painter.answered < 4:
            await trio.sleep(0.01)
        resumed = await call(client, "resume_batch", session_id=session_id)
        ids, end = await pull_all(client, session_id)
    assert "resume_batch" in text_of(stopped)
    assert not resumed.is_error
    outcomes = end.structured_content["completed_count"] + len(end.structured_content["errors"])
    assert outcomes == 10
    assert len(set(ids)) == end.structured_content["completed_count"] >= 6
    assert painter.requests == 10


async def test_an_unknown_batch_cannot_be_resumed(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        result = await call(client, "resume_batch", session_id="0123456789abcdef")
    assert result.is_error
    assert text_of(result).startswith("[SESSION] There is no session")
    assert str(tmp_path) in text_of(result)
