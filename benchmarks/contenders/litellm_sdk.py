"""litellm with asyncio; images stay in memory unless --write is given."""

from __future__ import annotations

import asyncio
import base64

import litellm

from ..replies import MODEL
from ._asyncio_pool import measure
from ._run import Run


async def main(run: Run) -> None:
    litellm.telemetry = False

    async def make_one(number: int) -> None:
        reply = await litellm.aimage_generation(
            model=f"openai/{MODEL}",
            prompt="x",
            n=1,
            api_base=run.url,
            api_key="no-key-is-needed",
            max_retries=0,
        )
        data = base64.b64decode(reply.data[0].b64_json)
        run.keep(number, data)

    await measure(run, make_one)


if __name__ == "__main__":
    asyncio.run(main(Run()))
