"""httpx2 on Trio by hand: post, decode the JSON and the base64, and with
--write write the file.
"""

from __future__ import annotations

import base64

import httpx2
import trio

from ..replies import MODEL
from ._run import Run


async def main(run: Run) -> None:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(timeout=None, limits=limits) as client:

        async def make_one(number: int) -> None:
            reply = await client.post(
                f"{run.url}/images/generations", json={"model": MODEL, "prompt": "x", "n": 1}
            )
            data = base64.b64decode(reply.json()["data"][0]["b64_json"])
            run.keep(number, data)

        async def work() -> None:
            for number in numbers:
                await make_one(number)

        async def repeat() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(run.at_once):
                    nursery.start_soon(work)

        numbers = iter(range(run.warm_up))
        await repeat()
        with run.measured():
            numbers = iter(range(run.images))
            await repeat()


if __name__ == "__main__":
    trio.run(main, Run())
