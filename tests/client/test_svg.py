"""A paid SVG arrives, is kept and found; one that is no document is set aside."""

from __future__ import annotations

import pytest

import imagen
from imagen.testing import ScriptedReply
from tests.support.scripted_client import PRICE, images_reply, open_test_client
from tests.support.svg import ENTITIES, PLAIN, SCRIPT

REPLIES = {
    "base64": lambda: images_reply(data=PLAIN),
    "base64 with a mark": lambda: images_reply(data=b"\xef\xbb\xbf" + PLAIN),
    "base64 in Markdown": lambda: images_reply(data=b"```svg\n" + PLAIN + b"\n```"),
    "the document itself": lambda: ScriptedReply(chunks=(PLAIN,)),
    "in UTF-16": lambda: images_reply(data=PLAIN.decode().encode("utf-16")),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
async def test_an_svg_that_was_paid_arrives_and_is_found(reply, autojump_clock):
    async with open_test_client(lambda request: reply()) as (client, _):
        image = await client.generate("a fox")
        assert (image.media_type, image.width, image.height) == ("image/svg+xml", 10, 20)
        assert image.path.suffix == image.suffix == ".svg"
        assert image.path.read_bytes().decode("utf-16" if b"\0" in image.data else "utf-8") == (
            PLAIN.decode()
        )
        assert (await client.spending()).settled_usd == PRICE
        (found,) = [one async for one in client.library.find("fox")]
        assert found == image
        assert not await client.library.check()


async def test_a_script_in_it_is_kept_as_it_came(autojump_clock):
    async with open_test_client(lambda request: images_reply(data=SCRIPT)) as (client, _):
        assert (await client.generate("a fox")).data == SCRIPT


@pytest.mark.parametrize("data", [ENTITIES, PLAIN[:-6], b"<svg>&nbsp;</svg>"])
async def test_one_that_cannot_be_read_is_set_aside_whole(data, autojump_clock):
    async with open_test_client(lambda request: images_reply(data=data)) as (client, _):
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a fox")
        (kept,) = (client.library.folder.parent / "set-aside").glob("*/image-*.bin")
        assert kept.read_bytes() == data
        assert str(kept) in str(caught.value)
        assert (await client.spending()).settled_usd == PRICE
