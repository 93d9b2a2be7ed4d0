"""aiohttp by hand: post, decode the JSON and the base64, and with --write write
the file.
"""

from __future__ import annotations

import asyncio
import base64
import ssl

import aiohttp

from ..replies import MODEL
from ._asyncio_pool import measure
from ._run import Run


async def main(run: Run) -> None:
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector) as session:

        async def make_one(number: int) -> None:
            order = {"model": MODEL, "prompt": "x", "n": 1}
            async with session.post(f"{run.url}/images/generations", json=order) as reply:
                answer = await reply.json()
            data = base64.b64decode(answer["data"][0]["b64_json"])
            run.keep(number, data)

        await measure(run, make_one)


if __name__ == "__main__":
    asyncio.run(main(Run()))
