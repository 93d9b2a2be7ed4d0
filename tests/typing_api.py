"""What a type checker sees of the public names; run by mypy, not by pytest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import assert_type

import imagen


async def use_the_client(many: AsyncIterator[imagen.Request]) -> None:
    async with imagen.open_client() as client:
        assert_type(client, imagen.Client)
        image = await client.generate("a cat", size="1024x1024", seed=1)
        assert_type(image, imagen.Image)
        assert_type(image.data, bytes)
        assert_type(image.path, Path | None)
        assert_type(image.cost.usd, Decimal | None)
        assert_type(image.save("cat.png"), Path)
        async with client.open_batch(many, max_at_once=2) as batch:
            assert_type(batch, imagen.Batch)
            async for outcome in batch:
                match outcome:
                    case imagen.Image():
                        assert_type(outcome, imagen.Image)
                    case imagen.Failure():
                        assert_type(outcome.error, imagen.ImagenError)
        assert_type(client.quote("a cat", n=3).high_usd, Decimal | None)
        assert_type(client.quote("a cat", n=3, economy=True).high_usd, Decimal | None)
        assert_type((await client.spending()).settled_usd, Decimal)
        (statistics,) = await client.statistics("model")
        assert_type(statistics.usd_per_kept, Decimal | None)
        assert_type(imagen.requests_from([{"prompt": "a cat"}], n=2), list[imagen.Generate])
        assert_type(await client.library.get("0"), imagen.Image | None)
        edited = await client.edit("a dog", image, "other.png", mask=b"", model="flux-2-pro")
        assert_type(edited.parent_id, str | None)
        assert_type(await client.vary(image, strength=0.5), imagen.Image)
        assert_type(
            await client.enhance("https://example.com/a.png", scale=2, mode="fast"), imagen.Image
        )
        assert_type(await client.restyle(image, Path("look.jpg"), strict=True), imagen.Image)
        assert_type(await client.discover(), imagen.Discovery)
        session = client.start_session("a cat", n=2)
        assert_type(await session.wait_image(), tuple[int, imagen.Image] | None)
        assert_type(await client.resume_session(session.id), imagen.Session)
        async with client.open_batch(
            "a cat", n=2, economy=True, fallback=["gpt-image-2"], wait=False
        ) as batch:
            pass
        async with client.reopen_batch(batch.id) as again:
            assert_type(again, imagen.Batch)
        await client.generate("a cat", routing="cheapest", hedge_after_seconds="p95", tag="poster")
        assert_type((await client.spending_by("model"))[0].spending, imagen.Spending)
        assert_type(await client.collect(), int)


def use_the_money() -> None:
    with imagen.move_on_after_spending("0.50") as scope:
        assert_type(scope.spent_usd, Decimal)
        assert_type(scope.cancelled_caught, bool)
    imagen.Budget(Decimal(1))
    imagen.Budget(0.5)  # type: ignore[arg-type]


def misuse(client: imagen.Client) -> None:
    client.open_batch("a cat", sise="1024x1024")  # type: ignore[call-arg]
    client.open_batch("a cat", timeout=5)  # type: ignore[call-arg]
    client.open_batch("a cat", routing="best")  # type: ignore[arg-type]
    imagen.Edit(prompt="x", images=(7,))  # type: ignore[arg-type]
    imagen.Generate("a cat")  # type: ignore[call-arg]
    image = imagen.Generate(prompt="a cat")
    image.prompt = "a dog"  # type: ignore[misc]
