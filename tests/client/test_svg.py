"""A paid SVG arrives, is kept and found; one that is no document is set aside."""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal

import pytest

import imagen
from imagen._policy.model_choice import choose_model
from imagen.testing import ScriptedReply
from imagen.testing.simulator import open_simulator
from tests.support.scripted_client import PRICE, images_reply, open_test_client
from tests.support.simulated_client import open_simulated
from tests.support.svg import ENTITIES, PLAIN, SCRIPT

DAY = datetime.date(2026, 11, 29)
KEYS = {"OPENAI_API_KEY": "sk-x", "RECRAFT_API_TOKEN": "r-x"}


@pytest.mark.parametrize(
    ("variables", "asked", "chosen"),
    [
        (["RECRAFT_API_TOKEN"], "svg", "recraft-v4.1-vector"),
        (["RECRAFT_API_TOKEN"], None, "recraft-v4.1"),
        (["RECRAFT_API_TOKEN"], "jpeg", "recraft-v4.1"),
        (["OPENAI_API_KEY"], "svg", "gpt-image-2.6-flare"),
        (["OPENAI_API_KEY", "RECRAFT_API_TOKEN"], "svg", "gpt-image-2.6-flare"),
        (["OPENAI_API_KEY"], "png", "gpt-image-2"),
        ([], "svg", "sketch"),
    ],
)
def test_a_model_that_draws_svg_is_the_default_for_it(variables, asked, chosen, tmp_path):
    environment = {name: KEYS[name] for name in variables} | {"IMAGEN_HOME": str(tmp_path)}
    settings = imagen.load_settings(environment)
    request = imagen.Generate(prompt="a fox", output_format=asked)
    assert choose_model(settings, imagen.providers.load_catalog(), request, DAY) == chosen


async def test_openai_draws_svg_too(tmp_path):
    async with (
        open_simulator(latency=0.02) as simulator,
        open_simulated(tmp_path, simulator) as client,
    ):
        image = await client.generate(
            "a fox", model="gpt-image-2.6-flare", output_format="svg", assume_usd=Decimal(1)
        )
        assert image.media_type == "image/svg+xml"
        assert not image.adjustments
        assert (await client.spending()).settled_usd == simulator.billed_usd


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


async def test_a_file_that_no_row_names_is_listed_again(tmp_path, autojump_clock):
    sha256 = hashlib.sha256(PLAIN).hexdigest()
    file = tmp_path / "images" / sha256[0] / f"{sha256}.svg"
    file.parent.mkdir(parents=True)
    file.write_bytes(PLAIN)
    async with open_test_client(lambda request: images_reply(), home=tmp_path) as (client, _):
        (finding,) = await client.library.check(repair=True)
        assert (finding.kind, finding.repaired) == ("orphan", "listed again")
        (found,) = await client.library.list()
        assert (found.media_type, found.width, found.height) == ("image/svg+xml", 10, 20)
        assert found.data == PLAIN
