"""What a type checker sees of the bridges; run by mypy, not by pytest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from typing import assert_type

import imagen


async def use_asyncio(many: AsyncIterator[imagen.Request]) -> None:
    async with imagen.aio.open_client() as client:
        assert_type(client, imagen.aio.Client)
        assert_type(await client.generate("a cat", size="1024x1024"), imagen.Image)
        async with client.open_batch(many, max_at_once=2) as batch:
            assert_type(batch, imagen.aio.Batch)
            async for outcome in batch:
                assert_type(outcome, imagen.Image | imagen.Failure)
        assert_type(client.quote("a cat", n=3).high_usd, Decimal | None)
        assert_type(await client.library.get("0"), imagen.Image | None)
        assert_type(client.library.collections, imagen.aio.Collections)
        async for image in client.library.find():
            assert_type(image, imagen.Image)
        session = client.start_session("a cat", n=2)
        assert_type(session, imagen.aio.Session)
        assert_type(await session.wait_image(), tuple[int, imagen.Image] | None)
        assert_type(await client.prompts.list(), Sequence[imagen.prompts.Prompt])
        with imagen.aio.move_on_after_spending("0.50") as scope:
            assert_type(scope, imagen.BudgetScope)


def use_no_loop(many: Iterator[str | imagen.Request]) -> None:
    assert_type(imagen.generate("a cat", seed=1), imagen.Image)
    assert_type(imagen.edit("a dog", "cat.png", mask=b""), imagen.Image)
    with imagen.blocking.open_client(confirm=lambda quote, images: images < 10) as client:
        assert_type(client, imagen.blocking.Client)
        assert_type(client.generate("a cat", size="1024x1024"), imagen.Image)
        with client.open_batch(many, max_at_once=2) as batch:
            assert_type(batch, imagen.blocking.Batch)
            for outcome in batch:
                assert_type(outcome, imagen.Image | imagen.Failure)
        assert_type(client.spending().settled_usd, Decimal)
        for image in client.library.find():
            assert_type(image, imagen.Image)
        session = client.start_session("a cat", n=2)
        assert_type(session.wait_image(), tuple[int, imagen.Image] | None)
        with imagen.blocking.move_on_after_spending("0.50") as scope:
            assert_type(scope, imagen.BudgetScope)
    client.close()
