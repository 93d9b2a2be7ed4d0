"""The official SDK with asyncio, as its documentation shows: decode the base64
and, with --write, write the file.
"""

from __future__ import annotations

import asyncio
import base64

import openai

from ..replies import MODEL
from ._asyncio_pool import measure
from ._run import Run


async def main(run: Run) -> None:
    async with openai.AsyncOpenAI(
        api_key="no-key-is-needed", base_url=run.url, max_retries=0
    ) as client:

        async def make_one(number: int) -> None:
            reply = await client.images.generate(model=MODEL, prompt="x", n=1)
            assert reply.data
            assert reply.data[0].b64_json
            data = base64.b64decode(reply.data[0].b64_json)
            run.keep(number, data)

        await measure(run, make_one)


if __name__ == "__main__":
    asyncio.run(main(Run()))
