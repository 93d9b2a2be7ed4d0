"""While a client is open, what is too much goes by itself."""

from __future__ import annotations

import pytest
import trio

import imagen
from tests.support.scripted_client import FakeProvider, open_test_client

HOUR = 3600.0


async def test_rules_are_applied_again_and_again_while_a_client_is_open(autojump_clock):
    rules = imagen.library.CleanupRules(max_images=2, trash_days=1)
    async with open_test_client(FakeProvider(), cleanup=rules) as (client, _):
        async with client.open_batch("a cat", n=4, max_at_once=1) as batch:
            made = [outcome.id async for outcome in batch]
        assert len(await client.library.list()) == 4
        await trio.sleep(61)
        assert [image.id for image in await client.library.list()] == made[:1:-1]
        await trio.sleep(23 * HOUR)
        assert len(await client.library.list(state="trashed")) == 2
        await trio.sleep(2 * HOUR)
        assert await client.library.list(state="trashed") == []
        assert (await client.spending()).attempts.succeeded == 4


async def test_without_rules_nothing_goes(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        await client.generate("a cat")
        await trio.sleep(1000 * HOUR)
        assert len(await client.library.list()) == 1


async def test_a_disk_that_fails_does_not_end_the_client(autojump_clock, monkeypatch):
    async with open_test_client(
        FakeProvider(), cleanup=imagen.library.CleanupRules(max_images=0)
    ) as (
        client,
        _,
    ):
        image = await client.generate("a cat")

        async def fail(*_: object, **__: object) -> None:
            raise imagen.StorageError("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr("imagen.library.Library.clean", fail)
            await trio.sleep(HOUR)
            assert len(await client.library.list()) == 1
        await trio.sleep(HOUR)
        assert [one.id for one in await client.library.list(state="trashed")] == [image.id]


def test_rules_in_the_settings_are_checked(tmp_path):
    (tmp_path / "imagen.toml").write_text("[cleanup]\nmax_images = -1\n")
    with pytest.raises(imagen.ConfigurationError, match="max_images must be 0 or more"):
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
