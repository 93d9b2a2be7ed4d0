"""This library: requests in flight at a silent server, and then the client is
left with a salvage of 0. Prints when it was left, and when it was closed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import msgspec
import trio

import imagen

from ..replies import MODEL


async def main(url: str, folder: Path, at_once: int) -> None:
    settings = imagen.load_settings(
        {"IMAGEN_HOME": str(folder), "OPENAI_API_KEY": "no-key-is-needed", "OPENAI_BASE_URL": url}
    )
    sent = 0
    all_sent = trio.Event()

    def count(event: imagen.Event) -> None:
        nonlocal sent
        sent += isinstance(event, imagen.AttemptSent)
        if sent == at_once:
            all_sent.set()

    settings = msgspec.structs.replace(settings, salvage_seconds=0.0)
    left = 0
    async with (
        imagen.open_client(settings, on_event=count) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_make, client, at_once)
        await all_sent.wait()
        # The last request is on its way.
        await trio.sleep(0.3)
        left = time.monotonic_ns()
        nursery.cancel_scope.cancel("the client is left")
    print(json.dumps({"left_ns": left, "closed_ns": time.monotonic_ns()}), flush=True)


async def _make(client: imagen.Client, n: int) -> None:
    async with client.open_batch("x", n=n, max_at_once=n, model=MODEL) as batch:
        async for _ in batch:
            pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=200)
    options = parser.parse_args()
    trio.run(main, options.url, options.folder, options.at_once)
