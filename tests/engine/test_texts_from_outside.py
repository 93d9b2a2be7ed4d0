"""Characters that one of the databases cannot hold cost no image."""

from __future__ import annotations

import msgspec
import pybase64
import pytest

import imagen
from imagen.testing import ScriptedReply
from tests.support.images import PNG
from tests.support.scripted_client import error_reply, open_test_client

pytestmark = pytest.mark.usefixtures("engine")

NUL = "a cat\0on a mat"


def is_kept(text: str | None) -> bool:
    """PostgreSQL's text holds no NUL, and has U+FFFD in its place."""
    return text in (NUL, NUL.replace("\0", "\N{REPLACEMENT CHARACTER}"))


async def test_an_image_whose_provider_sends_a_nul_is_kept_like_any_other():
    def answer(request: imagen.providers.HttpRequest) -> ScriptedReply:
        image = {"b64_json": pybase64.b64encode(PNG).decode(), "revised_prompt": NUL}
        body = msgspec.json.encode({"created": 1, "data": [image]})
        return ScriptedReply(chunks=(body,), headers={"content-type": "application/json"})

    async with open_test_client(answer) as (client, _):
        made = await client.generate("a cat", tag=NUL)
        assert made.storage_error is None
        assert made.revised_prompt == NUL
        await client.library.annotate(made, NUL)
        found = await client.library.get(made.id)
        assert is_kept(found.revised_prompt)
        assert is_kept(found.notes)
        assert [image.id for image in await client.library.search("mat")] == [made.id]


async def test_a_prompt_with_a_nul_is_kept_with_its_image():
    def answer(request: imagen.providers.HttpRequest) -> ScriptedReply:
        image = {"b64_json": pybase64.b64encode(PNG).decode()}
        body = msgspec.json.encode({"created": 1, "data": [image]})
        return ScriptedReply(chunks=(body,), headers={"content-type": "application/json"})

    async with open_test_client(answer) as (client, _):
        made = await client.generate(NUL, seed=None)
        assert made.storage_error is None
        found = await client.library.get(made.id)
        # It is a field of a JSON text, which escapes it.
        assert found.prompt == NUL
        assert [image.id for image in await client.library.search("cat")] == [made.id]


async def test_an_error_with_a_nul_is_the_outcome_and_its_attempt_ends():
    def answer(request: imagen.providers.HttpRequest) -> ScriptedReply:
        return error_reply(400, {"error": {"message": NUL, "type": "invalid_request_error"}})

    async with open_test_client(answer) as (client, _):
        with pytest.raises(imagen.InvalidRequestError, match="on a mat"):
            await client.generate("a cat")
        assert (await client.spending()).attempts.failed == 1
