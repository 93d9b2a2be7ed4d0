"""Uploads that nothing uses are removed after a week; all others stay."""

from __future__ import annotations

import time

import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.images import png
from tests.support.scripted_client import REFUSED, error_reply, images_reply, open_test_client
from tests.support.web import PageCaller, page_of

DAY = 86_400.0
PATIENCE = 30.0


async def upload(page: PageCaller, side: int) -> str:
    reply = await page.http.post("/api/1/inputs", content=png(size=(side, side)))
    return str(reply.json()["input"])


def asked(prompt: str, handle: str) -> dict[str, object]:
    return {
        "operation": "edit",
        "prompt": prompt,
        "model": "gpt-image-2",
        "images": [{"input": handle}],
    }


async def jump(clock: MockClock, seconds: float) -> None:
    """Let time pass, once the hourly look is over."""
    await wait_all_tasks_blocked()
    clock.jump(seconds)


async def there(page: PageCaller, handle: str) -> bool:
    return (await page.get(f"inputs/{handle}")).status_code == 200


async def until_gone(page: PageCaller, handle: str) -> None:
    end = time.monotonic() + PATIENCE
    while await there(page, handle):
        assert time.monotonic() < end, "the upload is still there"
        await trio.lowlevel.checkpoint()


async def until_over(page: PageCaller, batch_id: str) -> dict:
    end = time.monotonic() + PATIENCE
    while (view := await page.read(f"batches/{batch_id}"))["state"] == "running":
        assert time.monotonic() < end, "the batch still runs"
        await trio.lowlevel.checkpoint()
    return view


async def test_an_upload_stays_for_a_week_after_its_last_use(mock_clock):
    async with open_test_client(lambda _: images_reply()) as (client, _), page_of(client) as page:
        unused, drafted = await upload(page, 64), await upload(page, 65)
        await jump(mock_clock, 6 * DAY)
        await page.done("quote", {"requests": [asked("a draft", drafted)]})
        assert await there(page, unused)
        await jump(mock_clock, 2 * DAY)
        await until_gone(page, unused)
        assert await there(page, drafted)
        await jump(mock_clock, 6 * DAY)
        await until_gone(page, drafted)
        refused = await page.post("quote", {"requests": [asked("a draft", drafted)]})
        assert "upload it again" in refused.json()["sentence"]
        assert await upload(page, 65) == drafted
        assert await there(page, drafted)


async def test_what_images_and_listed_batches_were_made_of_stays(mock_clock):
    def answer(request):
        return error_reply(400, REFUSED) if b"a refusal" in request.body else images_reply()

    async with open_test_client(answer) as (client, _), page_of(client) as page:
        used, failed, unused = [await upload(page, side) for side in (64, 65, 66)]
        for prompt, handle in (("a harbour", used), ("a refusal", failed)):
            begun = await page.done("batches", {"requests": [asked(prompt, handle)]})
            view = await until_over(page, begun["id"])
        assert view["failed"] == 1
        await jump(mock_clock, 8 * DAY)
        await until_gone(page, unused)
        assert await there(page, used)
        # It can be tried again as long as the batch is listed.
        assert await there(page, failed)
        await page.done(f"batches/{view['id']}/forget")
        await jump(mock_clock, DAY)
        await until_gone(page, failed)
        assert await there(page, used)
